use std::cell::RefCell;
use std::panic::{AssertUnwindSafe, catch_unwind};

use gradcam_core::{
    CamError, Probe, Score, ScoreCam, Stage, Stages, Target, Values, full_gradient, guided_backpropagation,
    last_spatial, score_cam, shapley_cam,
};
use tch::{Kind, TchError, Tensor, nn};

use crate::left_alone::gradients_are_tracked;
use crate::small_net::{SmallNet, largest_difference, normal};

fn no_gradient(net: &SmallNet) -> bool {
    net.variables
        .trainable_variables()
        .iter()
        .all(|variable| !variable.grad().defined())
}

#[test]
fn shapes_are_listed_and_the_last_spatial_layer_found() {
    let net = SmallNet::images(1);
    let shapes = net.stages().shapes(&net.input(2, 1)).unwrap();
    assert_eq!(shapes[2], ("conv2".to_owned(), vec![2, 8, 5, 8]));
    assert_eq!(shapes[5], ("fc".to_owned(), vec![2, 4]));
    assert_eq!(last_spatial(&shapes), Some("relu2"));
    assert_eq!(last_spatial(&shapes[4..]), None);
    let row = [
        ("row".to_owned(), vec![1, 3, 1, 5]),
        ("point".to_owned(), vec![1, 3, 1, 1]),
    ];
    assert_eq!(last_spatial(&row), Some("row"));
}

#[test]
fn a_network_is_checked_once() {
    assert!(matches!(Stages::new(vec![]), Err(CamError::NoStages)));
    let twice = vec![Stage::new("a", |x| x.f_relu()), Stage::new("a", |x| x.f_relu())];
    assert!(matches!(Stages::new(twice), Err(CamError::DuplicateStage { stage }) if stage == "a"));
}

#[test]
fn modules_are_stages_in_evaluation_mode() {
    let net = nn::func_t(|x, train| if train { x * 0.0 } else { x * 3.0 });
    let stage = Stage::module("triple", &net);
    let x = Tensor::from_slice(&[1f32, 2.0]);
    assert_eq!(Vec::<f32>::try_from(stage.forward(&x).unwrap()).unwrap(), [3.0, 6.0]);
}

#[test]
fn one_pass_serves_layers_in_any_order() {
    let net = SmallNet::images(2);
    let (stages, input) = (net.stages(), net.input(3, 5));
    let both = stages.capture(&input, &["relu2", "conv1", "relu2"]).unwrap();
    assert_eq!(both.layers().collect::<Vec<_>>(), ["conv1", "relu2"]);
    assert_eq!(both.batch(), 3);
    let targets = [Target::Class(0), Target::Predicted, Target::Class(3)];
    let gradients = both.gradients(&targets).unwrap();
    for layer in ["conv1", "relu2"] {
        let one = stages.capture(&input, &[layer]).unwrap();
        let alone = one.gradients(&targets).unwrap();
        let (a, b) = (gradients.at(layer).unwrap(), alone.at(layer).unwrap());
        assert_eq!(a.layer(), layer);
        assert_eq!(largest_difference(a.activations(), b.activations()), 0.0);
        assert!(largest_difference(a.gradients(), b.gradients()) < 1e-7);
    }
    assert_eq!(
        largest_difference(both.logits(), &tch::no_grad(|| stages.forward(&input).unwrap())),
        0.0
    );
}

#[test]
fn several_stages_go_at_once_where_nobody_looks_between_them() {
    let net = SmallNet::images(2);
    let (row, input) = (net.stages(), net.input(2, 5));
    let asked = RefCell::new(Vec::new());
    let fused = net.stages().with_fused(|range, x, carried| {
        asked.borrow_mut().push((range.clone(), x.size()[0]));
        row.as_slice()[range]
            .iter()
            .try_fold(x.shallow_clone(), |x, stage| stage.forward_carrying(&x, carried))
            .map_err(|error| TchError::Torch(error.to_string()))
    });
    let targets = [Target::Class(0), Target::Predicted];
    let settings = ScoreCam::default();

    let (found, expected) = (
        fused.capture(&input, &["conv1", "relu2"]).unwrap(),
        row.capture(&input, &["conv1", "relu2"]).unwrap(),
    );
    assert_eq!(asked.take(), [(1..4, 2), (4..6, 2)]);
    let probes = [
        Probe::from_capture(&fused, &input, &found, &targets).unwrap(),
        Probe::from_capture(&row, &input, &expected, &targets).unwrap(),
    ];
    let (one, other) = (
        found.gradients(&targets).unwrap(),
        expected.gradients(&targets).unwrap(),
    );
    for layer in ["conv1", "relu2"] {
        let [found, expected] = [&one, &other].map(|gradients| gradients.at(layer).unwrap().gradients());
        assert_eq!(largest_difference(found, expected), 0.0);
        let [found, expected] = probes
            .each_ref()
            .map(|probe| score_cam(probe, layer, &settings).unwrap());
        assert_eq!(largest_difference(found.tensor(), expected.tensor()), 0.0);
    }
    // The first copy of each sample goes stage by stage, to see what it takes; then all that fit.
    let asked = asked.take();
    assert!(
        asked.iter().all(|(range, copies)| *range == (0..6) && *copies > 1),
        "{asked:?}"
    );
    assert_eq!(asked.len(), 4);

    let image = net.input(1, 5).narrow(1, 0, 1);
    let error = fused.forward(&image).unwrap_err();
    assert!(
        matches!(&error, CamError::Stage { stage, .. } if stage == "conv1 to fc"),
        "{error}"
    );
}

