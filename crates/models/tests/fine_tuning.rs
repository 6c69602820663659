//! Freezing and learning rates by stage, for every network.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use models::{Architecture, InferenceConfig, ModelError, Network, NetworkConfig, Output};
use tch::nn::{self, OptimizerConfig as _};
use tch::{Device, Kind, TchError, Tensor};

fn network(architecture: Architecture) -> Network {
    // libtorch has one generator for all threads: no other test may draw from it in between.
    static GENERATOR: Mutex<()> = Mutex::new(());
    let _alone = GENERATOR.lock().unwrap_or_else(PoisonError::into_inner);
    tch::manual_seed(1);
    NetworkConfig::new(architecture)
        .with_classes(2)
        .build(Device::Cpu)
        .unwrap()
}

fn images() -> Tensor {
    waves(&[2, 3, 64, 64])
}

fn waves(shape: &[i64]) -> Tensor {
    let count = shape.iter().product::<i64>();
    Tensor::arange(count, (Kind::Float, Device::Cpu)).sin().view(shape)
}

fn values(network: &Network) -> BTreeMap<String, Tensor> {
    let variables = network.variables().variables().into_iter();
    variables
        .map(|(name, variable)| (name, variable.detach().copy()))
        .collect()
}

#[test]
fn every_variable_belongs_to_one_stage() {
    for architecture in Architecture::ALL {
        let network = network(architecture);
        for name in network.variables().variables().keys() {
            let owners: Vec<_> = network.stages().iter().filter(|stage| stage.owns(name)).collect();
            assert_eq!(owners.len(), 1, "{architecture}: {name}: {owners:?}");
        }
    }
}

#[test]
fn frozen_stages_keep_their_variables_and_statistics() {
    let mut network = network(Architecture::ResNet18);
    network.freeze_through("layer2.1").unwrap();
    // With all that an optimiser may do to a variable that asks for gradients.
    let mut optimiser = nn::sgd(0.9, 0.0, 0.1, false).build(network.variables(), 0.1).unwrap();
    let before = values(&network);
    let loss = network
        .forward_t(&images(), true)
        .unwrap()
        .cross_entropy_for_logits(&Tensor::from_slice(&[0_i64, 1]));
    optimiser.backward_step(&loss);
    let frozen = |name: &str| {
        ["conv1.", "bn1.", "layer1.", "layer2."]
            .iter()
            .any(|stage| name.starts_with(stage))
    };
    for (name, after) in values(&network) {
        assert_eq!(after.equal(&before[&name]), frozen(&name), "{name}");
    }
    network.unfreeze();
    let _ = network.forward_t(&images(), true).unwrap();
    assert!(!values(&network)["bn1.running_mean"].equal(&before["bn1.running_mean"]));
}

/// Networks that carry, run stage by stage with the frozen ones in evaluation mode, against the whole: the same logits,
/// gradients and running statistics.
#[test]
fn carrying_networks_train_stage_by_stage() {
    for (architecture, frozen) in [
        (Architecture::BasicUNet2d, None),
        (Architecture::BasicUNet3d, Some("down_2")),
        (Architecture::KerasNasNetMobile, None),
        (Architecture::KerasNasNetMobile, Some("normal_concat_1")),
    ] {
        let build = || {
            let mut network = network(architecture);
            network.variables().root().double();
            if let Some(last) = frozen {
                network.freeze_through(last).unwrap();
            }
            network
        };
        let extent = if architecture.axes() == 2 { 64 } else { 32 };
        let shape = [
            &[2, architecture.input().channels()],
            vec![extent; architecture.axes()].as_slice(),
        ]
        .concat();
        let images = waves(&shape).to_kind(Kind::Double);
        let (whole, staged) = (build(), build());
        let start = values(&whole);
        for (name, mut variable) in staged.variables().variables() {
            tch::no_grad(|| variable.copy_(&start[&name]));
        }
        let expected = whole.forward_t(&images, true).unwrap();

        let mut train = frozen.is_none();
        let (mut x, mut carried, mut most) = (images, Vec::new(), 0);
        for stage in staged.stages() {
            x = stage.forward_carrying_t(&x, &mut carried, train).unwrap();
            train |= Some(stage.name()) == frozen;
            most = most.max(carried.len());
        }
        assert!(carried.is_empty() && most > 0, "{architecture}: {most} carried at most");

        // The same operations, some of them in place in the whole network.
        let same = |what: &str, found: &Tensor, expected: &Tensor| {
            let apart = (found - expected).abs().max().double_value(&[]);
            let largest = expected.abs().max().double_value(&[]);
            assert!(
                apart <= 1e-12 * largest,
                "{architecture} {what}: {apart:e} of {largest:e}"
            );
        };
        same("logits", &x, &expected);
        for logits in [&expected, &x] {
            logits.square().mean(Kind::Double).backward();
        }
        let staged = staged.variables().variables();
        let mut trained = 0;
        for (name, variable) in whole.variables().variables() {
            same(&name, &staged[&name].detach(), &variable.detach());
            assert_eq!(staged[&name].requires_grad(), variable.requires_grad(), "{name}");
            if variable.requires_grad() {
                same(&format!("gradient of {name}"), &staged[&name].grad(), &variable.grad());
                trained += 1;
            }
        }
        assert!(trained > 0);
    }
}

