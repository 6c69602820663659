use approx::assert_relative_eq;
use proptest::prelude::*;
use seg_metrics::{Bootstrap, MetricError, roc_auc};
use serde_json::Value;

use crate::config;
use crate::scores::numbers;

/// `goldens/intervals.json` holds scipy's limits. Both sides draw at random, so the limits agree to the
/// noise of the smaller number of resamples: with 10 000, the standard error of a limit at 95 % is about
/// 1 % of the interval's width, and 2.5 % is allowed.
#[test]
fn intervals_are_those_of_scipy() {
    let goldens: Value = serde_json::from_str(include_str!("../goldens/intervals.json")).unwrap();
    let cases = goldens["cases"].as_array().unwrap();
    assert_eq!(cases.len(), 12);
    for case in cases {
        let number = |name: &str| case[name].as_f64().unwrap();
        let values = numbers(&case["values"]);
        let groups: Vec<u64> = case["groups"]
            .as_array()
            .unwrap()
            .iter()
            .map(|group| group.as_u64().unwrap())
            .collect();
        let bootstrap = Bootstrap::default().with_level(number("level"));
        let interval = if case["statistic"] == "auc" {
            let positive: Vec<bool> = numbers(&case["positive"]).iter().map(|&label| label == 1.0).collect();
            bootstrap
                .statistic(values.len(), |cases| {
                    let (scores, positive): (Vec<f64>, Vec<bool>) =
                        cases.iter().map(|&case| (values[case], positive[case])).unzip();
                    roc_auc(&scores, &positive).ok()
                })
                .unwrap()
        } else {
            bootstrap.mean_by_group(&values, &groups).unwrap()
        };
        assert_relative_eq!(interval.value, number("value"), max_relative = 1e-14);
        let tolerance = 0.025 * (number("high") - number("low"));
        for (ours, theirs) in [(interval.low, number("low")), (interval.high, number("high"))] {
            assert!(
                (ours - theirs).abs() <= tolerance,
                "{}: {ours} against {theirs} ± {tolerance}",
                case["name"]
            );
        }
        assert_eq!((interval.counted, interval.skipped), (values.len(), 0));
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..config() })]

    /// The mean, the mean over groups of one, and the mean as a statistic are one thing.
    #[test]
    fn means_agree_with_themselves(values in prop::collection::vec(0.0_f64..1.0, 2..30)) {
        let bootstrap = Bootstrap::default().with_resamples(500);
        let mean = bootstrap.mean(&values).unwrap();
        let groups: Vec<String> = (0..values.len()).map(|case| format!("patient {case}")).collect();
        prop_assert_eq!(bootstrap.mean_by_group(&values, &groups).unwrap(), mean);
        let of = |cases: &[usize]| Some(cases.iter().map(|&case| values[case]).sum::<f64>() / cases.len() as f64);
        for statistic in [
            bootstrap.statistic(values.len(), of).unwrap(),
            bootstrap.statistic_by_group(&groups, of).unwrap(),
        ] {
            assert_relative_eq!(statistic.value, mean.value, max_relative = 1e-12);
            // Sums round in different orders, which can tell a tie apart: far below the limits' noise.
            assert_relative_eq!(statistic.low, mean.low, epsilon = 0.01);
            assert_relative_eq!(statistic.high, mean.high, epsilon = 0.01);
        }
        prop_assert!(mean.low <= mean.high);
    }

    /// NaN values are as good as absent.
    #[test]
    fn nan_is_skipped(values in prop::collection::vec(0.0_f64..1.0, 1..20), at in 0_usize..20) {
        let bootstrap = Bootstrap::default().with_resamples(200);
        let mut with_nan = values.clone();
        with_nan.insert(at.min(values.len()), f64::NAN);
        let (without, with) = (bootstrap.mean(&values).unwrap(), bootstrap.mean(&with_nan).unwrap());
        prop_assert_eq!((with.value, with.low, with.high), (without.value, without.low, without.high));
        prop_assert_eq!((with.counted, with.skipped), (values.len(), 1));
    }
}

#[test]
fn results_do_not_depend_on_threads_but_on_the_seed() {
    let values: Vec<f64> = (0..50).map(|case| f64::from(case * 7919 % 101) / 101.0).collect();
    let groups: Vec<i32> = (0..50).map(|case| case / 4).collect();
    let bootstrap = Bootstrap::default().with_resamples(2_000).with_seed(5);
    let all = |bootstrap: Bootstrap| {
        [
            bootstrap.mean(&values).unwrap(),
            bootstrap.mean_by_group(&values, &groups).unwrap(),
            bootstrap
                .statistic(50, |cases| cases.iter().map(|&case| values[case]).reduce(f64::max))
                .unwrap(),
        ]
    };
    let on = |threads| {
        rayon::ThreadPoolBuilder::new()
            .num_threads(threads)
            .build()
            .unwrap()
            .install(|| all(bootstrap))
    };
    assert_eq!(on(1), on(7));
    assert_ne!(on(1)[0], all(bootstrap.with_seed(6))[0]);
}

