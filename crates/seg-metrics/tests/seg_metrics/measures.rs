//! Scores of label maps, heatmaps, detections and paired tests, by `goldens/measures.json`, and those of pairs
//! of masks by `goldens/masks.json`. Within 1e-9, or 2e-6 where a library computes in f32.

use approx::assert_relative_eq;
use ndarray::{Array1, Array2};
use proptest::prelude::*;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use seg_metrics::*;
use serde_json::Value;

use crate::config;
use crate::pairs::{CASES, goldens, pair};
use crate::scores::numbers;

fn measures(name: &str) -> Vec<Value> {
    let goldens: Value = serde_json::from_str(include_str!("../goldens/measures.json")).unwrap();
    let cases = goldens[name].as_array().unwrap().clone();
    assert!(cases.len() > 2);
    cases
}

fn number(value: &Value) -> f64 {
    value.as_f64().unwrap()
}

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
fn lesions_and_skeletons_are_those_of_the_libraries() {
    let (mut compared, mut skeletons) = (0, 0);
    for (at, golden) in goldens().iter().enumerate() {
        if golden.get("detection").is_none() {
            continue;
        }
        let pair = pair(at);
        let lesions = Lesions::new(pair.prediction.view(), pair.truth.view(), Connectivity::Faces).unwrap();
        let detection = lesions.detection(LesionMatch::AnyOverlap).unwrap();
        let counts = [detection.found, detection.missed, detection.right, detection.made_up];
        assert_eq!(golden["detection"], serde_json::json!(counts), "pair {at}");
        let panoptic = lesions.panoptic_quality(EmptyMasks::error()).unwrap();
        // torchmetrics rounds each IoU to f32.
        let expected = numbers(&golden["panoptic"]);
        for (value, expected) in [panoptic.segmentation, panoptic.recognition, panoptic.quality]
            .iter()
            .zip(expected)
        {
            assert_relative_eq!(*value, expected, epsilon = 1e-7);
        }
        let sizes: Detection = {
            let mut all = Detection::default();
            for part in lesions.by_size(LesionMatch::AnyOverlap, &[2, 5, 40]).unwrap() {
                all += part;
            }
            all
        };
        assert_eq!(sizes, detection);

        compared += 1;
        if golden.get("skeleton").is_none() {
            continue;
        }
        let line = skeleton(pair.truth.view()).unwrap();
        let places: Vec<u64> = (0_u64..)
            .zip(&line)
            .filter(|(_, on)| **on)
            .map(|(place, _)| place)
            .collect();
        let squares: u64 = places.iter().map(|place| place * place).sum();
        assert_eq!(
            golden["skeleton"],
            serde_json::json!([places.len(), squares]),
            "pair {at}"
        );
        let score = cl_dice(pair.prediction.view(), pair.truth.view(), EmptyMasks::error()).unwrap();
        assert_relative_eq!(score, number(&golden["cl_dice"]), epsilon = 1e-9);
        skeletons += 1;
    }
    assert!(skeletons > 100, "{skeletons}");
    assert!(compared > 140, "{compared}");
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
            let score = counts.class(class).dice(EmptyMasks::medpy()).unwrap();
            assert_relative_eq!(score, dice, epsilon = 1e-9);
        }
        let generalised = counts.generalised_dice(1..classes, EmptyMasks::error()).unwrap();
        assert_relative_eq!(generalised, number(&golden["generalised_dice"]), max_relative = 2e-6);
    }
}

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
            assert_relative_eq!(*value, expected, max_relative = 2e-6);
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

