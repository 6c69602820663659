//! The networks of `models` against torchvision and their heatmaps against pytorch-grad-cam, from
//! the files that `goldens/make.py` wrote.

#[path = "goldens/formula.rs"]
mod formula;
#[path = "goldens/methods.rs"]
mod methods;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use gradcam_core::{Capture, Content, GradientMethod, Gradients, Stage, Stages, Target, grad_cam};
use models::{Architecture, Head, Network, NetworkConfig};
use tch::{Device, Kind, Tensor};

/// Of the largest logit: rounding through up to twenty layers.
const LOGITS: f64 = 1e-5;
/// Of a map's range: pytorch-grad-cam resizes in single precision and adds 1e-7 to the range, and
/// the file holds steps of 1.5e-5.
const MAPS: f64 = 1e-4;

fn largest(tensor: &Tensor) -> f64 {
    tensor.abs().max().double_value(&[])
}

/// The file's logits, targets and maps against the network's. Prints the differences, so that
/// `--nocapture` shows how far from the tolerances they are.
fn compare(name: &str, network: &Network, input: &Tensor) -> Result<()> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/goldens/{name}.safetensors"));
    let golden: BTreeMap<String, Tensor> = Tensor::read_safetensors(&path)
        .with_context(|| path.display().to_string())?
        .into_iter()
        .collect();
    let layers: Vec<&str> = golden.keys().filter_map(|key| key.strip_prefix("maps.")).collect();
    ensure!(!layers.is_empty(), "{name} holds no maps");

    let stages = network.stages().iter();
    let stages = Stages::new(
        stages
            .map(|stage| Stage::carrying(stage.name(), |x, carried| stage.forward_carrying(x, carried)))
            .collect(),
    )?;
    let capture = stages.capture(input, &layers)?;
    let difference = largest(&(capture.logits() - &golden["logits"])) / largest(&golden["logits"]);
    eprintln!("{name} logits: relative difference {difference:.1e}");
    ensure!(difference <= LOGITS, "{name} logits: {difference:e}");

    let classes: Vec<i64> = (&golden["targets"]).try_into()?;
    let gradients = capture.gradients(&[Target::Predicted, Target::Class(classes[1])])?;
    ensure!(
        gradients.classes().iter().flatten().eq(&classes),
        "{name}: another class is predicted"
    );
    for layer in layers {
        let heat = grad_cam(&gradients.at(layer)?)?.heatmaps(&input.size()[2..])?;
        ensure!(heat.contents() == [Content::Graded; 2], "{name} {layer}: empty map");
        let expected = (golden[&format!("maps.{layer}")].to_kind(Kind::Float) + 32768.0) / 65535.0;
        let difference = largest(&(heat.tensor() - expected));
        eprintln!("{name} {layer}: largest difference {difference:.1e}");
        ensure!(difference <= MAPS, "{name} {layer}: {difference:e}");
    }
    Ok(())
}

fn by_formula(architecture: Architecture, height: i64, width: i64) -> Result<()> {
    let network = NetworkConfig::new(architecture).build(Device::Cpu)?;
    formula::fill(&network)?;
    let input = formula::input(&[2, 3, height, width])?;
    compare(&format!("{architecture}-{height}x{width}"), &network, &input)
}

#[test]
fn squeezenet1_0_by_formula() -> Result<()> {
    by_formula(Architecture::SqueezeNet1_0, 64, 64)?;
    by_formula(Architecture::SqueezeNet1_0, 96, 80)
}

#[test]
fn resnet18_by_formula() -> Result<()> {
    by_formula(Architecture::ResNet18, 64, 64)?;
    by_formula(Architecture::ResNet18, 96, 80)
}

/// What is too large for this repository, in `../shared` or the folder that CAMSEG_SHARED names.
fn shared() -> PathBuf {
    std::env::var_os("CAMSEG_SHARED").map_or_else(
        || Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared"),
        PathBuf::from,
    )
}

/// The network with the weights trained on ImageNet, where they are at hand.
fn trained() -> Result<Option<Network>> {
    let weights = shared().join("weights/squeezenet1_0-imagenet.safetensors");
    if !weights.is_file() {
        assert!(
            std::env::var_os("CAMSEG_SHARED").is_none(),
            "CAMSEG_SHARED is set, but {} is not there",
            weights.display()
        );
        eprintln!(
            "{} is not there: the trained network is not compared (CAMSEG_SHARED names the folder of `weights`)",
            weights.display()
        );
        return Ok(None);
    }
    let mut network = NetworkConfig::new(Architecture::SqueezeNet1_0).build(Device::Cpu)?;
    network.load(&weights, Head::Exact)?;
    Ok(Some(network))
}

