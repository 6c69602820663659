//! Grad-CAM++.

use tch::{TchError, Tensor};

use crate::capture::AtLayer;
use crate::error::CamError;
use crate::heatmap::Maps;
use crate::planes::{Planes, sum_over_space};

/// Grad-CAM++: each channel counts by its positive gradients, each of them by how much of the score
/// its place alone accounts for.
///
/// ```text
/// alpha[n,k,s] = G² / (2 G² + G³ sum over t of A[n,k,t])    at n, k, s; 0 where G = 0
/// w[n,k]       = sum over s of alpha[n,k,s] max(0, G[n,k,s])
///              = sum over s with G > 0 of G / (2 + G sum over t of A[n,k,t])
/// map[n,s]     = max(0, sum over k of w[n,k] A[n,k,s])
/// ```
///
/// This is the paper's equation 19 for the score `exp(logit)`, exactly: with a network that is
/// linear piece by piece, as ReLUs make it, the second and third derivatives are powers of the
/// gradient, and the factor `exp(logit)` that they share cancels, save for one that all weights of
/// a sample have in common. Gradients of about 1e-4, the rule in deep
/// networks, get the weight that they have in the paper: pytorch-grad-cam adds 1e-6 to the
/// denominator, which outweighs their squares.
///
/// The paper takes activations to be positive, as they are after a ReLU. Where they sum to less
/// than zero a denominator may vanish; such a place counts for nothing.
///
/// Unlike the other methods it is not the same for a score of twice the size: `alpha` compares the
/// gradient with 2.
///
/// Chattopadhay et al., "Grad-CAM++: Improved Visual Explanations for Deep Convolutional Networks",
/// 2018, [arXiv:1710.11063](https://arxiv.org/abs/1710.11063).
///
/// # Shapes
/// `[N, C, H, W]` gives `[N, H, W]`, `[N, C, D, H, W]` gives `[N, D, H, W]`.
///
/// # Errors
/// [`CamError::NotSpatial`] for a layer that puts out anything else; [`CamError::NonFiniteMap`]
/// when the sum overflows.
///
/// # Cost
/// Three reads of the gradients, two of the activations, and arrays of their size on the way. On
/// CPU arrays [`kernel::grad_cam_plus_plus`](crate::kernel::grad_cam_plus_plus()) computes the same
/// without those.
///
/// ```
/// use gradcam_core::{Stage, Stages, Target, grad_cam_plus_plus};
/// use tch::Tensor;
///
/// // The logit is the first place less the second.
/// let network = Stages::new(vec![
///     Stage::new("image", |x| x.f_relu()),
///     Stage::new("logit", |x| {
///         let (first, second) = (x.f_narrow(3, 0, 1)?, x.f_narrow(3, 1, 1)?);
///         first.f_sub(&second)?.f_flatten(1, -1)
///     }),
/// ])?;
/// let image = Tensor::from_slice(&[1f32, 3.]).view([1, 1, 1, 2]);
/// let capture = network.capture(&image, &["image"])?;
/// let gradients = capture.gradients(&[Target::Class(0)])?;
///
/// let maps = grad_cam_plus_plus(&gradients.at("image")?)?;
/// // 1 / (2 + 1 × (1 + 3)) of the first place, nothing of the second.
/// assert_eq!(Vec::<f32>::try_from(maps.tensor().view(-1))?, [1. / 6., 3. / 6.]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn grad_cam_plus_plus(at: &AtLayer<'_>) -> Result<Maps, CamError> {
    let _no_grad = tch::no_grad_guard();
    let planes = at.planes()?;
    planes.weighted_sum(&weights(&planes)?)
}

/// `[N, C]`.
pub(crate) fn weights(planes: &Planes) -> Result<Tensor, TchError> {
    let sums = sum_over_space(&planes.activations)?.f_unsqueeze(2)?;
    let positive = planes.gradients.f_relu()?;
    let mut denominators = positive.f_mul(&sums)?.f_add_scalar_(2.0)?;
    // Only where activations sum to less than zero can a denominator vanish.
    if f32::try_from(sums.f_min()?)? < 0.0 {
        let vanished = denominators.f_eq(0.0)?;
        denominators = denominators.f_masked_fill_(&vanished, f64::INFINITY)?;
    }
    sum_over_space(&positive.f_div(&denominators)?)
}
