//! A device chosen once libtorch has computed: alone in its process, since that settles for its life whether there is CUDA.

use models::{DeviceChoice, ModelError};
use tch::Device;

#[test]
fn a_gpu_that_is_lost_because_libtorch_computed_first_is_told_from_one_that_is_missing() {
    tch::manual_seed(1);
    match DeviceChoice::Cuda(0).device() {
        // Where libtorch's CUDA library was linked, or is not there, nothing can be too late.
        Ok(device) => assert_eq!(device, Device::Cuda(0)),
        Err(ModelError::NoCuda { reason }) => assert!(!reason.contains("ATen_cuda"), "{reason}"),
        Err(error @ ModelError::CudaTooLate) => {
            assert!(error.to_string().contains("choose the device first"), "{error}");
            // There is a driver: `auto` is not the CPU in silence.
            let auto = DeviceChoice::Auto.device();
            assert!(matches!(auto, Err(ModelError::CudaTooLate)), "{auto:?}");
        }
        Err(other) => panic!("{other:?}"),
    }
}
