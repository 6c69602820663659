//! Whatever goes in, an error value or a score comes out: shapes with and without voxels, of none to five axes and of two
//! kinds, spacings that are none, heatmaps that are none.

use std::cell::Cell;

use ndarray::{ArrayD, IxDyn};
use proptest::prelude::*;
use seg_metrics::*;

use crate::config;

fn shape() -> impl Strategy<Value = Vec<usize>> {
    prop::collection::vec(prop_oneof![Just(0_usize), Just(1), 1_usize..6, Just(65)], 0..6)
        .prop_filter("small enough", |shape| shape.iter().product::<usize>() <= 4000)
}

fn length() -> impl Strategy<Value = f64> {
    prop_oneof![
        6 => 0.1_f64..3.0,
        1 => prop::sample::select(vec![0.0, -1.0, f64::NAN, f64::INFINITY, 1e-300, 1e300, 1e-12, 1e12]),
    ]
}

/// Two shapes, mostly the same.
fn shapes() -> impl Strategy<Value = (Vec<usize>, Vec<usize>)> {
    prop_oneof![
        5 => shape().prop_map(|shape| (shape.clone(), shape)),
        1 => (shape(), shape()),
    ]
}

/// As many lengths as the shape has axes, mostly.
fn spacing(axes: usize) -> impl Strategy<Value = Vec<f64>> {
    prop_oneof![
        5 => prop::collection::vec(length(), axes),
        1 => prop::collection::vec(length(), 0..6),
    ]
}

fn mask(shape: Vec<usize>) -> impl Strategy<Value = ArrayD<bool>> {
    prop::sample::select(vec![0.0, 0.1, 0.6, 1.0]).prop_flat_map(move |share| {
        let shape = shape.clone();
        prop::collection::vec(prop::bool::weighted(share), shape.iter().product::<usize>())
            .prop_map(move |voxels| ArrayD::from_shape_vec(IxDyn(&shape), voxels).unwrap())
    })
}

fn heatmap(shape: Vec<usize>) -> impl Strategy<Value = ArrayD<f32>> {
    let value = prop_oneof![
        400 => 0.0_f32..=1.0,
        100 => prop::sample::select(vec![0.0_f32, -0.0, 0.5, 1.0]),
        1 => prop::sample::select(vec![f32::NAN, f32::INFINITY, -0.1, 1.5]),
    ];
    prop::collection::vec(value, shape.iter().product::<usize>())
        .prop_map(move |values| ArrayD::from_shape_vec(IxDyn(&shape), values).unwrap())
}

const POLICIES: [fn() -> EmptyMasks; 4] = [
    EmptyMasks::default,
    EmptyMasks::error,
    EmptyMasks::nan,
    EmptyMasks::medpy,
];

thread_local! {
    /// How many of the scores that one test has looked at are numbers.
    static SCORED: Cell<usize> = const { Cell::new(0) };
}

fn count(score: &Result<f64, MetricError>) {
    let number = score.as_ref().is_ok_and(|score| !score.is_nan());
    SCORED.set(SCORED.get() + usize::from(number));
}

fn is_share(score: &Result<f64, MetricError>) -> bool {
    count(score);
    score
        .as_ref()
        .map_or(true, |score| score.is_nan() || (0.0..=1.0).contains(score))
}

