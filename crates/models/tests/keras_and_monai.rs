//! The networks that follow Keras and MONAI against these, from the files that `goldens/make_keras.py` and
//! `goldens/make_monai.py` wrote: every stage in evaluation mode at an even and an odd size, and the gradients there where
//! the network branches across stages; logits, loss, gradients and running statistics in training mode; the loss after a
//! step of gradient descent.

#[path = "goldens/formula.rs"]
mod formula;
#[path = "goldens/single_precision.rs"]
mod single_precision;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use models::{Architecture, Network, NetworkConfig, Output, UNetNorm};
use tch::{Device, Kind, Reduction, Tensor};

/// Of the largest of the numbers compared: single precision against double, through up to some two hundred layers.
const SINGLE: f64 = 1e-5;
/// The same in double precision on both sides. Training in single precision has tolerances of its own: the variances of
/// few values blow rounding up, and rounding decides on which side of zero a number close to it falls, and with it a
/// ReLU's gradient.
const DOUBLE: f64 = 1e-9;

struct Golden {
    network: String,
    tensors: BTreeMap<String, Tensor>,
}

impl Golden {
    fn read(name: &str) -> Self {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/goldens/{name}.safetensors"));
        Self {
            network: name.to_owned(),
            tensors: Tensor::read_safetensors(path).unwrap().into_iter().collect(),
        }
    }

    fn numbers(&self, key: &str) -> Vec<f64> {
        let tensor = self
            .tensors
            .get(key)
            .unwrap_or_else(|| panic!("{} has no {key}", self.network));
        (&tensor.flatten(0, -1)).try_into().unwrap()
    }

    /// The input sizes, as in the keys, of the keys with `.part` after the size.
    fn keys(&self, part: &str) -> BTreeMap<String, Vec<String>> {
        let mut found = BTreeMap::<_, Vec<_>>::new();
        for key in self.tensors.keys() {
            if let Some((size, name)) = key.split_once(part) {
                found.entry(size.to_owned()).or_default().push(name.to_owned());
            }
        }
        found
    }

    /// The largest difference as a fraction of the largest expected number (or of `scale`, if that is larger).
    fn compare(&self, what: &str, found: &[f64], expected: &[f64], scale: f64, tolerance: f64) -> f64 {
        assert_eq!(found.len(), expected.len(), "{} {what}", self.network);
        let scale = expected.iter().fold(scale, |scale, value| scale.max(value.abs()));
        let difference = found
            .iter()
            .zip(expected)
            .map(|(found, expected)| (found - expected).abs() / scale)
            .fold(0.0, f64::max);
        assert!(
            difference <= tolerance,
            "{} {what}: relative difference {difference:.1e}, found {found:?}, expected {expected:?}",
            self.network
        );
        difference
    }
}

fn extents(size: &str) -> Vec<i64> {
    size.split('x').map(|extent| extent.parse().unwrap()).collect()
}

fn network(config: &NetworkConfig, golden: &Golden, kind: Kind) -> Network {
    let network = config.clone().with_classes(10).build(Device::Cpu).unwrap();
    formula::fill(&network, golden.numbers("gain")[0]).unwrap();
    tch::no_grad(|| {
        for (_, mut variable) in network.variables().variables() {
            variable.set_data(&variable.to_kind(kind));
        }
    });
    network
}

fn batch(network: &Network, count: i64, size: &str) -> Tensor {
    formula::images(&[&[count, network.input().channels()], extents(size).as_slice()].concat()).unwrap()
}

fn evaluation(config: &NetworkConfig, golden: &Golden, kind: Kind, tolerance: f64) {
    let network = network(config, golden, kind);
    let name = &golden.network;
    let sizes = golden.keys(".stage.");
    assert_eq!(sizes.len(), 2);
    for (size, names) in sizes {
        let mut stages: Vec<_> = network.stages().iter().map(|stage| stage.name()).collect();
        stages.sort();
        assert_eq!(stages, names);
        let mut x = batch(&network, 2, &size).to_kind(kind);
        let mut carried = Vec::new();
        let mut worst = 0f64;
        assert_eq!(network.architecture().output() == Output::Pixels, name.contains("unet"));
        for stage in network.stages() {
            x = tch::no_grad(|| stage.forward_carrying(&x, &mut carried)).unwrap();
            let found = formula::numbers(stage.name(), &x).unwrap();
            let expected = golden.numbers(&format!("{size}.stage.{}", stage.name()));
            let what = format!("{size} {}", stage.name());
            worst = worst.max(golden.compare(&what, &found, &expected, 0.0, tolerance));
        }
        assert!(carried.is_empty(), "{name}: something is carried past the logits");
        println!("{name} {size} in {kind:?}: relative difference {worst:.1e}");
    }
}

