//! Every network that torchvision has, against torchvision's own: `goldens/make_torchvision.py` wrote what it computes.

#[path = "goldens/single_precision.rs"]
mod single_precision;
#[path = "goldens/uniform.rs"]
mod uniform;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use models::{Architecture, Network, NetworkConfig};
use tch::{Device, Kind, Reduction, Tensor};
use uniform::uniform;

/// Of the largest number of a tensor: single precision through up to two hundred layers, against double.
const EVALUATED: f64 = 1e-5;
/// Of the largest number of a tensor: double precision against double. Batch norms of few values make single precision
/// too coarse for some networks to tell a mistake from rounding; it has tolerances of its own.
const TRAINED: f64 = 1e-9;

const LEARNING_RATE: f64 = 0.01;
const IMAGES: [i64; 4] = [2, 3, 65, 80];

fn tensor(shape: &[i64], scale: f64, shift: f64, name: &str) -> Tensor {
    let count = shape.iter().product::<i64>() as usize;
    let values: Vec<f32> = uniform(name, count).map(|u| (shift + scale * u) as f32).collect();
    Tensor::from_slice(&values).view(shape)
}

/// The last scale of a residual branch.
fn ends_branch(name: &str) -> bool {
    [
        "bn2.weight",
        "bn3.weight",
        "conv.2.weight",
        "conv.3.weight",
        "block.2.1.weight",
        "block.3.1.weight",
        "f.c.1.weight",
        "layer_scale",
    ]
    .iter()
    .any(|end| name.ends_with(end))
}

/// Layers with inputs keep the variance behind a ReLU; what is added to a sum is a third of it, lest it grow.
fn fill(network: &Network) {
    let _no_grad = tch::no_grad_guard();
    // Only numbers above six tell a ReLU6 from a ReLU.
    let norms = match network.architecture() {
        Architecture::MobileNetV2 => 1.7,
        _ => 1.0,
    };
    for (name, mut variable) in network.variables().variables() {
        let shape = variable.size();
        let (scale, shift) = if ends_branch(&name) && variable.numel() as i64 == shape[0] {
            (0.06, 0.3)
        } else if shape.len() >= 2 {
            ((6.0 / shape[1..].iter().product::<i64>() as f64).sqrt(), 0.0)
        } else if name.ends_with("weight") {
            (0.2 * norms, norms)
        } else if name.ends_with("running_var") {
            (0.2, 1.0)
        } else {
            (0.1, 0.0)
        };
        variable.copy_(&tensor(&shape, scale, shift, &name));
    }
}

/// Mean, root mean square, largest magnitude, and 16 values at places by formula.
fn sample(tensor: &Tensor) -> Vec<f64> {
    let flat = tensor.detach().reshape([-1]).to_kind(Kind::Double);
    let places: Vec<i64> = uniform("places", 16)
        .map(|u| ((u + 1.0) / 2.0 * flat.numel() as f64).floor() as i64)
        .collect();
    let mut values = vec![
        flat.mean(None).double_value(&[]),
        flat.square().mean(None).sqrt().double_value(&[]),
        flat.abs().max().double_value(&[]),
    ];
    values.extend(Vec::<f64>::try_from(flat.index_select(0, &Tensor::from_slice(&places))).unwrap());
    values
}

fn path(family: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/goldens/torchvision/{family}.safetensors"))
}

struct Golden(BTreeMap<String, Tensor>);

impl Golden {
    fn read(family: &str, network: &str) -> Self {
        let prefix = format!("{network}/");
        let tensors = Tensor::read_safetensors(path(family)).unwrap();
        let own = tensors
            .into_iter()
            .filter_map(|(key, value)| Some((key.strip_prefix(&prefix)?.to_owned(), value)));
        let own = Self(own.collect());
        assert!(!own.0.is_empty(), "{family} holds no {network}");
        own
    }

    fn values(&self, key: &str) -> Vec<f64> {
        Vec::try_from(self.0[key].reshape([-1])).unwrap()
    }

    /// The part of the keys behind this prefix.
    fn names(&self, prefix: &str) -> Vec<&str> {
        self.0.keys().filter_map(|key| key.strip_prefix(prefix)).collect()
    }
}

/// The largest difference, as a part of the largest number or of `scale`, if that is larger.
fn difference(found: &[f64], expected: &[f64], scale: f64) -> f64 {
    assert_eq!(found.len(), expected.len());
    assert!(
        found.iter().chain(expected).all(|value| value.is_finite()),
        "{found:?} {expected:?}"
    );
    let largest = expected.iter().fold(scale, |largest, value| largest.max(value.abs()));
    let apart = found.iter().zip(expected).map(|(a, b)| (a - b).abs());
    apart.fold(0.0, f64::max) / largest
}

