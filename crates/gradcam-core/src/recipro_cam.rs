//! Recipro-CAM.

use tch::{Kind, Tensor};

use crate::error::CamError;
use crate::heatmap::Maps;
use crate::probe::Probe;

/// What is left of a layer's feature maps around a place.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum ReciproMask {
    /// The place and its neighbours under a Gaussian: ¼ ½ ¼ along each axis, cut at the edge.
    #[default]
    Gaussian,
    /// The place alone.
    Single,
}

/// Recipro-CAM: each place counts by the score that its features alone give.
///
/// ```text
/// map[n,s] = score of the tail on A[n] * M[s]        M[s] is the mask around place s
/// ```
///
/// The authors take the score to be the class's probability; [`Target::probability`] gives that.
/// Maps are not cut at zero: places are ranked by their scores, whatever the scores' sign.
///
/// Byun & Lee, "Recipro-CAM: Fast gradient-free visual explanations for convolutional neural
/// networks", 2022, [arXiv:2209.14074](https://arxiv.org/abs/2209.14074).
///
/// # Shapes
/// A layer of `[N, C, H, W]` gives `[N, H, W]`, one of `[N, C, D, H, W]` gives `[N, D, H, W]`.
///
/// # Errors
/// [`CamError::UnknownLayer`], [`CamError::NotSpatial`], [`CamError::Stage`] and
/// [`CamError::NonFinite`] for a score that is not.
///
/// # Cost
/// The stages after the layer run once for each place and sample.
///
/// [`Target::probability`]: crate::Target::probability
///
/// ```
/// use gradcam_core::{Probe, ReciproMask, Stage, Stages, Target, recipro_cam};
/// use tch::Tensor;
///
/// let network = Stages::new(vec![
///     Stage::new("image", |x| x.f_relu()),
///     Stage::new("logit", |x| x.f_mean_dim([2i64, 3].as_slice(), false, None)),
/// ])?;
/// let image = Tensor::from_slice(&[0f32, 4., 8., 0.]).view([1, 1, 2, 2]);
/// let probe = Probe::new(&network, &image, &[Target::Class(0)])?;
/// let maps = recipro_cam(&probe, "image", ReciproMask::Single)?;
/// assert_eq!(Vec::<f32>::try_from(maps.tensor().view(-1))?, [0., 1., 2., 0.]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn recipro_cam(probe: &Probe<'_>, layer: &str, mask: ReciproMask) -> Result<Maps, CamError> {
    let _no_grad = tch::no_grad_guard();
    let after = probe.after(layer)?;
    let activations = after.activations();
    let shape = activations.size();
    let grid = &shape[2..];
    let places = grid.iter().product::<i64>();
    let maps = (0..probe.batch())
        .map(|sample| {
            let original = activations.f_narrow(0, sample, 1)?;
            let mut scores = Vec::new();
            after.copies(sample)?.masked(
                &original,
                None,
                places,
                |range| {
                    let values: Vec<f32> = range.clone().flat_map(|place| mask.around(place, grid)).collect();
                    let shape = [&[range.end - range.start, 1], grid].concat();
                    Ok(Tensor::f_from_slice(&values)?
                        .f_view(shape.as_slice())?
                        .f_to_device(activations.device())?
                        .f_to_kind(activations.kind())?)
                },
                |_, outputs| probe.gather(sample, &mut scores, outputs),
            )?;
            Ok(Tensor::f_cat(&scores, 0)?.f_view(grid)?)
        })
        .collect::<Result<Vec<Tensor>, CamError>>()?;
    Maps::new(&Tensor::f_stack(&maps, 0)?.f_to_kind(Kind::Float)?)
}

impl ReciproMask {
    /// The mask around a place, row-major.
    fn around(self, place: i64, grid: &[i64]) -> Vec<f32> {
        let mut rest = place;
        let mut mask = vec![1f32];
        // The last axis first, since its index comes off first.
        for &extent in grid.iter().rev() {
            let at = rest % extent;
            rest /= extent;
            let along = (0..extent).map(|index| match (self, (index - at).abs()) {
                (Self::Single, 0) => 1.0,
                (Self::Gaussian, 0) => 0.5,
                (Self::Gaussian, 1) => 0.25,
                _ => 0.0,
            });
            mask = along
                .flat_map(|factor| mask.iter().map(move |value| factor * value))
                .collect();
        }
        mask
    }
}
