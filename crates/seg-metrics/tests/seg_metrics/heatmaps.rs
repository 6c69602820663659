use ndarray::{Array2, ArrayD, IxDyn, s};
use proptest::prelude::*;
use seg_metrics::{Confusion, DiceCurve, EmptyMasks, EmptyScore, MetricError};

use crate::config;

/// Heatmaps on a coarse grid, so that many values lie on a threshold.
fn heatmap(length: usize) -> impl Strategy<Value = (Vec<f32>, Vec<bool>)> {
    let value = prop_oneof![(0_u8..=20).prop_map(|k| f32::from(k) / 20.0), 0.0_f32..=1.0];
    (
        prop::collection::vec(value, length),
        prop::collection::vec(any::<bool>(), length),
    )
}

fn thresholds() -> impl Strategy<Value = Vec<f32>> {
    let even = (1_usize..200).prop_map(|count| (0..count).map(|k| k as f32 / count as f32).collect());
    let grid = prop::collection::btree_set(0_u8..=20, 1..15)
        .prop_map(|set| set.into_iter().map(|k| f32::from(k) / 20.0).collect());
    // Many within a thousandth.
    let close = (1_usize..40).prop_map(|count| (0..count).map(|k| 0.5 + k as f32 * 1e-5).collect());
    prop_oneof![even, grid, close]
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn curve_is_that_of_the_plain_way(first in heatmap(24), second in heatmap(35), thresholds in thresholds()) {
        // Pairs of two shapes and dimensions.
        let shapes = [IxDyn(&[2, 3, 4]), IxDyn(&[5, 7])];
        let pairs: Vec<(ArrayD<f32>, ArrayD<bool>)> = [first, second]
            .into_iter()
            .zip(shapes)
            .map(|((values, mask), shape)| {
                (
                    ArrayD::from_shape_vec(shape.clone(), values).unwrap(),
                    ArrayD::from_shape_vec(shape, mask).unwrap(),
                )
            })
            .collect();
        let views: Vec<_> = pairs.iter().map(|(heatmap, mask)| (heatmap.view(), mask.view())).collect();
        for policy in [EmptyMasks::medpy(), EmptyMasks::default().with_prediction(EmptyScore::Nan)] {
            let plain: Vec<(f32, f64, f64, usize)> = thresholds
                .iter()
                .map(|&threshold| {
                    let (mut dice, mut iou, mut counted) = (0.0, 0.0, 0);
                    for (heatmap, mask) in &pairs {
                        let cut = heatmap.mapv(|value| value > threshold);
                        let confusion = Confusion::from_masks(cut.view(), mask.view()).unwrap();
                        let score = confusion.dice(policy).unwrap();
                        if !score.is_nan() {
                            dice += score;
                            iou += confusion.iou(policy).unwrap();
                            counted += 1;
                        }
                    }
                    (threshold, dice / f64::from(counted), iou / f64::from(counted), counted as usize)
                })
                .collect();
            let Ok(curve) = DiceCurve::new(&views, &thresholds, policy) else {
                prop_assert!(plain.iter().all(|point| point.3 == 0));
                continue;
            };
            prop_assert_eq!(curve.points().len(), plain.len());
            for (point, (threshold, dice, iou, counted)) in curve.points().iter().zip(&plain) {
                prop_assert_eq!(point.threshold, *threshold);
                prop_assert_eq!(point.dice.to_bits(), dice.to_bits());
                prop_assert_eq!(point.iou.to_bits(), iou.to_bits());
                prop_assert_eq!((point.counted, point.skipped), (*counted, 2 - counted));
            }
            let highest = plain.iter().map(|point| point.1).fold(f64::NEG_INFINITY, f64::max);
            prop_assert_eq!(curve.best().dice, highest);
            let first = plain.iter().find(|point| point.1 == highest).unwrap();
            prop_assert_eq!(curve.best().threshold, first.0);
        }
    }

    #[test]
    fn memory_layout_does_not_matter((values, mask) in heatmap(48)) {
        let heatmap = Array2::from_shape_vec((6, 8), values).unwrap();
        let mask = Array2::from_shape_vec((6, 8), mask).unwrap();
        let turned = mask.t().as_standard_layout().into_owned();
        let part = s![..;2, ..;-1];
        let copies = (
            Array2::from_shape_vec((3, 8), heatmap.slice(part).iter().copied().collect()).unwrap(),
            Array2::from_shape_vec((3, 8), mask.slice(part).iter().copied().collect()).unwrap(),
        );
        let curve = |heatmap, mask| DiceCurve::new(&[(heatmap, mask)], &[0.0, 0.25, 0.5, 0.9], EmptyMasks::medpy());
        let plain = curve(copies.0.view(), copies.1.view()).unwrap();
        prop_assert_eq!(curve(heatmap.slice(part), mask.slice(part)).unwrap(), plain.clone());
        prop_assert_eq!(curve(heatmap.slice(part), turned.t().slice_move(part)).unwrap(), plain);
    }
}

#[test]
fn the_sums_do_not_depend_on_threads() {
    let pairs: Vec<_> = (0..40)
        .map(|seed| {
            let heatmap =
                Array2::from_shape_fn((20, 20), |(y, x)| ((y * 37 + x * 91 + seed * 17) % 101) as f32 / 101.0);
            let mask = Array2::from_shape_fn((20, 20), |(y, x)| (y * 5 + x * 3 + seed) % 7 < 3);
            (heatmap, mask)
        })
        .collect();
    let views: Vec<_> = pairs
        .iter()
        .map(|(heatmap, mask)| (heatmap.view(), mask.view()))
        .collect();
    let thresholds: Vec<f32> = (0..100).map(|k| k as f32 / 100.0).collect();
    let curve = || DiceCurve::new(&views, &thresholds, EmptyMasks::default()).unwrap();
    let on = |threads| {
        rayon::ThreadPoolBuilder::new()
            .num_threads(threads)
            .build()
            .unwrap()
            .install(curve)
    };
    assert_eq!(on(1), on(5));
}

#[test]
fn nothing_counted_is_an_error() {
    let (heatmap, mask) = (ndarray::array![0.2_f32, 0.6], ndarray::array![false, false]);
    let pairs = [(heatmap.view(), mask.view()), (heatmap.view(), mask.view())];
    let curve = DiceCurve::new(&pairs, &[0.1, 0.9], EmptyMasks::monai());
    assert_eq!(curve, Err(MetricError::NothingCounted { skipped: 2 }));
    // By default the made-up foreground at 0.1 scores 0, and the agreement at 0.9 does not count.
    let curve = DiceCurve::new(&pairs, &[0.1, 0.9], EmptyMasks::default()).unwrap();
    assert_eq!((curve.best().dice, curve.best().counted), (0.0, 2));
    assert!(curve.points()[1].dice.is_nan() && curve.points()[1].skipped == 2);
}
