//! EigenGrad-CAM.

use crate::capture::AtLayer;
use crate::error::CamError;
use crate::heatmap::Maps;
use crate::hires_cam;
use crate::principal_component::principal_component;

/// EigenGrad-CAM: what the channels of activation times gradient have most in common.
///
/// ```text
/// X[n,k,s] = G[n,k,s] A[n,k,s]                 Y[n,k,s] = X[n,k,s] - mean over s of X[n,k,s]
/// map[n,s] = max(0, sum over k of v[n,k] Y[n,k,s])
/// ```
///
/// where `v[n]` is the unit vector by which the sum has the largest square over space. The sign of
/// `v`, arbitrary in pytorch-grad-cam, is the one by which the map goes along with HiResCAM's, the
/// plain sum:
///
/// ```text
/// sum over s of map[n,s] sum over k of X[n,k,s] ≥ 0     before the map is cut off
/// ```
///
/// so that high is evidence for the target: more than there is on average over space, since the
/// means are taken away. The map for the counterfactual shows the other half.
///
/// pytorch-grad-cam's `EigenGradCAM`: Eigen-CAM (Muhammad and Yeasin, "Eigen-CAM: Class Activation
/// Map using Principal Components", 2020, [arXiv:2008.00299](https://arxiv.org/abs/2008.00299)) of
/// activations weighed by their gradients.
///
/// # Shapes
/// `[N, C, H, W]` gives `[N, H, W]`, `[N, C, D, H, W]` gives `[N, D, H, W]`.
///
/// # Errors
/// [`CamError::NotSpatial`] for a layer that puts out anything else; [`CamError::NonFiniteMap`]
/// when the sum overflows.
///
/// # Cost
/// Some dozens of reads of the products, by Lanczos iteration on the CPU; never a singular value
/// decomposition. On arrays [`kernel::eigen_grad_cam`](crate::kernel::eigen_grad_cam()) computes
/// the same.
///
/// ```
/// use gradcam_core::{Stage, Stages, Target, eigen_grad_cam};
/// use tch::Tensor;
///
/// // The logit is the mean.
/// let network = Stages::new(vec![
///     Stage::new("image", |x| x.f_relu()),
///     Stage::new("logit", |x| x.f_mean_dim([1i64, 3].as_slice(), false, None)),
/// ])?;
/// let image = Tensor::from_slice(&[0f32, 1., 2.]).view([1, 1, 1, 3]);
/// let capture = network.capture(&image, &["image"])?;
/// let gradients = capture.gradients(&[Target::Class(0)])?;
///
/// let maps = eigen_grad_cam(&gradients.at("image")?)?;
/// // Around its mean the channel is (-1, 0, 1), of which each place counts a third.
/// let values = Vec::<f32>::try_from(maps.tensor().view(-1))?;
/// assert!(values.iter().zip([0., 0., 1. / 3.]).all(|(found, expected)| (found - expected).abs() < 1e-6));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn eigen_grad_cam(at: &AtLayer<'_>) -> Result<Maps, CamError> {
    let _no_grad = tch::no_grad_guard();
    let planes = at.planes()?;
    planes.maps(&principal_component(&hires_cam::terms(&planes)?)?)
}
