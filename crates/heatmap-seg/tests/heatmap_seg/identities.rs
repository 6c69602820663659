use heatmap_seg::{Calibration, Connectivity, Hysteresis, Threshold};
use ndarray::{Array1, Array2, Array3, s};
use proptest::prelude::*;
use proptest::test_runner::RngSeed;

fn config() -> ProptestConfig {
    ProptestConfig {
        cases: 128,
        rng_seed: RngSeed::Fixed(1979),
        failure_persistence: None,
        ..Default::default()
    }
}

/// Otsu's threshold in f64 by its definition: bins found by search, each split summed afresh.
fn plain_otsu_variance(values: &[f32], threshold: f32) -> (f64, f64) {
    let (least, greatest) = values
        .iter()
        .fold((f32::MAX, f32::MIN), |(l, g), &v| (l.min(v), g.max(v)));
    let edges: Vec<f64> = (0..=256)
        .map(|e| f64::from(least) + (f64::from(greatest) - f64::from(least)) * f64::from(e) / 256.0)
        .collect();
    let centres: Vec<f64> = edges.windows(2).map(|pair| (pair[0] + pair[1]) / 2.0).collect();
    let bin = |value: f32| edges[1..256].partition_point(|&edge| edge <= f64::from(value));
    let variance = |split: usize| {
        let (mut lower, mut upper) = ((0.0, 0.0), (0.0, 0.0));
        for &value in values {
            let side = if bin(value) <= split { &mut lower } else { &mut upper };
            side.0 += 1.0;
            side.1 += centres[bin(value)];
        }
        if lower.0 == 0.0 || upper.0 == 0.0 {
            return 0.0;
        }
        lower.0 * upper.0 * f64::powi(lower.1 / lower.0 - upper.1 / upper.0, 2)
    };
    let best = (0..255).map(variance).fold(0.0, f64::max);
    let chosen = (0..256).min_by(|&a, &b| {
        let distance = |bin: usize| (centres[bin] - f64::from(threshold)).abs();
        distance(a).total_cmp(&distance(b))
    });
    (variance(chosen.unwrap()), best)
}

proptest! {
    #![proptest_config(config())]

    /// No split has a greater variance than the chosen one. The tolerance is that of f32 sums, and of
    /// values beside an edge that f32 and f64 put into different bins.
    #[test]
    fn otsu_has_the_greatest_variance(values in prop::collection::vec(0.0_f32..=1.0, 3..120)) {
        let threshold = Threshold::Otsu.value(Array1::from(values.clone()).view()).unwrap();
        let (chosen, best) = plain_otsu_variance(&values, threshold);
        prop_assert!(chosen >= best * (1.0 - 1e-3), "{chosen} of {best}");
    }

    #[test]
    fn apply_is_value_and_comparison(values in prop::collection::vec(0.0_f32..=1.0, 24), fixed in 0.0_f32..=1.0) {
        let heatmap = Array3::from_shape_vec((2, 3, 4), values).unwrap();
        for threshold in [Threshold::Fixed(fixed), Threshold::Otsu] {
            let value = threshold.value(heatmap.view()).unwrap();
            prop_assert!((0.0..=1.0).contains(&value));
            let mask = threshold.apply(heatmap.view()).unwrap();
            prop_assert_eq!(mask, heatmap.mapv(|v| v > value));
        }
    }

    /// Otsu splits every map that is not constant into two classes that are not empty.
    #[test]
    fn otsu_splits(values in prop::collection::vec(0.0_f32..=1.0, 2..60), steps in 1_u32..400, base in 0_u32..0x3f7f_fe00) {
        // Wide maps, and maps of values a few steps of f32 apart, down to the subnormal ones.
        let close: Vec<f32> =
            values.iter().map(|&value| f32::from_bits(base + (value * steps as f32) as u32)).collect();
        for values in [values, close] {
            let constant = values.iter().all(|&value| value == values[0]);
            let mask = Threshold::Otsu.apply(Array1::from(values).view()).unwrap();
            prop_assert_eq!(mask.iter().any(|&on| on), !constant);
            prop_assert!(mask.iter().any(|&on| !on));
        }
    }

    #[test]
    fn memory_layout_does_not_matter(values in prop::collection::vec(0.0_f32..=1.0, 80)) {
        let wide = Array2::from_shape_vec((8, 10), values).unwrap();
        for view in [wide.slice(s![..;2, 1..;3]), wide.t(), wide.slice(s![..;-1, ..])] {
            let copy = Array2::from_shape_vec(view.dim(), view.iter().copied().collect()).unwrap();
            for threshold in [Threshold::Fixed(0.4), Threshold::Otsu] {
                prop_assert_eq!(threshold.apply(view).unwrap(), threshold.apply(copy.view()).unwrap());
            }
        }
    }
}

