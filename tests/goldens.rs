//! The networks of `models` against torchvision and their heatmaps against pytorch-grad-cam, from
//! the files that `goldens/make.py` wrote.

#[path = "goldens/formula.rs"]
mod formula;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use gradcam_core::{Content, Stage, Stages, Target, grad_cam};
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
            .map(|stage| Stage::new(stage.name(), |x| stage.forward(x)))
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

/// The same code on weights trained on ImageNet, where they are at hand: in `../shared/weights`,
/// or `weights` in the folder that CAMSEG_SHARED names.
#[test]
fn squeezenet1_0_as_trained() -> Result<()> {
    let shared = std::env::var_os("CAMSEG_SHARED").map_or_else(
        || Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared"),
        PathBuf::from,
    );
    let weights = shared.join("weights/squeezenet1_0-imagenet.safetensors");
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
        return Ok(());
    }
    let mut network = NetworkConfig::new(Architecture::SqueezeNet1_0).build(Device::Cpu)?;
    network.load(&weights, Head::Exact)?;
    let input = network.input().prepare(&formula::image(&[2, 3, 224, 224])?)?;
    compare("squeezenet1_0-imagenet-224x224", &network, &input)
}
