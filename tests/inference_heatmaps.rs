//! Heatmaps of a network rebuilt for inference are those of the network as it was.

use std::sync::{Mutex, PoisonError};

use anyhow::Result;
use gradcam_core::{Stage, Stages, Target, grad_cam, last_spatial};
use models::{Architecture, InferenceConfig, MemoryLayout, Network, NetworkConfig, packs_weights};
use ndarray::Array3;
use tch::{Device, Kind, Tensor};

const CLASSES: i64 = 6;

/// libtorch's generator is one for all tests of this program; a test that draws from it holds this.
static GENERATOR: Mutex<()> = Mutex::new(());

/// One stage at a time.
fn row(network: &Network) -> Result<Stages<'_>> {
    let stages = network.stages().iter();
    let stages = stages.map(|stage| Stage::carrying(stage.name(), |x, carried| stage.forward_carrying(x, carried)));
    Ok(Stages::new(stages.collect())?)
}

/// Several at once where nobody looks between them.
fn stages(network: &Network) -> Result<Stages<'_>> {
    Ok(row(network)?.with_fused(|range, x, carried| network.forward_stages(range, x, carried)))
}

fn heatmaps(network: &Network, images: &Tensor, class: i64) -> Result<Array3<f32>> {
    let stages = stages(network)?;
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
    let _alone = GENERATOR.lock().unwrap_or_else(PoisonError::into_inner);
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
        for (kind, tolerance) in [(Kind::Float, 1e-4), (Kind::BFloat16, 0.15)] {
            let fast = network.optimize_for_inference(&InferenceConfig::default().with_kind(kind))?;
            let found = heatmaps(&fast, &image, *class)?;
            let difference = (&found - expected)
                .iter()
                .fold(0.0_f32, |most, value| most.max(value.abs()));
            eprintln!("{architecture} in {kind:?}: {difference:.1e}");
            assert!(difference < tolerance, "{architecture} in {kind:?}: {difference}");
        }
    }
    Ok(())
}

/// Every block of a network with packed weights, captured at once, with blocks behind it that could write over what it
/// gave: the activations are those of plain convolutions, and so are the gradients.
#[test]
fn captures_of_packed_networks_hold_what_the_stages_gave() -> Result<()> {
    let _alone = GENERATOR.lock().unwrap_or_else(PoisonError::into_inner);
    tch::manual_seed(4);
    let images = Tensor::rand([2, 3, 64, 64], (Kind::Float, Device::Cpu));
    for architecture in [Architecture::ResNet18, Architecture::MobileNetV2] {
        let network = NetworkConfig::new(architecture)
            .with_classes(CLASSES)
            .build(Device::Cpu)?;
        let packed = network.optimize_for_inference(&InferenceConfig::default())?;
        let plain = InferenceConfig::default().with_layout(MemoryLayout::ChannelsLast);
        let plain = network.optimize_for_inference(&plain)?;
        let description = packed.describe(&images.size())?;
        assert_eq!(description.packed_multiply_adds() > 0, packs_weights(Kind::Float));
        assert_eq!(plain.describe(&images.size())?.packed_multiply_adds(), 0);

        let blocks: Vec<&str> = description
            .stages()
            .iter()
            .filter(|stage| stage.shape().len() == 4)
            .map(|stage| stage.name())
            .collect();
        let (packed, plain) = (stages(&packed)?, row(&plain)?);
        let (mut worst, classes) = ([0f64; 2], [Target::Class(0), Target::Class(1)]);
        for (index, block) in blocks.iter().enumerate().step_by(4) {
            // From this block on with a graph, up to it without.
            let targets = &blocks[index..];
            let (found, expected) = (packed.capture(&images, targets)?, plain.capture(&images, targets)?);
            let (found, expected) = (found.gradients(&classes)?, expected.gradients(&classes)?);
            for target in targets {
                let (found, expected) = (found.at(target)?, expected.at(target)?);
                let pairs = [
                    (found.activations(), expected.activations()),
                    (found.gradients(), expected.gradients()),
                ];
                for (worst, (found, expected)) in worst.iter_mut().zip(pairs) {
                    let scale = expected.abs().max().double_value(&[]);
                    let difference = (found - expected).abs().max().double_value(&[]);
                    *worst = worst.max(difference / scale);
                    assert!(
                        scale > 0.0 && difference < 1e-4 * scale,
                        "{architecture}, from {block}, {target}: {difference:e}"
                    );
                }
            }
        }
        eprintln!(
            "{architecture}: activations {:.1e}, gradients {:.1e}",
            worst[0], worst[1]
        );
    }
    Ok(())
}