/// The stage after the captured one works in place; what was captured must be what it was given.
#[test]
fn stages_in_place_change_nothing_captured() {
    let net = SmallNet::images(3);
    let (stages, input) = (net.stages(), net.input(2, 6));
    let capture = stages.capture(&input, &["conv1", "conv2"]).unwrap();
    for layer in ["conv1", "conv2"] {
        let activations = capture.activations(layer).unwrap();
        assert!(activations.min().double_value(&[]) < 0.0, "{layer} was rectified");
        let tail = tch::no_grad(|| stages.forward_from(layer, &activations.copy()).unwrap());
        assert!(largest_difference(&tail, capture.logits()) < 1e-6);
    }
}

/// A first stage in place, and one that hands on what it gets: neither may reach the caller's images.
#[test]
fn the_callers_images_stay_the_callers() {
    let mean = || Stage::new("mean", |x| x.f_mean_dim([2i64, 3].as_slice(), false, None));
    let in_place = Stages::new(vec![Stage::new("first", |x| x.shallow_clone().f_relu_()), mean()]).unwrap();
    let images = normal(&[2, 3, 4, 5], 8);
    let before = images.copy();
    in_place.shapes(&images).unwrap();
    let capture = in_place.capture(&images, &["first"]).unwrap();
    assert_eq!(images, before);
    assert_eq!(*capture.activations("first").unwrap(), before.relu());

    let handed_on = Stages::new(vec![Stage::new("first", |x| Ok(x.shallow_clone())), mean()]).unwrap();
    let capture = handed_on.capture(&images, &["first"]).unwrap();
    let _ = images.shallow_clone().zero_();
    assert_eq!(*capture.activations("first").unwrap(), before);
}

/// The gradient of a logit against differences of the tail's output, in double precision.
#[test]
fn gradients_are_slopes_of_the_targets_logit() {
    let net = SmallNet::images(4);
    let mut variables = net.variables.variables();
    for variable in variables.values_mut() {
        variable.set_data(&variable.to_kind(Kind::Double));
    }
    let stages = net.stages();
    let capture = stages
        .capture(&net.input(2, 7).to_kind(Kind::Double), &["conv2"])
        .unwrap();
    let gradients = capture.gradients(&[Target::Class(1), Target::Class(3)]).unwrap();
    let at = gradients.at("conv2").unwrap();
    for (sample, class, place) in [(0, 1, [2, 1, 4]), (1, 3, [5, 4, 7])] {
        let index = [sample, place[0], place[1], place[2]];
        let slope = |step: f64| {
            let moved = at.activations().copy();
            let _ = moved
                .get(index[0])
                .get(index[1])
                .get(index[2])
                .get(index[3])
                .g_add_scalar_(step);
            tch::no_grad(|| stages.forward_from("conv2", &moved).unwrap()).double_value(&[sample, class])
        };
        let expected = (slope(1e-6) - slope(-1e-6)) / 2e-6;
        approx::assert_abs_diff_eq!(at.gradients().double_value(&index), expected, epsilon = 1e-8);
    }
}

#[test]
fn gradients_may_be_asked_for_again() {
    let net = SmallNet::images(5);
    let capture = net.stages().capture(&net.input(1, 8), &["relu1"]).unwrap();
    let first = capture.gradients(&[Target::Class(0)]).unwrap();
    let _other = capture.gradients(&[Target::Class(2)]).unwrap();
    let again = capture.gradients(&[Target::Class(0)]).unwrap();
    let difference = largest_difference(
        first.at("relu1").unwrap().gradients(),
        again.at("relu1").unwrap().gradients(),
    );
    assert_eq!(difference, 0.0);
    assert!(no_gradient(&net));
}