/// MONAI's probability is zero, another one drops what the norms put out.
#[test]
fn dropout_reaches_the_norms_of_a_unet() {
    let config = NetworkConfig::new(Architecture::BasicUNet2d).with_classes(2);
    let build = |config: &NetworkConfig| config.build(Device::Cpu).unwrap();
    // Zero is zero behind the activation too; nothing else is.
    let zeros = |network: &Network, train| {
        let y = network.stages()[0].forward_t(&images(), train).unwrap();
        (y.eq(0.0).sum(Kind::Double).double_value(&[]), y.numel() as f64)
    };
    let dropping = build(&config.clone().with_dropout(0.3));
    let (dropped, count) = zeros(&dropping, true);
    let deviation = (count * 0.3 * 0.7).sqrt();
    assert!((dropped - 0.3 * count).abs() <= 6.0 * deviation, "{dropped} of {count}");
    assert_eq!(zeros(&dropping, false).0, 0.0);
    assert_eq!(zeros(&build(&config), true).0, 0.0);
}

#[test]
fn freezing_again_takes_the_place_of_the_last_time() {
    let mut network = network(Architecture::SqueezeNet1_0);
    let asking = |network: &Network| {
        network
            .variables()
            .trainable_variables()
            .iter()
            .filter(|v| v.requires_grad())
            .count()
    };
    let all = asking(&network);
    let few = network.freeze_through("features.3").unwrap();
    assert_eq!(few, 2 + 6, "the stem and one fire module");
    assert_eq!(network.freeze_through("flatten").unwrap(), all);
    assert_eq!(asking(&network), 0);
    assert_eq!(network.freeze_through("features.0").unwrap(), 2);
    assert_eq!(asking(&network), all - 2);
    assert!(matches!(
        network.freeze_through("features"),
        Err(ModelError::UnknownStage { name, stages }) if name == "features" && stages[0] == "features.0"
    ));
    assert_eq!(asking(&network), all - 2, "a stage that is not there changes nothing");
    let mut fast = network.optimize_for_inference(&InferenceConfig::default()).unwrap();
    assert!(matches!(
        fast.freeze_through("features.0"),
        Err(ModelError::ForInference)
    ));
}

#[test]
fn factors_hold_from_a_stage_on() {
    let mut network = network(Architecture::SqueezeNet1_0);
    let factors = network
        .learning_rate_factors(&[("classifier.1", 10.0), ("features.5", 0.5)])
        .unwrap();
    assert_eq!(factors.len(), network.variables().trainable_variables().len());
    assert_eq!(factors["features.4.squeeze.weight"], 1.0);
    assert_eq!(factors["features.5.squeeze.weight"], 0.5);
    assert_eq!(factors["features.12.expand3x3.bias"], 0.5);
    assert_eq!(factors["classifier.1.weight"], 10.0);
    network.freeze_through("features.4").unwrap();
    assert!(
        !network
            .learning_rate_factors(&[])
            .unwrap()
            .contains_key("features.4.squeeze.weight")
    );
    for factor in [0.0, -1.0, f64::NAN, f64::INFINITY] {
        assert!(matches!(
            network.learning_rate_factors(&[("features.5", factor)]),
            Err(ModelError::LearningRateFactor { .. })
        ));
    }
    assert!(matches!(
        network.learning_rate_factors(&[("fc", 1.0)]),
        Err(ModelError::UnknownStage { .. })
    ));
}

