//! What every architecture takes: one channel or three, any class count, images that are not square, down to the least
//! extent and not below it; stages no less than they need.

use std::collections::BTreeMap;

use models::{Architecture, Head, InputSpec, LoadRules, ModelError, Network, NetworkConfig, Output, Stem};
use tch::{Device, Kind, Tensor};

fn build(architecture: Architecture, channels: usize, classes: i64) -> Network {
    NetworkConfig::new(architecture)
        .with_classes(classes)
        .with_input(InputSpec::symmetric(channels))
        .build(Device::Cpu)
        .unwrap()
}

/// The least extents, the longest axis last.
fn least(architecture: Architecture) -> Vec<i64> {
    let mut extents = vec![architecture.least_extent(); architecture.axes()];
    if architecture.output() == Output::Pixels {
        // One axis of a U-Net is longer.
        *extents.last_mut().unwrap() *= 2;
    }
    extents
}

fn waves(shape: &[i64]) -> Tensor {
    let count = shape.iter().product::<i64>();
    Tensor::arange(count, (Kind::Float, Device::Cpu)).sin().view(shape)
}

fn forward(network: &Network, extents: &[i64]) -> Result<Tensor, tch::TchError> {
    let shape = [&[2, network.input().channels()], extents].concat();
    tch::no_grad(|| network.forward(&Tensor::f_zeros(shape, (Kind::Float, Device::Cpu))?))
}

#[test]
fn the_least_extents_are_taken_and_none_below_them() {
    for (place, architecture) in (0..).zip(Architecture::ALL) {
        // One class, two or three; one channel: three are what the networks are compared with their references on.
        let classes = 1 + place % 3;
        let network = build(architecture, 1, classes);
        let extents = least(architecture);
        let logits = forward(&network, &extents).unwrap();
        assert_eq!(logits.size()[..2], [2, classes], "{architecture} {extents:?}");
        assert_eq!(
            logits.size()[2..],
            extents[..logits.dim() - 2],
            "{architecture} {extents:?}"
        );
        for axis in 0..extents.len() {
            let mut smaller = extents.clone();
            smaller[axis] -= 1;
            let message = forward(&network, &smaller).unwrap_err().to_string();
            let found = [&[2, 1], smaller.as_slice()].concat();
            assert!(
                message.contains(&format!("{architecture} takes")) && message.contains(&format!("found {found:?}")),
                "{message}"
            );
            let mut longer = extents.clone();
            longer[axis] += 5;
            assert!(forward(&network, &longer).is_ok(), "{architecture} {longer:?}");
        }
    }
}

/// One of each family that fits on a small disk; how weights are summed hangs on the first convolution alone, which the
/// others of a family share.
#[test]
fn weights_for_three_channels_are_summed_into_one() {
    use Architecture::*;
    for architecture in [
        SqueezeNet1_1,
        ResNet18,
        DenseNet121,
        GoogLeNet,
        MobileNetV2,
        MobileNetV3Small,
        EfficientNetB0,
        RegNetY400Mf,
        ConvNextTiny,
        KerasXception,
        KerasInceptionV3,
        KerasDenseNet121,
        KerasResNet50V2,
        KerasNasNetMobile,
        KerasMobileNetV2,
        ResNet10_3d,
        BasicUNet2d,
        BasicUNet3d,
    ] {
        let three = build(architecture, 3, 2);
        let mut one = build(architecture, 1, 2);
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("three.safetensors");
        three.save(&path).unwrap();
        match one.load(&path, Head::Exact) {
            Err(ModelError::Weights { mismatches, .. }) => assert_eq!(mismatches.misshapen.len(), 1, "{architecture}"),
            other => panic!("{architecture}: {other:?}"),
        }
        let loaded = one.load(&path, LoadRules::default().with_stem(Stem::Summed)).unwrap();
        assert_eq!(loaded.summed.len(), 1, "{architecture}");

        let extents = least(architecture)
            .iter()
            .map(|&extent| extent.max(33))
            .collect::<Vec<_>>();
        let grey = waves(&[&[1, 1], extents.as_slice()].concat());
        let repeats = [&[1, 3], vec![1; extents.len()].as_slice()].concat();
        let _no_grad = tch::no_grad_guard();
        let expected = three.forward(&grey.repeat(repeats)).unwrap();
        let found = one.forward(&grey).unwrap();
        // One rounding of the weights more, and sums of another order.
        let apart = (&found - &expected).abs().max().double_value(&[]);
        let largest = expected.abs().max().double_value(&[]);
        assert!(apart <= 1e-4 * largest, "{architecture}: {apart:e} of {largest:e}");
    }
}

/// Where the weights are too large to be written here: of all variables one alone hangs on the channels.
#[test]
fn one_variable_hangs_on_the_channels() {
    let shapes = |architecture, channels| -> BTreeMap<String, Vec<i64>> {
        let variables = build(architecture, channels, 1).variables().variables();
        variables
            .into_iter()
            .map(|(name, variable)| (name, variable.size()))
            .collect()
    };
    for architecture in [Architecture::AlexNet, Architecture::Vgg11, Architecture::Vgg11Bn] {
        let three = shapes(architecture, 3);
        let others: Vec<_> = shapes(architecture, 1)
            .into_iter()
            .filter(|(name, shape)| three[name] != *shape)
            .collect();
        assert_eq!(others.len(), 1, "{architecture}: {others:?}");
        let (name, shape) = &others[0];
        assert_eq!((name.as_str(), shape[1], three[name][1]), ("features.0.weight", 1, 3));
    }
}

/// A stage that is run alone has what it is given and nothing beside.
#[test]
fn a_stage_that_takes_what_is_not_carried_to_it_says_so() {
    for (architecture, name, shape) in [
        (Architecture::BasicUNet2d, "upcat_4", [1, 256, 2, 2]),
        (
            Architecture::KerasNasNetMobile,
            "reduction_concat_stem_2",
            [1, 44, 8, 8],
        ),
    ] {
        let network = NetworkConfig::new(architecture).build(Device::Cpu).unwrap();
        let mut stages = network.stages().iter();
        let stage = stages.find(|stage| stage.name() == name).unwrap();
        let input = Tensor::zeros(shape, (Kind::Float, Device::Cpu));
        for message in [
            stage.forward(&input).unwrap_err().to_string(),
            stage.forward_carrying(&input, &mut Vec::new()).unwrap_err().to_string(),
        ] {
            assert!(
                message.contains(&format!("{name} takes what an earlier stage carries on")),
                "{message}"
            );
        }
    }
}
