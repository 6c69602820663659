//! What here makes libtorch compute loads its CUDA library first. Alone in its process, since the first computation
//! settles for its life whether there is CUDA.

use models::{Architecture, DeviceChoice, InferenceConfig, InputSpec, ModelError, NetworkConfig, packs_weights};
use tch::{Device, Kind, Tensor};

#[test]
fn a_device_may_be_chosen_after_a_network_was_built_and_run() {
    let _trial = packs_weights(Kind::Float);
    let network = NetworkConfig::new(Architecture::SqueezeNet1_1)
        .build(Device::Cpu)
        .unwrap();
    let fast = network.optimize_for_inference(&InferenceConfig::default()).unwrap();
    let images = Tensor::zeros([2, 1, 64, 64], (Kind::Float, Device::Cpu));
    let images = InputSpec::imagenet().prepare(&images).unwrap();
    let _logits = tch::no_grad(|| fast.forward(&images)).unwrap();
    network.forward(&images).unwrap().sum(Kind::Float).backward();
    match DeviceChoice::Cuda(0).device() {
        Ok(device) => assert_eq!(device, Device::Cuda(0)),
        Err(ModelError::NoCuda { reason }) => assert!(!reason.contains("ATen_cuda"), "{reason}"),
        Err(other) => panic!("{other:?}"),
    }
}
