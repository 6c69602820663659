use approx::assert_relative_eq;
use ndarray::{Array1, Array2, Array3, ArrayView, Axis, Dimension, s};
use proptest::prelude::*;
use seg_metrics::{
    Confusion, EmptyMasks, EmptyScore, EmptySide, MetricError, best_centred_disk, binary_mask, centred_disk, everything,
};

use crate::config;

/// Pixel by pixel.
fn plain<D: Dimension>(prediction: ArrayView<'_, bool, D>, truth: ArrayView<'_, bool, D>) -> Confusion {
    let mut counts = Confusion::default();
    for (&prediction, &truth) in prediction.iter().zip(truth) {
        match (prediction, truth) {
            (true, true) => counts.true_positives += 1,
            (true, false) => counts.false_positives += 1,
            (false, true) => counts.false_negatives += 1,
            (false, false) => counts.true_negatives += 1,
        }
    }
    counts
}

fn pair(length: usize) -> impl Strategy<Value = (Vec<bool>, Vec<bool>)> {
    (
        prop::collection::vec(any::<bool>(), length),
        prop::collection::vec(any::<bool>(), length),
    )
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn dice_follows_from_iou_and_is_symmetric((prediction, truth) in pair(40)) {
        let (prediction, truth) = (Array1::from(prediction), Array1::from(truth));
        let there = Confusion::from_masks(prediction.view(), truth.view()).unwrap();
        let back = Confusion::from_masks(truth.view(), prediction.view()).unwrap();
        let policy = EmptyMasks::medpy();
        let (dice, iou) = (there.dice(policy).unwrap(), there.iou(policy).unwrap());
        assert_relative_eq!(dice, 2.0 * iou / (1.0 + iou), max_relative = 1e-14);
        prop_assert_eq!(dice, back.dice(policy).unwrap());
        prop_assert_eq!(there.precision(policy).unwrap(), back.recall(policy).unwrap());
    }

    #[test]
    fn memory_layout_does_not_matter((prediction, truth) in pair(120)) {
        let prediction = Array3::from_shape_vec((4, 5, 6), prediction).unwrap();
        let truth = Array3::from_shape_vec((4, 5, 6), truth).unwrap();
        // The same array with its axes stored the other way round.
        let turned = truth.t().as_standard_layout().into_owned();
        let whole = plain(prediction.view(), truth.view());
        prop_assert_eq!(Confusion::from_masks(prediction.view(), truth.view()).unwrap(), whole);
        prop_assert_eq!(Confusion::from_masks(prediction.t(), truth.t()).unwrap(), whole);
        prop_assert_eq!(Confusion::from_masks(prediction.view(), turned.t()).unwrap(), whole);
        let part = s![..;2, 1..4, ..;-2];
        let (prediction, truth, turned) = (prediction.slice(part), truth.slice(part), turned.t().slice_move(part));
        prop_assert_eq!(Confusion::from_masks(prediction, truth).unwrap(), plain(prediction, truth));
        prop_assert_eq!(Confusion::from_masks(prediction, turned).unwrap(), plain(prediction, truth));
        prop_assert_eq!(Confusion::from_masks(prediction.into_dyn(), truth.into_dyn()).unwrap(), plain(prediction, truth));
    }

    #[test]
    fn parts_add_up_to_the_whole((prediction, truth) in pair(90), at in 0_usize..=9) {
        let prediction = Array2::from_shape_vec((9, 10), prediction).unwrap();
        let truth = Array2::from_shape_vec((9, 10), truth).unwrap();
        let (top, bottom) = (prediction.view().split_at(Axis(0), at), truth.view().split_at(Axis(0), at));
        let parts = [
            Confusion::from_masks(top.0, bottom.0).unwrap(),
            Confusion::from_masks(top.1, bottom.1).unwrap(),
        ];
        let whole = Confusion::from_masks(prediction.view(), truth.view()).unwrap();
        prop_assert_eq!(parts.iter().sum::<Confusion>(), whole);
        prop_assert_eq!(parts[0] + parts[1], whole);
    }

    #[test]
    fn best_disk_is_that_of_the_plain_way((first, second) in pair(63)) {
        let masks = [
            Array2::from_shape_vec((7, 9), first).unwrap(),
            Array2::from_shape_vec((9, 7), second).unwrap(),
            centred_disk((30, 20), 0.37).unwrap(),
        ];
        let views: Vec<_> = masks.iter().map(|mask| mask.view()).collect();
        let radii = [0.0, 0.1, 0.25, 0.3, 0.37, 0.5, 0.9];
        let best = best_centred_disk(&views, &radii, EmptyMasks::medpy()).unwrap();
        let dice: Vec<f64> = radii
            .iter()
            .map(|&radius| {
                let scores = masks.iter().map(|mask| {
                    let disk = centred_disk(mask.dim(), radius).unwrap();
                    Confusion::from_masks(disk.view(), mask.view()).unwrap().dice(EmptyMasks::medpy()).unwrap()
                });
                scores.sum::<f64>() / masks.len() as f64
            })
            .collect();
        let highest = dice.iter().copied().fold(0.0, f64::max);
        prop_assert_eq!(best.dice, highest);
        prop_assert_eq!(best.radius, radii[dice.iter().position(|&dice| dice == highest).unwrap()]);
        prop_assert_eq!((best.counted, best.skipped), (3, 0));
    }
}

