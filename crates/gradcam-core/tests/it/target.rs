//! What each kind of target stands for, by the gradients it gives.

use gradcam_core::{CamError, Probe, Score, Stage, Stages, Target};
use ndarray::{Array2, arr2};
use tch::{Device, Kind, Tensor};

use crate::small_net::{SmallNet, largest_difference, normal};

/// A network whose layer `logits` is its output: gradients there are those of the score itself.
fn identity() -> Stages<'static> {
    Stages::new(vec![
        Stage::new("logits", |x| x.f_mul_scalar(1.0)),
        Stage::new("out", |x| x.f_mul_scalar(1.0)),
    ])
    .unwrap()
}

fn slopes(logits: &Tensor, targets: &[Target]) -> Result<Vec<f32>, CamError> {
    let capture = identity().capture(logits, &["logits"])?;
    let gradients = capture.gradients(targets)?;
    Ok(gradients.at("logits")?.gradients().contiguous().view(-1).try_into()?)
}

fn close(found: &[f32], expected: &[f32]) {
    assert_eq!(found.len(), expected.len());
    for (found, expected) in found.iter().zip(expected) {
        assert!((found - expected).abs() < 1e-6, "{found} {expected}");
    }
}

#[test]
fn each_target_has_its_own_slopes() {
    let logits = Tensor::from_slice(&[1f32, 3., 2., 0.]).view([1, 4]);
    let of = |target| slopes(&logits, &[target]).unwrap();
    close(&of(Target::Class(2)), &[0., 0., 1., 0.]);
    close(&of(Target::Predicted), &[0., 1., 0., 0.]);
    close(&of(Target::Ranked(0)), &[0., 1., 0., 0.]);
    close(&of(Target::Ranked(1)), &[0., 0., 1., 0.]);
    close(&of(Target::Ranked(3)), &[0., 0., 0., 1.]);
    close(&of(Target::Predicted.against([0, 3], 0.5)), &[-0.25, 1., 0., -0.25]);
    close(&of(Target::Class(2).counterfactual()), &[0., 0., -1., 0.]);
    close(
        &of(Target::Class(2).counterfactual().counterfactual()),
        &[0., 0., 1., 0.],
    );
    close(
        &of(Target::Function(Score::new(|x| {
            x.f_sum_dim_intlist([1i64].as_slice(), false, None)
        }))),
        &[1.; 4],
    );

    // d p1 / d z = p1 (1[k=1] - p_k)
    let p: Vec<f32> = logits.softmax(1, Kind::Float).view(-1).try_into().unwrap();
    let expected: Vec<f32> = (0..4).map(|k| p[1] * (f32::from(u8::from(k == 1)) - p[k])).collect();
    close(&of(Target::Class(1).probability()), &expected);
    close(&of(Target::Predicted.probability()), &expected);
}

/// `ClassifierOutputReST(c)(z).backward()` of pytorch-grad-cam 1.5.7 gave these slopes, in double precision.
#[test]
fn residual_softmax_agrees_with_pytorch_grad_cam() {
    let logits = Tensor::from_slice(&[1f32, 3., 2., 0.]).view([1, 4]);
    let peer = [
        (
            1,
            2.559_810_3,
            [-0.087_144_32, 1.356_085_7, -0.236_882_82, -0.032_058_604],
        ),
        (
            2,
            0.559_810_3,
            [-0.087_144_32, -0.643_914_3, 1.763_117_2, -0.032_058_604],
        ),
    ];
    for (class, score, expected) in peer {
        let target = [Target::Class(class).residual_softmax()];
        close(&slopes(&logits, &target).unwrap(), &expected);
        let stages = identity();
        let probe = Probe::new(&stages, &logits, &target).unwrap();
        assert!((probe.scores().double_value(&[0]) - score).abs() < 1e-6);
        assert_eq!(probe.classes(), [Some(class)]);
    }
}