#[test]
fn groups_of_tchs_optimisers_step_by_their_stages_factor() {
    let mut network = network(Architecture::ResNet18);
    let from = [("conv1", 0.125), ("layer3.0", 0.5), ("fc", 1.0)];
    let factors = network.learning_rate_factors(&from).unwrap();
    let groups = network.set_learning_rate_groups(&from).unwrap();
    assert_eq!(groups.len(), 3, "{groups:?}");
    let mut optimiser = nn::Sgd::default().build(network.variables(), 1.0).unwrap();
    let rate = 0.25;
    for (group, factor) in groups.iter().enumerate() {
        optimiser.set_lr_group(group, rate * factor);
    }
    let before = values(&network);
    let logits = network.forward_t(&images(), true).unwrap();
    optimiser.backward_step(&logits.cross_entropy_for_logits(&Tensor::from_slice(&[0_i64, 1])));
    for (name, factor) in factors {
        let variable = &network.variables().variables()[&name];
        // Powers of two: the product is exact, and one rounding is left, that of the sum.
        let expected = &before[&name] - variable.grad() * (rate * factor);
        assert_eq!(variable.detach(), expected, "{name}");
        assert!(!variable.equal(&before[&name]), "{name}");
    }
    // A group without variables is none that an optimiser would have.
    let mut squeezenet = self::network(Architecture::SqueezeNet1_1);
    let groups = squeezenet.set_learning_rate_groups(&[("features.0", 3.0), ("flatten", 2.0)]);
    assert_eq!(groups.unwrap(), [3.0]);
    let mut fast = network.optimize_for_inference(&InferenceConfig::default()).unwrap();
    assert!(matches!(
        fast.set_learning_rate_groups(&from),
        Err(ModelError::ForInference)
    ));
}

#[test]
fn images_in_a_precision_that_the_variables_do_not_go_with_are_refused() {
    for architecture in [
        Architecture::SqueezeNet1_1,
        Architecture::ResNet18,
        Architecture::BasicUNet2d,
    ] {
        let network = network(architecture);
        let double = images().to_kind(Kind::Double);
        let refused = |result: Result<Tensor, TchError>, variables: &str, found: &str| {
            let expected = format!("{architecture} has variables in {variables} and takes images in that");
            assert!(
                matches!(&result, Err(TchError::Kind(message))
                    if message.starts_with(&expected) && message.ends_with(&format!("found {found}"))),
                "{result:?}"
            );
        };
        refused(network.forward(&double), "Float", "Double");
        refused(network.forward_mixed(&images(), Kind::Double), "Float", "Double");
        assert!(network.forward_mixed(&double, Kind::BFloat16).is_ok());
        let fast = network.optimize_for_inference(&InferenceConfig::default()).unwrap();
        for kind in [Kind::Double, Kind::BFloat16, Kind::Half] {
            assert_eq!(fast.forward(&images().to_kind(kind)).unwrap().kind(), Kind::Float);
        }
        network.variables().root().double();
        assert_eq!(network.forward(&double).unwrap().kind(), Kind::Double);
        for kind in [Kind::Float, Kind::BFloat16] {
            refused(network.forward(&images().to_kind(kind)), "Double", &format!("{kind:?}"));
        }
    }
}

