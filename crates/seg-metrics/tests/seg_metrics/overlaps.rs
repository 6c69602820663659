//! Scores of overlap: goldens of the libraries for pairs of masks and for label maps, and identities between scores.

use approx::assert_relative_eq;
use ndarray::Array1;
use proptest::prelude::*;
use seg_metrics::{Confusion, EmptyMasks, EmptyScore, EmptySide, LabelConfusion, MetricError};

use crate::config;
use crate::pairs::{goldens, pair};
use crate::scores::{measures, number, numbers};

#[test]
fn overlaps_are_those_of_the_libraries() {
    let empty = EmptyMasks::error();
    let mut compared = 0;
    for (at, golden) in goldens().iter().enumerate() {
        let pair = pair(at);
        let confusion = Confusion::from_masks(pair.prediction.view(), pair.truth.view()).unwrap();
        let golden = &golden["overlap"];
        let counts = [
            confusion.true_positives,
            confusion.false_positives,
            confusion.false_negatives,
            confusion.true_negatives,
        ];
        assert_eq!(golden["counts"], serde_json::json!(counts), "pair {at}");
        let labels = LabelConfusion::from(confusion);
        for (name, value) in [
            ("dice", confusion.dice(empty)),
            ("iou", confusion.iou(empty)),
            ("precision", confusion.precision(empty)),
            ("recall", confusion.recall(empty)),
            ("specificity", confusion.specificity()),
            ("f2", confusion.f_beta(2.0, empty)),
            ("tversky", confusion.tversky(0.3, 0.7, empty)),
            ("volumetric_similarity", confusion.volumetric_similarity(empty)),
            ("relative_volume_error", confusion.relative_volume_error(empty)),
            ("mcc", confusion.matthews()),
            ("mcc", labels.matthews()),
            ("kappa", confusion.kappa()),
            ("kappa", labels.kappa()),
            ("adjusted_rand", labels.adjusted_rand()),
        ] {
            if let Some(expected) = golden[name].as_f64() {
                assert_relative_eq!(value.unwrap(), expected, max_relative = 1e-9, epsilon = 1e-12);
                compared += 1;
            } else {
                assert!(value.is_err(), "pair {at}, {name}");
            }
        }
        let information = labels.variation_of_information().unwrap();
        let expected = numbers(&golden["variation_of_information"]);
        assert_relative_eq!(information.prediction_given_truth, expected[0], epsilon = 1e-9);
        assert_relative_eq!(information.truth_given_prediction, expected[1], epsilon = 1e-9);
    }
    assert!(compared > 2000, "{compared}");
}

#[test]
fn label_maps_score_as_in_the_libraries() {
    for golden in measures("label_maps") {
        let labels = |name: &str| Array1::from_iter(numbers(&golden[name]).into_iter().map(|label| label as u8));
        let (prediction, truth) = (labels("prediction"), labels("truth"));
        let classes = number(&golden["classes"]) as usize;
        let mut counts = LabelConfusion::new(classes).unwrap().with_ignored(255);
        // In two parts, the one merged into the other.
        let mut rest = counts.clone();
        let (left, right) = prediction.view().split_at(ndarray::Axis(0), 20);
        let (left_truth, right_truth) = truth.view().split_at(ndarray::Axis(0), 20);
        counts.add(left, left_truth).unwrap();
        rest.add(right, right_truth).unwrap();
        counts.merge(&rest).unwrap();
        let flat: Vec<u64> = counts.counts().iter().copied().collect();
        assert_eq!(golden["counts"], serde_json::json!(flat));
        for (name, value) in [
            ("accuracy", counts.accuracy()),
            ("matthews", counts.matthews()),
            ("kappa", counts.kappa()),
            ("adjusted_rand", counts.adjusted_rand()),
        ] {
            assert_relative_eq!(value.unwrap(), number(&golden[name]), max_relative = 1e-9);
        }
        let information = counts.variation_of_information().unwrap();
        let expected = numbers(&golden["variation_of_information"]);
        assert_relative_eq!(information.prediction_given_truth, expected[0], epsilon = 1e-9);
        assert_relative_eq!(information.truth_given_prediction, expected[1], epsilon = 1e-9);
        for (class, dice) in numbers(&golden["dice"]).into_iter().enumerate() {
            let score = counts.class(class).unwrap().dice(EmptyMasks::medpy()).unwrap();
            assert_relative_eq!(score, dice, epsilon = 1e-9);
        }
        let generalised = counts.generalised_dice(1..classes, EmptyMasks::error()).unwrap();
        assert_relative_eq!(generalised, number(&golden["generalised_dice"]), max_relative = 1e-9);
    }
}

