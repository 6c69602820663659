//! Heatmaps of a network rebuilt for inference are those of the network as it was.

use anyhow::Result;
use gradcam_core::{Stage, Stages, Target, grad_cam, last_spatial};
use models::{Architecture, InferenceConfig, Network, NetworkConfig};
use ndarray::Array3;
use tch::{Device, Kind, Tensor};

const CLASSES: i64 = 6;

fn heatmaps(network: &Network, images: &Tensor, class: i64) -> Result<Array3<f32>> {
    let stages = network.stages().iter();
    let stages = Stages::new(
        stages
            .map(|stage| Stage::new(stage.name(), |x| stage.forward(x)))
            .collect(),
    )?;
    let shapes = stages.shapes(images)?;
    let layer = last_spatial(&shapes).expect("a convolutional network");
    let capture = stages.capture(images, &[layer])?;
    Ok(grad_cam(&capture.gradients(&[Target::Class(class)])?.at(layer)?)?
        .heatmaps(&[64, 64])?
        .to_array3()?)
}

/// The two agree within roundings of the weights when folded in f32. In bf16, with 8 bits at each layer, no place differs
/// by more than the rounding of some tens of layers can make.
#[test]
fn folded_and_bf16_networks_show_the_same() -> Result<()> {
    tch::manual_seed(3);
    for architecture in [
        Architecture::ResNet18,
        Architecture::DenseNet121,
        Architecture::SqueezeNet1_1,
    ] {
        let network = NetworkConfig::new(architecture)
            .with_classes(CLASSES)
            .build(Device::Cpu)?;
        // Statistics that are not those of a fresh network.
        for _ in 0..3 {
            let _logits = network.forward_t(&Tensor::rand([8, 3, 64, 64], (Kind::Float, Device::Cpu)), true)?;
        }
        let image = Tensor::rand([1, 3, 64, 64], (Kind::Float, Device::Cpu));
        // Of a network that has learnt nothing, not every class has a map with something on it.
        let maps = (0..CLASSES).map(|class| Ok((class, heatmaps(&network, &image, class)?)));
        let maps = maps.collect::<Result<Vec<_>>>()?;
        let shows = |(_, map): &&(i64, Array3<f32>)| map.iter().any(|&value| value == 1.0);
        let (class, expected) = maps.iter().find(shows).expect("a class with a map");
        for (kind, tolerance) in [(Kind::Float, 1e-3), (Kind::BFloat16, 0.15)] {
            let fast = network.optimize_for_inference(&InferenceConfig::default().with_kind(kind))?;
            let found = heatmaps(&fast, &image, *class)?;
            let difference = (&found - expected)
                .iter()
                .fold(0.0_f32, |most, value| most.max(value.abs()));
            assert!(difference < tolerance, "{architecture} in {kind:?}: {difference}");
        }
    }
    Ok(())
}
