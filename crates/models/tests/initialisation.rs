//! Fresh variables of the networks that follow Keras and MONAI are drawn from what theirs are:
//! `goldens/make_initialisation.py` wrote the distribution of each. (torchvision's are in `torchvision.rs`.)

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use models::{Architecture, NetworkConfig};
use tch::{Device, Kind, Tensor};

/// Networks that are built, so that small variables have numbers enough.
const DRAWS: i64 = 3;
/// Standard errors that chance may make: once in a thousand million.
const LIKELY: f64 = 6.0;

/// What the reference draws a variable from.
#[derive(Debug, Clone, Copy)]
enum Distribution {
    Constant(f64),
    /// In ± this bound.
    Uniform(f64),
    /// Of this standard deviation.
    Normal(f64),
    /// Of this standard deviation, once what lies beyond two of the normal distribution's own is cut off.
    TruncatedNormal(f64),
}

impl Distribution {
    fn parse(name: &str, number: &str) -> Self {
        let number = number.parse().unwrap();
        match name {
            "constant" => Self::Constant(number),
            "uniform" => Self::Uniform(number),
            "normal" => Self::Normal(number),
            "truncated_normal" => Self::TruncatedNormal(number),
            _ => panic!("there is no distribution {name}"),
        }
    }

    fn deviation(self) -> f64 {
        match self {
            Self::Constant(_) => 0.0,
            Self::Uniform(bound) => bound / 3_f64.sqrt(),
            Self::Normal(deviation) | Self::TruncatedNormal(deviation) => deviation,
        }
    }

    /// Where the numbers end.
    fn end(self) -> f64 {
        match self {
            Self::Constant(value) => value.abs(),
            Self::Uniform(bound) => bound,
            Self::Normal(_) => f64::INFINITY,
            Self::TruncatedNormal(deviation) => 2.0 * deviation / 0.879_625_661_034_239_8,
        }
    }

    /// How probable it is that a number lies within one standard deviation.
    fn within(self) -> f64 {
        match self {
            Self::Constant(_) => 1.0,
            Self::Uniform(_) => 3_f64.sqrt().recip(),
            // erf(1 / √2), and erf(0.8796… / √2) / erf(√2).
            Self::Normal(_) => 0.682_689_492,
            Self::TruncatedNormal(_) => 0.650_537_495,
        }
    }
}

/// Of all numbers that a variable was given.
#[derive(Debug, Default)]
struct Drawn {
    count: f64,
    sum: f64,
    squares: f64,
    within: f64,
    largest: f64,
}

impl Drawn {
    fn add(&mut self, variable: &Tensor, deviation: f64) {
        let values = variable.detach().to_kind(Kind::Double);
        let sum = |values: &Tensor| values.sum(Kind::Double).double_value(&[]);
        self.count += values.numel() as f64;
        self.sum += sum(&values);
        self.squares += sum(&values.square());
        self.within += sum(&values.abs().le(deviation));
        self.largest = self.largest.max(values.abs().max().double_value(&[]));
    }

    fn check(&self, what: &str, distribution: Distribution) {
        let (count, deviation, end) = (self.count, distribution.deviation(), distribution.end());
        let mean = self.sum / count;
        let spread = (self.squares / count - mean * mean).max(0.0).sqrt();
        let error = deviation / count.sqrt();
        assert!(mean.abs() <= LIKELY * error, "{what}: mean {mean}, {distribution:?}");
        assert!(
            (spread - deviation).abs() <= LIKELY * error,
            "{what}: spread {spread}, {distribution:?}"
        );
        let probability = distribution.within();
        let error = (probability * (1.0 - probability) / count).sqrt();
        assert!(
            (self.within / count - probability).abs() <= LIKELY * error,
            "{what}: {} of {count} within one standard deviation, {distribution:?}",
            self.within
        );
        // Single precision rounds the ends. Of as many numbers, one comes as close to them as this but once in 10⁹.
        let ends = end * (1.0 - 100.0 / count)..=end * (1.0 + 1e-6);
        assert!(
            end.is_infinite() || ends.contains(&self.largest),
            "{what}: largest {} of {count}, {distribution:?} ends at {end}",
            self.largest
        );
    }
}

fn check(architecture: Architecture) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/goldens/initialisation/{architecture}.tsv"));
    let table = fs::read_to_string(path).unwrap();
    let expected: BTreeMap<&str, Distribution> = table
        .lines()
        .map(|line| {
            let mut columns = line.split('\t');
            let mut next = || columns.next().unwrap();
            (next(), Distribution::parse(next(), next()))
        })
        .collect();
    let mut drawn = BTreeMap::<&str, Drawn>::new();
    for seed in 0..DRAWS {
        tch::manual_seed(seed);
        let network = NetworkConfig::new(architecture)
            .with_classes(10)
            .build(Device::Cpu)
            .unwrap();
        let variables: BTreeMap<_, _> = network.variables().variables().into_iter().collect();
        assert!(variables.keys().eq(expected.keys()), "{architecture}: other variables");
        for ((name, distribution), variable) in expected.iter().zip(variables.values()) {
            match distribution {
                Distribution::Constant(value) => {
                    let same = variable.eq(*value).all();
                    assert_eq!(same, Tensor::from(true), "{architecture} {name}: {distribution:?}");
                }
                _ => drawn.entry(name).or_default().add(variable, distribution.deviation()),
            }
        }
    }
    assert!(!drawn.is_empty());
    for (name, drawn) in drawn {
        drawn.check(&format!("{architecture} {name}"), expected[name]);
    }
}

/// One after the other, since libtorch has one generator for all threads.
#[test]
fn fresh_variables_are_of_the_reference_s_distributions() {
    let goldens = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/goldens");
    let mut checked = 0;
    for architecture in Architecture::ALL {
        // torchvision's networks share files by family.
        if goldens.join(format!("{architecture}.safetensors")).exists() {
            check(architecture);
            checked += 1;
        }
    }
    assert_eq!(checked, fs::read_dir(goldens.join("initialisation")).unwrap().count());
}
