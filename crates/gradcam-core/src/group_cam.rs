//! Group-CAM.

use tch::{Kind, TchError, Tensor};

use crate::capture::AtLayer;
use crate::channel_masks::{ChannelMasks, ScoreMask};
use crate::error::CamError;
use crate::heatmap::Maps;
use crate::probe::Probe;

/// Far more than an image's width; a blur is mirrored at the edges as often as it reaches over them.
const MOST_RADIUS: usize = 1 << 20;

/// Settings of [`group_cam`](fn@group_cam).
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct GroupCam {
    groups: usize,
    quantile: f64,
    radius: usize,
    deviation: f64,
}

impl Default for GroupCam {
    /// The authors': 32 groups, the lowest 70 % of each mask taken as noise, images blurred by a
    /// Gaussian of 51 pixels with a standard deviation of 50.
    fn default() -> Self {
        Self {
            groups: 32,
            quantile: 0.7,
            radius: 25,
            deviation: 50.0,
        }
    }
}

impl GroupCam {
    /// The number of groups of neighbouring channels; fewer when the channels do not suffice.
    #[must_use]
    pub fn with_groups(mut self, groups: usize) -> Self {
        self.groups = groups;
        self
    }

    /// The share of a group's map that is taken as noise, from the lowest value on.
    #[must_use]
    pub fn with_quantile(mut self, quantile: f64) -> Self {
        self.quantile = quantile;
        self
    }

    /// How far the blur reaches and the standard deviation of its Gaussian, in pixels.
    #[must_use]
    pub fn with_blur(mut self, radius: usize, deviation: f64) -> Self {
        self.radius = radius;
        self.deviation = deviation;
        self
    }
}

