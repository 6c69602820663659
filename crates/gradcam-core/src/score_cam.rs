//! Score-CAM.

use tch::{Kind, Tensor};

use crate::channel_masks::{MaskedScores, ScoreChannels, ScoreMask, spread};
use crate::error::CamError;
use crate::heatmap::Maps;
use crate::probe::Probe;
use crate::weighted_cam::weighted_cam;

/// How Score-CAM makes weights of scores.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum ScoreWeights {
    /// The softmax of the scores over the channels: the paper, pytorch-grad-cam, torch-cam. What the
    /// score of a baseline would be subtracted as, cancels.
    #[default]
    Softmax,
    /// The score less that of the blank (zero) image, the paper's "increase of confidence" as it
    /// is. Channels that speak against the target count negatively.
    Increase,
}

/// Settings of [`score_cam`](fn@score_cam).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct ScoreCam {
    mask: ScoreMask,
    weights: ScoreWeights,
    channels: ScoreChannels,
}

impl ScoreCam {
    /// How a channel becomes a mask.
    #[must_use]
    pub fn with_mask(mut self, mask: ScoreMask) -> Self {
        self.mask = mask;
        self
    }

    /// How scores become weights.
    #[must_use]
    pub fn with_weights(mut self, weights: ScoreWeights) -> Self {
        self.weights = weights;
        self
    }

    /// Which channels are looked at.
    #[must_use]
    pub fn with_channels(mut self, channels: ScoreChannels) -> Self {
        self.channels = channels;
        self
    }
}

/// Score-CAM: each channel counts by the score of the image seen through it.
///
/// ```text
/// M[n,k]   = A[n,k] upsampled to the image and brought to 0..=1
/// w[n]     = softmax over k of the score of X[n] * M[n,k]
/// map[n,s] = max(0, sum over k of w[n,k] A[n,k,s])
/// ```
///
/// [`ScoreMask`], [`ScoreWeights`] and [`ScoreChannels`] name where others differ.
///
/// Wang et al., "Score-CAM: Score-Weighted Visual Explanations for Convolutional Neural Networks",
/// 2020, [arXiv:1910.01279](https://arxiv.org/abs/1910.01279).
///
/// # Shapes
/// A layer of `[N, C, H, W]` gives `[N, H, W]`, one of `[N, C, D, H, W]` gives `[N, D, H, W]`.
///
/// # Errors
/// [`CamError::UnknownLayer`], [`CamError::NotSpatial`], [`CamError::Input`],
/// [`CamError::ChannelCount`], [`CamError::Stage`] and [`CamError::NonFinite`] for a score that is
/// not.
///
/// # Cost
/// The network runs C times for each sample, and once more to see what a pass takes. Masks and masked images are there for a chunk at a
/// time, under the probe's memory ceiling; channels of one value everywhere are run once together.
/// Give the images channels last, and the chunks are so too.
///
/// ```
/// use gradcam_core::{Probe, ScoreCam, ScoreChannels, Stage, Stages, Target, score_cam};
/// use tch::Tensor;
///
/// // The logit is ten times the first pixel's value: only the channel that shows it counts.
/// let network = Stages::new(vec![
///     Stage::new("halves", |x| {
///         let (left, right) = (x.f_narrow(3, 0, 1)?, x.f_narrow(3, 1, 1)?);
///         let zero = left.f_zeros_like()?;
///         Tensor::f_cat(&[Tensor::f_cat(&[left, zero.shallow_clone()], 3)?, Tensor::f_cat(&[zero, right], 3)?], 1)
///     }),
///     Stage::new("logit", |x| x.f_narrow(1, 0, 1)?.f_flatten(1, -1)?.f_narrow(1, 0, 1)?.f_mul_scalar(10.0)),
/// ])?;
/// let image = Tensor::from_slice(&[1f32, 1.]).view([1, 1, 1, 2]);
/// let probe = Probe::new(&network, &image, &[Target::Class(0)])?;
/// let all = score_cam(&probe, "halves", &ScoreCam::default())?;
/// let weight = 1.0 / (1.0 + (-10f32).exp());
/// for (found, expected) in Vec::<f32>::try_from(all.tensor().view(-1))?.into_iter().zip([weight, 1.0 - weight]) {
///     assert!((found - expected).abs() < 1e-6);
/// }
///
/// let one = ScoreCam::default().with_channels(ScoreChannels::MostVaried(1));
/// assert_eq!(Vec::<f32>::try_from(score_cam(&probe, "halves", &one)?.tensor().view(-1))?, [1., 0.]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn score_cam(probe: &Probe<'_>, layer: &str, settings: &ScoreCam) -> Result<Maps, CamError> {
    let (activations, weights) = settings.weigh(probe, layer)?;
    weighted_cam(&activations, &weights)
}

