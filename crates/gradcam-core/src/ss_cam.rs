//! SS-CAM.

use rayon::prelude::*;
use tch::{Kind, Tensor};

use crate::channel_masks::{ScoreChannels, ScoreMask};
use crate::error::CamError;
use crate::gaussian_noise::gaussian_noise;
use crate::heatmap::Maps;
use crate::probe::Probe;
use crate::score_cam::weighted_by_mean_scores;

/// Settings of [`ss_cam`](fn@ss_cam).
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SsCam {
    draws: usize,
    deviation: f64,
    seed: u64,
    mask: ScoreMask,
    channels: ScoreChannels,
}

impl Default for SsCam {
    /// The paper's 35 draws with a standard deviation of 2.
    fn default() -> Self {
        Self {
            draws: 35,
            deviation: 2.0,
            seed: 0,
            mask: ScoreMask::default(),
            channels: ScoreChannels::default(),
        }
    }
}

impl SsCam {
    /// How often noise is drawn.
    #[must_use]
    pub fn with_draws(mut self, draws: usize) -> Self {
        self.draws = draws;
        self
    }

    /// The noise's standard deviation, where the mask is in 0..=1.
    #[must_use]
    pub fn with_deviation(mut self, deviation: f64) -> Self {
        self.deviation = deviation;
        self
    }

    /// What the noise depends on, with the channel and the draw.
    #[must_use]
    pub fn with_seed(mut self, seed: u64) -> Self {
        self.seed = seed;
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

/// SS-CAM: Score-CAM with scores that are means over masks with noise.
///
/// ```text
/// w[n]     = softmax over k of the mean over d of the score of X[n] * (M[n,k] + noise[d,k])
/// map[n,s] = max(0, sum over k of w[n,k] A[n,k,s])
/// ```
///
/// `M` is Score-CAM's mask. The masks with noise are not cut to 0..=1, as in torch-cam. The noise of
/// a channel and draw is the same for every sample, so a batch gives each what it would get alone;
/// it comes from a ChaCha stream of its own, and libtorch's generator is not touched.
///
/// Wang et al., "SS-CAM: Smoothed Score-CAM for Sharper Visual Feature Localization", 2020,
/// [arXiv:2006.14255](https://arxiv.org/abs/2006.14255).
///
/// # Shapes
/// As [`score_cam`](fn@crate::score_cam).
///
/// # Errors
/// Those of [`score_cam`](fn@crate::score_cam), [`CamError::Draws`] and [`CamError::Deviation`].
///
/// # Cost
/// As many times Score-CAM's as there are draws.
///
/// ```
/// use gradcam_core::{Probe, ScoreCam, SsCam, Stage, Stages, Target, score_cam, ss_cam};
/// use tch::{Device, Kind, Tensor};
///
/// let network = Stages::new(vec![
///     Stage::new("image", |x| x.f_relu()),
///     Stage::new("means", |x| x.f_mean_dim([2i64, 3].as_slice(), false, None)),
/// ])?;
/// let image = Tensor::rand([1, 3, 8, 8], (Kind::Float, Device::Cpu));
/// let probe = Probe::new(&network, &image, &[Target::Class(1)])?;
/// let still = ss_cam(&probe, "image", &SsCam::default().with_draws(2).with_deviation(1e-5))?;
/// let score = score_cam(&probe, "image", &ScoreCam::default())?;
/// assert!((still.tensor() - score.tensor()).abs().max().double_value(&[]) < 1e-5);
/// # Ok::<(), gradcam_core::CamError>(())
/// ```
pub fn ss_cam(probe: &Probe<'_>, layer: &str, settings: &SsCam) -> Result<Maps, CamError> {
    if settings.draws == 0 {
        return Err(CamError::Draws { draws: 0 });
    }
    if !(settings.deviation.is_finite() && settings.deviation > 0.0) {
        return Err(CamError::Deviation {
            deviation: settings.deviation,
        });
    }
    let space = probe.space()?;
    let places = space.iter().product::<i64>() as usize;
    smoothed(probe, layer, settings, settings.draws, |draw, channels| {
        let mut values = vec![0f32; channels.len() * places];
        values
            .par_chunks_mut(places)
            .zip(channels)
            .for_each(|(values, &channel)| {
                gaussian_noise(settings.seed, [draw as u32, channel as u32], settings.deviation, values);
            });
        let shape = [&[channels.len() as i64, 1], space.as_slice()].concat();
        Ok(Tensor::f_from_slice(&values)?.f_view(shape.as_slice())?)
    })
}

/// [`ss_cam`](fn@ss_cam) with noise of one's own; the settings' draws, deviation and seed are not
/// looked at.
///
/// # Shapes
/// `noise` is `[draws, C, H, W]`, or `[draws, C, D, H, W]`, at the image's size.
///
/// # Errors
/// Those of [`score_cam`](fn@crate::score_cam), and [`CamError::MaskShape`] for noise of another shape.
///
/// # Cost
/// As many times Score-CAM's as there are draws in `noise`.
///
/// ```
/// use gradcam_core::{Probe, SsCam, Stage, Stages, Target, ss_cam_with_noise};
/// use tch::{Device, Kind, Tensor};
///
/// // Two channels, and the logit is the sum over the image.
/// let network = Stages::new(vec![
///     Stage::new("channels", |x| Tensor::f_cat(&[x, &x.f_flip([3])?], 1)),
///     Stage::new("logit", |x| x.f_narrow(1, 0, 1)?.f_sum_dim_intlist([2i64, 3].as_slice(), false, None)),
/// ])?;
/// let image = Tensor::from_slice(&[1f32, 0.]).view([1, 1, 1, 2]);
/// let probe = Probe::new(&network, &image, &[Target::Class(0)])?;
/// // Without noise the first channel, which shows the bright pixel, scores 1 and the second 0.
/// let none = Tensor::zeros([1, 2, 1, 2], (Kind::Float, Device::Cpu));
/// let maps = ss_cam_with_noise(&probe, "channels", &SsCam::default(), &none)?;
/// let weight = 1.0 / (1.0 + (-1f64).exp());
/// assert!((maps.tensor().double_value(&[0, 0, 0]) - weight).abs() < 1e-6);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn ss_cam_with_noise(probe: &Probe<'_>, layer: &str, settings: &SsCam, noise: &Tensor) -> Result<Maps, CamError> {
    let space = probe.space()?;
    let channels = probe.activations(layer)?.size()[1];
    let shape = noise.size();
    let expected = [&[channels], space.as_slice()].concat();
    if shape.first().is_none_or(|&draws| draws < 1) || shape[1..] != expected {
        return Err(CamError::MaskShape { found: shape, expected });
    }
    smoothed(probe, layer, settings, shape[0] as usize, |draw, channels| {
        let channels = Tensor::f_from_slice(channels)?.f_to_device(noise.device())?;
        let noise = noise.f_get(draw as i64)?.f_index_select(0, &channels)?;
        Ok(noise.f_unsqueeze(1)?.f_to_kind(Kind::Float)?)
    })
}

fn smoothed(
    probe: &Probe<'_>,
    layer: &str,
    settings: &SsCam,
    draws: usize,
    noise: impl Fn(usize, &[i64]) -> Result<Tensor, CamError>,
) -> Result<Maps, CamError> {
    let &SsCam { mask, channels, .. } = settings;
    let device = probe.scores().device();
    weighted_by_mean_scores(probe, layer, mask, channels, draws, |masked, chosen, draw| {
        masked.shifted(|range| {
            let channels = &chosen[range.start as usize..range.end as usize];
            Ok(noise(draw, channels)?.f_to_device(device)?)
        })
    })
}
