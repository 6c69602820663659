//! The methods that need one forward and one backward pass, as a value.

use std::fmt;
use std::str::FromStr;

use crate::capture::AtLayer;
use crate::error::CamError;
use crate::grad_cam::grad_cam;
use crate::heatmap::Maps;

/// A method that weighs a layer's activations by the gradients there: one forward pass, one
/// backward pass, and nothing else of the network.
///
/// ```
/// use gradcam_core::GradientMethod;
///
/// let method: GradientMethod = "grad-cam".parse()?;
/// assert_eq!(method, GradientMethod::GradCam);
/// assert_eq!(method.to_string(), "grad-cam");
/// # Ok::<(), gradcam_core::CamError>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum GradientMethod {
    /// [`grad_cam`](fn@crate::grad_cam).
    #[default]
    GradCam,
}

impl GradientMethod {
    /// Every method.
    pub const ALL: [Self; 1] = [Self::GradCam];

    /// The name, such as `grad-cam`, that [`FromStr`] reads.
    pub fn name(self) -> &'static str {
        match self {
            Self::GradCam => "grad-cam",
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
        }
    }
}

impl fmt::Display for GradientMethod {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for GradientMethod {
    type Err = CamError;

    fn from_str(name: &str) -> Result<Self, CamError> {
        Self::ALL
            .into_iter()
            .find(|method| method.name() == name)
            .ok_or_else(|| CamError::UnknownMethod {
                method: name.to_owned(),
                known: Self::ALL.map(Self::name).to_vec(),
            })
    }
}
