//! Shapley-CAM.

use tch::{Kind, Tensor};

use crate::capture::Capture;
use crate::error::CamError;
use crate::grad_cam::{self, grad_cam};
use crate::heatmap::Maps;
use crate::target::Target;

/// Shapley-CAM: Grad-CAM with gradients that know of the score's curvature.
///
/// ```text
/// w[n,k]   = mean over s of (G - ½ H A)[n,k,s]        G, H: first and second derivatives of the score
/// map[n,s] = max(0, sum over k of w[n,k] A[n,k,s])
/// ```
///
/// A channel's Shapley value is what it adds to the score, averaged over all orders in which
/// channels are added; to second order that is `A · (G - ½ H A)`. `H A` is found without `H`, by a
/// backward pass through the backward pass.
///
/// A network that is linear piece by piece, as ReLUs make it, has no curvature in its logits, and
/// the map of a [`Target::Class`] is that of Grad-CAM. The paper's own target has some,
/// [`Target::residual_softmax`]; so have [`Target::probability`] and, of a network with a single logit,
/// [`Target::sigmoid`].
///
/// Cai, "CAMs as Shapley Value-based Explainers", 2025,
/// [arXiv:2501.06261](https://arxiv.org/abs/2501.06261).
///
/// # Shapes
/// `[N, C, H, W]` gives `[N, H, W]`, `[N, C, D, H, W]` gives `[N, D, H, W]`. One target for each
/// sample.
///
/// # Errors
/// Those of [`Capture::gradients`] and of [`grad_cam`](crate::grad_cam()).
///
/// # Cost
/// Two backward passes from the logits to the layer, the first of which builds a graph.
///
/// ```
/// use gradcam_core::{Stage, Stages, Target, grad_cam, shapley_cam};
/// use tch::Tensor;
///
/// // The logit is a sum of squares, so G = 2 A and H A = 2 A: half of the gradient is left.
/// let network = Stages::new(vec![
///     Stage::new("image", |x| x.f_relu()),
///     Stage::new("logit", |x| x.f_square()?.f_sum_dim_intlist([2i64, 3].as_slice(), false, None)),
/// ])?;
/// let image = Tensor::from_slice(&[1f32, 3.]).view([1, 1, 1, 2]);
/// let capture = network.capture(&image, &["image"])?;
///
/// let maps = shapley_cam(&capture, "image", &[Target::Class(0)])?;
/// assert_eq!(Vec::<f32>::try_from(maps.tensor().view(-1))?, [2., 6.]);
/// let plain = grad_cam(&capture.gradients(&[Target::Class(0)])?.at("image")?)?;
/// assert_eq!(Vec::<f32>::try_from(plain.tensor().view(-1))?, [4., 12.]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn shapley_cam(capture: &Capture, layer: &str, targets: &[Target]) -> Result<Maps, CamError> {
    grad_cam(&capture.at(layer, &gradients(capture, layer, targets)?)?)
}

/// The weights `w` of [`shapley_cam`], for maps other than their sum, such as
/// [`eigen_smoothing_with_weights`](crate::eigen_smoothing_with_weights).
///
/// # Shapes
/// A layer of `[N, C, …]` gives `[N, C]`, f32. One target for each sample.
///
/// # Errors
/// Those of [`shapley_cam`].
///
/// # Cost
/// That of [`shapley_cam`].
///
/// ```
/// use gradcam_core::{Stage, Stages, Target, shapley_cam_weights};
/// use tch::Tensor;
///
/// // The logit is a sum of squares: G - ½ H A is A.
/// let network = Stages::new(vec![
///     Stage::new("image", |x| x.f_relu()),
///     Stage::new("logit", |x| x.f_square()?.f_sum_dim_intlist([1i64, 2, 3].as_slice(), false, None)?.f_unsqueeze(1)),
/// ])?;
/// let image = Tensor::from_slice(&[1f32, 3., 0., 1.]).view([1, 2, 1, 2]);
/// let capture = network.capture(&image, &["image"])?;
/// let weights = shapley_cam_weights(&capture, "image", &[Target::Class(0)])?;
/// assert_eq!(Vec::<f32>::try_from(weights.view(-1))?, [2., 0.5]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn shapley_cam_weights(capture: &Capture, layer: &str, targets: &[Target]) -> Result<Tensor, CamError> {
    let gradients = gradients(capture, layer, targets)?;
    let _no_grad = tch::no_grad_guard();
    Ok(grad_cam::weights(&capture.at(layer, &gradients)?.planes()?)?)
}

/// `G - ½ H A`.
fn gradients(capture: &Capture, layer: &str, targets: &[Target]) -> Result<Tensor, CamError> {
    let (gradients, curvature) = capture.gradients_and_curvature(layer, targets)?;
    let _no_grad = tch::no_grad_guard();
    Ok(match curvature {
        Some(curvature) => gradients
            .f_to_kind(Kind::Float)?
            .f_sub(&curvature.f_to_kind(Kind::Float)?.f_mul_scalar(0.5)?)?,
        None => gradients,
    })
}
