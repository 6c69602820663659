//! Networks rebuilt for inference: the same logits from the same stages, in fewer and smaller variables.

use std::ops::Range;

use models::{
    Architecture, BatchNorms, InferenceConfig, InputSpec, MemoryLayout, ModelError, Network, NetworkConfig, UNetNorm,
    has_bf16, packs_weights,
};
use tch::{Device, Kind, TchError, Tensor};

/// Of the largest output: two roundings of the weights more than the original has.
const FOLDED: f64 = 1e-4;
/// Of the largest output: sums in another order, which threads change too, through up to a hundred layers.
const ROUNDING: f64 = 5e-5;
/// Of the largest output: bf16 has 8 bits, rounded at each of up to a hundred layers.
const BF16: f64 = 0.1;

/// Batch norms as after some training: no scale one, no mean zero.
fn network(architecture: Architecture) -> Network {
    network_of(NetworkConfig::new(architecture))
}

fn network_of(config: NetworkConfig) -> Network {
    let network = config.with_classes(3).build(Device::Cpu).unwrap();
    let _no_grad = tch::no_grad_guard();
    let mut variables: Vec<_> = network.variables().variables().into_iter().collect();
    variables.sort_by(|(one, _), (other, _)| one.cmp(other));
    for (place, (name, mut variable)) in variables.into_iter().enumerate() {
        let wave = Tensor::arange(variable.numel() as i64, (Kind::Float, Device::Cpu))
            .f_add_scalar(place as f64)
            .unwrap()
            .sin()
            .view(variable.size().as_slice());
        if name == format!("{}.bias", network.architecture().head()) {
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

/// Rebuilt in each way, one at a time: some networks are large.
fn logits_stay_and_stages_keep_their_names(architecture: Architecture, original: &Network, packed: Network) {
    let input = image(architecture);
    let logits = original.forward(&input).unwrap();
    let check = |fast: &Network, tolerance| {
        let names = |network: &Network| network.stages().iter().map(|s| s.name().to_owned()).collect::<Vec<_>>();
        assert_eq!(names(fast), names(original));
        let found = fast.forward(&input).unwrap();
        assert_eq!(found.kind(), Kind::Float);
        let (config, found) = (fast.inference().unwrap(), difference(&logits, &found));
        assert!(found < tolerance, "{architecture} {config:?}: {found:e}");
    };
    check(&packed, FOLDED);
    drop(packed);
    let config = InferenceConfig::default();
    let normalises = |name: &String| name.ends_with(".running_var");
    if original.variables().variables().keys().any(normalises) {
        let kept = config.clone().with_batch_norms(BatchNorms::Keep);
        check(&original.optimize_for_inference(&kept).unwrap(), ROUNDING);
    }
    let half = |kind| {
        original
            .optimize_for_inference(&config.clone().with_kind(kind))
            .unwrap()
    };
    check(&half(Kind::BFloat16), BF16);
    if [Architecture::BasicUNet2d, Architecture::ConvNextTiny].contains(&architecture) {
        check(&half(Kind::Half), BF16 / 8.0);
    }
    assert_eq!(
        logits,
        original.forward(&input).unwrap(),
        "{architecture}: the original has changed"
    );
}

/// With the settings of the original, not the published ones.
#[test]
fn networks_with_other_settings_are_rebuilt_with_theirs() {
    let _no_grad = tch::no_grad_guard();
    for config in [
        NetworkConfig::new(Architecture::MobileNetV2).with_width(0.5),
        NetworkConfig::new(Architecture::MobileNetV3Small).with_width(0.75),
        NetworkConfig::new(Architecture::KerasMobileNetV2).with_width(1.4),
        NetworkConfig::new(Architecture::BasicUNet2d).with_features([6, 9, 13, 20, 31, 10]),
        NetworkConfig::new(Architecture::BasicUNet2d).with_norm(UNetNorm::Batch),
    ] {
        let original = network_of(config);
        let packed = original.optimize_for_inference(&InferenceConfig::default()).unwrap();
        logits_stay_and_stages_keep_their_names(original.architecture(), &original, packed);
    }
}

/// From every place to every third: what passes between the stages is written over, and what went in is not.
#[test]
fn several_stages_at_once_do_what_they_do_one_by_one() {
    let _no_grad = tch::no_grad_guard();
    let copies = |tensors: &[Tensor]| tensors.iter().map(Tensor::copy).collect::<Vec<_>>();
    for architecture in [
        Architecture::AlexNet,
        Architecture::SqueezeNet1_0,
        Architecture::ResNet18,
        Architecture::MobileNetV3Small,
        Architecture::BasicUNet2d,
    ] {
        let original = network(architecture);
        let packed = original.optimize_for_inference(&InferenceConfig::default()).unwrap();
        for network in [original, packed] {
            let mut states = vec![(image(architecture), Vec::new())];
            for stage in network.stages() {
                let (x, carried) = &states[states.len() - 1];
                let mut carried = copies(carried);
                let output = stage.forward_carrying(x, &mut carried).unwrap().copy();
                states.push((output, copies(&carried)));
            }
            let count = network.stages().len();
            for start in 0..count {
                for end in (start..=count).step_by(3).chain([count]) {
                    let (input, carried) = &states[start];
                    let (x, mut beside) = (input.copy(), copies(carried));
                    let found = network.forward_stages(start..end, &x, &mut beside).unwrap();
                    let (expected, left) = &states[end];
                    let difference = difference(expected, &found);
                    assert!(difference < ROUNDING, "{architecture} {start}..{end}: {difference:e}");
                    assert_eq!((&x, beside.len()), (input, left.len()), "{architecture} {start}..{end}");
                    for (found, expected) in beside.iter().zip(left) {
                        assert!(
                            found.allclose(expected, 1e-4, 1e-5, false),
                            "{architecture} {start}..{end}"
                        );
                    }
                }
            }
            for range in [0..count + 1, Range { start: 2, end: 1 }] {
                let input = image(architecture);
                let error = network.forward_stages(range, &input, &mut Vec::new()).unwrap_err();
                assert!(error.to_string().contains(&format!("0..{count}")), "{error}");
            }
        }
    }
}

#[test]
fn layouts_and_norms_go_together_in_every_way() {
    let _no_grad = tch::no_grad_guard();
    let original = network(Architecture::ResNet18);
    let input = image(Architecture::ResNet18);
    let logits = original.forward(&input).unwrap();
    for layout in [
        MemoryLayout::Packed,
        MemoryLayout::ChannelsLast,
        MemoryLayout::Contiguous,
    ] {
        for norms in [BatchNorms::Fold, BatchNorms::Keep] {
            for (kind, tolerance) in [
                (Kind::Float, FOLDED),
                (Kind::Double, FOLDED),
                (Kind::BFloat16, BF16),
                (Kind::Half, BF16 / 8.0),
            ] {
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

/// Whether the stage's batch norms are folded into the stage before it: that one then gives what this one should.
fn folded_before(original: &Network, rebuilt: &Network, index: usize) -> bool {
    let owns_any = |network: &Network| {
        let stage = &network.stages()[index];
        network.variables().variables().keys().any(|name| stage.owns(name))
    };
    index < original.stages().len() && owns_any(original) && !owns_any(rebuilt)
}

#[test]
fn this_processor_packs() {
    // libtorch for x86-64 is built with oneDNN, whose convolutions in f32 run on any such processor. Elsewhere they may be
    // missing, and the tests below are of plain convolutions.
    assert!(packs_weights(Kind::Float) || cfg!(not(target_arch = "x86_64")));
    assert!(packs_weights(Kind::BFloat16) || !has_bf16(Device::Cpu));
}

fn packed_stages_give_what_plain_ones_do(architecture: Architecture, original: &Network, packed: &Network) {
    let input = image(architecture);
    let description = packed.describe(&input.size()).unwrap();
    if packs_weights(Kind::Float) {
        let variables = packed.variables().variables();
        for (stage, does) in packed.stages().iter().zip(description.stages()) {
            // Volumes of one channel are left to plain convolutions; variables of 1 and 3 axes scale.
            let packs = |shape: &[i64]| [2, 4].contains(&shape.len()) || shape.len() == 5 && shape[1] > 1;
            let multiplies = variables
                .iter()
                .any(|(name, variable)| stage.owns(name) && packs(&variable.size()));
            let found = does.packed_multiply_adds();
            assert_eq!(found > 0, multiplies, "{architecture} {}", stage.name());
            // Transposed convolutions are not packed.
            if !architecture.name().starts_with("basic_unet") {
                let expected = if multiplies { does.multiply_adds() } else { 0 };
                assert_eq!(found, expected, "{architecture} {}", stage.name());
            }
        }
    }

    let mut found = vec![input.copy()];
    let mut expected = input.copy();
    // What a caller may hold on to: the outputs, which are the inputs of the stages behind.
    let mut held = Vec::new();
    let (mut carried, mut carried_as_expected) = (Vec::new(), Vec::new());
    for (index, (stage, plain)) in packed.stages().iter().zip(original.stages()).enumerate() {
        let input = &found[index];
        let before = input.copy();
        let output = stage.forward_carrying(input, &mut carried).unwrap();
        assert_eq!(*input, before, "{architecture} {} writes over its input", stage.name());
        expected = plain.forward_carrying(&expected, &mut carried_as_expected).unwrap();
        assert_eq!(output.size(), expected.size());
        if !folded_before(original, packed, index + 1) {
            let difference = difference(&expected, &output);
            assert!(difference < FOLDED, "{architecture} {}: {difference:e}", stage.name());
        }
        held.push(output.copy());
        found.push(output);
    }
    for ((stage, output), held) in packed.stages().iter().zip(&found[1..]).zip(&held) {
        assert_eq!(output, held, "{architecture} {} is written over later", stage.name());
    }
    // All at once, where what passes between stages may be written over.
    let before = input.copy();
    let whole = difference(&packed.forward(&input).unwrap(), held.last().unwrap());
    assert!(whole < ROUNDING, "{architecture}: {whole:e}");
    assert_eq!(input, before, "{architecture} writes over the images");
}

/// Every `of`-th network from the `part`-th on: the tests below share all of them out among threads.
fn rebuilt_networks_give_what_the_originals_do(part: usize, of: usize) {
    let _no_grad = tch::no_grad_guard();
    for architecture in Architecture::ALL.into_iter().skip(part).step_by(of) {
        let original = network(architecture);
        let packed = original.optimize_for_inference(&InferenceConfig::default()).unwrap();
        packed_stages_give_what_plain_ones_do(architecture, &original, &packed);
        logits_stay_and_stages_keep_their_names(architecture, &original, packed);
    }
}

#[test]
fn the_first_of_four_rebuilt_networks_gives_what_the_original_does() {
    rebuilt_networks_give_what_the_originals_do(0, 4);
}

#[test]
fn the_second_of_four_rebuilt_networks_gives_what_the_original_does() {
    rebuilt_networks_give_what_the_originals_do(1, 4);
}

#[test]
fn the_third_of_four_rebuilt_networks_gives_what_the_original_does() {
    rebuilt_networks_give_what_the_originals_do(2, 4);
}

#[test]
fn the_fourth_of_four_rebuilt_networks_gives_what_the_original_does() {
    rebuilt_networks_give_what_the_originals_do(3, 4);
}

/// Weights are packed for one size; any other, smaller or larger, one image or several, must do as well.
#[test]
fn sizes_may_change_from_pass_to_pass() {
    let _no_grad = tch::no_grad_guard();
    for (architecture, channels, least) in [
        (Architecture::ResNet18, 3, 1),
        (Architecture::ResNet18, 1, 1),
        (Architecture::ResNet50, 3, 1),
        (Architecture::MobileNetV2, 3, 1),
        (Architecture::MobileNetV2, 1, 1),
        (Architecture::EfficientNetB0, 3, 1),
        (Architecture::RegNetY400Mf, 3, 1),
        (Architecture::ResNet10_3d, 1, 1),
        (Architecture::KerasMobileNetV2, 3, 32),
        (Architecture::KerasNasNetMobile, 3, 32),
    ] {
        let original = network_of(NetworkConfig::new(architecture).with_input(InputSpec::symmetric(channels)));
        for kind in [Kind::Float, Kind::BFloat16] {
            let config = InferenceConfig::default().with_kind(kind);
            let packed = original.optimize_for_inference(&config).unwrap();
            let tolerance = if kind == Kind::Float { FOLDED } else { BF16 };
            for (batch, extent) in [(1, least), (3, 47), (1, least), (2, 33), (3, 47)] {
                let mut shape = vec![batch, original.input().channels(), extent];
                shape.resize(2 + architecture.axes(), extent + 2);
                let count: i64 = shape.iter().product();
                let images = Tensor::arange(count, (Kind::Float, Device::Cpu))
                    .sin()
                    .view(shape.as_slice());
                let expected = original.forward(&images).unwrap();
                let found = difference(&expected, &packed.forward(&images).unwrap());
                assert!(found < tolerance, "{architecture} {kind:?} {shape:?}: {found:e}");
            }
            let mut shape = vec![0, original.input().channels()];
            shape.resize(2 + architecture.axes(), 33);
            let none = Tensor::zeros(shape.as_slice(), (Kind::Float, Device::Cpu));
            assert!(packed.forward(&none).is_err(), "{architecture}");
        }
    }
}

#[test]
fn gradients_go_through_packed_networks() {
    for architecture in [Architecture::ResNet18, Architecture::MobileNetV3Small] {
        let original = network(architecture);
        let packed = original.optimize_for_inference(&InferenceConfig::default()).unwrap();
        let gradient = |network: &Network| {
            let images = image(architecture).set_requires_grad(true);
            let logits = network.forward(&images).unwrap();
            assert!(logits.requires_grad());
            Tensor::run_backward(&[logits.select(1, 1).sum(Kind::Float)], &[&images], false, false)[0].shallow_clone()
        };
        let expected = gradient(&original);
        let found = difference(&expected, &gradient(&packed));
        assert!(found < 1e-3, "{architecture}: {found:e}");
        // The same tensor, when no gradients are asked for.
        let images = image(architecture).set_requires_grad(true);
        let _no_grad = tch::no_grad_guard();
        let logits = packed.forward(&images).unwrap();
        assert!(!logits.requires_grad());
        assert!(difference(&original.forward(&images).unwrap(), &logits) < FOLDED);
    }
}

#[test]
fn weights_of_packed_networks_may_ask_for_gradients() {
    let original = network(Architecture::MobileNetV3Small);
    let packed = original.optimize_for_inference(&InferenceConfig::default()).unwrap();
    let images = image(Architecture::MobileNetV3Small);
    // Packed first.
    let _logits = tch::no_grad(|| packed.forward(&images)).unwrap();
    for name in [
        "features.0.0.weight",
        "features.0.0.bias",
        "classifier.0.weight",
        "classifier.0.bias",
    ] {
        let variable = packed.variables().variables()[name].set_requires_grad(true);
        packed.forward(&images).unwrap().square().sum(Kind::Float).backward();
        let gradient = variable.grad();
        assert!(
            gradient.defined() && gradient.abs().max().double_value(&[]) > 0.0,
            "{name}"
        );
        let _frozen = variable.set_requires_grad(false);
    }
}

/// Randomising layers one by one, say, goes by the variables of a network at hand.
#[test]
fn packed_weights_follow_the_variables() {
    let _no_grad = tch::no_grad_guard();
    let original = network(Architecture::MobileNetV3Small);
    let rebuilt = |layout| {
        let config = InferenceConfig::default().with_layout(layout);
        original.optimize_for_inference(&config).unwrap()
    };
    let (packed, plain) = (rebuilt(MemoryLayout::Packed), rebuilt(MemoryLayout::ChannelsLast));
    let features = Tensor::arange(2 * 576, (Kind::Float, Device::Cpu)).sin().view([2, 576]);
    for (name, variable, input) in [
        (
            "features.0",
            "features.0.0.weight",
            image(Architecture::MobileNetV3Small),
        ),
        ("classifier.0", "classifier.0.weight", features),
    ] {
        let output = |network: &Network| {
            let stage = network.stages().iter().find(|stage| stage.name() == name).unwrap();
            stage.forward(&input).unwrap()
        };
        let before = output(&packed);
        for network in [&packed, &plain] {
            let _ = network.variables().variables()[variable].shallow_clone().neg_();
        }
        let found = output(&packed);
        assert!(difference(&before, &found) > 0.1, "{name}");
        assert!(difference(&output(&plain), &found) < FOLDED, "{name}");
        // Others in their place.
        for network in [&packed, &plain] {
            let mut variable = network.variables().variables()[variable].shallow_clone();
            variable.set_data(&(&variable * 0.5));
        }
        let after = output(&packed);
        assert!(difference(&found, &after) > 0.1, "{name}");
        assert!(difference(&output(&plain), &after) < FOLDED, "{name}");
    }
}

/// They share the operators, and nothing else.
#[test]
fn packed_networks_may_run_in_several_threads_at_once() {
    let threads: Vec<_> = [Kind::Float, Kind::BFloat16, Kind::Float, Kind::BFloat16]
        .into_iter()
        .map(|kind| {
            let network = network(Architecture::ResNet18);
            let config = InferenceConfig::default().with_kind(kind);
            let packed = network.optimize_for_inference(&config).unwrap();
            let images = image(Architecture::ResNet18);
            let alone = tch::no_grad(|| packed.forward(&images).unwrap());
            std::thread::spawn(move || {
                tch::no_grad(|| {
                    (0..10)
                        .map(|_| difference(&alone, &packed.forward(&images).unwrap()))
                        .fold(0.0, f64::max)
                })
            })
        })
        .collect();
    for thread in threads {
        let found = thread.join().unwrap();
        assert!(found < ROUNDING, "{found:e}");
    }
}

#[test]
fn numbers_are_counted_as_rebuilt() {
    let count = |architecture: Architecture, norms: BatchNorms| {
        let original = network(architecture);
        let config = InferenceConfig::default().with_batch_norms(norms);
        let rebuilt = original.optimize_for_inference(&config).unwrap();
        let shape = image(architecture).size();
        let before = original.describe(&shape).unwrap();
        let after = rebuilt.describe(&shape).unwrap();
        assert_eq!(after.multiply_adds(), before.multiply_adds());
        assert_eq!(before.packed_multiply_adds(), 0);
        assert_eq!(after.parameters(), rebuilt.parameters());
        (before.parameters(), after.parameters())
    };
    // No norms, or norms that stay: nothing changes.
    let (before, after) = count(Architecture::SqueezeNet1_1, BatchNorms::Fold);
    assert_eq!(before, after);
    let (before, after) = count(Architecture::ResNet18, BatchNorms::Keep);
    assert_eq!(before, after);
    // ResNet-18's 20 norms have 4800 channels; of scale and shift, one bias each is left.
    let (before, after) = count(Architecture::ResNet18, BatchNorms::Fold);
    assert_eq!(before - after, 4800);
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
    let images = image(Architecture::SqueezeNet1_1);
    for refused in [fast.forward_t(&images, true), fast.stages()[0].forward_t(&images, true)] {
        assert!(matches!(refused, Err(TchError::Kind(message)) if message.contains("rebuilt for inference")));
    }
    assert!(fast.forward_t(&images, false).is_ok());
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