#[test]
fn squeezenet1_0_as_trained() -> Result<()> {
    let Some(network) = trained()? else {
        return Ok(());
    };
    let input = network.input().prepare(&formula::image(&[2, 3, 224, 224])?)?;
    compare("squeezenet1_0-imagenet-224x224", &network, &input)
}

/// Ten lesions of BUSI where they are at hand, else the two images by formula.
fn pictures(network: &Network) -> Result<Tensor> {
    let folder = shared().join("data/busi");
    let files: Vec<PathBuf> = (1..=5)
        .flat_map(|number| ["benign", "malignant"].map(|class| format!("{class}/{class} ({number}).png")))
        .map(|name| folder.join(name))
        .collect();
    let images = if files.iter().all(|file| file.is_file()) {
        let read = |file: &PathBuf| -> Result<Tensor> {
            let scan = image::open(file)?.into_luma8();
            let scan = image::imageops::resize(&scan, 224, 224, image::imageops::FilterType::Triangle);
            Ok(Tensor::f_from_slice(scan.as_raw())?
                .f_view([1, 224, 224])?
                .f_to_kind(Kind::Float)?
                / 255.0)
        };
        Tensor::stack(&files.iter().map(read).collect::<Result<Vec<_>>>()?, 0)
    } else {
        formula::image(&[2, 3, 224, 224])?
    };
    Ok(network.input().prepare(&images)?)
}

/// The heatmaps of every method in half and in single precision say the same.
///
/// What is lost, the network loses: the methods add in single precision, and with the stages after the layer in
/// single precision too the correlations are the same. bfloat16 has 8 bits of mantissa; what it rounds on the way to
/// the layer decides here and there whether the head's ReLU lets a place through, which the methods that look at each
/// place's own values (LayerCAM, element-wise Grad-CAM, EigenGrad-CAM) show: seen are 0.983 at worst and 0.994 in the
/// mean, of the other methods 0.997 at worst. float16 has 11 bits, and 0.995 at worst. Processors round bfloat16 in
/// different places, hence the room.
#[test]
fn half_precision_correlates_with_single() -> Result<()> {
    const LAYER: &str = "features.12";
    let Some(network) = trained()? else {
        return Ok(());
    };
    let input = pictures(&network)?;
    let capture = |kind: Kind| -> Result<Capture> {
        let network = trained()?.context("the weights were there")?;
        for variable in network.variables().variables().values_mut() {
            variable.set_data(&variable.to_kind(kind));
        }
        let stages = network.stages().iter();
        let stages = Stages::new(
            stages
                .map(|stage| Stage::carrying(stage.name(), |x, carried| stage.forward_carrying(x, carried)))
                .collect(),
        )?;
        let capture = stages.capture(&input.to_kind(kind), &[LAYER])?;
        ensure!(capture.logits().kind() == kind);
        Ok(capture)
    };
    let heat = |method: GradientMethod, gradients: &Gradients<'_>| -> Result<Tensor> {
        let heat = method.maps(&gradients.at(LAYER)?)?.heatmaps(&[224, 224])?;
        ensure!(heat.tensor().kind() == Kind::Float);
        Ok(heat.tensor().flatten(1, -1))
    };
    let single = capture(Kind::Float)?;
    let predicted: Vec<i64> = single.logits().argmax(1, false).try_into()?;
    let targets: Vec<Target> = predicted.into_iter().map(Target::Class).collect();
    let in_single = single.gradients(&targets)?;
    for (kind, least) in [(Kind::Half, 0.99), (Kind::BFloat16, 0.97)] {
        let half = capture(kind)?;
        let in_half = half.gradients(&targets)?;
        for method in GradientMethod::ALL {
            let (single, half) = (heat(method, &in_single)?, heat(method, &in_half)?);
            let correlations: Vec<f64> = (0..single.size()[0])
                .map(|sample| {
                    let pair = Tensor::stack(&[single.get(sample), half.get(sample)], 0);
                    pair.corrcoef().double_value(&[0, 1])
                })
                .collect();
            let mean = correlations.iter().sum::<f64>() / correlations.len() as f64;
            let worst = correlations.iter().copied().fold(f64::INFINITY, f64::min);
            eprintln!("{method} in {kind:?}: correlation {mean:.4} in the mean, {worst:.4} at worst");
            ensure!(
                mean >= 0.99 && worst >= least,
                "{method} in {kind:?}: {correlations:.4?}"
            );
        }
    }
    Ok(())
}
