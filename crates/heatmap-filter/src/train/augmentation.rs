use rand::Rng;
use serde::{Deserialize, Serialize};
use tch::{TchError, Tensor};

/// What is done to each training image by chance: what a scanner or a hand could have done
/// differently without changing what the image shows.
///
/// Mirroring left to right; rotation, scaling and shifting, with the edge's values carried on
/// outwards; contrast about the image's mean, and brightness. Every amount is drawn evenly from
/// ± its setting.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Augmentation {
    mirror: bool,
    rotation: f64,
    scale: f64,
    shift: f64,
    contrast: f64,
    brightness: f64,
}

impl Default for Augmentation {
    /// Mirroring, ±10°, ±10 % in scale, ±5 % of the side in shift, ±20 % in contrast, ±0.05 in
    /// brightness.
    fn default() -> Self {
        Self {
            mirror: true,
            rotation: 10.0,
            scale: 0.1,
            shift: 0.05,
            contrast: 0.2,
            brightness: 0.05,
        }
    }
}

impl Augmentation {
    /// Images as they are.
    pub fn none() -> Self {
        Self {
            mirror: false,
            rotation: 0.0,
            scale: 0.0,
            shift: 0.0,
            contrast: 0.0,
            brightness: 0.0,
        }
    }

    /// Whether half of the images are mirrored left to right.
    pub fn with_mirror(mut self, mirror: bool) -> Self {
        self.mirror = mirror;
        self
    }

    /// The largest rotation, in degrees.
    pub fn with_rotation(mut self, degrees: f64) -> Self {
        self.rotation = degrees;
        self
    }

    /// The largest change of scale: 0.1 is 90 % to 110 %.
    pub fn with_scale(mut self, scale: f64) -> Self {
        self.scale = scale;
        self
    }

    /// The largest shift, as a share of the image's side.
    pub fn with_shift(mut self, shift: f64) -> Self {
        self.shift = shift;
        self
    }

    /// The largest change of contrast: 0.2 is 80 % to 120 %.
    pub fn with_contrast(mut self, contrast: f64) -> Self {
        self.contrast = contrast;
        self
    }

    /// The largest change of brightness, in the images' own unit.
    pub fn with_brightness(mut self, brightness: f64) -> Self {
        self.brightness = brightness;
        self
    }

