//! Heatmaps against masks without a threshold: goldens of the libraries (within 1e-9; torchmetrics, which computes in
//! f32, is held near by the script) and what holds for any heatmap.

use approx::assert_relative_eq;
use ndarray::{Array1, Array2, s};
use proptest::prelude::*;
use seg_metrics::{
    Calibration, Confusion, EmptyMasks, MetricError, SoftDenominator, average_precision, best_dice, distance_transform,
    energy_in_mask, heatmap_average_precision, heatmap_roc_auc, pointing_game, relevance_rank, roc_auc, soft_dice,
};

use crate::config;
use crate::scores::{measures, number, numbers};

#[test]
fn heatmaps_score_as_in_the_libraries() {
    for golden in measures("heatmaps") {
        let heat = Array1::from_iter(numbers(&golden["heat"]).into_iter().map(|value| value as f32));
        let mask = Array1::from_iter(numbers(&golden["mask"]).into_iter().map(|value| value == 1.0));
        let scores: Vec<f64> = heat.iter().map(|&value| f64::from(value)).collect();
        let positive = mask.as_slice().unwrap();
        let calibration = Calibration::new(heat.view(), mask.view(), 15).unwrap();
        let empty = EmptyMasks::error();
        for (name, value) in [
            ("average_precision", average_precision(&scores, positive)),
            ("roc_auc", roc_auc(&scores, positive)),
            ("average_precision", heatmap_average_precision(heat.view(), mask.view())),
            ("roc_auc", heatmap_roc_auc(heat.view(), mask.view())),
            ("brier", Ok(calibration.brier())),
            ("energy_in_mask", energy_in_mask(heat.view(), mask.view())),
            ("relevance_rank", relevance_rank(heat.view(), mask.view())),
            (
                "best_dice",
                best_dice(heat.view(), mask.view(), empty).map(|best| best.dice),
            ),
            (
                "soft_dice",
                soft_dice(heat.view(), mask.view(), SoftDenominator::Sums, empty),
            ),
        ] {
            assert_relative_eq!(value.unwrap(), number(&golden[name]), max_relative = 1e-9);
        }
        let expected = numbers(&golden["calibration"]);
        let errors = [
            calibration.expected(),
            calibration.root_mean_square(),
            calibration.maximum(),
        ];
        for (value, expected) in errors.iter().zip(expected) {
            assert_relative_eq!(*value, expected, max_relative = 1e-9);
        }
        // The threshold named is one that gives that Dice.
        let best = best_dice(heat.view(), mask.view(), empty).unwrap();
        let above = heat.mapv(|value| value > best.threshold);
        let score = Confusion::from_masks(above.view(), mask.view())
            .unwrap()
            .dice(empty)
            .unwrap();
        assert_eq!(score, best.dice);
    }
}

/// Views in any layout score what their values one after the other do, bit for bit.
#[test]
fn heatmaps_rank_as_lists_of_their_pixels_do() {
    let heat = Array2::from_shape_fn((23, 18), |(y, x)| ((y * 37 + x * 101) % 97) as f32 / 96.0);
    let mask = Array2::from_shape_fn((23, 18), |(y, x)| (y * 5 + x * 3) % 11 < 4);
    let part = s![..;-2, 1..;3];
    for (heat, mask) in [
        (heat.view(), mask.view()),
        (heat.t(), mask.t()),
        (heat.slice(part), mask.slice(part)),
    ] {
        let scores: Vec<f64> = heat.iter().map(|&value| value.into()).collect();
        let inside: Vec<bool> = mask.iter().copied().collect();
        assert_eq!(heatmap_roc_auc(heat, mask), roc_auc(&scores, &inside));
        assert_eq!(
            heatmap_average_precision(heat, mask),
            average_precision(&scores, &inside)
        );
    }
    assert!(matches!(
        heatmap_roc_auc(heat.view(), mask.t()),
        Err(MetricError::PairShape { .. })
    ));
    let hot = heat.mapv(|value| 2.0 * value);
    let error = heatmap_average_precision(hot.view(), mask.view());
    assert!(matches!(error, Err(MetricError::HeatmapValue { .. })));
    let none = Array2::from_elem((23, 18), false);
    for score in [heatmap_roc_auc, heatmap_average_precision] {
        let error = score(heat.view(), none.view());
        assert!(matches!(error, Err(MetricError::ClassAbsent { class: true, .. })));
    }
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn heat_on_zeros_and_ones_is_overlap(pixels in prop::collection::vec(any::<(bool, bool)>(), 1..60)) {
        let (prediction, truth): (Vec<bool>, Vec<bool>) = pixels.into_iter().unzip();
        let heat = Array1::from_iter(prediction.iter().map(|&on| f32::from(u8::from(on))));
        let (prediction, truth) = (Array1::from(prediction), Array1::from(truth));
        let confusion = Confusion::from_masks(prediction.view(), truth.view()).unwrap();
        let policy = EmptyMasks::default();
        let dice = confusion.dice(policy).unwrap();
        for denominator in [SoftDenominator::Sums, SoftDenominator::Squares] {
            let soft = soft_dice(heat.view(), truth.view(), denominator, policy).unwrap();
            prop_assert_eq!(soft.to_bits(), dice.to_bits());
        }
        prop_assert_eq!(best_dice(heat.view(), truth.view(), policy).unwrap().dice.to_bits(), dice.to_bits());
        match energy_in_mask(heat.view(), truth.view()) {
            Ok(energy) => prop_assert_eq!(energy, confusion.precision(EmptyMasks::medpy()).unwrap()),
            Err(error) => {
                prop_assert_eq!(error, MetricError::NoHeat);
                prop_assert_eq!(confusion.true_positives + confusion.false_positives, 0);
            }
        }
    }

    #[test]
    fn pointing_with_a_tolerance_is_hitting_the_wider_mask(
        heat in prop::collection::vec(0_u8..6, 48), mask in prop::collection::vec(prop::bool::weighted(0.1), 48)
    ) {
        let heat = Array2::from_shape_vec((6, 8), heat).unwrap().mapv(|value| f32::from(value) / 5.0);
        let mask = Array2::from_shape_vec((6, 8), mask).unwrap();
        let spacing = [1.0, 2.0];
        let distances = distance_transform(mask.view(), &spacing).unwrap();
        let wider = distances.mapv(|distance| distance <= 2.5);
        let tolerant = pointing_game(heat.view(), mask.view(), 2.5, &spacing).unwrap();
        prop_assert_eq!(tolerant, pointing_game(heat.view(), wider.view(), 0.0, &spacing).unwrap());
        prop_assert!((0.0..=1.0).contains(&tolerant));
        let flat = Array2::from_elem((6, 8), 0.5_f32);
        let share = mask.iter().filter(|&&inside| inside).count() as f64 / 48.0;
        prop_assert_eq!(pointing_game(flat.view(), mask.view(), 0.0, &spacing).unwrap(), share);
    }
}
