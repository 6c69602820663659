use std::collections::BTreeMap;
use std::path::Path;

use gradcam_core::{CamError, Content, Rescaling, Stage, Stages, Target, Values, full_grad, full_gradient};
use tch::{Device, Kind, Tensor};

use crate::goldens::Golden;
use crate::small_net::{SmallNet, largest_difference, normal};

fn golden(key: &str) -> Tensor {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/goldens/full_grad.safetensors");
    let all: BTreeMap<String, Tensor> = Tensor::read_safetensors(path).unwrap().into_iter().collect();
    all[key].shallow_clone()
}

/// Biases found from what the stages do are those that the parameters hold. In single precision what adds up are dozens of
/// channels, each of them divided by its own range.
#[test]
fn agrees_with_the_formula() {
    for (golden_net, name) in Golden::all().into_iter().zip(["plain", "branched", "volumes"]) {
        for (golden_net, tolerance) in [(golden_net.copy(), 2e-5), (golden_net.in_double(), 1e-6)] {
            let stages = match name {
                "branched" => golden_net.branched_in_parts(),
                _ => golden_net.stages(),
            };
            for (rescaling, key) in [(Rescaling::Channel, "channel"), (Rescaling::Stage, "stage")] {
                let maps = full_grad(&stages, &golden_net.images(), &golden_net.targets(), rescaling).unwrap();
                let expected = golden(&format!("{key}.{name}"));
                let difference = largest_difference(maps.tensor(), &expected) / expected.max().double_value(&[]);
                eprintln!("{key} {name} in {:?}: {difference:.1e}", golden_net.images().kind());
                assert!(difference < tolerance, "{key} {name}: {difference}");
            }
        }
    }
}

/// The network in parts is the network.
#[test]
fn parts_of_blocks_make_the_blocks() {
    let golden_net = Golden::branched();
    let logits = tch::no_grad(|| golden_net.branched_in_parts().forward(&golden_net.images()).unwrap());
    assert!(largest_difference(&logits, &golden_net.get("logits")) < 1e-5);
}

/// The parts make up the score, whatever the stages are: fine, whole blocks, or bent everywhere.
#[test]
fn the_parts_add_up_to_the_score() {
    let bent = Stages::new(vec![
        Stage::new("softplus", |x| x.f_softplus()),
        Stage::new("silu", |x| x.shallow_clone().f_silu_()),
        Stage::new("pool", |x| x.f_adaptive_avg_pool2d([3, 3])?.f_sigmoid()),
        Stage::new("logits", |x| {
            x.f_flatten(2, -1)?
                .f_square()?
                .f_sum_dim_intlist([2i64].as_slice(), false, None)
        }),
    ])
    .unwrap();
    let bent_input = normal(&[3, 4, 9, 8], 1);
    let [plain, branched, volumes] = Golden::all();
    for (stages, input, targets) in [
        (plain.stages(), plain.images(), plain.targets()),
        (branched.stages(), branched.images(), branched.targets()),
        (volumes.stages(), volumes.images(), volumes.targets()),
        (
            bent,
            bent_input,
            vec![Target::Class(0), Target::Class(3), Target::Class(1).counterfactual()],
        ),
    ] {
        let parts = full_gradient(&stages, &input, &targets).unwrap();
        let sum = |part: &Tensor| {
            part.flatten(1, -1)
                .sum_dim_intlist([1i64].as_slice(), false, Kind::Double)
        };
        let total = parts
            .biases()
            .fold(sum(parts.input()), |total, (_, bias)| total + sum(bias));
        let names: Vec<&str> = parts.biases().map(|(name, _)| name).collect();
        assert_eq!(names, stages.as_slice().iter().map(Stage::name).collect::<Vec<_>>());
        let logits = tch::no_grad(|| stages.forward(&input).unwrap());
        for (sample, target) in (0i64..).zip(&targets) {
            let expected = match target {
                Target::Class(class) => logits.double_value(&[sample, *class]),
                _ => -logits.double_value(&[sample, 1]),
            };
            approx::assert_relative_eq!(
                total.double_value(&[sample]),
                expected,
                max_relative = 1e-4,
                epsilon = 1e-4
            );
        }
    }
}

/// ReLUs, poolings and convolutions without a bias have none; what rounding leaves is no bias.
#[test]
fn what_has_no_bias_gets_none() {
    let weight = normal(&[7, 2, 3, 3], 2);
    let head = normal(&[3, 7], 3);
    let net = Stages::new(vec![
        Stage::new("conv", move |x| {
            x.f_conv2d(&weight, None::<&Tensor>, [1, 1], [1, 1], [1, 1], 1)
        }),
        Stage::new("relu", |x| x.shallow_clone().f_relu_()),
        Stage::new("pool", |x| x.f_avg_pool2d([3, 3], [2, 2], [0, 0], false, true, None)),
        Stage::new("mean", |x| x.f_mean_dim([2i64, 3].as_slice(), false, None)),
        Stage::new("head", move |x| x.f_linear(&head, None::<&Tensor>)),
    ])
    .unwrap();
    let parts = full_gradient(&net, &normal(&[2, 2, 11, 9], 4), &[Target::Class(0), Target::Class(2)]).unwrap();
    for (stage, bias) in parts.biases() {
        assert_eq!(bias.abs().max().double_value(&[]), 0.0, "{stage}");
    }
    assert!(parts.input().abs().max().double_value(&[]) > 0.0);
}