fn is_distance(score: &Result<f64, MetricError>) -> bool {
    count(score);
    score.as_ref().map_or(true, |score| score.is_nan() || *score >= 0.0)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..config() })]

    fn any_masks(
        (prediction, truth, spacing, at) in shapes().prop_flat_map(|(first, second)| {
            let axes = second.len();
            (mask(first), mask(second), spacing(axes), length())
        }),
    ) {
        let same = prediction.shape() == truth.shape();
        let axes = truth.ndim();
        let spaced = spacing.len() == axes && spacing.iter().all(|step| (1e-12..=1e12).contains(step));
        let (prediction, truth) = (|| prediction.view(), || truth.view());
        let confusion = Confusion::from_masks(prediction(), truth());
        prop_assert_eq!(confusion.is_ok(), same);
        let distances = SurfaceDistances::new(prediction(), truth(), &spacing, Connectivity::Edges);
        prop_assert_eq!(distances.is_ok(), same && spaced && matches!(axes, 2 | 3), "{:?}", distances.err());
        prop_assert_eq!(distance_transform(truth(), &spacing).is_ok(), spaced);
        prop_assert_eq!(skeleton(truth()).is_ok(), matches!(axes, 2 | 3));
        prop_assert!(components(truth(), Connectivity::Corners).is_ok());
        let lesions = Lesions::new(prediction(), truth(), Connectivity::Faces);
        prop_assert_eq!(lesions.is_ok(), same);
        for policy in POLICIES.map(|policy| policy()) {
            let rims = boundary_iou(prediction(), truth(), at, &spacing, policy);
            prop_assert!(is_share(&rims) && (same && spaced || rims.is_err()));
            let lines = cl_dice(prediction(), truth(), policy);
            prop_assert!(is_share(&lines) && (same && matches!(axes, 2 | 3) || lines.is_err()));
            if let Ok(confusion) = confusion {
                for score in [
                    confusion.dice(policy), confusion.iou(policy), confusion.precision(policy),
                    confusion.recall(policy), confusion.volumetric_similarity(policy), confusion.accuracy(),
                    confusion.specificity(), confusion.balanced_accuracy(), confusion.f_beta(at, policy),
                    confusion.tversky(at, 1.0, policy),
                ] {
                    prop_assert!(is_share(&score), "{score:?}");
                }
                for score in [confusion.matthews(), confusion.kappa(), confusion.relative_volume_error(policy)] {
                    prop_assert!(score.is_err() || score.is_ok_and(|score| score >= -1.0 || score.is_nan()));
                }
                let labels = LabelConfusion::from(confusion);
                let _ = (labels.adjusted_rand(), labels.variation_of_information(), labels.matthews(), labels.kappa());
                prop_assert!(is_share(&labels.generalised_dice(0..2, policy)));
            }
            if let Ok(distances) = &distances {
                for score in [
                    distances.hausdorff(policy), distances.assd(policy), distances.masd(policy),
                    distances.mean_directed(Direction::PredictionToTruth, policy),
                    distances.mean_by_area(Direction::TruthToPrediction, policy),
                    distances.directed_hausdorff(Direction::TruthToPrediction, at, policy),
                    distances.hausdorff_percentile(at, HausdorffPercentile::Pooled, policy),
                    distances.hausdorff_percentile(at, HausdorffPercentile::MaxOfDirected, policy),
                    distances.hausdorff_percentile(at, HausdorffPercentile::SurfaceElements, policy),
                ] {
                    prop_assert!(is_distance(&score), "{score:?}");
                }
                for counts in [SurfaceDice::BoundaryVoxels, SurfaceDice::SurfaceElements] {
                    let score = distances.surface_dice(at, counts, policy);
                    // As sums of areas in another order may round.
                    prop_assert!(is_share(&score.map(|score| score - 1e-12 * score)));
                }
            }
            if let Ok(lesions) = &lesions {
                for by in [LesionMatch::AnyOverlap, LesionMatch::Iou(at)] {
                    if let Ok(found) = lesions.detection(by) {
                        prop_assert!(is_share(&found.f1(policy)));
                    }
                    let _ = lesions.by_size(by, &[1, 3]);
                }
                let _ = lesions.panoptic_quality(policy);
            }
        }
    }

    fn any_heatmaps(
        (heat, mask, spacing, at, bins) in shapes().prop_flat_map(|(first, second)| {
            let axes = second.len();
            let bins = prop::sample::select(vec![0, 1, 2, 15, usize::MAX]);
            (heatmap(first), mask(second), spacing(axes), length(), bins)
        }),
    ) {
        let whole = heat.shape() == mask.shape() && heat.iter().all(|value| (0.0..=1.0).contains(value));
        let (heat, mask) = (|| heat.view(), || mask.view());
        for score in [
            pointing_game(heat(), mask(), at, &spacing), energy_in_mask(heat(), mask()), relevance_rank(heat(), mask()),
        ] {
            // Sums in another order may round.
            prop_assert!(is_share(&score.clone().map(|score| score - 1e-12 * score)), "{score:?}");
            prop_assert!(whole || score.is_err());
        }
        let calibration = Calibration::new(heat(), mask(), bins);
        prop_assert_eq!(calibration.is_ok(), whole && !mask().is_empty() && (1..=15).contains(&bins));
        for policy in POLICIES.map(|policy| policy()) {
            for denominator in [SoftDenominator::Sums, SoftDenominator::Squares] {
                let score = soft_dice(heat(), mask(), denominator, policy);
                prop_assert!(is_share(&score.map(|score| score - 1e-12 * score)));
            }
            let best = best_dice(heat(), mask(), policy);
            prop_assert!(is_share(&best.map(|best| best.dice)));
            let curve = DiceCurve::new(&[(heat(), mask())], &[0.0, 0.5], policy);
            prop_assert!(whole || curve.is_err());
        }
        let scores: Vec<f64> = heat().iter().map(|&value| f64::from(value)).collect();
        let positive: Vec<bool> = mask().iter().copied().collect();
        for score in [roc_auc(&scores, &positive), average_precision(&scores, &positive)] {
            prop_assert!(is_share(&score.map(|score| score - 1e-12 * score)));
        }
    }

    fn any_lists(first in prop::collection::vec(length(), 0..9), second in prop::collection::vec(length(), 0..9)) {
        for alternative in [Alternative::TwoSided, Alternative::Greater, Alternative::Less] {
            let permutations = PermutationTest::default().with_resamples(100);
            for test in [wilcoxon(&first, &second, alternative), permutations.run(&first, &second, alternative)] {
                prop_assert!(is_share(&test.map(|test| test.p_value)));
            }
        }
        let corrected = holm(&first);
        prop_assert_eq!(corrected.is_ok(), first.iter().all(|value| (0.0..=1.0).contains(value)));
        let _ = Summary::of(&first);
        let bootstrap = Bootstrap::default().with_resamples(100);
        if let Ok(interval) = bootstrap.mean(&first) {
            prop_assert!(interval.counted > 0);
        }
        let groups: Vec<u64> = second.iter().map(|value| value.to_bits()).collect();
        let by_group = bootstrap.mean_by_group(&first, &groups);
        prop_assert!(first.len() == second.len() || by_group.is_err());
        let candidates = first.iter().enumerate().map(|(at, &score)| Candidate { score, lesion: (at % 2 == 0).then_some(at) });
        let _ = Froc::new(&[(5, candidates.collect())]).map(|froc| froc.score(&second));
    }
}