/// Lengths around those at which the counting takes other paths: 32 lanes, 255 rows.
#[test]
fn awkward_lengths_are_counted_right() {
    for length in [0, 1, 31, 32, 33, 127, 240, 8159, 8160, 8161, 8192, 20_000] {
        let prediction = Array1::from_shape_fn(length, |i| i * 7919 % 13 < 7);
        let truth = Array1::from_shape_fn(length, |i| i * 104_729 % 11 < 5);
        let counted = Confusion::from_masks(prediction.view(), truth.view()).unwrap();
        assert_eq!(counted, plain(prediction.view(), truth.view()), "{length}");
        assert_eq!(counted.total(), length as u64);
        let full = everything(length);
        let counted = Confusion::from_masks(full.view(), full.view()).unwrap();
        assert_eq!(
            counted,
            Confusion {
                true_positives: length as u64,
                ..Confusion::default()
            }
        );
    }
}

/// The cells of the table in `EmptyMasks`' documentation, for each of the four scores.
#[test]
fn the_policy_decides_every_empty_case() {
    let both = Confusion {
        true_negatives: 9,
        ..Confusion::default()
    };
    let truth = Confusion {
        false_positives: 2,
        true_negatives: 7,
        ..Confusion::default()
    };
    let prediction = Confusion {
        false_negatives: 2,
        true_negatives: 7,
        ..Confusion::default()
    };
    let nan = f64::NAN;
    for (policy, expected) in [
        (EmptyMasks::default(), [nan, 0.0, 0.0]),
        (EmptyMasks::monai(), [nan, nan, 0.0]),
        (EmptyMasks::medpy(), [1.0, 0.0, 0.0]),
        (
            EmptyMasks::default()
                .with_both(EmptyScore::Score(0.5))
                .with_truth(EmptyScore::Score(0.25))
                .with_prediction(EmptyScore::Nan),
            [0.5, 0.25, nan],
        ),
    ] {
        for (confusion, expected) in [both, truth, prediction].into_iter().zip(expected) {
            for score in [Confusion::dice, Confusion::iou, Confusion::precision, Confusion::recall] {
                assert_eq!(score(confusion, policy).unwrap().to_bits(), expected.to_bits());
            }
        }
    }
    for (confusion, empty) in [
        (both, EmptySide::Both),
        (truth, EmptySide::Truth),
        (prediction, EmptySide::Prediction),
    ] {
        assert_eq!(
            confusion.iou(EmptyMasks::error()),
            Err(MetricError::EmptyMask { empty })
        );
    }
}

#[test]
fn masks_of_other_than_0_and_1_are_named() {
    let image = ndarray::array![[[0_i16, 1], [1, -1]], [[0, 255], [0, 0]]];
    assert_eq!(
        binary_mask(image.view()),
        Err(MetricError::NotBinary {
            index: vec![0, 1, 1],
            value: -1
        })
    );
    assert_eq!(
        binary_mask(image.t()),
        Err(MetricError::NotBinary {
            index: vec![1, 0, 1],
            value: 255
        })
    );
    let mask = binary_mask(image.slice(s![.., ..1, ..1])).unwrap();
    assert_eq!(mask, ndarray::array![[[false]], [[false]]]);
}

#[test]
fn disks_are_where_they_should_be() {
    // Half-pixel geometry: an even side has no centre pixel, an odd one has.
    assert_eq!(centred_disk((4, 4), 0.0).unwrap(), Array2::from_elem((4, 4), false));
    assert_eq!(centred_disk((5, 3), 0.0).unwrap().iter().filter(|&&on| on).count(), 1);
    // At half the shorter side the disk reaches the border and its area is nearly that of a circle.
    let disk = centred_disk((200, 100), 0.5).unwrap();
    let area = disk.iter().filter(|&&on| on).count() as f64;
    assert_relative_eq!(area, std::f64::consts::PI * 2500.0, max_relative = 0.01);
    assert!(disk[(100, 0)] && disk[(99, 99)] && disk[(50, 50)] && !disk[(49, 50)]);
    assert_eq!(disk, disk.slice(s![..;-1, ..;-1]));
    assert_eq!(centred_disk((6, 8), 0.84).unwrap(), everything((6, 8)));
}
