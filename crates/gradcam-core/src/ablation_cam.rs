//! Ablation-CAM.

use std::ops::Range;

use tch::{Kind, Tensor};

use crate::error::CamError;
use crate::heatmap::Maps;
use crate::probe::Probe;
use crate::weighted_cam::weighted_cam;

/// What takes the place of an ablated channel.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
#[non_exhaustive]
pub enum AblationValue {
    /// Zero, as in the paper. After a ReLU it means "not there".
    #[default]
    Zero,
    /// The channel's own mean over space: only where it is high is taken away, not how much of it
    /// there is. For layers whose values may be negative, where zero means nothing in particular. Right
    /// before a head that is a mean over space it changes nothing.
    ChannelMean,
    /// This value.
    Value(f64),
}

/// Ablation-CAM: each channel counts by how much of the score goes with it.
///
/// ```text
/// w[n,k]   = y[n] - y[n without channel k]
/// map[n,s] = max(0, sum over k of w[n,k] A[n,k,s])
/// ```
///
/// The paper divides `w` by `y[n]`, which leaves the heatmap as it is when the score is positive.
/// When it is negative that division turns the heatmap upside down, as it does in pytorch-grad-cam;
/// here a channel whose loss lowers the score always counts as evidence for the target.
/// pytorch-grad-cam ablates with zero where a chunk's smallest value is exactly zero, else with that
/// value less 10⁷, which drowns the score in rounding; [`ablation_cam_with`] offers other values.
///
/// Desai & Ramaswamy, "Ablation-CAM: Visual Explanations for Deep Convolutional Network via
/// Gradient-free Localization", WACV 2020,
/// [doi:10.1109/WACV45572.2020.9093360](https://doi.org/10.1109/WACV45572.2020.9093360).
///
/// # Shapes
/// A layer of `[N, C, H, W]` gives `[N, H, W]`, one of `[N, C, D, H, W]` gives `[N, D, H, W]`.
///
/// # Errors
/// [`CamError::UnknownLayer`], [`CamError::NotSpatial`], [`CamError::Stage`] and
/// [`CamError::NonFinite`] for a score that is not.
///
/// # Cost
/// The stages after the layer run C + 1 times for each sample; of a chunk of copies only the
/// channels that change are written.
///
/// ```
/// use gradcam_core::{Probe, Stage, Stages, Target, ablation_cam};
/// use tch::Tensor;
///
/// // Two channels; the logit is three times the first's mean less the second's.
/// let network = Stages::new(vec![
///     Stage::new("image", |x| x.f_relu()),
///     Stage::new("logit", |x| {
///         let means = x.f_mean_dim([2i64, 3].as_slice(), false, None)?;
///         means.f_matmul(&Tensor::f_from_slice(&[3f32, -1.])?.f_view([2, 1])?)
///     }),
/// ])?;
/// let image = Tensor::from_slice(&[0f32, 2., 2., 0.]).view([1, 2, 1, 2]);
/// let maps = ablation_cam(&Probe::new(&network, &image, &[Target::Class(0)])?, "image")?;
/// // The first channel is worth 3, the second -1.
/// assert_eq!(Vec::<f32>::try_from(maps.tensor().view(-1))?, [0., 6.]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn ablation_cam(probe: &Probe<'_>, layer: &str) -> Result<Maps, CamError> {
    ablation_cam_with(probe, layer, AblationValue::Zero)
}

/// [`ablation_cam`] with another value in place of an ablated channel's.
///
/// # Shapes
/// Those of [`ablation_cam`].
///
/// # Errors
/// Those of [`ablation_cam`], and [`CamError::AblationValue`] for a value that is not finite.
///
/// # Cost
/// That of [`ablation_cam`].
///
/// ```
/// use gradcam_core::{AblationValue, Content, Probe, Stage, Stages, Target, ablation_cam_with};
/// use tch::Tensor;
///
/// // The logit is the layer's mean.
/// let network = Stages::new(vec![
///     Stage::new("image", |x| x.f_relu()),
///     Stage::new("logit", |x| x.f_mean_dim([2i64, 3].as_slice(), false, None)),
/// ])?;
/// let image = Tensor::from_slice(&[0f32, 2.]).view([1, 1, 1, 2]);
/// let probe = Probe::new(&network, &image, &[Target::Class(0)])?;
/// // A half in place of the mean of one takes a half away.
/// let maps = ablation_cam_with(&probe, "image", AblationValue::Value(0.5))?;
/// assert_eq!(Vec::<f32>::try_from(maps.tensor().view(-1))?, [0., 1.]);
/// // The channel's own mean takes nothing away.
/// let maps = ablation_cam_with(&probe, "image", AblationValue::ChannelMean)?;
/// assert_eq!(maps.contents(), [Content::Zero]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn ablation_cam_with(probe: &Probe<'_>, layer: &str, value: AblationValue) -> Result<Maps, CamError> {
    let (activations, weights) = weights(probe, layer, value)?;
    weighted_cam(&activations, &weights)
}