/// The weights `w` of [`score_cam`](fn@score_cam), for maps other than their sum, such as
/// [`eigen_smoothing_with_weights`](crate::eigen_smoothing_with_weights).
///
/// # Shapes
/// A layer of `[N, C, …]` gives `[N, C]`, f32; a channel that is not looked at has the weight 0.
///
/// # Errors
/// Those of [`score_cam`](fn@score_cam).
///
/// # Cost
/// That of [`score_cam`](fn@score_cam).
///
/// ```
/// use gradcam_core::{Probe, ScoreCam, ScoreWeights, Stage, Stages, Target, score_cam_weights};
/// use tch::Tensor;
///
/// // The first channel is the image, the second its mirror image; the logit is the left pixel's value.
/// let network = Stages::new(vec![
///     Stage::new("both", |x| Tensor::f_cat(&[x, &x.f_flip([3])?], 1)),
///     Stage::new("logit", |x| x.f_narrow(1, 0, 1)?.f_narrow(3, 0, 1)?.f_flatten(1, -1)),
/// ])?;
/// let image = Tensor::from_slice(&[5f32, 1.]).view([1, 1, 1, 2]);
/// let probe = Probe::new(&network, &image, &[Target::Class(0)])?;
/// let settings = ScoreCam::default().with_weights(ScoreWeights::Increase);
/// let weights = score_cam_weights(&probe, "both", &settings)?;
/// assert_eq!(Vec::<f32>::try_from(weights.view(-1))?, [5., 0.]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn score_cam_weights(probe: &Probe<'_>, layer: &str, settings: &ScoreCam) -> Result<Tensor, CamError> {
    Ok(settings.weigh(probe, layer)?.1)
}

impl ScoreCam {
    /// The layer's activations and the channels' weights.
    fn weigh(&self, probe: &Probe<'_>, layer: &str) -> Result<(Tensor, Tensor), CamError> {
        let needs_blank = self.weights == ScoreWeights::Increase;
        weights_by_scores(probe, layer, self.mask, self.channels, needs_blank, |masked, _| {
            let (scores, blank) = masked.scaled(1.0)?;
            Ok(match self.weights {
                ScoreWeights::Softmax => scores.f_softmax(0, Kind::Double)?,
                ScoreWeights::Increase => scores.f_sub(&blank)?,
            })
        })
    }
}

/// The layer's activations, and weights that `weigh` makes of what it sees of a sample through masks, one for each chosen
/// channel: `[N, C]`, f32.
fn weights_by_scores(
    probe: &Probe<'_>,
    layer: &str,
    mask: ScoreMask,
    channels: ScoreChannels,
    needs_blank: bool,
    weigh: impl Fn(&MaskedScores<'_>, &[i64]) -> Result<Tensor, CamError>,
) -> Result<(Tensor, Tensor), CamError> {
    let _no_grad = tch::no_grad_guard();
    let activations = probe.activations(layer)?;
    let weights = (0..probe.batch())
        .map(|sample| {
            let planes = activations.f_get(sample)?.f_to_kind(Kind::Float)?;
            let chosen = channels.choose(&planes)?;
            let masked = MaskedScores::new(probe, sample, &planes, &chosen, mask, needs_blank)?;
            spread(&weigh(&masked, &chosen)?, &chosen, activations.size()[1])
        })
        .collect::<Result<Vec<Tensor>, CamError>>()?;
    Ok((activations, Tensor::f_stack(&weights, 0)?.f_to_kind(Kind::Float)?))
}

/// The sum of channels under the softmax of their scores in the mean over `rounds`, of which each looks through other masks.
pub(crate) fn weighted_by_mean_scores(
    probe: &Probe<'_>,
    layer: &str,
    mask: ScoreMask,
    channels: ScoreChannels,
    rounds: usize,
    scores: impl Fn(&MaskedScores<'_>, &[i64], usize) -> Result<Tensor, CamError>,
) -> Result<Maps, CamError> {
    let weigh = |masked: &MaskedScores<'_>, chosen: &[i64]| {
        let options = (Kind::Double, probe.scores().device());
        let mut sum = Tensor::f_zeros([chosen.len() as i64], options)?;
        for round in 0..rounds {
            sum = sum.f_add(&scores(masked, chosen, round)?)?;
        }
        Ok(sum.f_div_scalar(rounds as f64)?.f_softmax(0, Kind::Double)?)
    };
    let (activations, weights) = weights_by_scores(probe, layer, mask, channels, false, weigh)?;
    weighted_cam(&activations, &weights)
}