/// Superpixels are counted in usize; counts without different labels are of different pixels.
#[test]
fn labels_of_any_type_count_and_ignored_ones_must_agree() {
    let mut counts = LabelConfusion::new(3).unwrap().with_ignored(7);
    let labels = ndarray::array![0_usize, 2, 1, usize::MAX];
    counts
        .add(labels.view(), ndarray::array![0_usize, 2, 2, 7].view())
        .unwrap();
    assert_eq!((counts.total(), counts.counts()[(2, 1)]), (3, 1));
    let wrong = counts.add(labels.view(), labels.view());
    let value = i128::try_from(usize::MAX).unwrap();
    assert!(matches!(wrong, Err(MetricError::Label { value: found, .. }) if found == value));
    let other = LabelConfusion::new(3).unwrap();
    let before = counts.clone();
    let (first, second) = (Some(7), None);
    assert_eq!(counts.merge(&other), Err(MetricError::Ignored { first, second }));
    assert_eq!(counts, before);
}

/// A class that no pixel has is two empty masks; a number that is no class is a fault.
#[test]
fn absent_classes_are_empty_masks() {
    let mut counts = LabelConfusion::new(4).unwrap();
    let (prediction, truth) = (ndarray::array![0_u8, 1, 1, 3], ndarray::array![0_u8, 1, 0, 0]);
    counts.add(prediction.view(), truth.view()).unwrap();
    let dice = |class: usize, empty: EmptyMasks| counts.class(class)?.dice(empty);
    assert_eq!(dice(1, EmptyMasks::error()), Ok(2.0 / 3.0));
    // Class 2 is in neither, class 3 in the prediction alone.
    for (class, empty) in [(2, EmptySide::Both), (3, EmptySide::Truth)] {
        assert_eq!(dice(class, EmptyMasks::error()), Err(MetricError::EmptyMask { empty }));
    }
    assert!(dice(2, EmptyMasks::default()).unwrap().is_nan());
    assert_eq!(dice(2, EmptyMasks::medpy()), Ok(1.0));
    assert_eq!(dice(3, EmptyMasks::medpy()), Ok(0.0));
    let absent = MetricError::Class { class: 4, classes: 4 };
    assert_eq!(counts.class(4), Err(absent.clone()));
    assert_eq!(
        counts.generalised_dice(1..5, EmptyMasks::default()),
        Err(absent.clone())
    );
    assert_eq!(absent.to_string(), "class 4 was asked for; expected 0 to 3");
}

/// One pixel of a class among 10¹⁰: what two classes come to by the counts themselves.
#[test]
fn rare_classes_keep_their_digits() {
    let rare = Confusion {
        true_positives: 1,
        false_positives: 1,
        false_negatives: 2,
        true_negatives: 10_000_000_000,
    };
    let labels = LabelConfusion::from(rare);
    assert_relative_eq!(
        labels.matthews().unwrap(),
        rare.matthews().unwrap(),
        max_relative = 1e-12
    );
    // In exact fractions: from fractions import Fraction, Hubert & Arabie's formula by binomial coefficients.
    assert_relative_eq!(labels.adjusted_rand().unwrap(), 0.399999999736, max_relative = 1e-12);
}

#[test]
fn extremes_have_their_limits() {
    let confusion = Confusion {
        true_positives: 2,
        false_positives: 1,
        false_negatives: 3,
        true_negatives: 4,
    };
    let policy = EmptyMasks::default().with_prediction(EmptyScore::Score(-3.0));
    assert_eq!(confusion.f_beta(1e200, policy), confusion.recall(policy));
    assert_eq!(confusion.f_beta(0.0, policy), confusion.precision(policy));
    let missed = Confusion {
        false_negatives: 3,
        ..Confusion::default()
    };
    assert_eq!(missed.absolute_volume_error(policy), Ok(-3.0));
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn overlaps_agree_with_each_other(
        counts in [0_u64..50, 0..50, 0..50, 0..50], beta in 0.1_f64..4.0
    ) {
        let [true_positives, false_positives, false_negatives, true_negatives] = counts;
        let confusion = Confusion { true_positives, false_positives, false_negatives, true_negatives };
        let policy = EmptyMasks::medpy();
        let score = |score: Result<f64, MetricError>| score.unwrap();
        assert_relative_eq!(score(confusion.f_beta(1.0, policy)), score(confusion.dice(policy)), epsilon = 1e-14);
        assert_relative_eq!(score(confusion.tversky(1.0, 1.0, policy)), score(confusion.iou(policy)), epsilon = 1e-14);
        // Fβ is the harmonic mean of precision and recall with weights 1 and β².
        let (precision, recall) = (score(confusion.precision(policy)), score(confusion.recall(policy)));
        if precision > 0.0 && true_positives > 0 {
            let mean = (1.0 + beta * beta) / (1.0 / precision + beta * beta / recall);
            assert_relative_eq!(score(confusion.f_beta(beta, policy)), mean, max_relative = 1e-12);
        }
        // Renaming the classes changes no agreement.
        let turned = Confusion {
            true_positives: true_negatives,
            false_positives: false_negatives,
            false_negatives: false_positives,
            true_negatives: true_positives,
        };
        if let (Ok(left), Ok(right)) = (confusion.kappa(), turned.kappa()) {
            assert_relative_eq!(left, right, epsilon = 1e-12);
        }
        if let (Ok(left), Ok(right)) = (confusion.matthews(), turned.matthews()) {
            assert_relative_eq!(left, right, epsilon = 1e-12);
        }
    }
}
