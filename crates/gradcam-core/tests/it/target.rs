//! What each kind of target stands for, by the gradients it gives.

use gradcam_core::{CamError, Score, Stage, Stages, Target};
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
        CamError::Region { .. }
    ));
    assert!(matches!(
        of(Target::Function(Score::new(|x| x.f_sum(Kind::Float)))),
        CamError::ScoreShape { expected: 1, .. }
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
