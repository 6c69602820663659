//! RISE.

use std::ops::Range;

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use tch::{Kind, Tensor};

use crate::channel_masks::upsample;
use crate::error::CamError;
use crate::heatmap::Maps;
use crate::probe::Probe;

/// Settings of [`rise`](fn@rise).
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Rise {
    masks: usize,
    cells: usize,
    probability: f64,
    seed: u64,
}

impl Default for Rise {
    /// The paper's 4 000 masks of 7 cells along each axis, half of them open.
    fn default() -> Self {
        Self {
            masks: 4000,
            cells: 7,
            probability: 0.5,
            seed: 0,
        }
    }
}

impl Rise {
    /// The number of masks.
    #[must_use]
    pub fn with_masks(mut self, masks: usize) -> Self {
        self.masks = masks;
        self
    }

    /// The number of cells along each axis of a mask.
    #[must_use]
    pub fn with_cells(mut self, cells: usize) -> Self {
        self.cells = cells;
        self
    }

    /// How likely a cell is open.
    #[must_use]
    pub fn with_probability(mut self, probability: f64) -> Self {
        self.probability = probability;
        self
    }

    /// What the masks depend on, with their number.
    #[must_use]
    pub fn with_seed(mut self, seed: u64) -> Self {
        self.seed = seed;
        self
    }
}

/// RISE: the mean of random masks, each counting by the score of the image seen through it.
///
/// ```text
/// map[n,s] = 1 / (p M) * sum over m of y(X[n] * mask[m]) mask[m,s]
/// ```
///
/// A mask is a grid of cells, open with probability p, upsampled linearly to one cell more than the
/// image and cut to it at a random place. All samples see the same masks, so a batch gives each what
/// it would get alone; mask m comes from stream m of the seed.
///
/// The authors take the score to be the class's probability; [`Target::probability`] gives that.
/// Maps are not cut at zero: places are ranked, whatever the scores' sign.
///
/// Petsiuk et al., "RISE: Randomized Input Sampling for Explanation of Black-box Models", 2018,
/// [arXiv:1806.07421](https://arxiv.org/abs/1806.07421).
///
/// # Shapes
/// Images `[N, C, H, W]` give `[N, H, W]`, volumes `[N, C, D, H, W]` give `[N, D, H, W]`.
///
/// # Errors
/// [`CamError::Draws`], [`CamError::Cells`], [`CamError::Probability`], [`CamError::Input`],
/// [`CamError::Stage`] and [`CamError::NonFinite`] for a score that is not.
///
/// # Cost
/// The network runs once for each mask and sample. Masks are there for a chunk at a time.
///
/// [`Target::probability`]: crate::Target::probability
///
/// ```
/// use gradcam_core::{Probe, Rise, Stage, Stages, Target, rise};
/// use tch::{Device, Kind, Tensor};
///
/// // The network looks at the upper left quarter only.
/// let network = Stages::new(vec![Stage::new("corner", |x| {
///     x.f_narrow(2, 0, 8)?.f_narrow(3, 0, 8)?.f_mean_dim([2i64, 3].as_slice(), false, None)
/// })])?;
/// let image = Tensor::ones([1, 1, 16, 16], (Kind::Float, Device::Cpu));
/// let probe = Probe::new(&network, &image, &[Target::Class(0)])?;
/// let heat = rise(&probe, &Rise::default().with_masks(400))?.heatmaps(&[16, 16])?;
/// assert!(heat.tensor().double_value(&[0, 3, 3]) > 0.8);
/// assert!(heat.tensor().double_value(&[0, 13, 13]) < 0.4);
/// # Ok::<(), gradcam_core::CamError>(())
/// ```
pub fn rise(probe: &Probe<'_>, settings: &Rise) -> Result<Maps, CamError> {
    let &Rise {
        masks,
        cells,
        probability,
        ..
    } = settings;
    if masks == 0 {
        return Err(CamError::Draws { draws: 0 });
    }
    if !(probability > 0.0 && probability <= 1.0) {
        return Err(CamError::Probability { probability });
    }
    let space = probe.space()?;
    let longest = space.iter().copied().max().unwrap_or(0) as usize;
    if !(1..=longest).contains(&cells) {
        return Err(CamError::Cells { cells, longest });
    }
    let masks = i64::try_from(masks).unwrap_or(i64::MAX);
    mean_of_masks(probe, masks, probability, |range| settings.draw(range, &space))
}