#[test]
fn predicted_is_the_largest_logit() {
    let net = SmallNet::images(6);
    let capture = net.stages().capture(&net.input(4, 9), &["relu2"]).unwrap();
    let gradients = capture.gradients(&[const { Target::Predicted }; 4]).unwrap();
    let largest: Vec<i64> = capture.logits().argmax(1, false).try_into().unwrap();
    assert_eq!(gradients.classes(), largest.into_iter().map(Some).collect::<Vec<_>>());
}

#[test]
fn gradient_mode_and_variables_are_left_alone() {
    let net = SmallNet::images(7);
    let (stages, input) = (net.stages(), net.input(1, 1));
    for tracked in [true, false] {
        let _guard = (!tracked).then(tch::no_grad_guard);
        let capture = stages.capture(&input, &["conv1", "relu2"]).unwrap();
        assert_eq!(gradients_are_tracked(), tracked);
        capture.gradients(&[Target::Class(1)]).unwrap();
        assert_eq!(gradients_are_tracked(), tracked);
        assert!(capture.gradients(&[Target::Class(4)]).is_err());
        assert!(stages.capture(&input.narrow(1, 0, 1), &["relu2"]).is_err());
        assert_eq!(gradients_are_tracked(), tracked);
        assert!(no_gradient(&net));
    }
    let panics = Stages::new(vec![
        Stage::new("first", |x| x.f_relu()),
        Stage::new("second", |_| panic!("a stage that panics")),
    ])
    .unwrap();
    for layer in ["first", "second"] {
        assert!(catch_unwind(AssertUnwindSafe(|| panics.capture(&input, &[layer]))).is_err());
        assert!(gradients_are_tracked());
    }
}

#[test]
fn names_that_are_not_there_are_told_with_those_that_are() {
    let net = SmallNet::images(8);
    let (stages, input) = (net.stages(), net.input(1, 1));
    let error = stages.capture(&input, &["relu2", "layer4"]).unwrap_err();
    assert_eq!(
        error.to_string(),
        "there is no layer `layer4`; there are: conv1, relu1, conv2, relu2, pool, fc"
    );
    assert!(matches!(stages.capture(&input, &[]), Err(CamError::NoLayers)));
    let capture = stages.capture(&input, &["relu2"]).unwrap();
    let error = capture.activations("relu1").unwrap_err();
    assert_eq!(error.to_string(), "layer `relu1` was not captured; captured are: relu2");
}

#[test]
fn targets_must_fit_the_batch_and_the_classes() {
    let net = SmallNet::images(9);
    let capture = net.stages().capture(&net.input(2, 1), &["relu2"]).unwrap();
    for targets in [&[][..], &[Target::Class(0)], &[const { Target::Predicted }; 3]] {
        let error = capture.gradients(targets).unwrap_err();
        assert!(matches!(error, CamError::TargetCount { targets: n, batch: 2 } if n == targets.len()));
    }
    for class in [-1, 4] {
        let error = capture
            .gradients(&[Target::Predicted, Target::Class(class)])
            .unwrap_err();
        assert!(matches!(error, CamError::Class { sample: 1, class: c, classes: 4 } if c == class));
    }
}

#[test]
fn inputs_and_outputs_must_be_batches() {
    let net = SmallNet::images(10);
    let stages = net.stages();
    let empty = net.input(1, 1).narrow(0, 0, 0);
    assert!(matches!(
        stages.capture(&empty, &["relu2"]),
        Err(CamError::EmptyBatch { .. })
    ));
    let headless = Stages::new(vec![Stage::new("rows", |x| x.f_flatten(2, -1))]).unwrap();
    let error = headless.capture(&net.input(2, 1), &["rows"]).unwrap_err();
    assert!(matches!(error, CamError::Logits { shape, batch: 2 } if shape == [2, 2, 204]));
}

#[test]
fn a_failing_stage_is_named_with_its_cause() {
    let net = SmallNet::images(11);
    let error = net
        .stages()
        .capture(&net.input(1, 1).narrow(1, 0, 1), &["fc"])
        .unwrap_err();
    assert!(matches!(&error, CamError::Stage { stage, .. } if stage == "conv1"));
    assert!(std::error::Error::source(&error).is_some());
}