struct Worst(f64);

impl Worst {
    fn note(&mut self, what: &str, found: &[f64], expected: &[f64], scale: f64, tolerance: f64) {
        let apart = difference(found, expected, scale);
        assert!(apart <= tolerance, "{what}: {apart:e}\n{found:?}\n{expected:?}");
        self.0 = self.0.max(apart);
    }
}

/// `name` is the golden's.
fn compare(family: &str, name: &str, config: NetworkConfig) {
    let golden = Golden::read(family, name);
    let build = || {
        config
            .clone()
            .with_classes(10)
            .with_dropout(0.0)
            .with_stochastic_depth(0.0)
            .build(Device::Cpu)
            .unwrap()
    };
    let network = build();
    let architecture = network.architecture();
    begins_alike(name, &network, &golden);
    fill(&network);
    let facts = golden.values("facts");
    assert_eq!(network.parameters() as f64, facts[0], "{name}: parameters");
    let shape = [&[1], &IMAGES[1..]].concat();
    let description = network.describe(&shape).unwrap();
    assert_eq!(
        description.parameters(),
        network.parameters(),
        "{name}: no stage owns some"
    );
    assert_eq!(description.multiply_adds() as f64, facts[1], "{name}: multiply-adds");
    assert_eq!(architecture.least_extent() as f64, facts[2], "{name}: least extent");
    assert_eq!(architecture.input().size as f64, facts[3], "{name}: size");
    let least = architecture.least_extent();
    let smallest = Tensor::zeros([1, 3, least, least], (Kind::Float, Device::Cpu));
    let images = tensor(&IMAGES, 1.0, 0.0, "input");
    let mut evaluated = Worst(0.0);
    {
        let _no_grad = tch::no_grad_guard();
        assert_eq!(network.forward(&smallest).unwrap().size(), [1, 10]);
        let logits = Vec::try_from(network.forward(&images).unwrap().to_kind(Kind::Double).reshape([-1])).unwrap();
        evaluated.note(
            &format!("{name} logits"),
            &logits,
            &golden.values("logits"),
            0.0,
            EVALUATED,
        );
        let mut seen = 0;
        let mut x = images.shallow_clone();
        for stage in network.stages() {
            x = stage.forward(&x).unwrap();
            let key = format!("stages/{}", stage.name());
            if golden.0.contains_key(&key) {
                evaluated.note(
                    &format!("{name} {key}"),
                    &sample(&x),
                    &golden.values(&key),
                    0.0,
                    EVALUATED,
                );
                seen += 1;
            } else {
                // What torchvision does by a function, not by a module.
                assert!(["flatten", "relu", "avgpool"].contains(&stage.name()), "{name} {key}");
            }
        }
        assert_eq!(
            seen,
            golden.names("stages/").len(),
            "{name}: some modules are no stages"
        );
    }
    let single = trains_alike(name, &network, &images, &golden);
    drop(network);
    let network = build();
    fill(&network);
    network.variables().root().double();
    let double = trains_alike(name, &network, &images.to_kind(Kind::Double), &golden);
    eprintln!(
        "{name}: evaluated {:.1e}, trained {:.1e} in single precision, {:.1e} in double",
        evaluated.0, single.0, double.0
    );
}

/// Fresh variables: the same numbers where they are constant, else the same spread, within six standard errors of it.
fn begins_alike(network_name: &str, network: &Network, golden: &Golden) {
    let variables = network.variables().variables();
    for name in golden.names("init/") {
        let expected = golden.values(&format!("init/{name}"));
        let variable = variables[name].detach().to_kind(Kind::Double).reshape([-1]);
        let mean = variable.mean(None).double_value(&[]);
        let spread = (variable.square().mean(None).double_value(&[]) - mean * mean)
            .max(0.0)
            .sqrt();
        let [expected_mean, expected_spread, least, largest] = expected[..] else {
            panic!("{name}: {expected:?}");
        };
        let what = format!("{network_name} {name}: mean {mean}, spread {spread}, expected {expected:?}");
        if least == largest {
            assert!((mean - least).abs() <= 1e-7 * least.abs() && spread <= 1e-7, "{what}");
            continue;
        }
        let count = variable.numel() as f64;
        let error = expected_spread * (2.0 / count).sqrt();
        assert!((mean - expected_mean).abs() <= 6.0 * error, "{what}");
        assert!((spread - expected_spread).abs() <= 6.0 * error, "{what}");
        // Uniform numbers end where they end; normal ones go further the more there are.
        let bound = expected_spread * 3f64.sqrt();
        let uniform = |values: &[f64]| {
            values
                .iter()
                .all(|value| value.abs() <= bound * (1.0 + 6.0 / count.sqrt()))
        };
        let ends = [variable.min().double_value(&[]), variable.max().double_value(&[])];
        assert_eq!(uniform(&ends), uniform(&[least, largest]), "{what} {ends:?}");
    }
}

