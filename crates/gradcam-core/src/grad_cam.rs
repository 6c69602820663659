//! Grad-CAM.

use tch::{Kind, TchError, Tensor};

use crate::capture::AtLayer;
use crate::error::CamError;
use crate::heatmap::Maps;
use crate::planes::Planes;

/// Grad-CAM: each channel counts by the mean of its gradient over space.
///
/// ```text
/// w[n,k]   = mean over s of G[n,k,s]          G = d logit / d A
/// map[n,s] = max(0, sum over k of w[n,k] A[n,k,s])
/// ```
///
/// Selvaraju et al., "Grad-CAM: Visual Explanations from Deep Networks via Gradient-based
/// Localization", 2017, [arXiv:1610.02391](https://arxiv.org/abs/1610.02391).
///
/// # Shapes
/// `[N, C, H, W]` gives `[N, H, W]`, `[N, C, D, H, W]` gives `[N, D, H, W]`.
///
/// # Errors
/// [`CamError::NotSpatial`] for a layer that puts out anything else; [`CamError::NonFiniteMap`]
/// when the sum overflows.
///
/// # Cost
/// One read of the gradients and one of the activations; nothing of their size is written. On CPU
/// arrays [`kernel::grad_cam`](crate::kernel::grad_cam) computes the same.
///
/// ```
/// use gradcam_core::{Stage, Stages, Target, grad_cam};
/// use tch::Tensor;
///
/// // One channel; the second class is its mean, the first the opposite.
/// let network = Stages::new(vec![
///     Stage::new("image", |x| x.f_relu()),
///     Stage::new("logits", |x| {
///         let mean = x.f_mean_dim([2i64, 3].as_slice(), false, None)?;
///         Tensor::f_cat(&[mean.f_neg()?, mean], 1)
///     }),
/// ])?;
/// let image = Tensor::from_slice(&[0f32, 1., 2., 4.]).view([1, 1, 2, 2]);
/// let capture = network.capture(&image, &["image"])?;
///
/// let maps = grad_cam(&capture.gradients(&[Target::Class(1)])?.at("image")?)?;
/// assert_eq!(Vec::<f32>::try_from(maps.tensor().view(-1))?, [0., 0.25, 0.5, 1.]);
///
/// let against = grad_cam(&capture.gradients(&[Target::Class(0)])?.at("image")?)?;
/// assert_eq!(Vec::<f32>::try_from(against.tensor().view(-1))?, [0.; 4]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn grad_cam(at: &AtLayer<'_>) -> Result<Maps, CamError> {
    let _no_grad = tch::no_grad_guard();
    let planes = at.planes()?;
    planes.weighted_sum(&weights(&planes)?)
}

/// `[N, C]`.
pub(crate) fn weights(planes: &Planes) -> Result<Tensor, TchError> {
    planes.gradients.f_mean_dim([2i64].as_slice(), false, Kind::Float)
}
