//! Eigen smoothing.

use tch::{Kind, Tensor};

use crate::capture::AtLayer;
use crate::error::CamError;
use crate::gradient_method::GradientMethod;
use crate::heatmap::Maps;
use crate::planes::Planes;
use crate::principal_component::principal_component;
use crate::weighted_cam::weighted;
use crate::{element_wise_grad_cam, grad_cam, grad_cam_plus_plus, hires_cam, layer_cam, x_grad_cam};

/// A method's maps with the first principal component of its weighted activations in place of their
/// sum: what most channels agree about remains, what few of them add is left out.
///
/// ```text
/// X[n,k,s] : what the method sums over the channels k        Y = X less its mean over s
/// map[n,s] = max(0, sum over k of v[n,k] Y[n,k,s])
/// ```
///
/// where `v[n]` is the unit vector by which the sum has the largest square over space. Its sign,
/// arbitrary in pytorch-grad-cam, is the one by which the map goes along with the plain sum of `X`:
/// high is evidence for the target. [`GradientMethod::EigenGradCam`] is
/// [`GradientMethod::HiResCam`] smoothed so, and stays as it is.
///
/// pytorch-grad-cam's `eigen_smooth`, after Muhammad and Yeasin, "Eigen-CAM: Class Activation Map
/// using Principal Components", 2020, [arXiv:2008.00299](https://arxiv.org/abs/2008.00299).
///
/// # Shapes
/// `[N, C, H, W]` gives `[N, H, W]`, `[N, C, D, H, W]` gives `[N, D, H, W]`.
///
/// # Errors
/// Those of the method's function.
///
/// # Cost
/// That of [`eigen_grad_cam`](crate::eigen_grad_cam()). On CPU arrays
/// [`kernel::principal_component`](crate::kernel::principal_component()) does the same to any
/// weighted activations.
///
/// ```
/// use gradcam_core::{GradientMethod, Stage, Stages, Target, eigen_smoothing};
/// use tch::Tensor;
///
/// let network = Stages::new(vec![
///     Stage::new("image", |x| x.f_relu()),
///     Stage::new("logit", |x| x.f_mean_dim([1i64, 3].as_slice(), false, None)),
/// ])?;
/// // Two channels agree about the right, a weaker one is for the left.
/// let image = Tensor::from_slice(&[0f32, 0., 4., 0., 0., 4., 1., 0., 0.]).view([1, 3, 1, 3]);
/// let capture = network.capture(&image, &["image"])?;
/// let gradients = capture.gradients(&[Target::Class(0)])?;
/// let at = gradients.at("image")?;
///
/// let sum = GradientMethod::GradCam.maps(&at)?;
/// assert!(sum.tensor().double_value(&[0, 0, 0]) > 0.0);
/// let smooth = eigen_smoothing(GradientMethod::GradCam, &at)?;
/// assert_eq!(smooth.tensor().double_value(&[0, 0, 0]), 0.0);
/// assert!(smooth.tensor().double_value(&[0, 0, 2]) > 0.0);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn eigen_smoothing(method: GradientMethod, at: &AtLayer<'_>) -> Result<Maps, CamError> {
    let _no_grad = tch::no_grad_guard();
    let planes = at.planes()?;
    planes.maps(&principal_component(&terms(method, &planes)?)?)
}

/// [`eigen_smoothing`] of a method whose channel weights are known, such as those of
/// [`ablation_cam_weights`](crate::ablation_cam_weights()), [`score_cam_weights`](crate::score_cam_weights()) and
/// [`shapley_cam_weights`](crate::shapley_cam_weights()), or of one's own.
///
/// ```text
/// X[n,k,s] = w[n,k] A[n,k,s]
/// ```
///
/// Finer-CAM is another score for a gradient method, so there it is [`eigen_smoothing`] itself:
/// [`FinerCam::contrasts`](crate::FinerCam::contrasts) gives the targets.
///
/// # Shapes
/// Activations `[N, C, H, W]` and weights `[N, C]` give `[N, H, W]`; volumes alike.
///
/// # Errors
/// [`CamError::Shape`], [`CamError::WeightShape`], and [`CamError::NonFiniteMap`] for a NaN or an infinity.
///
/// # Cost
/// That of [`eigen_cam`](crate::eigen_cam()), and an array of the products.
///
/// ```
/// use gradcam_core::{eigen_smoothing_with_weights, weighted_cam};
/// use tch::Tensor;
///
/// // Two channels agree about the right, a weaker one is for the left.
/// let activations = Tensor::from_slice(&[0f32, 0., 4., 0., 0., 4., 1., 0., 0.]).view([1, 3, 1, 3]);
/// let weights = Tensor::from_slice(&[1f32, 2., 1.]).view([1, 3]);
/// assert!(weighted_cam(&activations, &weights)?.tensor().double_value(&[0, 0, 0]) > 0.0);
/// let smooth = eigen_smoothing_with_weights(&activations, &weights)?;
/// assert_eq!(smooth.tensor().double_value(&[0, 0, 0]), 0.0);
/// assert!(smooth.tensor().double_value(&[0, 0, 2]) > 0.0);
/// # Ok::<(), gradcam_core::CamError>(())
/// ```
pub fn eigen_smoothing_with_weights(activations: &Tensor, weights: &Tensor) -> Result<Maps, CamError> {
    let shape = weighted(activations, weights)?;
    let _no_grad = tch::no_grad_guard();
    let planes = activations.f_to_kind(Kind::Float)?.f_flatten(2, -1)?;
    let terms = planes.f_mul(&weights.f_to_kind(Kind::Float)?.f_unsqueeze(2)?)?;
    let grid = [&shape[..1], &shape[2..]].concat();
    Maps::new(&principal_component(&terms)?.f_relu()?.f_view(grid.as_slice())?)
}

/// What a method sums over the channels, `[N, C, P]`.
fn terms(method: GradientMethod, planes: &Planes) -> Result<Tensor, CamError> {
    Ok(match method {
        GradientMethod::GradCam => planes.weighted(&grad_cam::weights(planes)?)?,
        GradientMethod::GradCamPlusPlus => planes.weighted(&grad_cam_plus_plus::weights(planes)?)?,
        GradientMethod::XGradCam => planes.weighted(&x_grad_cam::weights(planes)?)?,
        GradientMethod::HiResCam | GradientMethod::EigenGradCam => hires_cam::terms(planes)?,
        GradientMethod::ElementWiseGradCam => element_wise_grad_cam::terms(planes)?,
        GradientMethod::LayerCam => layer_cam::terms(planes)?,
    })
}
