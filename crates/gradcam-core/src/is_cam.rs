//! IS-CAM.

use crate::channel_masks::{ScoreChannels, ScoreMask};
use crate::error::CamError;
use crate::heatmap::Maps;
use crate::probe::Probe;
use crate::score_cam::weighted_by_mean_scores;

/// How strong the masks of IS-CAM's steps are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum IntegrationPath {
    /// What has been added up after i of N steps, 1/N + 2/N + … + i/N: torch-cam's reading of the
    /// paper. The last masks are (N + 1) / 2 times as strong as Score-CAM's.
    #[default]
    Cumulative,
    /// i/N: from nearly nothing to Score-CAM's mask, the path of integrated gradients.
    Linear,
}

/// Settings of [`is_cam`](fn@is_cam).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct IsCam {
    steps: usize,
    path: IntegrationPath,
    mask: ScoreMask,
    channels: ScoreChannels,
}

impl Default for IsCam {
    /// The paper's 10 steps.
    fn default() -> Self {
        Self {
            steps: 10,
            path: IntegrationPath::default(),
            mask: ScoreMask::default(),
            channels: ScoreChannels::default(),
        }
    }
}

impl IsCam {
    /// The number of steps.
    #[must_use]
    pub fn with_steps(mut self, steps: usize) -> Self {
        self.steps = steps;
        self
    }

    /// How strong the masks are.
    #[must_use]
    pub fn with_path(mut self, path: IntegrationPath) -> Self {
        self.path = path;
        self
    }

    /// How a channel becomes a mask.
    #[must_use]
    pub fn with_mask(mut self, mask: ScoreMask) -> Self {
        self.mask = mask;
        self
    }

    /// Which channels are looked at.
    #[must_use]
    pub fn with_channels(mut self, channels: ScoreChannels) -> Self {
        self.channels = channels;
        self
    }
}

/// IS-CAM: Score-CAM with scores that are means over masks of rising strength.
///
/// ```text
/// w[n]     = softmax over k of the mean over i of the score of X[n] * c[i] M[n,k]
/// map[n,s] = max(0, sum over k of w[n,k] A[n,k,s])
/// ```
///
/// `M` is Score-CAM's mask; [`IntegrationPath`] gives the strengths `c`.
///
/// Naidu et al., "IS-CAM: Integrated Score-CAM for axiomatic-based explanations", 2020,
/// [arXiv:2010.03023](https://arxiv.org/abs/2010.03023).
///
/// # Shapes
/// As [`score_cam`](fn@crate::score_cam).
///
/// # Errors
/// Those of [`score_cam`](fn@crate::score_cam), and [`CamError::Draws`] for no step.
///
/// # Cost
/// As many times Score-CAM's as there are steps.
///
/// ```
/// use gradcam_core::{IsCam, Probe, ScoreCam, Stage, Stages, Target, is_cam, score_cam};
/// use tch::{Device, Kind, Tensor};
///
/// let network = Stages::new(vec![
///     Stage::new("image", |x| x.f_relu()),
///     Stage::new("means", |x| x.f_mean_dim([2i64, 3].as_slice(), false, None)),
/// ])?;
/// let image = Tensor::rand([1, 3, 8, 8], (Kind::Float, Device::Cpu));
/// let probe = Probe::new(&network, &image, &[Target::Class(1)])?;
/// let one = is_cam(&probe, "image", &IsCam::default().with_steps(1))?;
/// let score = score_cam(&probe, "image", &ScoreCam::default())?;
/// assert!((one.tensor() - score.tensor()).abs().max().double_value(&[]) < 1e-6);
/// # Ok::<(), gradcam_core::CamError>(())
/// ```
pub fn is_cam(probe: &Probe<'_>, layer: &str, settings: &IsCam) -> Result<Maps, CamError> {
    if settings.steps == 0 {
        return Err(CamError::Draws { draws: 0 });
    }
    let &IsCam {
        steps,
        path,
        mask,
        channels,
    } = settings;
    weighted_by_mean_scores(probe, layer, mask, channels, steps, |masked, _, round| {
        let step = (round + 1) as f64;
        let strength = match path {
            IntegrationPath::Cumulative => step * (step + 1.0) / 2.0 / steps as f64,
            IntegrationPath::Linear => step / steps as f64,
        };
        Ok(masked.scaled(strength)?.0)
    })
}