/// Group-CAM: each group of channels counts by how much of the score it brings back to a blurred
/// image.
///
/// ```text
/// w[n,k]   = mean over s of G[n,k,s]                                       G = d score / d A
/// P[n,g]   = max(0, sum over k in group g of w[n,k] A[n,k]), zero up to its quantile
/// M[n,g]   = P[n,g] upsampled to the image and brought to 0..=1
/// a[n,g]   = y(M[n,g] X[n] + (1 - M[n,g]) blur(X[n])) - y(blur(X[n]))
/// map[n,s] = max(0, sum over g of a[n,g] M[n,g,s])
/// ```
///
/// The authors take `y` to be the class's probability but `G` the gradient of its logit; here both
/// are the target's score, which [`Target::probability`] can make the probability. The blur mirrors
/// the image at its edges.
///
/// Zhang et al., "Group-CAM: Group Score-Weighted Visual Explanations for Deep Convolutional
/// Networks", 2021, [arXiv:2103.13859](https://arxiv.org/abs/2103.13859).
///
/// # Shapes
/// Images `[N, C, H, W]` give `[N, H, W]`, volumes `[N, C, D, H, W]` give `[N, D, H, W]`.
///
/// # Errors
/// [`CamError::Groups`], [`CamError::Quantile`], [`CamError::Deviation`], [`CamError::Radius`],
/// [`CamError::UnknownLayer`], [`CamError::NotSpatial`], [`CamError::Input`], [`CamError::Stage`],
/// [`CamError::Disconnected`] and [`CamError::NonFinite`].
///
/// # Cost
/// For the gradients a capture at the layer of each sample, or one backward pass where the probe is made
/// [from a capture](Probe::from_capture) of it; the network runs once for each group and sample, and once for the
/// blurred sample.
///
/// [`Target::probability`]: crate::Target::probability
///
/// ```
/// use gradcam_core::{GroupCam, Probe, Stage, Stages, Target, group_cam};
/// use tch::{Device, Kind, Tensor};
///
/// // The network looks at the upper left quarter only, where the image is bright.
/// let corner = Tensor::zeros([1, 1, 16, 16], (Kind::Float, Device::Cpu));
/// let _ = corner.narrow(2, 0, 8).narrow(3, 0, 8).fill_(1.0);
/// let image = corner.copy();
/// let network = Stages::new(vec![
///     Stage::new("seen", move |x| x.f_mul(&corner)),
///     Stage::new("logit", |x| x.f_mean_dim([2i64, 3].as_slice(), false, None)),
/// ])?;
/// let probe = Probe::new(&network, &image, &[Target::Class(0)])?;
/// let heat = group_cam(&probe, "seen", &GroupCam::default())?.heatmaps(&[16, 16])?;
/// assert_eq!(heat.tensor().double_value(&[0, 3, 3]), 1.0);
/// assert_eq!(heat.tensor().double_value(&[0, 12, 12]), 0.0);
/// # Ok::<(), gradcam_core::CamError>(())
/// ```
pub fn group_cam(probe: &Probe<'_>, layer: &str, settings: &GroupCam) -> Result<Maps, CamError> {
    let &GroupCam {
        groups,
        quantile,
        radius,
        deviation,
    } = settings;
    if groups == 0 {
        return Err(CamError::Groups { groups });
    }
    if !(0.0..=1.0).contains(&quantile) {
        return Err(CamError::Quantile { quantile });
    }
    if !(deviation.is_finite() && deviation > 0.0) {
        return Err(CamError::Deviation { deviation });
    }
    if radius > MOST_RADIUS {
        return Err(CamError::Radius {
            radius,
            most: MOST_RADIUS,
        });
    }
    let space = probe.space()?;
    let _no_grad = tch::no_grad_guard();
    let captured = probe.gradients(layer)?;
    let maps = (0..probe.batch())
        .map(|sample| {
            let weighted = match &captured {
                Some(gradients) => weighted_channels(&gradients.at(layer)?, sample)?,
                None => {
                    let capture = probe.stages().capture(&probe.sample(sample)?, &[layer])?;
                    let gradients = capture.gradients(std::slice::from_ref(&probe.targets()[sample as usize]))?;
                    weighted_channels(&gradients.at(layer)?, 0)?
                }
            };
            let together = (weighted.size()[0] as usize).div_ceil(groups) as i64;
            let planes = weighted
                .f_split(together, 0)?
                .iter()
                .map(|group| {
                    without_noise(
                        &group.f_sum_dim_intlist([0i64].as_slice(), false, Kind::Float)?,
                        quantile,
                    )
                })
                .collect::<Result<Vec<Tensor>, CamError>>()?;
            let masks = ChannelMasks::new(&Tensor::f_stack(&planes, 0)?, ScoreMask::Upsampled, &space)?;
            let image = probe.sample(sample)?;
            let blurred = blur(&image, radius, deviation)?;
            let sharp = image.f_sub(&blurred)?;
            let mut scores = Vec::new();
            // A last mask of zero: the blurred image itself.
            let count = masks.count();
            let blank = Tensor::f_zeros(
                [&[1, 1], space.as_slice()].concat().as_slice(),
                (Kind::Float, image.device()),
            )?;
            let mask = |range: std::ops::Range<i64>| {
                let inside = masks.get(range.start..range.end.min(count))?;
                Ok(if range.end > count {
                    Tensor::f_cat(&[&inside, &blank], 0)?
                } else {
                    inside
                })
            };
            let copies = probe.of_input();
            copies.masked(&sharp, Some(&blurred), count + 1, mask, |_, outputs| {
                probe.gather(sample, &mut scores, outputs)
            })?;
            let scores = Tensor::f_cat(&scores, 0)?;
            let gains = scores
                .f_narrow(0, 0, count)?
                .f_sub(&scores.f_get(count)?)?
                .f_to_kind(Kind::Float)?;
            let mut map = Tensor::f_zeros(space.as_slice(), (Kind::Float, image.device()))?;
            for group in 0..count {
                let mask = masks.get(group..group + 1)?.f_squeeze_dim(0)?.f_squeeze_dim(0)?;
                map = map.f_addcmul(&mask, &gains.f_get(group)?)?;
            }
            Ok(map.f_relu()?)
        })
        .collect::<Result<Vec<Tensor>, CamError>>()?;
    Maps::new(&Tensor::f_stack(&maps, 0)?)
}

/// Each channel of one sample times its mean gradient, `[C, …]`, f32.
fn weighted_channels(at: &AtLayer<'_>, sample: i64) -> Result<Tensor, CamError> {
    let axes: Vec<i64> = (1..at.spatial_shape()?.len() as i64 - 1).collect();
    let gradients = at.gradients().f_get(sample)?;
    let weights = gradients.f_mean_dim(axes.as_slice(), true, Kind::Float)?;
    let activations = at.activations().f_get(sample)?;
    Ok(activations.f_to_kind(Kind::Float)?.f_mul(&weights)?)
}

