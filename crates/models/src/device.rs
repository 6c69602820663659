use std::fmt;
use std::str::FromStr;

use tch::{Cuda, Device, Kind, TchError, Tensor};

use crate::cuda_library;
use crate::error::ModelError;

/// Which device to run on: `auto`, `cpu`, `cuda` or `cuda:N`.
///
/// Choose the device before all else that libtorch is to do. Its first computation, and so much as a call of
/// [`tch::manual_seed`], settles for the life of the process whether it has a CUDA library. Choosing a device loads
/// that library, as do building a network, a [`StageRow`](crate::StageRow) or a stage of TorchScript,
/// [`InputSpec::prepare`](crate::InputSpec::prepare) and [`packs_weights`](crate::packs_weights); a program that has tch
/// compute before all of these has no GPU, and is told so.
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
    /// The device, after loading libtorch's CUDA library, also where the CPU was chosen, so that another choice stays open.
    ///
    /// # Errors
    /// [`ModelError::NoCuda`] or [`ModelError::NoSuchGpu`] when a GPU was named and is not there, with libtorch's own
    /// reason where its CUDA library is there. [`ModelError::CudaTooLate`], for `auto` too, where that library and the
    /// driver's are there, but libtorch computed before it was loaded.
    ///
    /// # Cost
    /// The first time that of loading libtorch's CUDA library, where there is one: about a second.
    pub fn device(self) -> Result<Device, ModelError> {
        let loaded = cuda_library::load();
        match self {
            Self::Cpu => Ok(Device::Cpu),
            Self::Auto => match loaded {
                Ok(()) if Cuda::is_available() => Ok(Device::Cuda(0)),
                Ok(()) if cuda_library::driver().is_ok() && asked_too_early(&no_gpu(0)) => Err(ModelError::CudaTooLate),
                _ => Ok(Device::Cpu),
            },
            Self::Cuda(index) => {
                loaded.map_err(|reason| ModelError::NoCuda {
                    reason: format!("libtorch's CUDA library does not load ({reason})"),
                })?;
                if !Cuda::is_available() {
                    let reason = no_gpu(index);
                    return Err(match (asked_too_early(&reason), cuda_library::driver()) {
                        (true, Ok(())) => ModelError::CudaTooLate,
                        (true, Err(why)) => ModelError::NoCuda {
                            reason: format!("the NVIDIA driver's library does not load ({why})"),
                        },
                        (false, _) => ModelError::NoCuda {
                            reason: format!("libtorch says: {reason}"),
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

/// Why libtorch can make no tensor on a GPU, in the first line of its own words: that there is no driver, that it is too
/// old, or whatever else.
fn no_gpu(index: usize) -> String {
    let error = match Tensor::f_zeros([1], (Kind::Float, Device::Cuda(index))) {
        Ok(_) => return "no GPU is available".to_owned(),
        Err(TchError::Torch(message)) => message,
        Err(other) => other.to_string(),
    };
    error.lines().next().unwrap_or_default().to_owned()
}

/// Whether libtorch was asked for CUDA while its CUDA library was not loaded: it then never finds it.
fn asked_too_early(reason: &str) -> bool {
    reason.contains("without ATen_cuda library")
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