/// At stages of networks that branch across stages: along every way from there to the logits, with what is carried past
/// held fixed.
fn gradients(config: &NetworkConfig, golden: &Golden) {
    let network = network(config, golden, Kind::Double);
    for (size, names) in golden.keys(".gradient.") {
        // Those of training have no size before.
        if size == "train" {
            continue;
        }
        let mut worst = 0f64;
        for name in names {
            let mut x = batch(&network, 2, &size).to_kind(Kind::Double);
            let (mut carried, mut output) = (Vec::new(), None);
            for stage in network.stages() {
                let _no_grad = output.is_none().then(tch::no_grad_guard);
                x = stage.forward_carrying(&x, &mut carried).unwrap();
                if stage.name() == name {
                    x = x.detach().set_requires_grad(true);
                    output = Some(x.shallow_clone());
                }
            }
            // Each sample's class has the same region as the other's.
            let chosen: Vec<Tensor> = (0..2)
                .map(|sample| x.select(0, sample).select(0, formula::labels(2).int64_value(&[sample])))
                .collect();
            let chosen = Tensor::stack(&chosen, 0);
            let score = (&chosen * region(&chosen.size()[1..])).sum(Kind::Double);
            let gradient = Tensor::run_backward(&[score], &[output.unwrap()], false, false).remove(0);
            let found = formula::numbers(&name, &gradient).unwrap();
            let expected = golden.numbers(&format!("{size}.gradient.{name}"));
            let what = format!("{size} gradient at {name}");
            worst = worst.max(golden.compare(&what, &found, &expected, 0.0, DOUBLE));
        }
        println!("{} {size} gradients: relative difference {worst:.1e}", golden.network);
    }
}

/// Every third place, along diagonals; all there is of a class.
fn region(space: &[i64]) -> Tensor {
    let &[rows, columns, ..] = space else {
        return Tensor::ones(space, (Kind::Double, Device::Cpu));
    };
    let along = |count: i64, shape: &[i64]| Tensor::arange(count, (Kind::Int64, Device::Cpu)).view(shape);
    let places: Tensor = along(rows, &[-1, 1]) + along(columns, &[1, -1]) * 2;
    let mut shape = vec![rows, columns];
    shape.resize(space.len(), 1);
    places.remainder(3).eq(0).to_kind(Kind::Double).view(shape.as_slice())
}

fn training(config: &NetworkConfig, golden: &Golden, kind: Kind) {
    let network = network(config, golden, kind);
    let name = &golden.network;
    let (size, _) = golden.keys(".logits").pop_first().unwrap();
    let size = size.strip_prefix("train.").unwrap();
    let input = batch(&network, 4, size).to_kind(kind);
    let forward = || {
        let logits = network.forward_t(&input, true).unwrap();
        // A map has the same class in every pixel.
        let mut shape = logits.size();
        shape.remove(1);
        let mut targets = vec![4];
        targets.resize(shape.len(), 1);
        let targets = formula::labels(4).view(targets.as_slice()).expand(&shape, false);
        let loss = logits.cross_entropy_loss(&targets, None::<Tensor>, Reduction::Mean, -100, 0.0);
        (logits, loss)
    };
    let (logits, loss) = forward();
    loss.backward();
    let mut worst = 0f64;
    let mut compare = |quantity: &str, what: &str, found: &[f64], expected: &[f64], scale| {
        let tolerance = match kind {
            Kind::Double => DOUBLE,
            _ => single_precision::tolerance(name, quantity),
        };
        let what = format!("{what} in {kind:?}");
        worst = worst.max(golden.compare(&what, found, expected, scale, tolerance));
    };

    let found: Vec<f64> = match logits.dim() {
        2 => (&logits.to_kind(Kind::Double).flatten(0, -1)).try_into().unwrap(),
        _ => formula::numbers("logits", &logits).unwrap(),
    };
    let expected = golden.numbers(&format!("train.{size}.logits"));
    compare("logits", "logits", &found, &expected, 0.0);

    let variables: BTreeMap<String, Tensor> = network.variables().variables().into_iter().collect();
    let rms = |tensor: &Tensor| {
        let values: Vec<f64> = (&tensor.to_kind(Kind::Double).contiguous().flatten(0, -1))
            .try_into()
            .unwrap();
        formula::root_mean_square(&values)
    };
    let running: Vec<f64> = variables
        .iter()
        .filter(|(name, _)| name.contains(".running_"))
        .map(|(_, tensor)| rms(tensor))
        .collect();
    // U-Nets with instance norms have none.
    let expected = match golden.tensors.contains_key("train.running") {
        true => golden.numbers("train.running"),
        false => Vec::new(),
    };
    assert_eq!(running.len(), expected.len(), "{name}");
    for (found, expected) in running.iter().zip(expected) {
        compare("running", "running statistics", &[*found], &[expected], 0.0);
    }

    let trained: Vec<_> = variables.iter().filter(|(_, tensor)| tensor.requires_grad()).collect();
    let expected = golden.numbers("train.gradients");
    assert_eq!(trained.len(), expected.len());
    // What a norm takes out again has no gradient but of rounding: it is measured by the others' size.
    let floor = 1e-2 * expected.iter().copied().fold(0.0, f64::max);
    for ((name, variable), expected) in trained.iter().zip(expected) {
        let what = format!("gradient of {name}");
        compare("gradients", &what, &[rms(&variable.grad())], &[expected], floor);
        if golden.tensors.contains_key(&format!("train.gradient.{name}")) {
            let found = formula::numbers(name, &variable.grad()).unwrap();
            let expected = golden.numbers(&format!("train.gradient.{name}"));
            compare("gradients", &what, &found, &expected, floor);
        }
    }

    tch::no_grad(|| {
        for (_, variable) in &trained {
            let _ = variable
                .shallow_clone()
                .f_sub_(&(variable.grad() * formula::LEARNING_RATE))
                .unwrap();
        }
    });
    let expected = golden.numbers("train.loss");
    assert_eq!(expected.len(), 2);
    for (quantity, found, expected) in [
        ("loss", &loss, &expected[..1]),
        ("loss after a step", &forward().1, &expected[1..]),
    ] {
        compare(quantity, quantity, &[found.double_value(&[])], expected, 0.0);
    }
    println!("{name} training in {kind:?}: relative difference {worst:.1e}");
}