#[test]
fn a_batch_gives_each_sample_what_it_would_get_alone() {
    // Channels are divided by their own ranges, which makes more of what libtorch rounds otherwise in a batch.
    for (mut net, kind, tolerance) in [
        (SmallNet::images(2), Kind::Float, 1e-5),
        (SmallNet::volumes(2), Kind::Float, 1e-5),
        (SmallNet::images(2), Kind::Double, 1e-6),
        (SmallNet::volumes(2), Kind::Double, 1e-6),
    ] {
        net.variables.set_kind(kind);
        let (stages, input) = (net.stages(), net.input(3, 3).to_kind(kind));
        let targets = [Target::Class(3), Target::Predicted, Target::Class(0).probability()];
        let batch = full_grad(&stages, &input, &targets, Rescaling::Channel).unwrap();
        assert_eq!(batch.tensor().size()[1..], input.size()[2..]);
        for (sample, target) in (0i64..).zip(&targets) {
            let one = input.narrow(0, sample, 1);
            let alone = full_grad(&stages, &one, std::slice::from_ref(target), Rescaling::Channel).unwrap();
            let expected = batch.tensor().narrow(0, sample, 1);
            let scale = expected.max().double_value(&[]);
            let difference = largest_difference(alone.tensor(), &expected) / scale;
            assert!(difference < tolerance, "{difference}");
        }
        // Absolute values: what is against a target is shown as what is for it.
        let against = targets.map(Target::counterfactual);
        let against = full_grad(&stages, &input, &against, Rescaling::Channel).unwrap();
        assert!(largest_difference(against.tensor(), batch.tensor()) < 1e-5);
    }
}

#[test]
fn variables_are_left_alone() {
    let net = SmallNet::images(4);
    let weight = net.variable("conv1.weight");
    assert!(weight.requires_grad());
    full_grad(&net.stages(), &net.input(1, 1), &[Target::Predicted], Rescaling::Stage).unwrap();
    assert!(!weight.grad().defined());
}

#[test]
fn faults_are_errors() {
    let constant = Stages::new(vec![
        Stage::new("image", |x| x.f_relu()),
        Stage::new("forgets", |x| {
            Tensor::f_zeros([x.size()[0], 2], (Kind::Float, Device::Cpu))
        }),
    ])
    .unwrap();
    let input = normal(&[1, 1, 4, 4], 5);
    let run = |input: &Tensor, targets: &[Target]| full_grad(&constant, input, targets, Rescaling::Channel);
    assert!(matches!(
        run(&input, &[Target::Class(0)]),
        Err(CamError::Disconnected { layer }) if layer == "forgets"
    ));
    assert!(matches!(run(&input, &[]), Err(CamError::TargetCount { .. })));
    assert!(matches!(run(&input, &[Target::Class(2)]), Err(CamError::Class { .. })));
    assert!(matches!(
        run(&input.squeeze_dim(0), &[Target::Class(0)]),
        Err(CamError::Shape { .. })
    ));
    let infinite = input.f_full_like(f64::INFINITY).unwrap();
    assert!(matches!(
        run(&infinite, &[Target::Class(0)]),
        Err(CamError::NonFinite { layer, .. }) if layer == "image"
    ));

    // The score is 0: 1e40 by the input, less as much by the shift.
    let large = Stages::new(vec![
        Stage::new("shift", |x| x.f_sub_scalar(1e20)),
        Stage::new("logit", |x| {
            x.f_mul_scalar(1e20)?.f_mean_dim([2i64, 3].as_slice(), false, None)
        }),
    ])
    .unwrap();
    let even = |kind: Kind| Tensor::full([1, 1, 1, 1], 1e20, (kind, Device::Cpu));
    for kind in [Kind::Float, Kind::Double] {
        let parts = full_gradient(&large, &even(kind), &[Target::Class(0)]);
        assert!(matches!(
            parts,
            Err(CamError::NonFinite {
                values: Values::Parts,
                ..
            })
        ));
    }
}

#[test]
fn a_network_that_sees_one_corner_lights_that_corner() {
    let mask = Tensor::zeros([1, 1, 16, 16], (Kind::Float, Device::Cpu));
    let _ = mask.narrow(2, 0, 8).narrow(3, 0, 8).fill_(1.0);
    let net = Stages::new(vec![
        Stage::new("seen", move |x| x.f_sub_scalar(0.2)?.f_relu()?.f_mul(&mask)),
        Stage::new("logit", |x| x.f_mean_dim([2i64, 3].as_slice(), false, None)),
    ])
    .unwrap();
    let image = normal(&[2, 1, 16, 16], 2).abs();
    let _ = image.narrow(0, 1, 1).zero_();
    let maps = full_grad(&net, &image, &[const { Target::Class(0) }; 2], Rescaling::Channel).unwrap();
    assert_eq!(maps.contents(), [Content::Graded, Content::Zero]);
    let far = maps.tensor().narrow(1, 8, 8).max() + maps.tensor().narrow(2, 8, 8).max();
    assert_eq!(far.double_value(&[]), 0.0);
}
