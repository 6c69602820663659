use gradcam_core::{CamError, Stage, Stages, Target, grad_cam, shapley_cam};
use tch::Kind;

use crate::goldens::Golden;
use crate::small_net::{SmallNet, largest_difference, normal};

/// The peer's targets are probabilities: a logit that is linear piece by piece has no second
/// derivative.
#[test]
fn agrees_with_pytorch_grad_cam() {
    for golden in Golden::all() {
        let capture = golden.stages().capture(&golden.images(), &golden.layers).unwrap();
        let targets: Vec<Target> = golden.targets().into_iter().map(Target::probability).collect();
        for layer in golden.layers {
            golden.check("shapley_cam", layer, &shapley_cam(&capture, layer, &targets).unwrap());
        }
    }
}

/// The paper's target, the logit plus the logarithm of the probability, and the second derivative
/// by finite differences.
#[test]
fn equals_the_formula() {
    let golden = Golden::branched();
    let (stages, layer) = (golden.stages(), golden.layers[1]);
    let capture = stages.capture(&golden.images(), &[layer]).unwrap();
    let rest = |class: i64| Target::Class(class).residual_softmax();
    let targets: Vec<Target> = golden.classes().into_iter().map(rest).collect();
    let activations = capture.activations(layer).unwrap();
    // The gradient as the activations grow by a hundredth, and shrink by one.
    let gradient_at = |factor: f64| {
        let scaled = activations * factor;
        let names = stages
            .as_slice()
            .iter()
            .skip_while(|stage| stage.name() != layer)
            .skip(1);
        let first = Stage::new("activations", |x| x.f_mul_scalar(1.0));
        let rest = names.map(|stage| Stage::new(stage.name(), |x| Ok(stage.forward(x).unwrap())));
        let tail = Stages::new(std::iter::once(first).chain(rest).collect()).unwrap();
        let capture = tail.capture(&scaled, &["activations"]).unwrap();
        let gradients = capture.gradients(&targets).unwrap();
        gradients.at("activations").unwrap().gradients().to_kind(Kind::Double)
    };
    let curvature = (gradient_at(1.01) - gradient_at(0.99)) / 0.02;
    let weights = (gradient_at(1.0) - curvature * 0.5).mean_dim([2i64, 3].as_slice(), true, Kind::Double);
    let expected = (weights * activations)
        .sum_dim_intlist([1i64].as_slice(), false, Kind::Double)
        .relu();
    let found = shapley_cam(&capture, layer, &targets).unwrap();
    let difference = largest_difference(found.tensor(), &expected) / expected.max().double_value(&[]);
    // The differences' own error is of the order of a hundredth squared, and single precision over 0.02.
    assert!(difference < 1e-3, "{difference}");
    let plain = grad_cam(&capture.gradients(&targets).unwrap().at(layer).unwrap()).unwrap();
    assert!(largest_difference(found.tensor(), plain.tensor()) > 1e-2 * expected.max().double_value(&[]));
}

#[test]
fn of_a_logit_it_is_grad_cam() {
    for net in [SmallNet::images(1), SmallNet::volumes(1)] {
        let capture = net.stages().capture(&net.input(2, 2), &["relu1", "relu2"]).unwrap();
        let targets = [Target::Class(1), Target::Predicted];
        for layer in ["relu1", "relu2"] {
            let plain = grad_cam(&capture.gradients(&targets).unwrap().at(layer).unwrap()).unwrap();
            let found = shapley_cam(&capture, layer, &targets).unwrap();
            assert!(largest_difference(found.tensor(), plain.tensor()) < 1e-6);
        }
    }
}

#[test]
fn a_batch_gives_each_sample_what_it_would_get_alone() {
    let mut net = SmallNet::images(3);
    // In double precision, in which it does not show that convolutions round otherwise in a batch.
    net.variables.set_kind(Kind::Double);
    let (stages, input) = (net.stages(), net.input(3, 4).to_kind(Kind::Double));
    let targets = [Target::Class(3), Target::Predicted, Target::Class(0)].map(Target::probability);
    for targets in [targets.clone(), targets.map(Target::counterfactual)] {
        let batch = shapley_cam(&stages.capture(&input, &["relu2"]).unwrap(), "relu2", &targets).unwrap();
        for (sample, target) in (0i64..).zip(&targets) {
            let capture = stages.capture(&input.narrow(0, sample, 1), &["relu2"]).unwrap();
            let alone = shapley_cam(&capture, "relu2", std::slice::from_ref(target)).unwrap();
            let expected = batch.tensor().narrow(0, sample, 1);
            let scale = batch.tensor().max().double_value(&[]);
            assert!(largest_difference(alone.tensor(), &expected) < 1e-6 * scale);
        }
    }
}

/// Captures are used again, and variables are left alone.
#[test]
fn nothing_is_used_up() {
    let net = SmallNet::images(5);
    let capture = net.stages().capture(&net.input(1, 1), &["relu1", "relu2"]).unwrap();
    let target = [Target::Predicted.probability()];
    let once = shapley_cam(&capture, "relu1", &target).unwrap();
    let twice = shapley_cam(&capture, "relu1", &target).unwrap();
    assert_eq!(once.tensor(), twice.tensor());
    assert!(!net.variable("conv2.weight").grad().defined());
    assert!(matches!(
        shapley_cam(&capture, "pool", &target),
        Err(CamError::NotCaptured { .. })
    ));
    assert!(matches!(
        shapley_cam(&capture, "relu1", &[]),
        Err(CamError::TargetCount { .. })
    ));
}

#[test]
fn a_second_derivative_that_is_not_finite_is_an_error() {
    let net = Stages::new(vec![
        Stage::new("image", |x| x.f_relu()),
        // The second derivative of the power 1.5 at 0 is infinite, and times the activation 0 it is not a number.
        Stage::new("logit", |x| {
            x.f_pow_tensor_scalar(1.5)?
                .f_sum_dim_intlist([2i64, 3].as_slice(), false, None)
        }),
    ])
    .unwrap();
    let capture = net.capture(&normal(&[1, 1, 3, 3], 6), &["image"]).unwrap();
    assert!(matches!(
        shapley_cam(&capture, "image", &[Target::Class(0)]),
        Err(CamError::NonFinite { layer, .. }) if layer == "image"
    ));
}
