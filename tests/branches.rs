//! Networks of `models` that branch across stages: the gradients that a capture finds at their blocks against those that
//! MONAI's and Keras's networks have there, from the goldens of `crates/models`. Also in one rebuilt for inference, which
//! has the same stages.

// The other half of it is for training.
#[allow(dead_code)]
#[path = "../crates/models/tests/goldens/formula.rs"]
mod formula;

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context, Result, bail, ensure};
use gradcam_core::{Capture, Content, Probe, Stage, Stages, Target, ablation_cam, grad_cam};
use models::{Architecture, InferenceConfig, Network, NetworkConfig, Output};
use ndarray::{ArrayD, IxDyn};
use tch::{Device, Kind, Tensor};

/// Of the largest number, in double precision on both sides. A network rebuilt for inference puts out single precision.
const DOUBLE: f64 = 1e-9;
const REBUILT: f64 = 1e-5;
/// Of a map's largest value. Scores are of single precision, and the weights small differences of them.
const ABLATED: f64 = 1e-5;

fn stages(network: &Network) -> Result<Stages<'_>> {
    let stages = network.stages().iter();
    let stages = stages.map(|stage| Stage::carrying(stage.name(), |x, carried| stage.forward_carrying(x, carried)));
    Ok(Stages::new(stages.collect())?.with_fused(|range, x, carried| network.forward_stages(range, x, carried)))
}

fn numbers(tensor: &Tensor) -> Result<Vec<f64>> {
    Ok((&tensor.to_kind(Kind::Double).flatten(0, -1)).try_into()?)
}

/// The class that goes with each sample: of a segmentation in every third place, along diagonals.
fn targets(output: Output, space: &[usize]) -> Result<Vec<Target>> {
    let region = ArrayD::from_shape_fn(IxDyn(space), |place| (place[0] + 2 * place[1]).is_multiple_of(3));
    let classes = Vec::<i64>::try_from(formula::labels(2))?;
    Ok(classes
        .into_iter()
        .map(|class| match output {
            Output::Image => Target::Class(class),
            Output::Pixels => Target::region(class, region.view()),
        })
        .collect())
}

