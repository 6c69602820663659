//! A GPU that was asked for is there, or the message says which library or driver is not.

use std::path::PathBuf;

use models::{DeviceChoice, ModelError};
use tch::Device;

#[test]
fn a_gpu_that_is_missing_is_explained() {
    match DeviceChoice::Cuda(0).device() {
        Ok(device) => assert_eq!(device, Device::Cuda(0)),
        Err(ModelError::NoCuda { reason }) => {
            let named = ["libtorch_cuda.so", "libcuda.so.1", "reports no GPU"];
            assert!(named.iter().any(|name| reason.contains(name)), "{reason}");
            let libtorch = std::env::var_os("LIBTORCH").map(PathBuf::from);
            if libtorch.is_some_and(|folder| !folder.join("lib/libtorch_cuda.so").exists()) {
                assert!(reason.contains("libtorch_cuda.so"), "{reason}");
            }
            assert_eq!(DeviceChoice::Auto.device().unwrap(), Device::Cpu);
        }
        Err(other) => panic!("{other:?}"),
    }
    assert!(matches!(
        DeviceChoice::Cuda(9999).device(),
        Err(ModelError::NoCuda { .. } | ModelError::NoSuchGpu { index: 9999, .. })
    ));
}

#[test]
fn choices_are_written_as_they_are_read() {
    for text in ["auto", "cpu", "cuda:0", "cuda:3"] {
        assert_eq!(text.parse::<DeviceChoice>().unwrap().to_string(), text);
    }
    for text in ["", "gpu", "cuda:", "cuda:-1", "cuda:x", "CPU"] {
        assert!(
            matches!(text.parse::<DeviceChoice>(), Err(ModelError::UnknownDevice { .. })),
            "{text}"
        );
    }
}