/// [`rise`](fn@rise) with masks of one's own; `p` is their mean.
///
/// # Shapes
/// `masks` is `[M, H, W]`, or `[M, D, H, W]`, at the image's size.
///
/// # Errors
/// Those of [`rise`](fn@rise), and [`CamError::MaskShape`] for masks of another shape.
///
/// # Cost
/// That of [`rise`](fn@rise): the network runs once for each mask and sample.
///
/// ```
/// use gradcam_core::{Probe, Stage, Stages, Target, rise_with_masks};
/// use tch::Tensor;
///
/// // The logit is three times the left pixel and the right one.
/// let network = Stages::new(vec![Stage::new("logit", |x| {
///     x.f_flatten(1, -1)?.f_matmul(&Tensor::f_from_slice(&[3f32, 1.])?.f_view([2, 1])?)
/// })])?;
/// let image = Tensor::from_slice(&[1f32, 1.]).view([1, 1, 1, 2]);
/// let probe = Probe::new(&network, &image, &[Target::Class(0)])?;
/// // One mask shows the left pixel, the other the right one; half of all places are open.
/// let masks = Tensor::from_slice(&[1f32, 0., 0., 1.]).view([2, 1, 2]);
/// let maps = rise_with_masks(&probe, &masks)?;
/// assert_eq!(Vec::<f32>::try_from(maps.tensor().view(-1))?, [3., 1.]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn rise_with_masks(probe: &Probe<'_>, masks: &Tensor) -> Result<Maps, CamError> {
    let (shape, space) = (masks.size(), probe.space()?);
    if shape.first().is_none_or(|&masks| masks < 1) || shape[1..] != space {
        return Err(CamError::MaskShape {
            found: shape,
            expected: space,
        });
    }
    let mean = masks.f_mean(Kind::Double)?.f_double_value(&[])?;
    if !(mean.is_finite() && mean != 0.0) {
        return Err(CamError::Probability { probability: mean });
    }
    mean_of_masks(probe, shape[0], mean, |range| {
        Ok(masks
            .f_narrow(0, range.start, range.end - range.start)?
            .f_unsqueeze(1)?
            .f_to_kind(Kind::Float)?)
    })
}

impl Rise {
    /// Some of the masks, `[masks, 1, …]`.
    fn draw(&self, range: Range<i64>, space: &[i64]) -> Result<Tensor, CamError> {
        let cells = self.cells as i64;
        // Wide enough that the grid covers the image.
        let widths: Vec<i64> = space.iter().map(|extent| (extent + cells - 1) / cells).collect();
        let mut open = Vec::new();
        let mut offsets = Vec::new();
        for mask in range.clone() {
            let mut generator = ChaCha8Rng::seed_from_u64(self.seed);
            generator.set_stream(mask as u64);
            let count = self.cells.pow(space.len() as u32);
            open.extend((0..count).map(|_| f32::from(u8::from(generator.random::<f64>() < self.probability))));
            offsets.push(
                widths
                    .iter()
                    .map(|&width| generator.random_range(0..width))
                    .collect::<Vec<i64>>(),
            );
        }
        let shape = [vec![range.end - range.start, 1], vec![cells; space.len()]].concat();
        let size: Vec<i64> = widths.iter().map(|width| (cells + 1) * width).collect();
        let wide = upsample(&Tensor::f_from_slice(&open)?.f_view(shape.as_slice())?, &size, false)?;
        let cut = (0i64..)
            .zip(&offsets)
            .map(|(mask, offsets)| {
                let mut cut = wide.f_narrow(0, mask, 1)?;
                for ((axis, &offset), &extent) in (2i64..).zip(offsets).zip(space) {
                    cut = cut.f_narrow(axis, offset, extent)?;
                }
                Ok(cut)
            })
            .collect::<Result<Vec<Tensor>, CamError>>()?;
        Ok(Tensor::f_cat(&cut, 0)?)
    }
}

fn mean_of_masks(
    probe: &Probe<'_>,
    count: i64,
    probability: f64,
    masks: impl Fn(Range<i64>) -> Result<Tensor, CamError>,
) -> Result<Maps, CamError> {
    let _no_grad = tch::no_grad_guard();
    let space = probe.space()?;
    let device = probe.scores().device();
    let maps = (0..probe.batch())
        .map(|sample| {
            let image = probe.sample(sample)?;
            let mut sum = Tensor::f_zeros(space.as_slice(), (Kind::Double, device))?;
            probe.of_input().masked(
                &image,
                None,
                count,
                |range| Ok(masks(range)?.f_to_device(device)?),
                |masks, outputs| {
                    let scores = probe.scores_of(sample, outputs)?.f_unsqueeze(0)?;
                    let masks = masks.f_flatten(1, -1)?.f_to_kind(scores.kind())?;
                    let seen = scores.f_matmul(&masks)?.f_view(space.as_slice())?;
                    sum = sum.f_add(&seen)?;
                    Ok(())
                },
            )?;
            Ok(sum.f_div_scalar(probability * count as f64)?)
        })
        .collect::<Result<Vec<Tensor>, CamError>>()?;
    Maps::new(&Tensor::f_stack(&maps, 0)?)
}
