//! Networks rebuilt for inference: the same logits from the same stages, in fewer and smaller variables.

use models::{Architecture, BatchNorms, InferenceConfig, MemoryLayout, ModelError, Network, NetworkConfig};
use tch::{Device, Kind, Tensor};

/// Of the largest output: two roundings of the weights more than the original has.
const FOLDED: f64 = 1e-4;
/// Of the largest output: sums in another order, which threads change too, through up to a hundred layers.
const ROUNDING: f64 = 5e-5;
/// Of the largest output: bf16 has 8 bits, rounded at each of up to a hundred layers.
const BF16: f64 = 0.1;

/// Batch norms as after some training: no scale one, no mean zero.
fn network(architecture: Architecture) -> Network {
    let network = NetworkConfig::new(architecture)
        .with_classes(3)
        .build(Device::Cpu)
        .unwrap();
    let _no_grad = tch::no_grad_guard();
    let mut variables: Vec<_> = network.variables().variables().into_iter().collect();
    variables.sort_by(|(one, _), (other, _)| one.cmp(other));
    for (place, (name, mut variable)) in variables.into_iter().enumerate() {
        let wave = Tensor::arange(variable.numel() as i64, (Kind::Float, Device::Cpu))
            .f_add_scalar(place as f64)
            .unwrap()
            .sin()
            .view(variable.size().as_slice());
        if name == format!("{}.bias", architecture.head()) {
            // Above zero, for SqueezeNet's logits pass through a ReLU.
            variable.copy_(&(wave * 0.1 + 1.0));
        } else if variable.dim() == 1 {
            match name.rsplit('.').next().unwrap() {
                "running_var" | "weight" => variable.copy_(&(wave * 0.3 + 1.0)),
                _ => variable.copy_(&(wave * 0.1)),
            };
        }
    }
    network
}

fn image(architecture: Architecture) -> Tensor {
    let extent = architecture.least_extent().max(33);
    let mut shape = vec![1, architecture.input().channels()];
    shape.resize(2 + architecture.axes(), extent);
    let count: i64 = shape.iter().product();
    Tensor::arange(count, (Kind::Float, Device::Cpu))
        .sin()
        .view(shape.as_slice())
}

fn difference(one: &Tensor, other: &Tensor) -> f64 {
    let largest = |tensor: &Tensor| tensor.abs().max().double_value(&[]);
    assert_eq!(one.size(), other.size());
    largest(&(one - other)) / largest(one)
}

#[test]
fn logits_stay_and_stages_keep_their_names() {
    let _no_grad = tch::no_grad_guard();
    for architecture in Architecture::ALL {
        let original = network(architecture);
        let input = image(architecture);
        let logits = original.forward(&input).unwrap();
        let folded = InferenceConfig::default();
        let kept = InferenceConfig::default().with_batch_norms(BatchNorms::Keep);
        for (config, tolerance) in [
            (&folded, FOLDED),
            (&kept, ROUNDING),
            (&folded.clone().with_kind(Kind::BFloat16), BF16),
        ] {
            let fast = original.optimize_for_inference(config).unwrap();
            let names = |network: &Network| network.stages().iter().map(|s| s.name().to_owned()).collect::<Vec<_>>();
            assert_eq!(names(&fast), names(&original));
            let found = fast.forward(&input).unwrap();
            assert_eq!(found.kind(), Kind::Float);
            let found = difference(&logits, &found);
            assert!(found < tolerance, "{architecture} {config:?}: {found:e}");
        }
        assert_eq!(
            logits,
            original.forward(&input).unwrap(),
            "{architecture}: the original has changed"
        );
    }
}

#[test]
fn layouts_and_norms_go_together_in_every_way() {
    let _no_grad = tch::no_grad_guard();
    let original = network(Architecture::ResNet18);
    let input = image(Architecture::ResNet18);
    let logits = original.forward(&input).unwrap();
    for layout in [MemoryLayout::ChannelsLast, MemoryLayout::Contiguous] {
        for norms in [BatchNorms::Fold, BatchNorms::Keep] {
            for (kind, tolerance) in [(Kind::Float, FOLDED), (Kind::Double, FOLDED), (Kind::BFloat16, BF16)] {
                let config = InferenceConfig::default()
                    .with_layout(layout)
                    .with_batch_norms(norms)
                    .with_kind(kind);
                let fast = original.optimize_for_inference(&config).unwrap();
                let found = difference(&logits, &fast.forward(&input).unwrap());
                assert!(found < tolerance, "{config:?}: {found:e}");
            }
        }
    }
}

#[test]
fn what_cannot_be_is_refused() {
    let original = network(Architecture::SqueezeNet1_1);
    let whole = InferenceConfig::default().with_kind(Kind::Int64);
    assert!(matches!(
        original.optimize_for_inference(&whole),
        Err(ModelError::InferenceKind { kind: Kind::Int64 })
    ));
    let mut fast = original.optimize_for_inference(&InferenceConfig::default()).unwrap();
    assert!(matches!(
        fast.optimize_for_inference(&InferenceConfig::default()),
        Err(ModelError::ForInference)
    ));
    let folder = tempfile::tempdir().unwrap();
    assert!(matches!(
        fast.save(folder.path().join("folded.safetensors")),
        Err(ModelError::ForInference)
    ));
    assert!(matches!(
        fast.load("none.safetensors", models::Head::Exact),
        Err(ModelError::ForInference)
    ));
}
