//! Paired tests, corrections and summaries: goldens of SciPy and numpy, and the level under no difference.

use approx::assert_relative_eq;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use seg_metrics::{Alternative, MetricError, PermutationTest, Summary, holm, wilcoxon};
use serde_json::Value;

use crate::scores::{measures, number, numbers};

/// Exact p-values within 1e-9; those by chance within five standard deviations of both sides' chance.
#[test]
fn paired_tests_are_those_of_scipy() {
    for golden in measures("pairs") {
        let (first, second) = (numbers(&golden["first"]), numbers(&golden["second"]));
        for (name, alternative) in [
            ("two-sided", Alternative::TwoSided),
            ("greater", Alternative::Greater),
            ("less", Alternative::Less),
        ] {
            let expected = numbers(&golden[format!("wilcoxon_{name}")]);
            let test = wilcoxon(&first, &second, alternative).unwrap();
            assert_relative_eq!(test.statistic, expected[0], max_relative = 1e-12);
            assert_relative_eq!(test.p_value, expected[1], max_relative = 1e-9);
            assert_eq!(test.counted + test.skipped, first.len());

            let expected = number(&golden[format!("permutation_{name}")]);
            let test = PermutationTest::default()
                .with_resamples(20_000)
                .with_seed(3)
                .run(&first, &second, alternative)
                .unwrap();
            let tolerance = if first.len() <= 8 {
                1e-9
            } else {
                5.0 * (expected * (1.0 - expected) / 18_000.0).sqrt() + 1e-4
            };
            assert!(
                (test.p_value - expected).abs() <= tolerance,
                "{} not {expected}",
                test.p_value
            );
        }
    }
}

/// `scipy.stats.wilcoxon(d, alternative=…)` of SciPy 1.17.1, which tries all signs of up to 13 differences.
#[test]
fn few_pairs_with_ties_are_exact() {
    let two = [
        (
            &[1.0, 1.0, 2.0, 3.0, -1.0, 5.0, 0.0][..],
            [(2.0, 0.125), (19.0, 0.0625), (19.0, 0.984375)],
        ),
        (
            &[2.0, 2.0, -2.0, 1.0, 4.0, 4.0, -1.0, 3.0],
            [(5.5, 0.1015625), (30.5, 0.05078125), (30.5, 0.97265625)],
        ),
    ];
    for (differences, expected) in two {
        let zeros = vec![0.0; differences.len()];
        let alternatives = [Alternative::TwoSided, Alternative::Greater, Alternative::Less];
        for (alternative, expected) in alternatives.into_iter().zip(expected) {
            let test = wilcoxon(differences, &zeros, alternative).unwrap();
            assert_eq!((test.statistic, test.p_value), expected);
        }
    }
}

/// Under no difference, p-values are below any level no more often than the level says.
#[test]
fn permutation_tests_keep_their_level() {
    let mut low = 0;
    for case in 0..200_u64 {
        let mut stream = ChaCha8Rng::seed_from_u64(case);
        let mut scores = || (0..12).map(|_| stream.random()).collect::<Vec<f64>>();
        let (first, second) = (scores(), scores());
        let test = PermutationTest::default()
            .run(&first, &second, Alternative::TwoSided)
            .unwrap();
        low += usize::from(test.p_value <= 0.1);
    }
    assert!((8..=32).contains(&low), "{low} of 200");
}

#[test]
fn p_values_are_corrected_as_by_holm() {
    let goldens: Value = serde_json::from_str(include_str!("../goldens/measures.json")).unwrap();
    let adjusted = holm(&numbers(&goldens["holm"]["p_values"])).unwrap();
    for (value, expected) in adjusted.iter().zip(numbers(&goldens["holm"]["adjusted"])) {
        assert_relative_eq!(*value, expected, max_relative = 1e-12);
    }
    assert!(holm(&[]).unwrap().is_empty());
    assert!(matches!(holm(&[0.1, f64::NAN]), Err(MetricError::Share { .. })));
}

/// `numpy.percentile` of 0.9, 0.2, 0.35, 0.7 and 0.55, and their sample deviation.
#[test]
fn summaries_are_those_of_numpy() {
    let summary = Summary::of(&[0.9, f64::NAN, 0.2, 0.35, 0.7, 0.55]).unwrap();
    assert_eq!((summary.counted, summary.skipped, summary.infinite), (5, 1, 0));
    assert_eq!((summary.lowest, summary.highest, summary.median), (0.2, 0.9, 0.55));
    assert_relative_eq!(summary.lower_quartile, 0.35, max_relative = 1e-15);
    assert_relative_eq!(summary.upper_quartile, 0.7, max_relative = 1e-15);
    assert_relative_eq!(summary.mean, 0.54, max_relative = 1e-15);
    assert_relative_eq!(summary.finite_deviation.unwrap(), 0.2770379034, max_relative = 1e-9);
    // A few misses leave the median finite.
    let missed = Summary::of(&[1.0, f64::INFINITY, 2.0]).unwrap();
    assert_eq!(
        (missed.median, missed.mean, missed.finite_mean),
        (2.0, f64::INFINITY, Some(1.5))
    );
    assert!(Summary::of(&[f64::INFINITY, f64::NEG_INFINITY]).unwrap().mean.is_nan());
}

#[test]
fn infinities_have_a_median() {
    let summary = Summary::of(&[f64::NEG_INFINITY, 1.0]).unwrap();
    assert_eq!(
        (summary.lower_quartile, summary.median),
        (f64::NEG_INFINITY, f64::NEG_INFINITY)
    );
    let both = Summary::of(&[f64::NEG_INFINITY, f64::INFINITY]).unwrap();
    assert!(both.mean.is_nan() && both.median.is_nan());
    assert_eq!((both.counted, both.infinite, both.finite_mean), (2, 2, None));
}