/// What is positive and above the quantile.
fn without_noise(plane: &Tensor, quantile: f64) -> Result<Tensor, CamError> {
    let plane = plane.f_relu()?.f_to_kind(Kind::Double)?;
    let bound = linear_quantile(&plane.f_flatten(0, -1)?, quantile)?;
    Ok(plane.f_mul(&plane.f_gt_tensor(&bound)?)?.f_to_kind(Kind::Float)?)
}

/// torch's `quantile`, which itself takes 16 million values at most, fewer than a volume may have.
fn linear_quantile(values: &Tensor, quantile: f64) -> Result<Tensor, TchError> {
    let last = values.size()[0] - 1;
    let place = quantile * last as f64;
    let (sorted, _) = values.f_sort(0, false)?;
    let at = |place: f64| sorted.f_get((place as i64).min(last));
    at(place.floor())?.f_lerp(&at(place.ceil())?, place.fract())
}

/// `[1, C, …]` under a Gaussian along each axis of space.
fn blur(image: &Tensor, radius: usize, deviation: f64) -> Result<Tensor, CamError> {
    let mut blurred = image.f_to_kind(Kind::Float)?;
    for axis in 2..image.dim() as i64 {
        let extent = image.size()[axis as usize];
        let along = Tensor::f_from_slice(&gaussian_matrix(extent as usize, radius, deviation))?
            .f_view([extent, extent])?
            .f_to_device(image.device())?;
        blurred = blurred.f_transpose(axis, -1)?.f_matmul(&along)?.f_transpose(axis, -1)?;
    }
    Ok(blurred.f_to_kind(image.kind())?)
}

/// What each place (row) gives to each (column), with the axis mirrored at the edge places' centres
/// as often as the Gaussian reaches.
fn gaussian_matrix(extent: usize, radius: usize, deviation: f64) -> Vec<f32> {
    let reach = radius as i64;
    let kernel: Vec<f64> = (-reach..=reach)
        .map(|offset| (-0.5 * (offset as f64 / deviation).powi(2)).exp())
        .collect();
    let sum: f64 = kernel.iter().sum();
    let period = (2 * extent as i64 - 2).max(1);
    let mut matrix = vec![0f64; extent * extent];
    for to in 0..extent {
        for (offset, value) in (-reach..=reach).zip(&kernel) {
            let place = (to as i64 + offset).rem_euclid(period);
            let from = place.min(period - place).min(extent as i64 - 1) as usize;
            matrix[from * extent + to] += value / sum;
        }
    }
    matrix.into_iter().map(|value| value as f32).collect()
}

#[cfg(test)]
mod tests {
    use super::{gaussian_matrix, linear_quantile};
    use tch::{Device, Kind, Tensor};

    /// Held against torch's own where that takes as many values.
    #[test]
    fn quantiles_are_those_of_torch_and_of_more_values() {
        for count in [1, 2, 3, 10, 101] {
            let values = Tensor::f_rand([count], (Kind::Double, Device::Cpu)).unwrap();
            for quantile in [0.0, 0.1, 0.5, 0.7, 1.0] {
                let expected = values.quantile_scalar(quantile, None, false, "linear");
                assert_eq!(
                    linear_quantile(&values, quantile).unwrap(),
                    expected,
                    "{count} {quantile}"
                );
            }
        }
        let many = (1 << 24) + 2;
        let values = Tensor::arange(many, (Kind::Double, Device::Cpu)).flip([0i64]);
        let half = linear_quantile(&values, 0.5).unwrap().double_value(&[]);
        assert_eq!(half, f64::from(1 << 23) + 0.5);
    }

    /// Columns are means: they sum to 1. Far from the edge they are the Gaussian; at the edge the
    /// place beside it counts twice.
    #[test]
    fn the_blur_mirrors_at_the_edge() {
        for extent in [1, 2, 3, 7, 40] {
            let matrix = gaussian_matrix(extent, 3, 1.0);
            for to in 0..extent {
                let sum: f32 = (0..extent).map(|from| matrix[from * extent + to]).sum();
                assert!((sum - 1.0).abs() < 1e-6);
            }
        }
        let matrix = gaussian_matrix(40, 3, 1.0);
        let at = |from: usize, to: usize| matrix[from * 40 + to];
        assert!((at(21, 20) / at(20, 20) - (-0.5f32).exp()).abs() < 1e-6);
        assert!((at(1, 0) / at(0, 0) - 2.0 * (-0.5f32).exp()).abs() < 1e-6);
    }
}
