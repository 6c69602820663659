use std::fmt;
use std::str::FromStr;

use tch::{Cuda, Device};

use crate::cuda_library;
use crate::error::ModelError;

/// Which device to run on: `auto`, `cpu`, `cuda` or `cuda:N`.
///
/// ```
/// use models::DeviceChoice;
///
/// let choice: DeviceChoice = "cuda:1".parse()?;
/// assert_eq!(choice, DeviceChoice::Cuda(1));
/// assert_eq!(DeviceChoice::Cpu.device()?, tch::Device::Cpu);
/// # Ok::<(), models::ModelError>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum DeviceChoice {
    /// The first GPU if libtorch finds one, the CPU otherwise.
    #[default]
    Auto,
    /// The CPU.
    Cpu,
    /// The GPU of this number.
    Cuda(usize),
}

impl DeviceChoice {
    /// The device, after loading libtorch's CUDA library where a GPU may be meant.
    ///
    /// # Errors
    /// [`ModelError::NoCuda`] or [`ModelError::NoSuchGpu`] when a GPU was named and is not there.
    pub fn device(self) -> Result<Device, ModelError> {
        match self {
            Self::Cpu => Ok(Device::Cpu),
            Self::Auto => {
                let _ = cuda_library::load();
                Ok(if Cuda::is_available() {
                    Device::Cuda(0)
                } else {
                    Device::Cpu
                })
            }
            Self::Cuda(index) => {
                cuda_library::load().map_err(|reason| ModelError::NoCuda {
                    reason: format!("libtorch's CUDA library does not load ({reason})"),
                })?;
                if !Cuda::is_available() {
                    return Err(ModelError::NoCuda {
                        reason: match cuda_library::driver() {
                            Ok(()) => "the NVIDIA driver reports no GPU that libtorch can use".to_owned(),
                            Err(reason) => format!("the NVIDIA driver's library does not load ({reason})"),
                        },
                    });
                }
                let count = Cuda::device_count();
                if !i64::try_from(index).is_ok_and(|index| index < count) {
                    return Err(ModelError::NoSuchGpu { index, count });
                }
                Ok(Device::Cuda(index))
            }
        }
    }
}

impl FromStr for DeviceChoice {
    type Err = ModelError;

    fn from_str(text: &str) -> Result<Self, ModelError> {
        let unknown = || ModelError::UnknownDevice { text: text.to_owned() };
        match text {
            "auto" => Ok(Self::Auto),
            "cpu" => Ok(Self::Cpu),
            "cuda" => Ok(Self::Cuda(0)),
            _ => text
                .strip_prefix("cuda:")
                .and_then(|index| index.parse().ok())
                .map(Self::Cuda)
                .ok_or_else(unknown),
        }
    }
}

impl fmt::Display for DeviceChoice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Auto => f.write_str("auto"),
            Self::Cpu => f.write_str("cpu"),
            Self::Cuda(index) => write!(f, "cuda:{index}"),
        }
    }
}