/// The weights `w` of [`ablation_cam`]: how much of each sample's score goes with each channel. For maps other than
/// their sum, such as [`eigen_smoothing_with_weights`](crate::eigen_smoothing_with_weights).
///
/// # Shapes
/// A layer of `[N, C, …]` gives `[N, C]`, f32.
///
/// # Errors
/// Those of [`ablation_cam_with`].
///
/// # Cost
/// That of [`ablation_cam`].
///
/// ```
/// use gradcam_core::{AblationValue, Probe, Stage, Stages, Target, ablation_cam_weights};
/// use tch::Tensor;
///
/// // Two channels; the logit is three times the first's mean less the second's.
/// let network = Stages::new(vec![
///     Stage::new("image", |x| x.f_relu()),
///     Stage::new("logit", |x| {
///         let means = x.f_mean_dim([2i64, 3].as_slice(), false, None)?;
///         means.f_matmul(&Tensor::f_from_slice(&[3f32, -1.])?.f_view([2, 1])?)
///     }),
/// ])?;
/// let image = Tensor::from_slice(&[0f32, 2., 2., 0.]).view([1, 2, 1, 2]);
/// let probe = Probe::new(&network, &image, &[Target::Class(0)])?;
/// let weights = ablation_cam_weights(&probe, "image", AblationValue::Zero)?;
/// assert_eq!(Vec::<f32>::try_from(weights.view(-1))?, [3., -1.]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn ablation_cam_weights(probe: &Probe<'_>, layer: &str, value: AblationValue) -> Result<Tensor, CamError> {
    Ok(weights(probe, layer, value)?.1)
}

/// The layer's activations and the channels' weights.
fn weights(probe: &Probe<'_>, layer: &str, value: AblationValue) -> Result<(Tensor, Tensor), CamError> {
    if let AblationValue::Value(value) = value
        && !value.is_finite()
    {
        return Err(CamError::AblationValue { value });
    }
    let _no_grad = tch::no_grad_guard();
    let after = probe.after(layer)?;
    let activations = after.activations();
    let channels = activations.size()[1];
    let weights = (0..probe.batch())
        .map(|sample| {
            let original = activations.f_narrow(0, sample, 1)?;
            let replacement = value.replacement(&original)?;
            let mut scores = Vec::new();
            // The last copy stays whole, so that its score comes about as the others' do.
            let copies = after.copies(sample)?;
            copies.replaced(&original, &replacement, channels + 1, channel_of_each, |outputs| {
                probe.gather(sample, &mut scores, outputs)
            })?;
            let scores = Tensor::f_cat(&scores, 0)?;
            Ok(scores.f_get(channels)?.f_sub(&scores.f_narrow(0, 0, channels)?)?)
        })
        .collect::<Result<Vec<Tensor>, CamError>>()?;
    let weights = Tensor::f_stack(&weights, 0)?.f_to_kind(Kind::Float)?;
    Ok((activations.shallow_clone(), weights))
}

/// Of copies `[copies, C, …]` each one's own channel: that of the copy's number, if there is one.
pub(crate) fn channel_of_each(copies: &Tensor, range: Range<i64>) -> Result<Vec<Tensor>, CamError> {
    let channels = range.end.min(copies.size()[1]) - range.start;
    Ok(vec![copies.f_narrow(1, range.start, channels)?.f_diagonal(0, 0, 1)?])
}

impl AblationValue {
    /// What broadcasts to `[1, C, …]`.
    fn replacement(self, original: &Tensor) -> Result<Tensor, CamError> {
        let shape = original.size();
        let axes: Vec<i64> = (2..shape.len() as i64).collect();
        let mut one = vec![1; shape.len()];
        one[1] = shape[1];
        let options = (original.kind(), original.device());
        Ok(match self {
            Self::Zero => Tensor::f_zeros(one.as_slice(), options)?,
            Self::ChannelMean => original
                .f_mean_dim(axes.as_slice(), true, Kind::Float)?
                .f_to_kind(original.kind())?,
            Self::Value(value) => Tensor::f_full(one.as_slice(), value, options)?,
        })
    }
}