/// `BinaryClassifierOutputTarget` of pytorch-grad-cam is the logit for the class 1 and its negative for the class 0.
#[test]
fn a_single_logit_speaks_for_two_classes() {
    let logits = Tensor::from_slice(&[0.7f32, -2.]).view([2, 1]);
    let of = |target: Target| slopes(&logits, &[target.clone(), target]).unwrap();
    close(&of(Target::Class(0)), &[1., 1.]);
    close(&of(Target::Class(0).counterfactual()), &[-1., -1.]);
    // d p / d z = p (1 - p)
    let slope = |z: f32| {
        let p = 1.0 / (1.0 + (-z).exp());
        p * (1.0 - p)
    };
    close(&of(Target::Predicted.sigmoid()), &[slope(0.7), slope(-2.0)]);
    let refused = |target: Target| slopes(&logits, &[Target::Class(0), target]).unwrap_err();
    for target in [Target::Class(0).probability(), Target::Predicted.residual_softmax()] {
        assert!(matches!(refused(target), CamError::OneClass { sample: 1 }));
    }
}

/// With several labels at once each logit is a probability of its own.
#[test]
fn a_sigmoid_leaves_other_classes_alone() {
    let logits = Tensor::from_slice(&[0f32, 30., 1.]).view([1, 3]);
    close(
        &slopes(&logits, &[Target::Class(0).sigmoid()]).unwrap(),
        &[0.25, 0., 0.],
    );
}

#[test]
fn a_contrast_is_to_other_classes_each_once() {
    let logits = Tensor::from_slice(&[1f32, 3., 2., 0.]).view([1, 4]);
    let of = |target| slopes(&logits, &[target]).unwrap_err();
    for itself in [
        Target::Class(1).against([1], 1.0),
        Target::Predicted.against([0, 1], 1.0),
        Target::Ranked(0).against([1], 0.5).counterfactual(),
    ] {
        assert!(matches!(
            of(itself),
            CamError::ComparedWithItself { sample: 0, class: 1 }
        ));
    }
    assert!(matches!(
        of(Target::Class(1).against([0, 2, 0], 1.0)),
        CamError::ComparedTwice { sample: 0, class: 0 }
    ));
}

#[test]
fn a_function_that_fails_is_named_with_its_sample() {
    let logits = normal(&[2, 3], 4);
    let fails = Target::Function(Score::new(|x| x.f_narrow(1, 0, 9)));
    let error = slopes(&logits, &[Target::Class(0), fails.counterfactual()]).unwrap_err();
    assert!(matches!(error, CamError::TargetFunction { sample: 1, .. }));
    assert!(error.to_string().contains("function") && error.to_string().contains("sample 1"));
}

/// Scores of a network in double precision differ where single precision would not tell them apart.
#[test]
fn double_precision_is_kept() {
    let logits = Tensor::from_slice(&[1e7f64 + 0.25, 1e7, 3.0]).view([1, 3]);
    let kept = |target: Target| {
        let stages = identity();
        let probe = Probe::new(&stages, &logits, &[target]).unwrap();
        assert_eq!(probe.scores().kind(), Kind::Double);
        probe.scores().double_value(&[0])
    };
    assert_eq!(kept(Target::Class(0)), 1e7 + 0.25);
    assert_eq!(kept(Target::Class(0).against([1], 1.0)), 0.25);
    assert_eq!(kept(Target::Class(0).counterfactual()), -1e7 - 0.25);
    let probability = kept(Target::Class(0).probability());
    assert!((probability - 1.0 / (1.0 + (-0.25f64).exp())).abs() < 1e-15);
    let residual = kept(Target::Class(1).residual_softmax());
    assert!((residual - (1e7 - 0.25f64.exp().ln_1p())).abs() < 1e-8);
    let own = Score::new(|x| {
        assert_eq!(x.kind(), Kind::Double);
        x.f_select(1, 0)
    });
    assert_eq!(kept(Target::Function(own)), 1e7 + 0.25);
}

#[test]
fn kinds_mix_in_one_batch() {
    let logits = normal(&[4, 3], 5);
    let targets = [
        Target::Class(1),
        Target::Ranked(1).probability(),
        Target::Class(0).against([2], 1.0),
        Target::Predicted.counterfactual(),
    ];
    let together = slopes(&logits, &targets).unwrap();
    for (sample, target) in targets.into_iter().enumerate() {
        let alone = slopes(&logits.narrow(0, sample as i64, 1), &[target]).unwrap();
        close(&alone, &together[3 * sample..][..3]);
    }
}

