//! The mean heatmap over altered copies of the input.

use tch::{Kind, Tensor};

use crate::error::CamError;
use crate::heatmap::Maps;

/// A mirror image.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Flip {
    /// Left and right change places: the last axis, W.
    LeftRight,
    /// Above and below change places: the last axis but one, H.
    UpDown,
    /// Front and back of a volume change places: the last axis but two, D.
    FrontBack,
}

impl Flip {
    /// The axis of a tensor, from its end.
    fn axis(self) -> i64 {
        match self {
            Self::LeftRight => -1,
            Self::UpDown => -2,
            Self::FrontBack => -3,
        }
    }
}

/// Which views [`test_time_augmentation`] averages over: every flip alone, with each other and
/// without any, at every scale, times every factor. Without further settings the image and its mirror
/// image from left to right.
#[derive(Debug, Clone, PartialEq)]
pub struct TestTimeAugmentation {
    flips: Vec<Flip>,
    scales: Vec<f64>,
    factors: Vec<f64>,
}

impl Default for TestTimeAugmentation {
    fn default() -> Self {
        Self {
            flips: vec![Flip::LeftRight],
            scales: vec![1.0],
            factors: vec![1.0],
        }
    }
}

impl TestTimeAugmentation {
    /// With these flips and all their combinations: `k` flips make `2^k` views. One named twice
    /// counts once.
    #[must_use]
    pub fn with_flips(mut self, flips: impl Into<Vec<Flip>>) -> Self {
        self.flips = flips.into();
        self
    }

    /// With the input resized by these factors, such as `[0.75, 1.0, 1.25]`; 1 is the input itself.
    #[must_use]
    pub fn with_scales(mut self, scales: impl Into<Vec<f64>>) -> Self {
        self.scales = scales.into();
        self
    }

    /// With the input's values multiplied by these factors. On an input that is normalised by mean
    /// and standard deviation it changes the contrast.
    #[must_use]
    pub fn with_factors(mut self, factors: impl Into<Vec<f64>>) -> Self {
        self.factors = factors.into();
        self
    }

    /// The axes that each view is flipped along, as axes of a tensor from its end.
    fn flips(&self, axes: usize) -> Result<Vec<Vec<i64>>, CamError> {
        let mut views = vec![vec![]];
        for (index, &flip) in self.flips.iter().enumerate() {
            if flip.axis().unsigned_abs() as usize > axes {
                return Err(CamError::Flip { flip, axes });
            }
            if !self.flips[..index].contains(&flip) {
                let flipped: Vec<Vec<i64>> = views.iter().map(|view| [&view[..], &[flip.axis()]].concat()).collect();
                views.extend(flipped);
            }
        }
        Ok(views)
    }

    fn check(&self) -> Result<(), CamError> {
        if self.scales.is_empty() || self.factors.is_empty() {
            return Err(CamError::NoViews {
                scales: self.scales.len(),
                factors: self.factors.len(),
            });
        }
        if let Some(&scale) = self.scales.iter().find(|scale| !(scale.is_finite() && **scale > 0.0)) {
            return Err(CamError::Scale { scale });
        }
        if let Some(&factor) = self.factors.iter().find(|factor| !factor.is_finite()) {
            return Err(CamError::Factor { factor });
        }
        Ok(())
    }
}

