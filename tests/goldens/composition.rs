//! What is built on maps, gradients and activations of the trained SqueezeNet, from the file that `composition.py` wrote.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use anyhow::{Context, Result, ensure};
use gradcam_core::{
    AtLayer, CamError, DeepFeatureFactorisation, Flip, Fusion, GradientMethod, Maps, Stage, Stages, Target,
    TestTimeAugmentation, deep_feature_factorisation, eigen_smoothing, fuse, grad_cam, guided_backpropagation,
    guided_grad_cam, layer_cam, test_time_augmentation,
};
use models::Network;
use ndarray::ArrayD;
use tch::{Kind, Tensor};

use crate::formula;

const LAYERS: [&str; 2] = ["features.7", "features.12"];
/// Of the largest value: rounding through 512 channels, in another order.
const MAPS: f64 = 1e-5;
/// Near a minimum the error hardly tells one factor from the next.
const FACTORS: f64 = 2e-5;

/// The file, and which of its keys were compared.
struct Golden {
    tensors: BTreeMap<String, Tensor>,
    compared: BTreeSet<String>,
}

impl Golden {
    fn read() -> Result<Self> {
        let path =
            Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/goldens/squeezenet1_0-imagenet-composition.safetensors");
        let tensors = Tensor::read_safetensors(&path).with_context(|| path.display().to_string())?;
        Ok(Self {
            tensors: tensors.into_iter().collect(),
            compared: BTreeSet::from(["targets".to_owned()]),
        })
    }

    /// In units of the file's largest value.
    fn check(&mut self, key: &str, found: &Tensor, most: f64) -> Result<()> {
        let expected = self.tensors.get(key).with_context(|| format!("no {key} in the file"))?;
        ensure!(found.size() == expected.size(), "{key} has shape {:?}", found.size());
        let difference = ((found - expected).abs().max() / expected.abs().max()).double_value(&[]);
        eprintln!("{key}: largest difference {difference:.1e}");
        ensure!(difference <= most, "{key}: {difference:e}");
        self.compared.insert(key.to_owned());
        Ok(())
    }

    /// Of what has the image's size every seventh place is in the file.
    fn check_places(&mut self, key: &str, found: &Tensor) -> Result<()> {
        let found = found.slice(-2, 3, None, 7).slice(-1, 3, None, 7);
        self.check(key, &found.to_kind(Kind::Float), MAPS)
    }
}