/// Every rule that looks at the map, on maps of any width, leaves it neither NaN nor out of 0..=1.
#[test]
fn every_rule_gives_a_number() {
    let rules = [
        Threshold::Percentile(30.0),
        Threshold::MultiOtsu { classes: 5 },
        Threshold::Yen,
        Threshold::Li,
        Threshold::Triangle,
        Threshold::MaximumEntropy,
    ];
    let hash = |i: usize| (i * 7919 % 1009) as f32 / 1009.0;
    for base in [0_u32, 1, 0x3e00_0000, 0x3f7f_0000] {
        for steps in [0_u32, 1, 2, 3, 40, 300, 60_000] {
            let values = (0..97).map(|i| f32::from_bits(base + (hash(i) * (steps + 1) as f32) as u32));
            let heatmap: Array1<f32> = values.collect();
            let constant = heatmap.iter().all(|&value| value == heatmap[0]);
            for rule in rules {
                let value = rule.value(heatmap.view()).unwrap();
                assert!((0.0..=1.0).contains(&value), "{rule:?} gives {value}");
                if constant {
                    assert_eq!(value, heatmap[0], "{rule:?}");
                }
            }
        }
    }
}

/// The calibrated threshold has the greatest mean Dice of all hundred, each mask made and counted afresh.
#[test]
fn calibration_is_the_best_of_a_plain_search() {
    for seed in 1..20 {
        let hash = |i: usize| (i * 7919 * seed + i * i) % 1009;
        let pairs: Vec<(Array2<f32>, Array2<bool>)> = (0..4)
            .map(|pair| {
                // Hundredths too, which lie on the thresholds.
                let heatmap = Array2::from_shape_fn((9, 7), |(y, x)| match hash(pair * 63 + y * 7 + x) {
                    at if at % 3 == 0 => (at % 101) as f32 / 100.0,
                    at => at as f32 / 1009.0,
                });
                let truth = heatmap.mapv(|value| pair != 2 && (value * 1e4) as usize % 7 > 3 && value > 0.3);
                (heatmap, truth)
            })
            .collect();
        let dice = |threshold: f32| {
            let scores = pairs
                .iter()
                .filter(|(_, truth)| truth.iter().any(|&on| on))
                .map(|(heatmap, truth)| {
                    let mask = heatmap.mapv(|value| value > threshold);
                    let both = mask.iter().zip(truth).filter(|&(&a, &b)| a && b).count() as f64;
                    let sizes = mask.iter().chain(truth).filter(|&&on| on).count() as f64;
                    2.0 * both / sizes
                });
            scores.sum::<f64>() / 3.0
        };
        let calibration =
            Calibration::new(pairs.iter().map(|(heatmap, truth)| (heatmap.view(), truth.view()))).unwrap();
        let best = (0..100).map(|step| dice(step as f32 / 100.0)).fold(0.0, f64::max);
        assert_eq!(calibration.pairs(), 3);
        approx::assert_abs_diff_eq!(calibration.dice(), best, epsilon = 1e-12);
        approx::assert_abs_diff_eq!(dice(calibration.threshold()), best, epsilon = 1e-12);
    }
}

/// More neighbours never take a pixel away, and equal thresholds are one threshold.
#[test]
fn hysteresis_grows_with_its_neighbours() {
    let heatmap = Array3::from_shape_fn((6, 7, 8), |(z, y, x)| {
        ((z * 56 + y * 8 + x + 7).pow(3) * 31 % 1009) as f32 / 1009.0
    });
    let rule = Hysteresis::new(Threshold::Fixed(0.8), Threshold::Fixed(0.95));
    let masks = [Connectivity::Faces, Connectivity::Edges, Connectivity::Corners]
        .map(|connectivity| rule.with_connectivity(connectivity).apply(heatmap.view()).unwrap());
    for pair in masks.windows(2) {
        assert!(pair[0].iter().zip(&pair[1]).all(|(&less, &more)| more || !less));
        assert_ne!(pair[0], pair[1]);
    }
    let one = Hysteresis::new(Threshold::Fixed(0.95), Threshold::Fixed(0.9))
        .apply(heatmap.view())
        .unwrap();
    assert_eq!(one, Threshold::Fixed(0.9).apply(heatmap.view()).unwrap());
}

/// Large maps are cut on several threads. Four copies have the histogram of one, times four.
#[test]
fn large_maps_are_cut_like_small_ones() {
    let small = Array2::from_shape_fn((600, 600), |(y, x)| ((y * 7919 + x * 104_729) % 1009) as f32 / 1009.0);
    let large = Array2::from_shape_fn((1200, 1200), |(y, x)| small[(y % 600, x % 600)]);
    let threshold = Threshold::Otsu.value(large.view()).unwrap();
    assert_eq!(threshold, Threshold::Otsu.value(small.view()).unwrap());
    assert_eq!(
        Threshold::Otsu.apply(large.view()).unwrap(),
        large.mapv(|value| value > threshold)
    );
}

#[test]
fn negative_zero_is_zero() {
    let heatmap = ndarray::array![-0.0_f32, 0.0, -0.0];
    assert_eq!(Threshold::Otsu.value(heatmap.view()).unwrap().to_bits(), 0);
    let close = ndarray::array![-0.0_f32, f32::from_bits(1)];
    assert_eq!(
        Threshold::Otsu.apply(close.view()).unwrap(),
        ndarray::array![false, true]
    );
}
