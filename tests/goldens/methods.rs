//! Every method on the trained SqueezeNet, from the files that `methods.py` and `full_grad.py` wrote.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use anyhow::{Context, Result, ensure};
use gradcam_core::kernel::KpcaKernel;
use gradcam_core::{
    FinerCam, GradientMethod, GroupCam, IsCam, Maps, OcclusionSensitivity, Probe, ReciproMask, ReferenceWeights,
    Rescaling, ScoreCam, ScoreChannels, SsCam, Target, ablation_cam, cam_with_weights, eigen_cam, fem, finer_cam,
    full_grad, group_cam, is_cam, kpca_cam, occlusion_sensitivity, recipro_cam, rise_with_masks, score_cam,
    shapley_cam, smooth_grad_cam_plus_plus_with_noise, ss_cam_with_noise,
};
use tch::{Kind, Tensor};

use crate::{LAYER, formula};

/// Of a map's range: rounding through 512 channels, in another order.
const MAPS: f64 = 1e-5;
/// KPCA-CAM by the Gaussian kernel is further off than the others: 8e-5 was seen.
const KPCA_RBF: f64 = 1e-4;
/// In double precision, against a file of single precision.
const DOUBLE: f64 = 1e-6;

#[test]
fn every_method_on_squeezenet1_0_as_trained() -> Result<()> {
    let Some(network) = crate::trained()? else {
        return Ok(());
    };
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/goldens/squeezenet1_0-imagenet-methods.safetensors");
    let mut golden = BTreeMap::<String, Tensor>::new();
    for path in [
        &path,
        &path.with_file_name("squeezenet1_0-imagenet-full-grad.safetensors"),
    ] {
        golden.extend(Tensor::read_safetensors(path).with_context(|| path.display().to_string())?);
    }
    let input = network.input().prepare(&formula::image(&[2, 3, 224, 224])?)?;
    let input = input.narrow(0, 0, 1);
    let stages = crate::stages(&network)?;
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
    let channels = ScoreChannels::MostVaried(16);
    let copies_noise = formula::numbers("smooth_grad_cam_plus_plus", &[3, 1, 3, 224, 224])? * 0.3;
    let mask_noise = (formula::numbers("ss_cam", &[2, 1, 224, 224])? * 2.0).expand([2, 512, 224, 224], false);
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
        (
            "maps.smooth_grad_cam_plus_plus",
            smooth_grad_cam_plus_plus_with_noise(&stages, &input, LAYER, &targets, &copies_noise)?,
        ),
        (
            "maps.is_cam",
            is_cam(&probe, LAYER, &IsCam::default().with_steps(2).with_channels(channels))?,
        ),
        (
            "maps.ss_cam",
            ss_cam_with_noise(&probe, LAYER, &SsCam::default().with_channels(channels), &mask_noise)?,
        ),
        ("graded.group_cam", group_cam(&probe, LAYER, &GroupCam::default())?),
    ];
    for (key, maps) in &methods {
        let expected = &golden[&format!("{key}.{LAYER}")];
        let difference = difference(key, maps.tensor(), expected)?;
        eprintln!("{key}: largest difference {difference:.1e}");
        let most = if *key == "signed.kpca_cam_rbf" { KPCA_RBF } else { MAPS };
        ensure!(difference <= most, "{key}: {difference:e}");
    }

    // Those that look at no layer.
    let open = formula::numbers("rise", &[16, 1, 7, 7])?.lt(0.0).to_kind(Kind::Float);
    let masks = open.upsample_bilinear2d([224, 224], false, None, None).squeeze_dim(1);
    let probability = Probe::new(&stages, &input, &[Target::Class(class).probability()])?;
    let double = crate::trained_in(Kind::Double)?;
    let double_stages = crate::stages(&double)?;
    let windows = OcclusionSensitivity::default().with_window([56]).with_stride([42]);
    let of_images = [
        ("graded.rise", rise_with_masks(&probability, &masks)?, MAPS, MAPS),
        (
            "graded.occlusion_sensitivity",
            occlusion_sensitivity(&probe, &windows)?,
            MAPS,
            MAPS,
        ),
        // As the files' are made. In single precision biases of a millionth of what a stage puts out are lost in its
        // rounding, and each channel brought to its own range makes the most of them.
        (
            "graded.full_grad",
            full_grad(&double_stages, &input.to_kind(Kind::Double), &targets, Rescaling::Stage)?,
            DOUBLE,
            DOUBLE,
        ),
        (
            "graded.full_grad",
            full_grad(&stages, &input, &targets, Rescaling::Stage)?,
            3e-3,
            5e-4,
        ),
        (
            "graded.full_grad_channel",
            full_grad(
                &double_stages,
                &input.to_kind(Kind::Double),
                &targets,
                Rescaling::Channel,
            )?,
            DOUBLE,
            DOUBLE,
        ),
        (
            "graded.full_grad_channel",
            full_grad(&stages, &input, &targets, Rescaling::Channel)?,
            6e-2,
            1e-2,
        ),
    ];
    for (key, maps, most, mean) in &of_images {
        // Every seventh place is in the file.
        let heat = maps.normalise()?.tensor().slice(1, 3, None, 7).slice(2, 3, None, 7);
        let differences = (heat - &golden[*key]).abs();
        let found = [differences.max(), differences.mean(Kind::Double)].map(|value| value.double_value(&[]));
        eprintln!(
            "{key}: largest difference {:.1e}, {:.1e} in the mean",
            found[0], found[1]
        );
        ensure!(found[0] <= *most && found[1] <= *mean, "{key}: {found:?}");
    }

    let compared = methods.iter().map(|(key, _)| format!("{key}.{LAYER}"));
    let compared: BTreeSet<String> = compared
        .chain(of_images.iter().map(|(key, ..)| (*key).to_owned()))
        .collect();
    let held = golden.keys().filter(|key| *key != "targets").cloned().collect();
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