#[test]
fn what_is_built_on_maps_of_squeezenet1_0_as_trained() -> Result<()> {
    let Some(network) = crate::trained()? else {
        return Ok(());
    };
    let mut golden = Golden::read()?;
    let input = network.input().prepare(&formula::image(&[2, 3, 224, 224])?)?;
    let stages = crate::stages(&network)?;
    let classes: Vec<i64> = (&golden.tensors["targets"]).try_into()?;
    let targets: Vec<Target> = classes.into_iter().map(Target::Class).collect();
    let capture = stages.capture(&input, &LAYERS)?;
    let gradients = capture.gradients(&targets)?;

    for layer in LAYERS {
        for (name, method) in [
            ("grad_cam", GradientMethod::GradCam),
            ("grad_cam_plus_plus", GradientMethod::GradCamPlusPlus),
            ("x_grad_cam", GradientMethod::XGradCam),
            ("hires_cam", GradientMethod::HiResCam),
            ("element_wise_grad_cam", GradientMethod::ElementWiseGradCam),
            ("layer_cam", GradientMethod::LayerCam),
        ] {
            let maps = eigen_smoothing(method, &gradients.at(layer)?)?.normalise()?;
            golden.check(&format!("maps.eigen_smoothing_{name}.{layer}"), maps.tensor(), MAPS)?;
        }
    }

    let fused = |method: fn(&AtLayer<'_>) -> Result<Maps, CamError>, fusion| -> Result<Maps> {
        let [first, second] = [gradients.at(LAYERS[0])?, gradients.at(LAYERS[1])?];
        Ok(fuse(&[&method(&first)?, &method(&second)?], &[224, 224], fusion)?)
    };
    for (key, fusion) in [
        ("fused.mean", Fusion::Mean),
        ("fused.maximum", Fusion::Maximum),
        ("fused.product", Fusion::Product),
    ] {
        golden.check_places(key, fused(grad_cam, fusion)?.normalise()?.tensor())?;
    }
    golden.check_places("fused.layer_cam", fused(layer_cam, Fusion::LAYER_CAM)?.tensor())?;

    let at = LAYERS[1];
    let plain = |x: &Tensor| grad_cam(&stages.capture(x, &[at])?.gradients(&targets)?.at(at)?);
    let smooth = |x: &Tensor| {
        let capture = stages.capture(x, &[at])?;
        eigen_smoothing(GradientMethod::GradCam, &capture.gradients(&targets)?.at(at)?)
    };
    let views = TestTimeAugmentation::default();
    let usual = views.clone().with_factors([0.9, 1.0, 1.1]);
    let flips = views.clone().with_flips([Flip::LeftRight, Flip::UpDown]);
    let scales = views.with_flips([]).with_scales([1.0, 1.5, 2.0]);
    for (key, maps) in [
        ("usual", test_time_augmentation(&input, &usual, plain)?),
        ("flips", test_time_augmentation(&input, &flips, plain)?),
        ("smooth", test_time_augmentation(&input, &flips, smooth)?),
        ("scales", test_time_augmentation(&input, &scales, plain)?),
    ] {
        golden.check_places(&format!("augmented.{key}.{at}"), maps.tensor())?;
    }

    let activations: ArrayD<f32> = capture.activations(at)?.try_into()?;
    for concepts in [1, 2, 3, 5] {
        let key = format!("factors.{at}.{concepts}");
        let least = golden.tensors[&format!("{key}.error")].double_value(&[0]);
        let settings = DeepFeatureFactorisation::default().with_concepts(concepts);
        let best = (0..5)
            .map(|seed| {
                let settings = settings.clone().with_seed(seed);
                Ok((deep_feature_factorisation(activations.view(), &settings)?.error, seed))
            })
            .collect::<Result<Vec<(f64, u64)>>>()?;
        let (error, seed) = best
            .into_iter()
            .min_by(|a, b| a.0.total_cmp(&b.0))
            .context("there are five starts")?;
        eprintln!("{key}: the best start leaves {:.1e} more", error / least - 1.0);
        ensure!((error / least - 1.0).abs() < 1e-4, "{key}: {error}, not {least}");
        let to_the_end = settings.with_seed(seed).with_tolerance(1e-14).with_iterations(5_000);
        let found = deep_feature_factorisation(activations.view(), &to_the_end)?;
        golden.check(&format!("{key}.maps"), &Tensor::try_from(found.maps)?, FACTORS)?;
        golden.check(&format!("{key}.concepts"), &Tensor::try_from(found.concepts)?, FACTORS)?;
        golden.compared.insert(format!("{key}.error"));
    }

    // As the file's are made: in single precision a value near zero passes a ReLU here and not there.
    let double = crate::trained_in(Kind::Double)?;
    let input = input.to_kind(Kind::Double);
    let stages = crate::stages(&double)?;
    let between = ["features.1", "classifier.2"];
    let guided = guided_backpropagation(&stages, &input, &between, &targets)?;
    golden.check_places("guided_backpropagation", &guided)?;
    let saliency = guided_backpropagation(&stages, &input, &[], &targets)?;
    golden.check_places("saliency", &saliency)?;
    for layer in LAYERS {
        let maps = grad_cam(&gradients.at(layer)?)?;
        golden.check_places(&format!("guided_grad_cam.{layer}"), &guided_grad_cam(&guided, &maps)?)?;
    }
    let (stages, inside) = with_every_relu(&double)?;
    let relus: Vec<&str> = inside.iter().map(String::as_str).chain(between).collect();
    let guided = guided_backpropagation(&stages, &input, &relus, &targets)?;
    golden.check_places("every_relu.guided_backpropagation", &guided)?;

    let held = golden.tensors.into_keys().collect();
    ensure!(golden.compared == held, "not all in the file is compared");
    Ok(())
}

/// The network with each Fire module as four stages, and the names of the ReLUs among those.
fn with_every_relu(network: &Network) -> Result<(Stages<'_>, Vec<String>)> {
    let variables = network.variables().variables();
    let conv = |name: String, padding: i64| {
        let [weight, bias] = ["weight", "bias"].map(|part| variables[&format!("{name}.{part}")].shallow_clone());
        move |x: &Tensor| x.f_conv2d(&weight, Some(&bias), [1, 1], [padding, padding], [1, 1], 1)
    };
    let mut stages = Vec::new();
    let mut relus = Vec::new();
    for stage in network.stages().iter() {
        let name = stage.name();
        if !variables.contains_key(&format!("{name}.squeeze.weight")) {
            stages.push(Stage::carrying(name, |x, carried| stage.forward_carrying(x, carried)));
            continue;
        }
        let squeeze = conv(format!("{name}.squeeze"), 0);
        let narrow = conv(format!("{name}.expand1x1"), 0);
        let wide = conv(format!("{name}.expand3x3"), 1);
        let squeezed = format!("{name}.squeezed");
        stages.extend([
            Stage::new(format!("{name}.squeeze"), squeeze),
            Stage::new(squeezed.clone(), |x| x.f_relu()),
            Stage::new(format!("{name}.expand"), move |x| {
                Tensor::f_cat(&[narrow(x)?, wide(x)?], 1)
            }),
            Stage::new(name, |x| x.f_relu()),
        ]);
        relus.extend([squeezed, name.to_owned()]);
    }
    ensure!(relus.len() == 16, "eight Fire modules, not {}", relus.len() / 2);
    Ok((Stages::new(stages)?, relus))
}
