//! HiResCAM.

use tch::{TchError, Tensor};

use crate::capture::AtLayer;
use crate::error::CamError;
use crate::heatmap::Maps;
use crate::planes::Planes;

/// HiResCAM: each activation counts by its own gradient.
///
/// ```text
/// map[n,s] = max(0, sum over k of G[n,k,s] A[n,k,s])
/// ```
///
/// Where only linear stages follow the layer, the sum of the map before it is cut off is the score
/// up to its bias. With a head that averages over space it is Grad-CAM.
///
/// Draelos and Carin, "Use HiResCAM instead of Grad-CAM for faithful explanations of convolutional
/// neural networks", 2020, [arXiv:2011.08891](https://arxiv.org/abs/2011.08891).
///
/// # Shapes
/// `[N, C, H, W]` gives `[N, H, W]`, `[N, C, D, H, W]` gives `[N, D, H, W]`.
///
/// # Errors
/// [`CamError::NotSpatial`] for a layer that puts out anything else; [`CamError::NonFiniteMap`]
/// when the sum overflows.
///
/// # Cost
/// One read of the gradients, one of the activations, and an array of the products. On CPU arrays
/// [`kernel::hires_cam`](crate::kernel::hires_cam()) computes the same without it.
///
/// ```
/// use gradcam_core::{Stage, Stages, Target, hires_cam};
/// use tch::Tensor;
///
/// // Two channels: the logit is the first one's second place less the second one's.
/// let network = Stages::new(vec![
///     Stage::new("image", |x| x.f_relu()),
///     Stage::new("logit", |x| {
///         let second = x.f_select(3, 1)?;
///         second.f_narrow(1, 0, 1)?.f_sub(&second.f_narrow(1, 1, 1)?)?.f_flatten(1, -1)
///     }),
/// ])?;
/// let image = Tensor::from_slice(&[1f32, 3., 2., 2.]).view([1, 2, 1, 2]);
/// let capture = network.capture(&image, &["image"])?;
/// let gradients = capture.gradients(&[Target::Class(0)])?;
///
/// let maps = hires_cam(&gradients.at("image")?)?;
/// // 3 × 1 + 2 × -1 at the second place.
/// assert_eq!(Vec::<f32>::try_from(maps.tensor().view(-1))?, [0., 1.]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn hires_cam(at: &AtLayer<'_>) -> Result<Maps, CamError> {
    let _no_grad = tch::no_grad_guard();
    let planes = at.planes()?;
    planes.sum(&terms(&planes)?)
}

/// `[N, C, P]`.
pub(crate) fn terms(planes: &Planes) -> Result<Tensor, TchError> {
    planes.gradients.f_mul(&planes.activations)
}
