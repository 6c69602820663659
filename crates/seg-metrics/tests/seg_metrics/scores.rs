//! `goldens/scores.json` holds scikit-learn's scores. They must agree to a few roundings of f64.

use approx::assert_relative_eq;
use proptest::prelude::*;
use seg_metrics::{Confusion, EmptyMasks, roc_auc};
use serde_json::Value;

use crate::config;

pub(crate) fn numbers(value: &Value) -> Vec<f64> {
    value
        .as_array()
        .unwrap()
        .iter()
        .map(|value| value.as_f64().unwrap())
        .collect()
}

/// The cases of one kind of measure in `goldens/measures.json`.
pub(crate) fn measures(name: &str) -> Vec<Value> {
    let goldens: Value = serde_json::from_str(include_str!("../goldens/measures.json")).unwrap();
    let cases = goldens[name].as_array().unwrap().clone();
    assert!(cases.len() > 2);
    cases
}

pub(crate) fn number(value: &Value) -> f64 {
    value.as_f64().unwrap()
}

#[test]
fn scores_are_those_of_scikit_learn() {
    let goldens: Value = serde_json::from_str(include_str!("../goldens/scores.json")).unwrap();
    let cases = goldens["cases"].as_array().unwrap();
    assert_eq!(cases.len(), 5);
    for case in cases {
        let scores = numbers(&case["scores"]);
        let truth: Vec<bool> = numbers(&case["truth"]).iter().map(|&label| label == 1.0).collect();
        let predicted: Vec<bool> = scores.iter().map(|&score| score > 0.5).collect();
        let confusion = Confusion::from_labels(&predicted, &truth).unwrap();
        let count = |name: &str| case["confusion"][name].as_u64().unwrap();
        assert_eq!(
            confusion,
            Confusion {
                true_positives: count("tp"),
                false_positives: count("fp"),
                false_negatives: count("fn"),
                true_negatives: count("tn"),
            }
        );
        let policy = EmptyMasks::default();
        for (name, score) in [
            ("roc_auc", roc_auc(&scores, &truth)),
            ("dice", confusion.dice(policy)),
            ("iou", confusion.iou(policy)),
            ("precision", confusion.precision(policy)),
            ("recall", confusion.recall(policy)),
            ("specificity", confusion.specificity()),
            ("accuracy", confusion.accuracy()),
            ("balanced_accuracy", confusion.balanced_accuracy()),
        ] {
            assert_relative_eq!(score.unwrap(), case[name].as_f64().unwrap(), max_relative = 1e-14);
        }
    }
}

proptest! {
    #![proptest_config(config())]

    /// The definition: positive against negative, every pair, ties half.
    #[test]
    fn auc_is_the_share_of_pairs_in_order(
        cases in prop::collection::vec((prop_oneof![(-3_i8..=3).prop_map(f64::from), -2.0..2.0], any::<bool>()), 2..60)
    ) {
        let (scores, positive): (Vec<f64>, Vec<bool>) = cases.iter().copied().unzip();
        let (mut twice_wins, mut pairs) = (0_u32, 0_u32);
        for (high, _) in cases.iter().filter(|case| case.1) {
            for (low, _) in cases.iter().filter(|case| !case.1) {
                twice_wins += 2 * u32::from(high > low) + u32::from(high == low);
                pairs += 1;
            }
        }
        match roc_auc(&scores, &positive) {
            Ok(auc) => {
                prop_assert_eq!(auc, f64::from(twice_wins) / f64::from(2 * pairs));
                let turned: Vec<f64> = scores.iter().map(|score| -score).collect();
                assert_relative_eq!(roc_auc(&turned, &positive).unwrap(), 1.0 - auc, epsilon = 1e-15);
            }
            Err(_) => prop_assert_eq!(pairs, 0),
        }
    }
}

#[test]
fn zeros_of_either_sign_are_tied() {
    assert_eq!(roc_auc(&[-0.0, 0.0], &[false, true]).unwrap(), 0.5);
}
