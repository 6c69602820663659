//! Refine-CAM.

use crate::capture::Gradients;
use crate::error::CamError;
use crate::fusion::{Fusion, fuse};
use crate::gradient_method::GradientMethod;
use crate::heatmap::Maps;

/// Refine-CAM: what every one of several layers saw.
///
/// ```text
/// map = product over the layers l of upsample( m[l] )        m[l]: the method's map at l, brought to 0..=1
/// ```
///
/// The authors take Grad-CAM++. Deep layers tell where the class is, shallow ones how far it reaches. This is [`fuse`] with
/// [`Fusion::Product`]; maps of other methods than those of [`GradientMethod`] are fused so.
///
/// "How to Evaluate and Refine your CAM", [arXiv:2605.14641](https://arxiv.org/abs/2605.14641).
///
/// # Shapes
/// `size` is the grid of the result, such as the largest among the layers or the image's size
/// `&image.size()[2..]`: `[N, *size]`.
///
/// # Errors
/// [`CamError::NoMaps`] for no layers, [`CamError::NotCaptured`], [`CamError::Size`], and those of the method's function.
///
/// # Cost
/// The method, and one upsampling, for each layer.
///
/// ```
/// use gradcam_core::{GradientMethod, Stage, Stages, Target, refine_cam};
/// use tch::Tensor;
///
/// // The shallow layer sees both bright pixels, the deep one that one of them is on the right.
/// let network = Stages::new(vec![
///     Stage::new("shallow", |x| x.f_relu()),
///     Stage::new("deep", |x| x.f_avg_pool2d([1, 2], [1, 2], [0, 0], false, true, None)?.f_sub_scalar(1.0)?.f_relu()),
///     Stage::new("logit", |x| x.f_mean_dim([2i64, 3].as_slice(), false, None)),
/// ])?;
/// let image = Tensor::from_slice(&[0f32, 2., 0., 4.]).view([1, 1, 1, 4]);
/// let capture = network.capture(&image, &["shallow", "deep"])?;
/// let gradients = capture.gradients(&[Target::Class(0)])?;
/// let maps = refine_cam(&gradients, &["shallow", "deep"], GradientMethod::HiResCam, &[1, 4])?;
/// assert_eq!(Vec::<f32>::try_from(maps.tensor().view(-1))?, [0., 0., 0., 1.]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn refine_cam(
    gradients: &Gradients<'_>,
    layers: &[&str],
    method: GradientMethod,
    size: &[i64],
) -> Result<Maps, CamError> {
    let maps = layers
        .iter()
        .map(|layer| method.maps(&gradients.at(layer)?))
        .collect::<Result<Vec<Maps>, CamError>>()?;
    fuse(&maps.iter().collect::<Vec<_>>(), size, Fusion::Product)
}
