use gradcam_core::{
    CamError, FinerCam, GradientMethod, ReferenceWeights, Score, Stage, Stages, Target, finer_cam, grad_cam,
};
use tch::{Kind, Tensor};

use crate::goldens::Golden;
use crate::small_net::{SmallNet, largest_difference, normal};

#[test]
fn agrees_with_torch_cam_and_pytorch_grad_cam() {
    let weighted = FinerCam::default()
        .with_strength(1.0)
        .with_weights(ReferenceWeights::Probability);
    for golden in Golden::all() {
        let capture = golden.stages().capture(&golden.images(), &golden.layers).unwrap();
        for (name, settings) in [("finer_cam", FinerCam::default()), ("finer_cam_weighted", weighted)] {
            for layer in golden.layers {
                let maps = finer_cam(&capture, layer, &golden.targets(), &settings).unwrap();
                golden.check(name, layer, &maps);
            }
        }
    }
}

/// Logits for which the nearest can be told: 5, 4, 1, 4.5, 0.
fn known() -> Stages<'static> {
    Stages::new(vec![
        Stage::new("image", |x| x.f_relu()),
        Stage::new("logits", |x| x.f_sum_dim_intlist([2i64, 3].as_slice(), false, None)),
    ])
    .unwrap()
}

fn image() -> Tensor {
    Tensor::from_slice(&[5f32, 4., 1., 4.5, 0.]).view([1, 5, 1, 1])
        * Tensor::from_slice(&[0.25f32, 0.75]).view([1, 1, 1, 2])
}

/// The target as one would write it by hand.
#[test]
fn the_nearest_classes_are_the_references() {
    let capture = known().capture(&image(), &["image"]).unwrap();
    for (target, class, nearest) in [
        (Target::Class(0), 0, [3, 1]),
        (Target::Predicted, 0, [3, 1]),
        (Target::Ranked(3), 2, [4, 1]),
        (Target::Class(1), 1, [3, 0]),
    ] {
        for method in GradientMethod::ALL {
            let settings = FinerCam::default()
                .with_references(2)
                .with_strength(0.8)
                .with_method(method);
            let found = finer_cam(&capture, "image", std::slice::from_ref(&target), &settings).unwrap();
            let by_hand = [Target::Class(class).against(nearest, 0.8)];
            let gradients = capture.gradients(&by_hand).unwrap();
            let expected = method.maps(&gradients.at("image").unwrap()).unwrap();
            assert_eq!(found.tensor(), expected.tensor(), "{target:?}");

            let against = finer_cam(&capture, "image", &[target.clone().counterfactual()], &settings).unwrap();
            let gradients = capture.gradients(&by_hand.map(Target::counterfactual)).unwrap();
            let expected = method.maps(&gradients.at("image").unwrap()).unwrap();
            assert_eq!(against.tensor(), expected.tensor(), "{target:?}");
        }
    }
}

/// Fewer classes than references are all taken; no strength is the plain method.
#[test]
fn settings_mean_what_they_say() {
    let net = SmallNet::images(1);
    let capture = net.stages().capture(&net.input(2, 2), &["relu2"]).unwrap();
    let targets = [Target::Class(2), Target::Predicted];
    let run = |settings: &FinerCam| finer_cam(&capture, "relu2", &targets, settings).unwrap();
    let all = run(&FinerCam::default().with_references(3));
    assert_eq!(run(&FinerCam::default().with_references(100)).tensor(), all.tensor());
    let plain = grad_cam(&capture.gradients(&targets).unwrap().at("relu2").unwrap()).unwrap();
    let none = run(&FinerCam::default().with_strength(0.0));
    assert!(largest_difference(none.tensor(), plain.tensor()) < 1e-7);
    assert!(largest_difference(all.tensor(), plain.tensor()) > 1e-3);
}

#[test]
fn a_batch_gives_each_sample_what_it_would_get_alone() {
    for mut net in [SmallNet::images(2), SmallNet::volumes(2)] {
        // In double precision, in which it does not show that convolutions round otherwise in a batch.
        net.variables.set_kind(Kind::Double);
        let (stages, input) = (net.stages(), net.input(3, 3).to_kind(Kind::Double));
        let targets = [Target::Class(3), Target::Predicted, Target::Class(0).counterfactual()];
        for weights in [ReferenceWeights::Equal, ReferenceWeights::Probability] {
            let settings = FinerCam::default().with_weights(weights);
            let batch = finer_cam(
                &stages.capture(&input, &["relu2"]).unwrap(),
                "relu2",
                &targets,
                &settings,
            )
            .unwrap();
            for (sample, target) in (0i64..).zip(&targets) {
                let capture = stages.capture(&input.narrow(0, sample, 1), &["relu2"]).unwrap();
                let alone = finer_cam(&capture, "relu2", std::slice::from_ref(target), &settings).unwrap();
                let expected = batch.tensor().narrow(0, sample, 1);
                let scale = batch.tensor().max().double_value(&[]);
                assert!(largest_difference(alone.tensor(), &expected) < 1e-6 * scale);
            }
        }
    }
}

#[test]
fn faults_are_errors() {
    let capture = known().capture(&image(), &["image"]).unwrap();
    let run = |target: Target, settings: &FinerCam| finer_cam(&capture, "image", &[target], settings).unwrap_err();
    let default = FinerCam::default();
    let own = Target::Function(Score::new(|logits| logits.f_select(1, 0)));
    for target in [
        own,
        Target::Class(0).probability(),
        Target::Class(0).against([1], 1.0).counterfactual(),
    ] {
        assert!(matches!(run(target, &default), CamError::NoClassNamed { sample: 0 }));
    }
    let none = default.with_references(0);
    assert!(matches!(
        run(Target::Predicted, &none),
        CamError::NoClassesToCompare { classes: 0, .. }
    ));
    let endless = default
        .with_strength(f64::INFINITY)
        .with_weights(ReferenceWeights::Probability);
    assert!(matches!(
        run(Target::Predicted, &endless),
        CamError::NoClassesToCompare { classes: 3, .. }
    ));
    assert!(matches!(
        run(Target::Class(5), &default),
        CamError::Class { class: 5, .. }
    ));
    let single = Stages::new(vec![
        Stage::new("image", |x| x.f_relu()),
        Stage::new("logit", |x| x.f_mean_dim([2i64, 3].as_slice(), false, None)),
    ])
    .unwrap();
    let capture = single.capture(&normal(&[1, 1, 3, 3], 1), &["image"]).unwrap();
    let error = finer_cam(&capture, "image", &[Target::Class(0)], &default).unwrap_err();
    assert!(matches!(error, CamError::NoClassesToCompare { classes: 0, .. }));
}
