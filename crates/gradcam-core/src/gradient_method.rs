//! The methods that need one forward and one backward pass, as a value.

use std::fmt;
use std::str::FromStr;

use crate::capture::AtLayer;
use crate::eigen_grad_cam::eigen_grad_cam;
use crate::element_wise_grad_cam::element_wise_grad_cam;
use crate::error::CamError;
use crate::grad_cam::grad_cam;
use crate::grad_cam_plus_plus::grad_cam_plus_plus;
use crate::heatmap::Maps;
use crate::hires_cam::hires_cam;
use crate::layer_cam::layer_cam;
use crate::x_grad_cam::x_grad_cam;

/// A method that weighs a layer's activations by the gradients there: one forward pass, one
/// backward pass, and nothing else of the network.
///
/// ```
/// use gradcam_core::GradientMethod;
///
/// let method: GradientMethod = "grad-cam++".parse()?;
/// assert_eq!(method, GradientMethod::GradCamPlusPlus);
/// assert_eq!(method.to_string(), "grad-cam++");
/// # Ok::<(), gradcam_core::CamError>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum GradientMethod {
    /// [`grad_cam`](fn@crate::grad_cam).
    #[default]
    GradCam,
    /// [`grad_cam_plus_plus`](fn@crate::grad_cam_plus_plus).
    GradCamPlusPlus,
    /// [`x_grad_cam`](fn@crate::x_grad_cam).
    XGradCam,
    /// [`hires_cam`](fn@crate::hires_cam).
    HiResCam,
    /// [`element_wise_grad_cam`](fn@crate::element_wise_grad_cam).
    ElementWiseGradCam,
    /// [`layer_cam`](fn@crate::layer_cam).
    LayerCam,
    /// [`eigen_grad_cam`](fn@crate::eigen_grad_cam).
    EigenGradCam,
}

impl GradientMethod {
    /// Every method.
    pub const ALL: [Self; 7] = [
        Self::GradCam,
        Self::GradCamPlusPlus,
        Self::XGradCam,
        Self::HiResCam,
        Self::ElementWiseGradCam,
        Self::LayerCam,
        Self::EigenGradCam,
    ];

    /// The name in small letters, such as `grad-cam++`, that [`FromStr`] reads.
    pub fn name(self) -> &'static str {
        match self {
            Self::GradCam => "grad-cam",
            Self::GradCamPlusPlus => "grad-cam++",
            Self::XGradCam => "xgrad-cam",
            Self::HiResCam => "hirescam",
            Self::ElementWiseGradCam => "element-wise-grad-cam",
            Self::LayerCam => "layercam",
            Self::EigenGradCam => "eigengrad-cam",
        }
    }

    /// The method's maps on the layer's grid.
    ///
    /// # Shapes
    /// `[N, C, H, W]` gives `[N, H, W]`, `[N, C, D, H, W]` gives `[N, D, H, W]`.
    ///
    /// # Errors
    /// Those of the method's function.
    pub fn maps(self, at: &AtLayer<'_>) -> Result<Maps, CamError> {
        match self {
            Self::GradCam => grad_cam(at),
            Self::GradCamPlusPlus => grad_cam_plus_plus(at),
            Self::XGradCam => x_grad_cam(at),
            Self::HiResCam => hires_cam(at),
            Self::ElementWiseGradCam => element_wise_grad_cam(at),
            Self::LayerCam => layer_cam(at),
            Self::EigenGradCam => eigen_grad_cam(at),
        }
    }
}

impl fmt::Display for GradientMethod {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Capitals, hyphens and underscores make no difference: `Grad-CAM++`, `grad_cam++` and `gradcam++`
/// are one.
impl FromStr for GradientMethod {
    type Err = CamError;

    fn from_str(name: &str) -> Result<Self, CamError> {
        let plain = |name: &str| name.to_lowercase().replace(['-', '_'], "");
        Self::ALL
            .into_iter()
            .find(|method| plain(method.name()) == plain(name))
            .ok_or_else(|| CamError::UnknownMethod {
                method: name.to_owned(),
                known: Self::ALL.map(Self::name).to_vec(),
            })
    }
}