/// Copies of all that is not trained.
fn statistics(network: &Network) -> BTreeMap<String, Tensor> {
    let variables = network.variables().variables().into_iter();
    variables
        .filter(|(_, variable)| !variable.requires_grad())
        .map(|(name, variable)| (name, variable.copy()))
        .collect()
}

/// One step of gradient descent, in the precision of the images and variables.
fn trains_alike(name: &str, network: &Network, images: &Tensor, golden: &Golden) -> Worst {
    let variables = network.variables().variables();
    let labels = Tensor::from_slice(&[3i64, 7]);
    let loss = |logits: &Tensor| logits.cross_entropy_loss::<Tensor>(&labels, None, Reduction::Mean, -100, 0.0);
    let mut worst = Worst(0.0);
    let kind = images.kind();
    let gradients = golden.names("train/gradients/").into_iter();
    let gradients = gradients.flat_map(|name| golden.values(&format!("train/gradients/{name}")));
    // What a norm takes out again has no gradient but of rounding: it is measured by the others' size.
    let floor = 1e-2 * gradients.fold(0.0, |largest: f64, value| largest.max(value.abs()));
    let mut note = |quantity: &str, what: &str, found: &[f64], expected: &[f64]| {
        let (scale, tolerance) = match (kind, quantity) {
            (Kind::Double, _) => (0.0, TRAINED),
            (_, "gradients") => (floor, single_precision::tolerance(name, quantity)),
            _ => (0.0, single_precision::tolerance(name, quantity)),
        };
        let message = format!("{name} {what} in {kind:?}");
        worst.note(&message, found, expected, scale, tolerance);
    };

    let start = statistics(network);
    let logits = network.forward_t(images, true).unwrap();
    let once = statistics(network);
    let values = Vec::try_from(logits.detach().to_kind(Kind::Double).reshape([-1])).unwrap();
    note("logits", "train/logits", &values, &golden.values("train/logits"));
    for name in golden.names("train/buffers/") {
        let key = format!("train/buffers/{name}");
        note("running", &key, &sample(&variables[name]), &golden.values(&key));
    }
    let before = loss(&logits);
    before.backward();
    for name in golden.names("train/gradients/") {
        let key = format!("train/gradients/{name}");
        note(
            "gradients",
            &key,
            &sample(&variables[name].grad()),
            &golden.values(&key),
        );
    }
    let _no_grad = tch::no_grad_guard();
    if kind == Kind::Double {
        // The same batch again moves the running statistics by 1 − momentum of what it moved them by the first time. Some
        // are compared with torchvision's own above; this holds all the others to the same momentum.
        let _ = network.forward_t(images, true).unwrap();
        let twice = statistics(network);
        let apart = |a: &Tensor, b: &Tensor| (a - b).norm().double_value(&[]);
        let ratio = |key: &String| apart(&twice[key], &once[key]) / apart(&once[key], &start[key]);
        let first = once.keys().next().map(ratio);
        for key in once.keys() {
            let (found, expected) = (ratio(key), first.unwrap());
            assert!(
                (found - expected).abs() <= TRAINED,
                "{name} {key}: {found} stays, not {expected}"
            );
        }
    }
    for mut variable in network.variables().trainable_variables() {
        let step = variable.grad() * LEARNING_RATE;
        let _ = variable.subtract_(&step);
    }
    let after = loss(&network.forward_t(images, true).unwrap());
    let losses = golden.values("train/losses");
    note(
        "loss",
        "loss before the step",
        &[before.double_value(&[])],
        &losses[..1],
    );
    note(
        "loss after a step",
        "loss after the step",
        &[after.double_value(&[])],
        &losses[1..],
    );
    worst
}

/// How many of `count` are within six standard deviations of what the probability lets expect.
fn is_likely(dropped: usize, count: usize, probability: f64) -> bool {
    let (count, dropped) = (count as f64, dropped as f64);
    (dropped - count * probability).abs() <= 6.0 * (count * probability * (1.0 - probability)).sqrt()
}

