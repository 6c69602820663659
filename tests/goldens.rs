//! The networks of `models` against torchvision and their heatmaps against pytorch-grad-cam, from
//! the files that `goldens/make.py` wrote.

#[path = "goldens/composition.rs"]
mod composition;
#[path = "goldens/formula.rs"]
mod formula;
#[path = "goldens/methods.rs"]
mod methods;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use gradcam_core::{
    AtLayer, Capture, Content, GradientMethod, Maps, Parallelism, Stage, Stages, Target, eigen_smoothing, grad_cam,
    kernel,
};
use models::{Architecture, Head, Network, NetworkConfig};
use ndarray::ArrayD;
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

    let stages = stages(network)?;
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

/// Lesions of BUSI where they are at hand, so many of each class; else the two images by formula.
fn pictures(network: &Network, each: usize) -> Result<Tensor> {
    let folder = shared().join("data/busi");
    let files: Vec<PathBuf> = (1..=each)
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

/// Where the trained network's heatmaps are looked at.
const LAYER: &str = "features.12";

/// The trained network in another precision.
fn trained_in(kind: Kind) -> Result<Network> {
    let network = trained()?.context("the weights were there")?;
    for variable in network.variables().variables().values_mut() {
        variable.set_data(&variable.to_kind(kind));
    }
    Ok(network)
}

fn stages(network: &Network) -> Result<Stages<'_>> {
    let stages = network.stages().iter();
    Ok(Stages::new(
        stages
            .map(|stage| Stage::carrying(stage.name(), |x, carried| stage.forward_carrying(x, carried)))
            .collect(),
    )?)
}

/// The stages after [`LAYER`], for what that puts out.
fn tail(network: &Network) -> Result<Stages<'_>> {
    let mut stages = network.stages().iter();
    stages
        .by_ref()
        .find(|stage| stage.name() == LAYER)
        .context("the layer")?;
    let given = Stage::new("given", |x| Ok(x.shallow_clone()));
    let after = stages.map(|stage| Stage::carrying(stage.name(), |x, carried| stage.forward_carrying(x, carried)));
    Ok(Stages::new([given].into_iter().chain(after).collect())?)
}

/// Each sample's map at the image's size, as a row.
fn rows(maps: &Maps) -> Result<Tensor> {
    let heat = maps.heatmaps(&[224, 224])?;
    ensure!(heat.tensor().kind() == Kind::Float);
    Ok(heat.tensor().flatten(1, -1))
}

/// A method on activations and gradients that need not have to do with each other.
fn on_arrays(method: GradientMethod, activations: &Tensor, gradients: &Tensor) -> Result<Maps> {
    let kernel = match method {
        GradientMethod::GradCam => kernel::grad_cam,
        GradientMethod::GradCamPlusPlus => kernel::grad_cam_plus_plus,
        GradientMethod::XGradCam => kernel::x_grad_cam,
        GradientMethod::HiResCam => kernel::hires_cam,
        GradientMethod::ElementWiseGradCam => kernel::element_wise_grad_cam,
        GradientMethod::LayerCam => kernel::layer_cam,
        GradientMethod::EigenGradCam => kernel::eigen_grad_cam,
        other => bail!("no kernel is known of {other}"),
    };
    let array =
        |tensor: &Tensor| -> Result<ArrayD<f32>> { Ok(tensor.to_kind(Kind::Float).contiguous().as_ref().try_into()?) };
    let map = kernel(
        array(activations)?.view(),
        array(gradients)?.view(),
        Parallelism::Serial,
    )?;
    Ok(Maps::new(&Tensor::try_from(map)?)?)
}

/// Each row's correlation with the other's.
fn correlations(one: &Tensor, other: &Tensor) -> Vec<f64> {
    let row = |sample| {
        let pair = Tensor::stack(&[one.get(sample), other.get(sample)], 0);
        pair.corrcoef().double_value(&[0, 1])
    };
    (0..one.size()[0]).map(row).collect()
}

fn mean_and_worst(values: &[f64]) -> (f64, f64) {
    let mean = values.iter().sum::<f64>() / values.len() as f64;
    (mean, values.iter().copied().fold(f64::INFINITY, f64::min))
}