fn check(architecture: Architecture) -> Result<()> {
    let file = format!("crates/models/tests/goldens/{architecture}.safetensors");
    let golden: BTreeMap<String, Tensor> = Tensor::read_safetensors(Path::new(env!("CARGO_MANIFEST_DIR")).join(&file))?
        .into_iter()
        .collect();
    let network = NetworkConfig::new(architecture).with_classes(10).build(Device::Cpu)?;
    formula::fill(&network, numbers(&golden["gain"])?[0])?;
    tch::no_grad(|| {
        for (_, mut variable) in network.variables().variables() {
            variable.set_data(&variable.to_kind(Kind::Double));
        }
    });
    let rebuilt = network.optimize_for_inference(&InferenceConfig::default().with_kind(Kind::Double))?;

    let keys = golden.keys().filter_map(|key| key.split_once(".gradient."));
    let keys = keys.filter(|(size, _)| *size != "train");
    let (size, _) = keys.clone().next().context("a gradient")?;
    let layers: Vec<&str> = keys
        .filter(|(other, _)| *other == size)
        .map(|(_, layer)| layer)
        .collect();
    let space: Vec<usize> = size.split('x').map(str::parse).collect::<Result<_, _>>()?;
    let extents: Vec<i64> = space.iter().map(|&extent| extent as i64).collect();
    let images =
        formula::images(&[&[2, network.input().channels()], extents.as_slice()].concat())?.to_kind(Kind::Double);
    let targets = targets(architecture.output(), &space)?;
    for (network, tolerance) in [(&network, DOUBLE), (&rebuilt, REBUILT)] {
        let stages = stages(network)?;
        let capture = stages.capture(&images, &layers)?;
        let gradients = capture.gradients(&targets)?;
        let mut worst = 0f64;
        for layer in &layers {
            let found = formula::numbers(layer, gradients.at(layer)?.gradients())?;
            let expected = numbers(&golden[&format!("{size}.gradient.{layer}")])?;
            let scale = expected.iter().fold(0f64, |most, value| most.max(value.abs()));
            ensure!(found.len() == expected.len(), "{architecture} {layer}: {}", found.len());
            let pairs = found.iter().zip(&expected);
            let difference = pairs
                .map(|(found, expected)| (found - expected).abs())
                .fold(0.0, f64::max)
                / scale;
            ensure!(difference <= tolerance, "{architecture} {layer}: {difference:e}");
            worst = worst.max(difference);
        }
        eprintln!("{architecture} {size}: relative difference {worst:.1e}");
    }

    // What a gradient does not tell: the tail on altered copies, beside what is carried past the layer.
    let layer = layers[layers.len() / 2];
    let stages = stages(&network)?;
    let capture = stages.capture(&images, &layers)?;
    let heat = grad_cam(&capture.gradients(&targets)?.at(layer)?)?.heatmaps(&extents)?;
    ensure!(
        heat.contents().contains(&Content::Graded),
        "{architecture} {layer}: empty maps"
    );
    if space.len() == 2 {
        let mut beside = Vec::new();
        for &layer in &layers {
            if !capture.carried(layer)?.is_empty() {
                beside.push((capture.activations(layer)?.size()[1], layer));
            }
        }
        let &(_, layer) = beside.iter().min().context("a layer that something is carried past")?;
        let expected = ablated(&stages, &capture, layer, &targets)?;
        let largest = |tensor: &Tensor| tensor.abs().max().double_value(&[]);
        let scale = largest(&expected);
        ensure!(scale > 0.0, "{architecture} {layer}: no channel counts");
        // What speaks for the target, and what against it.
        let against: Vec<Target> = targets.iter().cloned().map(Target::counterfactual).collect();
        for (targets, expected) in [(&targets, &expected), (&against, &-&expected)] {
            let probe = Probe::from_capture(&stages, &images, &capture, targets)?;
            let found = ablation_cam(&probe, layer)?;
            ensure!(found.tensor().size() == expected.size());
            let difference = largest(&(found.tensor() - expected.relu())) / scale;
            eprintln!("{architecture} {layer}: Ablation-CAM {difference:.1e}");
            ensure!(
                difference <= ABLATED,
                "{architecture} {layer}: Ablation-CAM {difference:e}"
            );
        }
    }
    Ok(())
}

/// Ablation-CAM of the whole batch before it is cut at zero, one channel after the other.
fn ablated(stages: &Stages<'_>, capture: &Capture, layer: &str, targets: &[Target]) -> Result<Tensor> {
    let activations = capture.activations(layer)?;
    let _no_grad = tch::no_grad_guard();
    let scores = |logits: Tensor| {
        let scores = (0i64..).zip(targets).map(|(sample, target)| {
            let logits = logits.get(sample);
            Ok(match target {
                Target::Class(class) => logits.get(*class),
                Target::Region { class, region } => {
                    let marked = region.iter().map(|&marked| f64::from(u8::from(marked)));
                    let marked = Tensor::from_slice(&marked.collect::<Vec<_>>());
                    (logits.get(*class).flatten(0, -1) * marked).sum(Kind::Double)
                }
                other => bail!("{other:?}"),
            })
        });
        anyhow::Ok(Tensor::stack(&scores.collect::<Result<Vec<_>>>()?, 0))
    };
    let whole = scores(capture.logits().shallow_clone())?;
    let mut map = activations.select(1, 0).zeros_like();
    for channel in 0..activations.size()[1] {
        let without = activations.copy();
        let _ = without.select(1, channel).zero_();
        let without = stages.forward_from_carrying(layer, &without, capture.carried(layer)?)?;
        let weights = (&whole - scores(without)?).view([-1, 1, 1]);
        map += weights * activations.select(1, channel);
    }
    Ok(map)
}

#[test]
fn pictures_u_net() -> Result<()> {
    check(Architecture::BasicUNet2d)
}

#[test]
fn volumes_u_net() -> Result<()> {
    check(Architecture::BasicUNet3d)
}

#[test]
fn nasnet() -> Result<()> {
    check(Architecture::KerasNasNetMobile)
}