/// As published, without [`NetworkConfig::with_dropout`] and [`NetworkConfig::with_stochastic_depth`].
#[test]
fn training_drops_as_often() {
    use Architecture::*;
    const SAMPLES: i64 = 3000;
    let mut checked = 0;
    for architecture in [
        AlexNet,
        Vgg11,
        SqueezeNet1_1,
        GoogLeNet,
        MobileNetV2,
        MobileNetV3Small,
        MobileNetV3Large,
        EfficientNetB0,
        EfficientNetB1,
        EfficientNetB2,
        EfficientNetB3,
        ConvNextTiny,
        ConvNextSmall,
    ] {
        let golden = Golden::read("chances", architecture.name());
        let network = NetworkConfig::new(architecture)
            .with_classes(2)
            .build(Device::Cpu)
            .unwrap();
        let shapes = network.describe(&[1, 3, 64, 64]).unwrap();
        // What a branch adds can be a millionth of its input.
        network.variables().root().double();
        let _no_grad = tch::no_grad_guard();
        let depths = golden.names("stochastic_depth/");
        for (place, stage) in network.stages().iter().enumerate() {
            let chance = |kind: &str| Some(golden.0.get(&format!("{kind}/{}", stage.name()))?.double_value(&[0]));
            if let Some(probability) = chance("dropout") {
                let ones = Tensor::ones([SAMPLES, 4], (Kind::Double, Device::Cpu));
                let dropped = stage
                    .forward_t(&ones, true)
                    .unwrap()
                    .eq(0.0)
                    .sum(Kind::Int64)
                    .int64_value(&[]);
                let likely = is_likely(dropped as usize, 4 * SAMPLES as usize, probability);
                assert!(likely, "{architecture} {}: {dropped} at {probability}", stage.name());
                checked += 1;
            }
            // The first and the last of the blocks stand for all between.
            let ends = [depths.first(), depths.last()].contains(&Some(&stage.name()));
            if let Some(probability) = chance("stochastic_depth").filter(|_| ends) {
                let channels = shapes.stages()[place - 1].shape()[1];
                let x = Tensor::arange(SAMPLES * channels, (Kind::Double, Device::Cpu))
                    .sin()
                    .view([SAMPLES, channels, 1, 1]);
                let y = stage.forward_t(&x, true).unwrap();
                let same = y.eq_tensor(&x).all_dims([1, 2, 3].as_slice(), false);
                let dropped = same.sum(Kind::Int64).int64_value(&[]) as usize;
                let likely = is_likely(dropped, SAMPLES as usize, probability);
                assert!(likely, "{architecture} {}: {dropped} at {probability}", stage.name());
                checked += 1;
            }
        }
    }
    assert_eq!(checked, 13 + 12, "dropouts and blocks");
}

/// The architectures of a file.
fn architectures(family: &str) -> BTreeSet<String> {
    let tensors = Tensor::read_safetensors(path(family)).unwrap();
    tensors
        .iter()
        .map(|(key, _)| key.split_once('/').unwrap().0.to_owned())
        .collect()
}

macro_rules! families {
    ($($name:ident,)*) => {
        const FAMILIES: &[&str] = &[$(stringify!($name)),*];

        $(
            #[test]
            fn $name() {
                for architecture in architectures(stringify!($name)) {
                    let config = NetworkConfig::new(architecture.parse().unwrap());
                    compare(stringify!($name), &architecture, config);
                }
            }
        )*
    };
}

families! {
    alexnet,
    vgg,
    squeezenet,
    resnet,
    densenet,
    googlenet,
    mobilenetv2,
    mobilenetv3,
    efficientnet,
    convnext,
    regnet,
}

/// Here or, where the file is one network's, in `keras_and_monai.rs`.
#[test]
fn every_architecture_is_compared_with_its_reference() {
    let mut compared: BTreeSet<String> = FAMILIES.iter().flat_map(|family| architectures(family)).collect();
    let goldens = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/goldens");
    let own = Architecture::ALL.into_iter().map(Architecture::name);
    compared.extend(
        own.filter(|name| goldens.join(format!("{name}.safetensors")).exists())
            .map(str::to_owned),
    );
    assert_eq!(
        compared,
        Architecture::ALL
            .map(|architecture| architecture.name().to_owned())
            .into()
    );
}

/// With the width multiplier, narrower and wider.
#[test]
fn mobilenets_of_other_widths() {
    for (architecture, width) in [
        (Architecture::MobileNetV2, 0.35),
        (Architecture::MobileNetV2, 1.4),
        (Architecture::MobileNetV3Small, 0.5),
        (Architecture::MobileNetV3Large, 1.3),
    ] {
        let config = NetworkConfig::new(architecture).with_width(width);
        compare("widths", &format!("{architecture}_width_{width}"), config);
    }
}