#[test]
fn a_region_of_a_segmentation_counts_its_places() {
    let logits = normal(&[2, 3, 2, 2], 1);
    let region = arr2(&[[true, false], [false, true]]);
    let found = slopes(
        &logits,
        &[
            Target::region(1, region.view()),
            Target::region(0, region.view()).counterfactual(),
        ],
    )
    .unwrap();
    let marked = [1., 0., 0., 1.];
    let zero = [0f32; 4];
    close(
        &found,
        &[zero, marked, zero, marked.map(|value| -value), zero, zero].concat(),
    );

    let small = Array2::from_elem((1, 2), true);
    assert!(matches!(
        slopes(
            &logits,
            &[Target::region(1, small.view()), Target::region(1, region.view())]
        ),
        Err(CamError::Region { sample: 0, .. })
    ));
    let nowhere = Array2::from_elem((2, 2), false);
    assert!(matches!(
        slopes(
            &logits,
            &[Target::region(1, region.view()), Target::region(1, nowhere.view())]
        ),
        Err(CamError::EmptyRegion { sample: 1 })
    ));
    assert!(matches!(
        slopes(
            &logits,
            &[Target::region(3, region.view()), Target::region(1, region.view())]
        ),
        Err(CamError::Class {
            sample: 0,
            class: 3,
            classes: 3
        })
    ));
    assert!(matches!(
        slopes(&logits, &[Target::region(1, region.view()), Target::Predicted]),
        Err(CamError::NeedsRegion { sample: 1, .. })
    ));
}

#[test]
fn targets_that_mean_nothing_are_refused() {
    let logits = normal(&[1, 3], 2);
    let of = |target| slopes(&logits, &[target]).unwrap_err();
    assert!(matches!(
        of(Target::Ranked(3)),
        CamError::Rank {
            rank: 3,
            classes: 3,
            ..
        }
    ));
    // No index from the end.
    assert!(matches!(
        of(Target::Ranked(usize::MAX)),
        CamError::Rank { classes: 3, .. }
    ));
    assert!(matches!(
        of(Target::Class(0).probability().probability()),
        CamError::NoClassNamed { sample: 0 }
    ));
    assert!(matches!(
        of(Target::Class(0).against([], 1.0)),
        CamError::NoClassesToCompare { classes: 0, .. }
    ));
    assert!(matches!(
        of(Target::Class(0).against([1], f64::NAN)),
        CamError::NoClassesToCompare { .. }
    ));
    assert!(matches!(
        of(Target::Class(0).against([3], 1.0)),
        CamError::Class { class: 3, .. }
    ));
    assert!(matches!(
        of(Target::region(0, Array2::from_elem((1, 1), true).view())),
        CamError::NoPlaces { sample: 0 }
    ));
    assert!(matches!(
        of(Target::Function(Score::new(|x| x.f_sum(Kind::Float)))),
        CamError::ScoreShape {
            sample: 0,
            expected: 1,
            ..
        }
    ));
    // A function that does not look at the output has no gradient.
    assert!(matches!(
        of(Target::Function(Score::new(|x| Tensor::f_zeros(
            [x.size()[0]],
            (Kind::Float, Device::Cpu)
        )))),
        CamError::Disconnected { .. }
    ));
}

/// Evidence against a class is the evidence for the negative of its logit.
#[test]
fn counterfactual_gradients_are_the_negative() {
    let net = SmallNet::images(3);
    let stages = net.stages();
    let capture = stages.capture(&net.input(2, 4), &["relu1", "relu2"]).unwrap();
    let target = || [Target::Class(1), Target::Class(2).probability()];
    let one = capture.gradients(&target()).unwrap();
    let other = capture.gradients(&target().map(Target::counterfactual)).unwrap();
    for layer in ["relu1", "relu2"] {
        let (one, other) = (one.at(layer).unwrap(), other.at(layer).unwrap());
        assert!(largest_difference(one.gradients(), &other.gradients().neg()) == 0.0);
    }
}