#[test]
fn values_that_are_not_finite_name_their_layer() {
    let net = SmallNet::images(12);
    for bad in [f64::NAN, f64::INFINITY] {
        let input = net.input(2, 1);
        let _ = input.get(1).get(0).get(3).get(3).fill_(bad);
        let error = net.stages().capture(&input, &["conv1"]).unwrap_err();
        assert!(
            matches!(&error, CamError::NonFinite { values: Values::Activations, layer } if layer == "conv1"),
            "{error}"
        );
        assert!(gradients_are_tracked());
    }

    // The root's slope at zero is infinite: logits finite, gradients not.
    let root = Stages::new(vec![
        Stage::new("zero", |x| x.f_mul_scalar(0.0)),
        Stage::new("root", |x| x.f_sqrt()?.f_flatten(1, -1)),
    ])
    .unwrap();
    let capture = root.capture(&normal(&[1, 1, 2, 2], 1).abs(), &["zero"]).unwrap();
    let error = capture.gradients(&[Target::Class(0)]).unwrap_err();
    assert!(matches!(&error, CamError::NonFinite { values: Values::Gradients, layer } if layer == "zero"));

    let overflow = Stages::new(vec![
        Stage::new("same", |x| x.f_relu()),
        Stage::new("overflow", |x| {
            x.f_flatten(1, -1)?.f_exp()?.f_mul_scalar(f64::from(f32::MAX))
        }),
    ])
    .unwrap();
    let error = overflow
        .capture(&Tensor::ones([1, 1, 2, 2], (Kind::Float, tch::Device::Cpu)), &["same"])
        .unwrap_err();
    assert!(matches!(&error, CamError::NonFinite { values: Values::Logits, layer } if layer == "overflow"));
}

/// Logits may be finite and what a target makes of them not.
#[test]
fn scores_that_are_not_finite_are_an_error() {
    let net = SmallNet::images(2);
    let (stages, input) = (net.stages(), net.input(2, 5));
    let targets = || {
        // Its slope is finite.
        let infinite = Score::new(|x| x.f_select(1, 0)?.f_add_scalar(f64::INFINITY));
        [Target::Class(0), Target::Function(infinite)]
    };
    let capture = stages.capture(&input, &["relu2"]).unwrap();
    let errors = [
        capture.gradients(&targets()).map(drop).unwrap_err(),
        shapley_cam(&capture, "relu2", &targets()).map(drop).unwrap_err(),
        full_gradient(&stages, &input, &targets()).map(drop).unwrap_err(),
        guided_backpropagation(&stages, &input, &["relu1"], &targets())
            .map(drop)
            .unwrap_err(),
    ];
    for error in errors {
        assert!(
            matches!(&error, CamError::NonFinite { values: Values::Scores, layer } if layer == "fc"),
            "{error}"
        );
    }
}

/// A sum that overflows is no reason to refuse values that are finite.
#[test]
fn large_finite_activations_pass() {
    let same = Stages::new(vec![
        Stage::new("same", |x| x.f_relu()),
        Stage::new("flatten", |x| x.f_flatten(1, -1)),
    ])
    .unwrap();
    let large = Tensor::full([1, 1, 2, 2], 3e38, (Kind::Float, tch::Device::Cpu));
    same.capture(&large, &["same"]).unwrap();
}

#[test]
fn a_layer_without_a_path_to_the_logits_is_named() {
    let cut = |at: &'static str| -> Stages<'static> {
        let stage = |name: &'static str| {
            Stage::new(name, move |x: &Tensor| -> Result<Tensor, TchError> {
                let x = if name == at { x.f_detach()? } else { x.shallow_clone() };
                x.f_mul_scalar(2.0)
            })
        };
        Stages::new(vec![
            stage("a"),
            stage("b"),
            stage("c"),
            Stage::new("flatten", |x| x.f_flatten(1, -1)),
        ])
        .unwrap()
    };
    let input = normal(&[1, 1, 2, 2], 2);
    let fails_at = |stages: &Stages<'_>, layers: &[&str]| {
        let capture = stages.capture(&input, layers).unwrap();
        match capture.gradients(&[Target::Class(0)]) {
            Err(CamError::Disconnected { layer }) => Some(layer),
            result => result.map(|_| None).unwrap(),
        }
    };
    assert_eq!(fails_at(&cut("b"), &["a", "b"]).as_deref(), Some("a"));
    assert_eq!(fails_at(&cut("c"), &["a", "b"]).as_deref(), Some("b"));
    assert_eq!(fails_at(&cut("b"), &["b", "c"]), None);
    assert!(gradients_are_tracked());
}