#[test]
fn mixed_precision_trains_the_variables_in_their_own() {
    let network = network(Architecture::ResNet18);
    let labels = Tensor::from_slice(&[0_i64, 1, 1, 0, 1, 0]);
    let noise = Tensor::arange(6 * 3 * 64 * 64, (Kind::Double, Device::Cpu)) * 12.9898;
    let noise = (noise.sin() * 43758.5453)
        .frac()
        .to_kind(Kind::Float)
        .view([6, 3, 64, 64]);
    let before = values(&network);
    let gradients = |kind| {
        for (name, mut variable) in network.variables().variables() {
            tch::no_grad(|| variable.f_copy_(&before[&name])).unwrap();
            variable.zero_grad();
        }
        let logits = network.forward_mixed(&noise, kind).unwrap();
        assert_eq!(logits.kind(), Kind::Float);
        logits.cross_entropy_for_logits(&labels).backward();
        let head = network.variables().variables()["fc.weight"].grad().copy();
        assert_eq!(head.kind(), Kind::Float);
        (logits.detach(), head)
    };
    let (exact, exact_gradient) = gradients(Kind::Float);
    let (mixed, mixed_gradient) = gradients(Kind::BFloat16);
    // bf16 has 8 bits, rounded at each of 18 layers and magnified by batch norms over few values: the direction is what
    // must stay.
    let cosine = |one: &Tensor, other: &Tensor| {
        let dot = |a: &Tensor, b: &Tensor| (a * b).sum(Kind::Double).double_value(&[]);
        dot(one, other) / (dot(one, one) * dot(other, other)).sqrt()
    };
    let (logits, gradient) = (cosine(&exact, &mixed), cosine(&exact_gradient, &mixed_gradient));
    assert!(logits > 0.99 && exact != mixed, "{logits}");
    assert!(gradient > 0.99, "{gradient}");
    let fast = network.optimize_for_inference(&InferenceConfig::default()).unwrap();
    assert!(fast.forward_mixed(&images(), Kind::BFloat16).is_err());
}

#[test]
fn every_family_trains_in_mixed_precision() {
    for architecture in [
        Architecture::AlexNet,
        Architecture::SqueezeNet1_1,
        Architecture::DenseNet121,
        Architecture::GoogLeNet,
        Architecture::MobileNetV2,
        Architecture::MobileNetV3Small,
        Architecture::EfficientNetB0,
        Architecture::RegNetY400Mf,
        Architecture::ConvNextTiny,
        Architecture::KerasXception,
        Architecture::KerasInceptionV3,
        Architecture::KerasResNet50V2,
        Architecture::KerasMobileNetV2,
        Architecture::KerasNasNetMobile,
        Architecture::ResNet10_3d,
        Architecture::BasicUNet2d,
        Architecture::BasicUNet3d,
    ] {
        let network = network(architecture);
        let least = if architecture.axes() == 2 { 64 } else { 32 };
        let extents = vec![architecture.least_extent().max(least); architecture.axes()];
        let shape = [&[2, architecture.input().channels()], extents.as_slice()].concat();
        let images = waves(&shape);
        let expected = match architecture.output() {
            Output::Image => vec![2, 2],
            Output::Pixels => [&[2, 2], extents.as_slice()].concat(),
        };
        let logits = network.forward_mixed(&images, Kind::BFloat16).unwrap();
        assert_eq!(
            (logits.kind(), logits.size()),
            (Kind::Float, expected),
            "{architecture}"
        );
        let low = tch::no_grad(|| network.forward(&images.to_kind(Kind::BFloat16))).unwrap();
        assert_eq!(
            (low.kind(), low.size()),
            (Kind::BFloat16, logits.size()),
            "{architecture}"
        );
        logits.square().sum(Kind::Float).backward();
        for (name, variable) in network.variables().variables() {
            assert_eq!(variable.kind(), Kind::Float, "{architecture}: {name}");
            if variable.requires_grad() {
                let gradient = variable.grad();
                assert!(
                    gradient.defined() && gradient.kind() == Kind::Float,
                    "{architecture}: {name}"
                );
                assert_eq!(gradient.isfinite().all(), Tensor::from(true), "{architecture}: {name}");
            }
        }
    }
}

#[test]
fn whole_numbers_are_refused() {
    let network = network(Architecture::SqueezeNet1_1);
    let whole = images().to_kind(Kind::Uint8);
    let half = InferenceConfig::default().with_kind(Kind::BFloat16);
    for (result, kind) in [
        (network.forward(&whole), "Uint8"),
        (network.forward_t(&whole, true), "Uint8"),
        (network.forward_mixed(&whole, Kind::BFloat16), "Uint8"),
        (network.forward_mixed(&images(), Kind::Int64), "Int64"),
        (
            network
                .optimize_for_inference(&InferenceConfig::default())
                .unwrap()
                .forward(&whole),
            "Uint8",
        ),
        (network.optimize_for_inference(&half).unwrap().forward(&whole), "Uint8"),
    ] {
        assert!(
            matches!(&result, Err(TchError::Kind(message)) if message.contains(&format!("found {kind}"))),
            "{result:?}"
        );
    }
}
