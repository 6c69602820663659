//! Lesions and centrelines: goldens of SciPy, torchmetrics, MONAI and scikit-image, and what holds for any pair.

use approx::assert_relative_eq;
use seg_metrics::{
    Candidate, Connectivity, Detection, EmptyMasks, EmptySide, Froc, LesionMatch, Lesions, MetricError, cl_dice,
    components, skeleton,
};

use crate::pairs::{CASES, goldens, pair};
use crate::scores::{measures, number, numbers};

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
        let expected = numbers(&golden["panoptic"]);
        for (value, expected) in [panoptic.segmentation, panoptic.recognition, panoptic.quality]
            .iter()
            .zip(expected)
        {
            assert_relative_eq!(*value, expected, epsilon = 1e-9);
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
