//! Element-wise Grad-CAM.

use tch::{TchError, Tensor};

use crate::capture::AtLayer;
use crate::error::CamError;
use crate::heatmap::Maps;
use crate::planes::Planes;

/// Element-wise Grad-CAM: each activation counts by its own gradient, where the two together speak
/// for the target.
///
/// ```text
/// map[n,s] = sum over k of max(0, G[n,k,s] A[n,k,s])
/// ```
///
/// pytorch-grad-cam's `GradCAMElementWise`; no paper defines it.
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
/// [`kernel::element_wise_grad_cam`](crate::kernel::element_wise_grad_cam()) computes the same
/// without it.
///
/// ```
/// use gradcam_core::{Stage, Stages, Target, element_wise_grad_cam};
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
/// let maps = element_wise_grad_cam(&gradients.at("image")?)?;
/// // 3 × 1 at the second place; what the second channel says against it is left out.
/// assert_eq!(Vec::<f32>::try_from(maps.tensor().view(-1))?, [0., 3.]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn element_wise_grad_cam(at: &AtLayer<'_>) -> Result<Maps, CamError> {
    let _no_grad = tch::no_grad_guard();
    let planes = at.planes()?;
    planes.sum(&terms(&planes)?)
}

/// `[N, C, P]`.
pub(crate) fn terms(planes: &Planes) -> Result<Tensor, TchError> {
    planes.gradients.f_mul(&planes.activations)?.f_relu()
}