/// The numbers that this crate gave when it was first written: a random stream that changed would change
/// published intervals without a word. The tolerance is for the mathematics library.
#[test]
fn the_stream_stays_the_same() {
    let interval = Bootstrap::default()
        .with_seed(1)
        .mean(&[0.61, 0.74, 0.18, 0.55, 0.69, 0.7, 0.42, 0.66])
        .unwrap();
    assert_relative_eq!(interval.low, 0.39875, max_relative = 1e-9);
    assert_relative_eq!(interval.high, 0.66125, max_relative = 1e-9);
}

/// 400 samples of 30 from a known distribution: the 90 % interval holds the true mean about 360 times.
/// Its standard deviation is 6; BCa with 30 cases falls a little short.
#[test]
fn intervals_cover_the_truth() {
    use rand::{Rng, SeedableRng};
    let mut random = rand_chacha::ChaCha8Rng::seed_from_u64(11);
    let bootstrap = Bootstrap::default().with_level(0.9).with_resamples(400);
    let covered = (0..400)
        .filter(|&seed| {
            let values: Vec<f64> = (0..30).map(|_| random.random::<f64>().powi(2)).collect();
            let interval = bootstrap.with_seed(seed).mean(&values).unwrap();
            (interval.low..=interval.high).contains(&(1.0 / 3.0))
        })
        .count();
    assert!((330..=385).contains(&covered), "{covered}");
}

#[test]
fn degenerate_cases_give_the_value_itself() {
    let bootstrap = Bootstrap::default();
    let ends = |interval: seg_metrics::Interval| (interval.value, interval.low, interval.high);
    assert_eq!(ends(bootstrap.mean(&[0.3]).unwrap()), (0.3, 0.3, 0.3));
    assert_eq!(ends(bootstrap.mean(&[0.1; 7]).unwrap()), (0.1, 0.1, 0.1));
    assert_eq!(
        ends(bootstrap.mean_by_group(&[0.25, 0.75], &["a", "a"]).unwrap()),
        (0.5, 0.5, 0.5)
    );
    assert_eq!(ends(bootstrap.statistic(5, |_| Some(0.2)).unwrap()), (0.2, 0.2, 0.2));
    assert_eq!(
        ends(bootstrap.statistic_by_group(&[1, 1, 1], |_| Some(0.2)).unwrap()),
        (0.2, 0.2, 0.2)
    );
    let infinite = f64::INFINITY;
    assert_eq!(
        ends(bootstrap.mean(&[1.0, infinite]).unwrap()),
        (infinite, infinite, infinite)
    );
    assert_eq!(bootstrap.mean(&[-infinite, infinite]), Err(MetricError::BothInfinities));
}

#[test]
fn a_statistic_may_be_undefined_on_some_resamples() {
    let bootstrap = Bootstrap::default();
    // One positive case of four: about a third of the resamples have none, and without it no AUC is left.
    let auc = bootstrap.statistic(4, |cases| {
        let positive: Vec<bool> = cases.iter().map(|&case| case == 0).collect();
        let scores: Vec<f64> = cases.iter().map(|&case| [0.5, 0.2, 0.6, 0.1][case]).collect();
        roc_auc(&scores, &positive).ok()
    });
    let auc = auc.unwrap();
    assert_relative_eq!(auc.value, 2.0 / 3.0);
    assert!(
        (2_900..3_600).contains(&auc.undefined_resamples),
        "{}",
        auc.undefined_resamples
    );
    assert!(auc.low.is_finite() && auc.high.is_finite() && auc.low <= auc.value && auc.value <= auc.high);

    let rarely = bootstrap.statistic(10, |cases| (cases == (0..10).collect::<Vec<_>>()).then_some(1.0));
    assert!(matches!(
        rarely,
        Err(MetricError::UndefinedResamples { resamples: 10_000, .. })
    ));
    assert_eq!(
        bootstrap.statistic(3, |_| None),
        Err(MetricError::Undefined { cases: 3 })
    );
    assert_eq!(
        bootstrap.statistic(3, |_| Some(f64::NAN)),
        Err(MetricError::Undefined { cases: 3 })
    );
}

/// A statistic that sits at the end of its resampled values, as a maximum does, still has finite limits.
#[test]
fn an_extreme_statistic_has_limits() {
    let values = [0.2, 0.5, 0.9, 0.4];
    let most = Bootstrap::default().statistic(4, |cases| cases.iter().map(|&case| values[case]).reduce(f64::max));
    let most = most.unwrap();
    assert!(most.low <= most.high && most.high == 0.9 && most.low >= 0.2);
}