    /// The amounts by name, and what they must stay below where there is such a bound.
    pub(crate) fn amounts(&self) -> [(&'static str, f64, Option<f64>); 5] {
        [
            ("rotation", self.rotation, None),
            ("scale", self.scale, Some(1.0)),
            ("shift", self.shift, Some(1.0)),
            ("contrast", self.contrast, Some(1.0)),
            ("brightness", self.brightness, None),
        ]
    }

    /// Augments a batch `[N, C, H, W]`, drawing from `rng` image by image.
    pub(crate) fn apply(&self, images: &Tensor, rng: &mut impl Rng) -> Result<Tensor, TchError> {
        if *self == Self::none() {
            return Ok(images.shallow_clone());
        }
        let size = images.size();
        let (n, height, width) = (size[0], size[2] as f64, size[3] as f64);
        let mut transforms = Vec::with_capacity(6 * n as usize);
        let mut contrasts = Vec::with_capacity(n as usize);
        let mut brightnesses = Vec::with_capacity(n as usize);
        for _ in 0..n {
            let mut draw = |most: f64| (rng.random::<f64>() * 2.0 - 1.0) * most;
            let (sin, cos) = draw(self.rotation.to_radians()).sin_cos();
            let scale = 1.0 / (1.0 + draw(self.scale));
            let (dx, dy) = (2.0 * draw(self.shift), 2.0 * draw(self.shift));
            contrasts.push(1.0 + draw(self.contrast));
            brightnesses.push(draw(self.brightness));
            let flip = if self.mirror && draw(1.0) < 0.0 { -1.0 } else { 1.0 };
            // From the place in the new image to that in the old one, both in -1..=1 on either
            // axis, so that a rotation needs the aspect ratio.
            transforms.extend([
                flip * scale * cos,
                -scale * sin * height / width,
                dx,
                flip * scale * sin * width / height,
                scale * cos,
                dy,
            ]);
        }
        const BILINEAR: i64 = 0;
        const EDGE: i64 = 1;
        let column = |values: &[f64]| -> Result<Tensor, TchError> {
            Tensor::f_from_slice(values)?
                .f_to_kind(images.kind())?
                .f_to_device(images.device())
        };
        let transforms = column(&transforms)?.f_view([n, 2, 3])?;
        let grid = Tensor::f_affine_grid_generator(&transforms, &size, false)?;
        let moved = images.f_grid_sampler(&grid, BILINEAR, EDGE, false)?;
        let mean = moved.f_mean_dim([1, 2, 3].as_slice(), true, images.kind())?;
        moved
            .f_sub(&mean)?
            .f_mul(&column(&contrasts)?.f_view([n, 1, 1, 1])?)?
            .f_add(&mean)?
            .f_add(&column(&brightnesses)?.f_view([n, 1, 1, 1])?)
    }
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;
    use rand_chacha::ChaCha8Rng;
    use tch::{Device, Kind};

    use super::*;

    fn image() -> Tensor {
        Tensor::arange(2 * 12 * 16, (Kind::Float, Device::Cpu)).view([2, 1, 12, 16]) / 384.0
    }

    fn augmented(augmentation: Augmentation, seed: u64) -> Tensor {
        augmentation
            .apply(&image(), &mut ChaCha8Rng::seed_from_u64(seed))
            .unwrap()
    }

    #[test]
    fn nothing_leaves_the_image_and_no_amount_does_too() {
        assert_eq!(augmented(Augmentation::none(), 1), image());
        let still = Augmentation::none().with_mirror(true);
        let result = augmented(still, 1);
        for (one, original) in [(result.get(0), image().get(0)), (result.get(1), image().get(1))] {
            let same = (&one - &original).abs().max().double_value(&[]);
            let mirrored = (&one - original.flip([2])).abs().max().double_value(&[]);
            assert!(same.min(mirrored) < 1e-5, "{same} {mirrored}");
        }
    }

    #[test]
    fn mirroring_comes_up_both_ways() {
        let mirrored = (0..20)
            .map(|seed| augmented(Augmentation::none().with_mirror(true), seed))
            .filter(|result| (result.get(0) - image().get(0)).abs().max().double_value(&[]) > 1e-4)
            .count();
        assert!((4..=16).contains(&mirrored), "{mirrored} of 20");
    }

    #[test]
    fn rotation_keeps_angles_in_images_that_are_not_square() {
        // A disk stays a disk of the same area under rotation about its centre.
        let (rows, columns) = (
            Tensor::arange(40, (Kind::Float, Device::Cpu)).view([40, 1]) - 19.5,
            Tensor::arange(80, (Kind::Float, Device::Cpu)).view([1, 80]) - 39.5,
        );
        let disk = (rows.square() + columns.square())
            .lt(12.0 * 12.0)
            .to_kind(Kind::Float)
            .view([1, 1, 40, 80]);
        let turned = Augmentation::none()
            .with_rotation(90.0)
            .apply(&disk, &mut ChaCha8Rng::seed_from_u64(2))
            .unwrap();
        let differing = (&turned - &disk).abs().sum(Kind::Float).double_value(&[]);
        assert!(
            differing < 0.06 * disk.sum(Kind::Float).double_value(&[]),
            "{differing}"
        );
    }

    #[test]
    fn the_same_draws_give_the_same_images() {
        assert_eq!(
            augmented(Augmentation::default(), 5),
            augmented(Augmentation::default(), 5)
        );
        assert_ne!(
            augmented(Augmentation::default(), 5),
            augmented(Augmentation::default(), 6)
        );
    }
}
