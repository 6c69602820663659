//! Learning rates by stage, from the network that has the stages to the training that goes by variables.

use std::collections::BTreeMap;

use anyhow::Result;
use heatmap_filter::train::{Augmentation, Classifier, Examples, TrainSettings, fit};
use models::{Architecture, NetworkConfig};
use tch::{Device, Kind, Tensor};

/// How far one step of AdamW, without decay, moves each variable.
fn step(settings: &TrainSettings) -> Result<BTreeMap<String, Tensor>> {
    tch::manual_seed(1);
    let network = NetworkConfig::new(Architecture::SqueezeNet1_1)
        .with_classes(2)
        .with_dropout(0.0)
        .build(Device::Cpu)?;
    let values = || {
        let variables = network.variables().variables().into_iter();
        variables
            .map(|(name, variable)| Ok((name, variable.f_detach_copy()?)))
            .collect::<Result<BTreeMap<_, _>>>()
    };
    let before = values()?;
    // Of one pace each, so that they are not all alike to the network.
    let paces = Tensor::from_slice(&[0.01_f32, 0.1, 0.3, 1.0]).f_view([4, 1])?;
    let waves = Tensor::f_arange(3 * 64 * 64, (Kind::Float, Device::Cpu))?.f_mul(&paces)?;
    let images = waves.f_sin()?.f_view([4, 3, 64, 64])?;
    let examples = Examples {
        images: &images,
        labels: &[0, 1, 1, 0],
    };
    let classifier = Classifier {
        forward: &|x, train| network.forward_t(x, train),
        variables: network.variables(),
    };
    fit(classifier, examples, examples, &|_, _| 0.0, settings, None, &mut |_| {})?;
    let moved = values()?.into_iter();
    moved
        .map(|(name, after)| Ok((name.clone(), after.f_sub(&before[&name])?)))
        .collect()
}

#[test]
fn each_stage_moves_in_proportion_to_its_factor() -> Result<()> {
    let settings = TrainSettings::default()
        .with_epochs(1)
        .with_batch(4)
        .with_learning_rate(1e-3)
        .with_weight_decay(0.0)
        .with_augmentation(Augmentation::none());
    let network = NetworkConfig::new(Architecture::SqueezeNet1_1)
        .with_classes(2)
        .build(Device::Cpu)?;
    let factors =
        network.learning_rate_factors(&[("features.0", 0.125), ("features.8", 0.5), ("classifier.1", 2.0)])?;
    let by_stage = factors.iter().fold(settings.clone(), |settings, (name, &factor)| {
        settings.with_learning_rate_factor(name, factor)
    });
    let (alike, by_stage) = (step(&settings)?, step(&by_stage)?);
    assert_eq!(alike.len(), factors.len());
    for (name, factor) in factors {
        let largest = alike[&name].f_abs()?.f_max()?.f_double_value(&[])?;
        assert!(largest > 5e-4, "{name} moves by {largest:e}");
        // Each value is rounded where it is added to the variable, of about 1.
        let apart = (&by_stage[&name] - &alike[&name] * factor)
            .f_abs()?
            .f_max()?
            .f_double_value(&[])?;
        assert!(apart < 1e-6, "{name}: {apart:e}");
    }
    Ok(())
}
