//! XGrad-CAM.

use tch::{TchError, Tensor};

use crate::capture::AtLayer;
use crate::error::CamError;
use crate::heatmap::Maps;
use crate::planes::{Planes, sum_over_space};

/// XGrad-CAM: each channel counts by the mean of its gradient, weighed by its activation.
///
/// ```text
/// w[n,k]   = sum over s of G[n,k,s] A[n,k,s] / sum over s of A[n,k,s]
/// map[n,s] = max(0, sum over k of w[n,k] A[n,k,s])
/// ```
///
/// A channel whose activations sum to zero counts for nothing: after a ReLU it is zero everywhere.
/// Before one, where values of both signs sum to almost nothing, the weight is large and means
/// little; take the layer after the ReLU.
///
/// Fu et al., "Axiom-based Grad-CAM: Towards Accurate Visualization and Explanation of CNNs", 2020,
/// [arXiv:2008.02312](https://arxiv.org/abs/2008.02312).
///
/// # Shapes
/// `[N, C, H, W]` gives `[N, H, W]`, `[N, C, D, H, W]` gives `[N, D, H, W]`.
///
/// # Errors
/// [`CamError::NotSpatial`] for a layer that puts out anything else; [`CamError::NonFiniteMap`]
/// when the sum overflows.
///
/// # Cost
/// One read of the gradients, three of the activations, and an array of the products. On CPU arrays
/// [`kernel::x_grad_cam`](crate::kernel::x_grad_cam()) computes the same without it.
///
/// ```
/// use gradcam_core::{Stage, Stages, Target, x_grad_cam};
/// use tch::Tensor;
///
/// // The logit is the second place.
/// let network = Stages::new(vec![
///     Stage::new("image", |x| x.f_relu()),
///     Stage::new("logit", |x| x.f_narrow(3, 1, 1)?.f_flatten(1, -1)),
/// ])?;
/// let image = Tensor::from_slice(&[1f32, 3.]).view([1, 1, 1, 2]);
/// let capture = network.capture(&image, &["image"])?;
/// let gradients = capture.gradients(&[Target::Class(0)])?;
///
/// let maps = x_grad_cam(&gradients.at("image")?)?;
/// // 3 of the 1 + 3 that the channel has in all.
/// assert_eq!(Vec::<f32>::try_from(maps.tensor().view(-1))?, [0.75, 2.25]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn x_grad_cam(at: &AtLayer<'_>) -> Result<Maps, CamError> {
    let _no_grad = tch::no_grad_guard();
    let planes = at.planes()?;
    planes.weighted_sum(&weights(&planes)?)
}

/// `[N, C]`.
pub(crate) fn weights(planes: &Planes) -> Result<Tensor, TchError> {
    let sums = sum_over_space(&planes.activations)?;
    let sums = sums.f_masked_fill(&sums.f_eq(0.0)?, f64::INFINITY)?;
    sum_over_space(&planes.gradients.f_mul(&planes.activations)?)?.f_div(&sums)
}