/// The mean over the views of an input of the heatmaps that `maps` makes of them.
///
/// ```text
/// map = mean over v of unflip_v( upsample( m(view_v(x)) ) )      m in 0..=1
/// ```
///
/// Each view's map is upsampled to the input's size, brought to 0..=1, so that all views count alike
/// whatever their scores, and turned back before it is added. A view whose map holds nothing counts
/// as zero. Inputs are resized bilinearly (trilinearly) at half-pixel centres without smoothing.
///
/// The set of views is closed under its flips: the result for a flipped input is the flipped result.
///
/// pytorch-grad-cam's `aug_smooth` is the flip from left to right with the factors 0.9, 1 and 1.1;
/// [`TestTimeAugmentation::with_factors`] gives the same. The factors are no part of the usual
/// settings, because an input times 0.9 is an image that the network was never normalised for.
///
/// A closure that explains [`Target::Predicted`](crate::Target::Predicted) may explain another class
/// in each view: name the class to have one.
///
/// # Shapes
/// `input` is `[N, C, H, W]` or `[N, C, D, H, W]`; the result is `[N, H, W]` or `[N, D, H, W]`.
///
/// # Errors
/// [`CamError::Input`], [`CamError::Flip`], [`CamError::Scale`], [`CamError::Factor`],
/// [`CamError::NoViews`], [`CamError::MapBatch`], and those of `maps`.
///
/// # Cost
/// `maps` is called once for each view, one after the other.
///
/// ```
/// use gradcam_core::{Flip, Maps, TestTimeAugmentation, test_time_augmentation};
/// use tch::Tensor;
///
/// // A method that favours the right side: the mean over the mirror images does not.
/// let weights = Tensor::from_slice(&[0f32, 1.0, 2.0]);
/// let method = |x: &Tensor| Maps::new(&x.f_squeeze_dim(1)?.f_mul(&weights)?);
/// let image = Tensor::ones([1, 1, 2, 3], (tch::Kind::Float, tch::Device::Cpu));
/// let views = TestTimeAugmentation::default().with_flips([Flip::LeftRight, Flip::UpDown]);
/// let maps = test_time_augmentation(&image, &views, method)?;
/// assert_eq!(Vec::<f32>::try_from(maps.tensor().view(-1))?, [0.5; 6]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn test_time_augmentation(
    input: &Tensor,
    views: &TestTimeAugmentation,
    maps: impl Fn(&Tensor) -> Result<Maps, CamError>,
) -> Result<Maps, CamError> {
    views.check()?;
    let shape = input.size();
    if !matches!(shape.len(), 4 | 5) || shape.contains(&0) {
        return Err(CamError::Input { shape });
    }
    let size = &shape[2..];
    let flips = views.flips(size.len())?;
    let mut sum: Option<Tensor> = None;
    let mut count = 0i64;
    for &factor in &views.factors {
        for &scale in &views.scales {
            let resized = {
                let _no_grad = tch::no_grad_guard();
                times(&resize(input, size, scale)?, factor)?
            };
            for axes in &flips {
                // `maps` runs in the caller's gradient mode.
                let view = tch::no_grad(|| flip(&resized, axes))?;
                let maps = maps(&view)?;
                maps.check_batch(shape[0])?;
                let _no_grad = tch::no_grad_guard();
                let heat = flip(maps.heatmaps(size)?.tensor(), axes)?.f_to_kind(Kind::Double)?;
                sum = Some(match sum {
                    Some(sum) => sum.f_add(&heat)?,
                    None => heat,
                });
                count += 1;
            }
        }
    }
    let sum = sum.ok_or(CamError::NoMaps)?;
    let _no_grad = tch::no_grad_guard();
    Maps::new(&sum.f_div_scalar(count)?)
}

fn resize(input: &Tensor, size: &[i64], scale: f64) -> Result<Tensor, CamError> {
    if scale == 1.0 {
        return Ok(input.f_detach()?);
    }
    let to: Vec<i64> = size
        .iter()
        .map(|&extent| ((extent as f64 * scale).round() as i64).max(1))
        .collect();
    Ok(if to.len() == 2 {
        input.f_upsample_bilinear2d(to.as_slice(), false, None, None)?
    } else {
        input.f_upsample_trilinear3d(to.as_slice(), false, None, None, None)?
    })
}

fn times(input: &Tensor, factor: f64) -> Result<Tensor, CamError> {
    Ok(if factor == 1.0 {
        input.shallow_clone()
    } else {
        input.f_mul_scalar(factor)?
    })
}

fn flip(tensor: &Tensor, axes: &[i64]) -> Result<Tensor, CamError> {
    Ok(if axes.is_empty() {
        tensor.shallow_clone()
    } else {
        tensor.f_flip(axes)?
    })
}
