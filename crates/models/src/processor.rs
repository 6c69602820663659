use tch::Device;

/// Whether the device multiplies bf16 numbers in hardware, so that a network rebuilt in bf16 is faster than in f32.
///
/// A processor of x86-64 does with AVX512-BF16, which those with AMX have too; it is asked when the program runs.
///
/// A GPU is not asked, for neither tch nor the C functions of libtorch tell its compute capability: the answer is always
/// yes. NVIDIA's do multiply bf16 since Ampere (2020, compute capability 8.0); those before compute the same numbers more
/// slowly than in f32, so on one of them take [`Kind::Float`](tch::Kind::Float) yourself.
///
/// ```
/// use models::{InferenceConfig, has_bf16};
/// use tch::{Device, Kind};
///
/// let kind = if has_bf16(Device::Cpu) { Kind::BFloat16 } else { Kind::Float };
/// assert_eq!(InferenceConfig::fastest(Device::Cpu).kind(), kind);
/// ```
pub fn has_bf16(device: Device) -> bool {
    match device {
        Device::Cpu => cpu_has_bf16(),
        Device::Cuda(_) => true,
        _ => false,
    }
}

#[cfg(target_arch = "x86_64")]
fn cpu_has_bf16() -> bool {
    std::arch::is_x86_feature_detected!("avx512bf16")
}

#[cfg(not(target_arch = "x86_64"))]
fn cpu_has_bf16() -> bool {
    false
}