/// The smallest input is taken, and a smaller one refused by its size.
fn extremes(config: &NetworkConfig, golden: &Golden) {
    let network = network(config, golden, Kind::Float);
    let architecture = network.architecture();
    let least = architecture.least_extent();
    let input = |extent, last| {
        let mut shape = vec![1, network.input().channels()];
        shape.resize(1 + architecture.axes(), extent);
        shape.push(last);
        Tensor::zeros(shape.as_slice(), (Kind::Float, Device::Cpu))
    };
    let forward = |input| tch::no_grad(|| network.forward(&input));
    let longest = match architecture.output() {
        Output::Pixels if !golden.tensors.contains_key("train.running") => 2 * least,
        _ => least,
    };
    assert_eq!(forward(input(least, longest)).unwrap().size()[..2], [1, 10]);
    for (extent, last) in [(least, longest - 1), (least - 1, longest)] {
        let message = forward(input(extent, last)).unwrap_err().to_string();
        assert!(message.contains(&format!("extents of at least {least}")), "{message}");
        assert_eq!(
            message.contains(&format!("one of them at least {longest}")),
            longest > least
        );
    }
}

/// `name` is the golden's.
fn check(name: &str, config: &NetworkConfig) {
    let golden = Golden::read(name);
    extremes(config, &golden);
    evaluation(config, &golden, Kind::Float, SINGLE);
    evaluation(config, &golden, Kind::Double, DOUBLE);
    gradients(config, &golden);
    training(config, &golden, Kind::Float);
    training(config, &golden, Kind::Double);
}

/// With the width multiplier, narrower and wider.
#[test]
fn keras_mobilenet_v2_of_other_widths() {
    for width in [0.35, 1.4] {
        let config = NetworkConfig::new(Architecture::KerasMobileNetV2).with_width(width);
        check(&format!("keras_mobilenet_v2_width_{width}"), &config);
    }
}

#[test]
fn basic_unet_with_batch_norms() {
    let config = NetworkConfig::new(Architecture::BasicUNet2d).with_norm(UNetNorm::Batch);
    check("basic_unet_2d_batch_norm", &config);
}

#[test]
fn basic_unet_of_other_features() {
    let config = NetworkConfig::new(Architecture::BasicUNet2d).with_features([6, 9, 13, 20, 31, 10]);
    check("basic_unet_2d_features", &config);
}

macro_rules! tests {
    ($($name:ident => $architecture:ident,)*) => {
        const NETWORKS: &[&str] = &[$(stringify!($name)),*];

        $(
            #[test]
            fn $name() {
                assert_eq!(stringify!($name).parse::<Architecture>().unwrap(), Architecture::$architecture);
                check(stringify!($name), &NetworkConfig::new(Architecture::$architecture));
            }
        )*
    };
}

tests! {
    keras_xception => KerasXception,
    keras_inception_v3 => KerasInceptionV3,
    keras_densenet121 => KerasDenseNet121,
    keras_resnet50_v2 => KerasResNet50V2,
    keras_nasnet_mobile => KerasNasNetMobile,
    keras_mobilenet_v2 => KerasMobileNetV2,
    resnet10_3d => ResNet10_3d,
    resnet18_3d => ResNet18_3d,
    resnet34_3d => ResNet34_3d,
    resnet50_3d => ResNet50_3d,
    basic_unet_2d => BasicUNet2d,
    basic_unet_3d => BasicUNet3d,
}

/// Those that `torchvision.rs` finds no comparison of its own for.
#[test]
fn every_architecture_with_a_file_of_its_own_is_compared() {
    let goldens = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/goldens");
    let own = Architecture::ALL.into_iter().map(Architecture::name);
    let own: BTreeSet<&str> = own
        .filter(|name| goldens.join(format!("{name}.safetensors")).exists())
        .collect();
    assert_eq!(own, NETWORKS.iter().copied().collect());
}
