//! Every method on the trained SqueezeNet, from the file that `methods.py` wrote.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use anyhow::{Context, Result, ensure};
use gradcam_core::kernel::KpcaKernel;
use gradcam_core::{
    FinerCam, GradientMethod, GroupCam, Maps, Probe, ReciproMask, ReferenceWeights, ScoreCam, Stage, Stages, Target,
    ablation_cam, cam_with_weights, eigen_cam, fem, finer_cam, group_cam, kpca_cam, recipro_cam, score_cam,
    shapley_cam,
};
use tch::{Kind, Tensor};

const LAYER: &str = "features.12";
/// Of a map's range: rounding through 512 channels, in another order.
const MAPS: f64 = 1e-4;

#[test]
fn every_method_on_squeezenet1_0_as_trained() -> Result<()> {
    let Some(network) = crate::trained()? else {
        return Ok(());
    };
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/goldens/squeezenet1_0-imagenet-methods.safetensors");
    let golden: BTreeMap<String, Tensor> = Tensor::read_safetensors(&path)
        .with_context(|| path.display().to_string())?
        .into_iter()
        .collect();
    let input = network.input().prepare(&crate::formula::image(&[2, 3, 224, 224])?)?;
    let input = input.narrow(0, 0, 1);
    let stages = network.stages().iter();
    let stages = Stages::new(
        stages
            .map(|stage| Stage::new(stage.name(), |x| stage.forward(x)))
            .collect(),
    )?;
    let capture = stages.capture(&input, &[LAYER])?;
    let gradients = capture.gradients(&[Target::Predicted])?;
    let class = i64::try_from(&golden["targets"])?;
    ensure!(gradients.classes() == [Some(class)], "another class is predicted");
    let targets = [Target::Class(class)];
    let at = gradients.at(LAYER)?;
    let activations = capture.activations(LAYER)?;
    let probe = Probe::from_capture(&stages, &input, &capture, &targets)?;

    use GradientMethod::{EigenGradCam, ElementWiseGradCam, GradCam, GradCamPlusPlus, HiResCam, LayerCam, XGradCam};
    let finer = FinerCam::default();
    let weighted = finer.with_strength(1.0).with_weights(ReferenceWeights::Probability);
    let weights = network.variables().variables()["classifier.1.weight"].flatten(1, -1);
    let methods: Vec<(&str, Maps)> = vec![
        ("maps.grad_cam", GradCam.maps(&at)?),
        ("maps.grad_cam_plus_plus", GradCamPlusPlus.maps(&at)?),
        ("maps.x_grad_cam", XGradCam.maps(&at)?),
        ("maps.hires_cam", HiResCam.maps(&at)?),
        ("maps.element_wise_grad_cam", ElementWiseGradCam.maps(&at)?),
        ("maps.layer_cam", LayerCam.maps(&at)?),
        ("signed.eigen_grad_cam", EigenGradCam.maps(&at)?),
        (
            "maps.shapley_cam",
            shapley_cam(&capture, LAYER, &[Target::Class(class).probability()])?,
        ),
        ("maps.finer_cam", finer_cam(&capture, LAYER, &targets, &finer)?),
        (
            "maps.finer_cam_weighted",
            finer_cam(&capture, LAYER, &targets, &weighted)?,
        ),
        ("maps.cam", cam_with_weights(&probe, LAYER, &weights)?),
        ("signed.eigen_cam", eigen_cam(activations)?),
        ("signed.kpca_cam_sigmoid", kpca_cam(activations, KpcaKernel::default())?),
        (
            "signed.kpca_cam_rbf",
            kpca_cam(activations, KpcaKernel::Gaussian { gamma: None })?,
        ),
        ("maps.fem", fem(activations, 2.0)?),
        ("maps.ablation_cam", ablation_cam(&probe, LAYER)?),
        ("maps.score_cam", score_cam(&probe, LAYER, &ScoreCam::default())?),
        ("graded.recipro_cam", recipro_cam(&probe, LAYER, ReciproMask::Gaussian)?),
        (
            "graded.recipro_cam_single",
            recipro_cam(&probe, LAYER, ReciproMask::Single)?,
        ),
        ("graded.group_cam", group_cam(&probe, LAYER, &GroupCam::default())?),
    ];
    for (key, maps) in &methods {
        let expected = &golden[&format!("{key}.{LAYER}")];
        let difference = difference(key, maps.tensor(), expected)?;
        eprintln!("{key}: largest difference {difference:.1e}");
        ensure!(difference <= MAPS, "{key}: {difference:e}");
    }
    let compared: BTreeSet<String> = methods.iter().map(|(key, _)| format!("{key}.{LAYER}")).collect();
    let held = golden.keys().filter(|key| key.ends_with(LAYER)).cloned().collect();
    ensure!(compared == held, "not every map in the file is compared");
    Ok(())
}

/// Of one sample's map, as the file's key says: `maps` are cut off below zero and, like `graded`, brought to 0..=1; of `signed`
/// the sign is arbitrary.
fn difference(key: &str, found: &Tensor, expected: &Tensor) -> Result<f64> {
    ensure!(found.size() == expected.size(), "{key} has shape {:?}", found.size());
    let largest = |tensor: Tensor| tensor.abs().max().double_value(&[]);
    if key.starts_with("signed") {
        let found = found / largest(found.shallow_clone());
        // What our own sign cuts off is not compared.
        let both = [expected.shallow_clone(), -expected].map(|map| {
            let map = map.relu();
            largest(&found - &map / largest(map.shallow_clone()))
        });
        return Ok(both[0].min(both[1]));
    }
    let found = if key.starts_with("maps") {
        Maps::new(&found.relu())?
    } else {
        Maps::new(found)?
    };
    Ok(largest(found.normalise()?.tensor().to_kind(Kind::Float) - expected))
}