/// What half precision leaves of the heatmaps of every method, and where the rest is lost.
///
/// Behind SqueezeNet's last layer a ReLU lets the class's evidence through or not, place by place, so its gradient there is
/// the head's weights or zero. bfloat16 has 8 bits of mantissa: what weights and activations lose on the way to the layer
/// decides the other way at a few of the 169 places where the evidence is near nothing. Methods that take the mean of the
/// gradient or sum what the places have notice little of it. LayerCAM and element-wise Grad-CAM show such a place or do
/// not, and EigenGrad-CAM's component turns with it. Two things are held here besides the figures: with the layer's
/// activations made wide and the rest computed in single precision nothing is gained, and with single precision's gradients
/// on bfloat16's activations everything is.
///
/// Processors round bfloat16 in different places, hence the room below the figures.
#[test]
fn half_precision_correlates_with_single() -> Result<()> {
    use GradientMethod::{EigenGradCam, ElementWiseGradCam, LayerCam};

    let Some(network) = trained()? else {
        return Ok(());
    };
    let input = pictures(&network, 30)?;
    let capture = |network: &Network, kind: Kind| -> Result<Capture> {
        let capture = stages(network)?.capture(&input.to_kind(kind), &[LAYER])?;
        ensure!(capture.logits().kind() == kind);
        Ok(capture)
    };
    let single = capture(&network, Kind::Float)?;
    let predicted: Vec<i64> = single.logits().argmax(1, false).try_into()?;
    let targets: Vec<Target> = predicted.into_iter().map(Target::Class).collect();
    let in_single = single.gradients(&targets)?;
    let of_single = in_single.at(LAYER)?;
    for kind in [Kind::Half, Kind::BFloat16] {
        let half_network = trained_in(kind)?;
        let half = capture(&half_network, kind)?;
        let in_half = half.gradients(&targets)?;
        let of_half = in_half.at(LAYER)?;
        let wide = tail(&network)?.capture(&of_half.activations().to_kind(Kind::Float), &["given"])?;
        let in_wide = wide.gradients(&targets)?;
        let of_wide = in_wide.at("given")?;
        let lets_through = |at: &AtLayer<'_>| at.gradients().abs().amax([1i64].as_slice(), false).gt(0.0);
        let turned = lets_through(&of_half).ne_tensor(&lets_through(&of_single));
        let turned = Vec::<i64>::try_from(turned.flatten(1, -1).sum_dim_intlist(
            [1i64].as_slice(),
            false,
            Kind::Int64,
        ))?;
        eprintln!("{kind:?}: the ReLU decides otherwise at {turned:?} places");
        for method in GradientMethod::ALL {
            let expected = rows(&method.maps(&of_single)?)?;
            let found = correlations(&rows(&method.maps(&of_half)?)?, &expected);
            let widened = correlations(&rows(&method.maps(&of_wide)?)?, &expected);
            let same_gradients = on_arrays(method, of_half.activations(), of_single.gradients())?;
            let same_gradients = correlations(&rows(&same_gradients)?, &expected);
            let [(mean, worst), (wide_mean, wide_worst), (same_mean, same_worst)] =
                [&found, &widened, &same_gradients].map(|values| mean_and_worst(values));
            let below = found.iter().filter(|&&value| value < 0.99).count();
            eprintln!(
                "{method} in {kind:?}: correlation {mean:.4} in the mean, {worst:.4} at worst, {below} below 0.99; from the layer on in single \
                 precision {wide_mean:.4}, {wide_worst:.4}; with its gradients {same_mean:.4}, {same_worst:.4}"
            );
            let place_by_place = [ElementWiseGradCam, LayerCam, EigenGradCam].contains(&method);
            let (least_mean, least) = match kind {
                Kind::Half => (0.999, 0.99),
                _ if place_by_place => (0.99, 0.9),
                _ => (0.998, 0.99),
            };
            ensure!(
                mean >= least_mean && worst >= least && 5 * below <= found.len(),
                "{method} in {kind:?}: {found:.4?}"
            );
            ensure!((wide_mean - mean).abs() < 1e-3, "{method} in {kind:?}: {widened:.4?}");
            ensure!(
                same_mean >= 0.999 && same_worst >= 0.99,
                "{method} in {kind:?}, single gradients: {same_gradients:.4?}"
            );
        }
    }
    Ok(())
}

/// On the trained network, at the size that it was trained for.
#[test]
fn a_batch_gives_each_image_what_it_would_get_alone() -> Result<()> {
    let Some(network) = trained()? else {
        return Ok(());
    };
    let input = pictures(&network, 2)?;
    let stages = stages(&network)?;
    let targets = vec![Target::Predicted; input.size()[0] as usize];
    let batch = stages.capture(&input, &[LAYER])?;
    let gradients = batch.gradients(&targets)?;
    let of_batch = gradients.at(LAYER)?;
    for method in GradientMethod::ALL {
        let mut worst = [0f64; 2];
        let both = |at: &AtLayer<'_>| -> Result<[Maps; 2]> { Ok([method.maps(at)?, eigen_smoothing(method, at)?]) };
        let maps = both(&of_batch)?;
        for sample in 0..input.size()[0] {
            let capture = stages.capture(&input.narrow(0, sample, 1), &[LAYER])?;
            let gradients = capture.gradients(&targets[..1])?;
            for ((worst, maps), alone) in worst.iter_mut().zip(&maps).zip(both(&gradients.at(LAYER)?)?) {
                let expected = maps.tensor().narrow(0, sample, 1);
                *worst = worst.max(largest(&(alone.tensor() - &expected)) / largest(&expected));
            }
        }
        eprintln!(
            "{method}: {:.1e} of the largest value, smooth {:.1e}",
            worst[0], worst[1]
        );
        ensure!(worst[0] <= 1e-6 && worst[1] <= 1e-6, "{method}: {worst:?}");
    }
    Ok(())
}
