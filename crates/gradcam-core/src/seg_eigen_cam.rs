//! Seg-Eigen-CAM.

use tch::Kind;

use crate::capture::AtLayer;
use crate::error::CamError;
use crate::heatmap::Maps;
use crate::principal_component::principal_component;

/// Seg-Eigen-CAM: what the channels of activation times the gradient's size have most in common, for
/// outputs of segmentation networks, with a [`Target`](crate::Target) about a region, as of classifiers.
///
/// ```text
/// X[n,k,s] = |G[n,k,s]| A[n,k,s]               Y[n,k,s] = X[n,k,s] - mean over s of X[n,k,s]
/// map[n,s] = max(0, sum over k of v[n,k] Y[n,k,s])
/// ```
///
/// where `v[n]` is the unit vector by which the sum has the largest square over space. Its sign is the paper's: the one by
/// which the largest value of the sum is at least as far from zero as the smallest.
///
/// The gradient's sign is not looked at, so the map shows what the score depends on, be it for or against the target: a
/// target and its counterfactual have the same map. Where evidence is to be told from counter-evidence, take
/// [`eigen_grad_cam`](crate::eigen_grad_cam()).
///
/// Chung & Ying, "Seg-Eigen-CAM: Eigen-Value-Based Visual Explanations for Semantic Segmentation Models", Applied
/// Sciences 15(13), 2025, [doi:10.3390/app15137562](https://doi.org/10.3390/app15137562).
///
/// # Shapes
/// `[N, C, H, W]` gives `[N, H, W]`, `[N, C, D, H, W]` gives `[N, D, H, W]`.
///
/// # Errors
/// [`CamError::NotSpatial`] for a layer that puts out anything else; [`CamError::NonFiniteMap`]
/// when the sum overflows.
///
/// # Cost
/// That of [`eigen_grad_cam`](crate::eigen_grad_cam()). On arrays
/// [`kernel::seg_eigen_cam`](crate::kernel::seg_eigen_cam()) computes the same.
///
/// ```
/// use gradcam_core::{Stage, Stages, Target, seg_eigen_cam};
/// use tch::Tensor;
///
/// // The logit is less the mean: the only place that stands out speaks against it, and is shown.
/// let network = Stages::new(vec![
///     Stage::new("image", |x| x.f_relu()),
///     Stage::new("logit", |x| x.f_mean_dim([1i64, 3].as_slice(), false, None)?.f_neg()),
/// ])?;
/// let image = Tensor::from_slice(&[0f32, 0., 9.]).view([1, 1, 1, 3]);
/// let capture = network.capture(&image, &["image"])?;
/// let gradients = capture.gradients(&[Target::Class(0)])?;
///
/// let maps = seg_eigen_cam(&gradients.at("image")?)?;
/// // A third of each value, less their mean.
/// let values = Vec::<f32>::try_from(maps.tensor().view(-1))?;
/// assert!(values.iter().zip([0., 0., 2.]).all(|(found, expected)| (found - expected).abs() < 1e-6));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn seg_eigen_cam(at: &AtLayer<'_>) -> Result<Maps, CamError> {
    let _no_grad = tch::no_grad_guard();
    let planes = at.planes()?;
    let component = principal_component(&planes.gradients.f_abs()?.f_mul(&planes.activations)?)?;
    // Its mean is zero, so the smallest value is below and the largest above.
    let ends = component
        .f_amin([1i64].as_slice(), true)?
        .f_add(&component.f_amax([1i64].as_slice(), true)?)?;
    let sign = ends
        .f_ge(0.0)?
        .f_to_kind(Kind::Float)?
        .f_mul_scalar(2.0)?
        .f_sub_scalar(1.0)?;
    planes.maps(&component.f_mul(&sign)?)
}