/// Runs a property, in which at least so many scores must be numbers.
fn scores_at_least(least: usize, property: fn()) {
    SCORED.set(0);
    property();
    let scored = SCORED.get();
    assert!(scored >= least, "{scored}");
}

#[test]
fn masks_never_panic() {
    scores_at_least(5000, any_masks);
}

#[test]
fn heatmaps_never_panic() {
    scores_at_least(1000, any_heatmaps);
}

#[test]
fn lists_never_panic() {
    scores_at_least(100, any_lists);
}

/// Numbers of which there is no room for as many things.
#[test]
fn huge_numbers_are_errors() {
    let huge = usize::MAX;
    assert!(matches!(
        LabelConfusion::new(huge),
        Err(MetricError::TooManyClasses { .. })
    ));
    let most = 1 << 24;
    let error = MetricError::TooManyResamples { resamples: huge, most };
    let bootstrap = Bootstrap::default().with_resamples(huge);
    assert_eq!(bootstrap.mean(&[0.1, 0.2]), Err(error.clone()));
    assert_eq!(bootstrap.statistic(2, |_| Some(1.0)), Err(error.clone()));
    let permutations = PermutationTest::default().with_resamples(huge);
    for pairs in [3, 63, 70] {
        let (first, second) = (vec![0.1; pairs], vec![0.2; pairs]);
        let test = permutations.run(&first, &second, Alternative::TwoSided);
        assert_eq!(test, Err(error.clone()));
    }
    for axes in [8, 9, 41] {
        let mask = ArrayD::from_elem(vec![1; axes], true);
        for connectivity in [Connectivity::Faces, Connectivity::Edges, Connectivity::Corners] {
            let found = components(mask.view(), connectivity).map(|found| found.count());
            let expected = if axes <= 8 {
                Ok(1)
            } else {
                Err(MetricError::TooManyAxes { found: axes, most: 8 })
            };
            assert_eq!(found, expected);
        }
    }
    let stray = Candidate {
        score: 0.5,
        lesion: Some(huge - 1),
    };
    let froc = Froc::new(&[(huge, vec![stray]), (huge, vec![])]).unwrap();
    assert!(froc.points()[0].sensitivity > 0.0 && froc.points()[0].sensitivity < 1e-18);
}