#[test]
fn detections_score_as_in_monai() {
    for golden in measures("detections") {
        let images = number(&golden["images"]) as usize;
        let mut marks = vec![(0, Vec::new()); images];
        for (lesion, score) in numbers(&golden["hits"]).into_iter().enumerate() {
            let image: &mut (usize, Vec<Candidate>) = &mut marks[lesion % images];
            let lesion = Some(image.0);
            image.0 += 1;
            image.1.push(Candidate { score, lesion });
            // A weaker candidate of the same lesion changes nothing but the thresholds.
            let score = numbers(&golden["hits"]).into_iter().fold(score, f64::min);
            image.1.push(Candidate { score, lesion });
        }
        for (at, score) in numbers(&golden["misses"]).into_iter().enumerate() {
            marks[at * 7 % images].1.push(Candidate { score, lesion: None });
        }
        let froc = Froc::new(&marks).unwrap();
        let points: Vec<f64> = golden["points"].as_array().unwrap().iter().flat_map(numbers).collect();
        let ours: Vec<f64> = froc
            .points()
            .iter()
            .flat_map(|point| [point.false_per_image, point.sensitivity])
            .collect();
        assert_eq!(ours.len(), points.len());
        for (value, expected) in ours.iter().zip(&points) {
            assert_relative_eq!(*value, *expected, epsilon = 1e-12);
        }
        assert_relative_eq!(
            froc.score(&Froc::LUNA16).unwrap(),
            number(&golden["score"]),
            max_relative = 1e-9
        );
    }
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
fn faults_are_named() {
    let confusion = Confusion::from_labels(&[true, false], &[true, true]).unwrap();
    let empty = EmptyMasks::default();
    for weight in [-1.0, f64::NAN, f64::INFINITY] {
        assert!(matches!(
            confusion.f_beta(weight, empty),
            Err(MetricError::Weight { name: "beta", .. })
        ));
        assert!(matches!(
            confusion.tversky(weight, 1.0, empty),
            Err(MetricError::Weight { name: "alpha", .. })
        ));
    }
    assert!(matches!(
        confusion.matthews(),
        Err(MetricError::ClassAbsent { class: false, .. })
    ));
    let one = Confusion::from_labels(&[true], &[true]).unwrap();
    assert!(matches!(
        one.kappa(),
        Err(MetricError::ClassAbsent { class: false, .. })
    ));
    assert!(matches!(
        LabelConfusion::from(one).matthews(),
        Err(MetricError::OneClass { .. })
    ));
    assert!(matches!(
        LabelConfusion::new(2).unwrap().accuracy(),
        Err(MetricError::Missing { .. })
    ));
    let mut two = LabelConfusion::new(2).unwrap();
    assert_eq!(
        two.merge(&LabelConfusion::new(3).unwrap()),
        Err(MetricError::Classes { first: 2, second: 3 })
    );
    let labels = ndarray::array![[0_i32, 1], [1, -7]];
    let before = two.clone();
    let error = two.add(labels.view(), labels.mapv(i32::abs).view()).unwrap_err();
    assert!(matches!(error, MetricError::Label { side: "prediction", ref index, value: -7, .. } if *index == [1, 1]));
    assert_eq!(two, before);

    let (heat, mask) = (ndarray::array![0.0_f32, 0.0], ndarray::array![true, false]);
    assert_eq!(energy_in_mask(heat.view(), mask.view()), Err(MetricError::NoHeat));
    let broken = ndarray::array![0.5_f32, 1.5];
    for error in [
        energy_in_mask(broken.view(), mask.view()).unwrap_err(),
        relevance_rank(broken.view(), mask.view()).unwrap_err(),
        soft_dice(broken.view(), mask.view(), SoftDenominator::Sums, empty).unwrap_err(),
        Calibration::new(broken.view(), mask.view(), 3).unwrap_err(),
        best_dice(broken.view(), mask.view(), empty).unwrap_err(),
        pointing_game(broken.view(), mask.view(), 0.0, &[1.0]).unwrap_err(),
    ] {
        assert!(
            matches!(error, MetricError::HeatmapValue { ref index, .. } if *index == [1]),
            "{error}"
        );
    }
    assert!(matches!(
        wilcoxon(&[0.1, 0.2], &[0.1, 0.2], Alternative::TwoSided),
        Err(MetricError::NothingCounted { skipped: 2 })
    ));
    assert!(matches!(
        PermutationTest::default().run(&[0.1], &[f64::INFINITY], Alternative::Less),
        Err(MetricError::ScoreNotFinite { index: 0, .. })
    ));
    let none = Lesions::new(mask.view(), mask.view(), Connectivity::Faces).unwrap();
    assert!(matches!(
        none.detection(LesionMatch::Iou(1.5)),
        Err(MetricError::Share { .. })
    ));
    assert!(matches!(
        none.by_size(LesionMatch::AnyOverlap, &[3, 3]),
        Err(MetricError::Unsorted { index: 1, .. })
    ));
    let froc = Froc::new(&[(1, vec![])]).unwrap();
    assert_eq!(froc.sensitivity_at(2.0), Ok(0.0));
    assert!(matches!(froc.score(&[1.0, f64::NAN]), Err(MetricError::Weight { .. })));
    assert!(matches!(Froc::new(&[]), Err(MetricError::Missing { .. })));
    assert!(matches!(
        Froc::new(&[(0, vec![])]),
        Err(MetricError::ClassAbsent { .. })
    ));
}

#[test]
fn a_skeleton_of_any_pair_lies_inside_and_hangs_together() {
    for at in 0..CASES {
        let pair = pair(at);
        let line = skeleton(pair.prediction.view()).unwrap();
        assert!(line.iter().zip(&pair.prediction).all(|(&on, &inside)| !on || inside));
        let parts = |mask: ndarray::ArrayViewD<'_, bool>| components(mask, Connectivity::Corners).unwrap().count();
        assert_eq!(parts(line.view()), parts(pair.prediction.view()), "pair {at}");
    }
}

/// Found by a component of another size, a lesion is still found: its class of sizes has no prediction of its own.
#[test]
fn a_class_of_sizes_may_be_found_by_another() {
    let large = Detection {
        found: 1,
        missed: 1,
        right: 0,
        made_up: 0,
    };
    let small = Detection {
        found: 0,
        missed: 0,
        right: 1,
        made_up: 1,
    };
    for policy in [EmptyMasks::default(), EmptyMasks::error(), EmptyMasks::nan()] {
        assert_eq!(large.sensitivity(policy).unwrap(), 0.5);
        assert_eq!(small.precision(policy).unwrap(), 0.5);
    }
    assert!(matches!(
        large.precision(EmptyMasks::error()),
        Err(MetricError::EmptyMask {
            empty: EmptySide::Prediction
        })
    ));
    assert!(matches!(
        small.sensitivity(EmptyMasks::error()),
        Err(MetricError::EmptyMask {
            empty: EmptySide::Truth
        })
    ));
    let none = Detection {
        missed: 2,
        ..Detection::default()
    };
    assert_eq!(none.sensitivity(EmptyMasks::default()).unwrap(), 0.0);
    assert!(none.sensitivity(EmptyMasks::nan()).unwrap().is_nan());
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
    let summary = Summary::of(&[f64::NEG_INFINITY, 1.0]).unwrap();
    assert_eq!(
        (summary.lower_quartile, summary.median),
        (f64::NEG_INFINITY, f64::NEG_INFINITY)
    );
    let both = Summary::of(&[f64::NEG_INFINITY, f64::INFINITY]).unwrap();
    assert!(both.mean.is_nan() && both.median.is_nan());
    assert_eq!((both.counted, both.infinite, both.finite_mean), (2, 2, None));
}
