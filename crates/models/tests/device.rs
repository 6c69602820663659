//! A GPU that was asked for is there, or the message says which library or driver is not.

use std::path::PathBuf;

use models::{Architecture, DeviceChoice, InferenceConfig, ModelError, Network, NetworkConfig};
use tch::nn::{self, OptimizerConfig as _};
use tch::{Device, Kind, Tensor};

#[test]
fn a_gpu_that_is_missing_is_explained() {
    match DeviceChoice::Cuda(0).device() {
        Ok(device) => assert_eq!(device, Device::Cuda(0)),
        Err(ModelError::NoCuda { reason }) => {
            assert!(
                reason.contains("libtorch_cuda.so") || reason.starts_with("libtorch says: "),
                "{reason}"
            );
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

/// Of the largest logit. TF32 has 10 bits, bf16 8.
const TF32: f64 = 2e-2;
const BF16: f64 = 0.1;

fn largest(tensor: &Tensor) -> f64 {
    tensor.abs().max().double_value(&[])
}

fn logits(network: &Network, images: &Tensor) -> Tensor {
    let _no_grad = tch::no_grad_guard();
    network
        .forward(&images.to_device(network.device()))
        .unwrap()
        .to_device(Device::Cpu)
}

/// Forward passes as built and rebuilt, and what a training step makes of them, on the device that `auto` finds and on the
/// processor.
#[test]
fn a_network_is_the_same_wherever_it_runs() {
    let device = DeviceChoice::Auto.device().unwrap();
    let config = NetworkConfig::new(Architecture::ResNet18).with_classes(3);
    let folder = tempfile::tempdir().unwrap();
    let weights = folder.path().join("weights.safetensors");
    config.build(Device::Cpu).unwrap().save(&weights).unwrap();
    let images = Tensor::arange(4 * 3 * 64 * 64, (Kind::Float, Device::Cpu))
        .sin()
        .view([4, 3, 64, 64]);
    let labels = Tensor::from_slice(&[0i64, 1, 2, 1]);
    let found = [Device::Cpu, device].map(|device| {
        let mut network = config.build(device).unwrap();
        network.load(&weights, models::Head::Exact).unwrap();
        let mut optimiser = nn::sgd(0.9, 0.0, 0.0, false).build(network.variables(), 1e-3).unwrap();
        let mut all = vec![(logits(&network, &images), TF32)];
        for (kind, tolerance) in [(Kind::Float, TF32), (Kind::BFloat16, BF16)] {
            let config = InferenceConfig::default().with_kind(kind);
            let rebuilt = network.optimize_for_inference(&config).unwrap();
            let (rebuilt, built) = (logits(&rebuilt, &images), logits(&network, &images));
            assert!(
                largest(&(&rebuilt - &built)) < tolerance * largest(&built),
                "{kind:?} on {device:?}"
            );
            all.push((rebuilt, tolerance));
            let scores = network.forward_mixed(&images.to_device(device), kind).unwrap();
            optimiser.backward_step(&scores.cross_entropy_for_logits(&labels.to_device(device)));
            all.push((logits(&network, &images), tolerance));
        }
        all
    });
    let [expected, found] = found;
    assert!(
        largest(&(&expected[0].0 - &expected[2].0)) > 0.0,
        "the step did nothing"
    );
    for (index, ((expected, tolerance), (found, _))) in expected.iter().zip(&found).enumerate() {
        let difference = largest(&(found - expected)) / largest(expected);
        assert!(difference < *tolerance, "{index} on {device:?}: {difference:e}");
    }
}
