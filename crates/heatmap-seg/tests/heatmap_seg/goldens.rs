//! `goldens/thresholds.json` holds the thresholds of scikit-image, numpy and Kapur's formula. Otsu's must
//! agree to the last bit: both compute in f32, in the same order. Thresholds that are the centre of a bin
//! must be that of the same bin; the tolerance is the rounding of its f32. The others are the results of
//! f64 sums rounded to f32.

use approx::assert_abs_diff_eq;
use heatmap_seg::{Hysteresis, LocalThreshold, LocalWindow, SegError, Threshold, multi_otsu};
use ndarray::ArrayD;
use serde::Deserialize;

use crate::golden::{cases, quotients};

#[derive(Deserialize)]
struct Golden {
    name: String,
    shape: Vec<usize>,
    divisor: u16,
    integers: Vec<u16>,
    threshold: f64,
    foreground: usize,
    constant: bool,
    percentiles: [f64; 5],
    multi_otsu: [Option<Vec<f64>>; 3],
    yen: f64,
    li: f64,
    triangle: f64,
    maximum_entropy: f64,
    local: Option<[Vec<f64>; 2]>,
    hysteresis: String,
}

impl Golden {
    fn heatmap(&self) -> ArrayD<f32> {
        quotients(&self.integers, self.divisor.into(), &self.shape)
    }
}

fn goldens() -> Vec<Golden> {
    let goldens = cases(include_str!("../goldens/thresholds.json"));
    assert_eq!(goldens.len(), 16);
    goldens
}

#[test]
fn otsu_is_that_of_scikit_image() {
    for golden in goldens() {
        let heatmap = golden.heatmap();
        let threshold = Threshold::Otsu.value(heatmap.view()).unwrap();
        assert_eq!(threshold, golden.threshold as f32, "{}", golden.name);
        let mask = Threshold::Otsu.apply(heatmap.view()).unwrap();
        assert_eq!(mask.shape(), heatmap.shape());
        assert_eq!(
            mask.iter().filter(|&&on| on).count(),
            golden.foreground,
            "{}",
            golden.name
        );
        // The same values in another memory layout.
        assert_eq!(
            Threshold::Otsu.value(heatmap.t()).unwrap(),
            threshold,
            "{}",
            golden.name
        );
    }
}

#[test]
fn other_rules_are_those_of_scikit_image_and_kapur() {
    for golden in goldens() {
        let heatmap = golden.heatmap();
        for (rule, expected) in [
            (Threshold::Yen, golden.yen),
            (Threshold::Li, golden.li),
            (Threshold::Triangle, golden.triangle),
            (Threshold::MaximumEntropy, golden.maximum_entropy),
        ] {
            let value = rule.value(heatmap.view()).unwrap();
            if golden.constant {
                // scikit-image's is half a bin off the value under Yen.
                assert_eq!(value, heatmap[vec![0; heatmap.ndim()].as_slice()], "{}", golden.name);
            } else {
                assert!(
                    (f64::from(value) - expected).abs() < 2e-7,
                    "{} {rule:?}: {value}, not {expected}",
                    golden.name
                );
            }
        }
        for (percent, expected) in [0.0, 12.5, 50.0, 95.0, 100.0].into_iter().zip(golden.percentiles) {
            let value = Threshold::Percentile(percent).value(heatmap.view()).unwrap();
            assert_abs_diff_eq!(f64::from(value), expected, epsilon = 1e-7);
        }
    }
}

#[test]
fn multi_otsu_is_that_of_scikit_image() {
    let min = |heatmap: &ArrayD<f32>| heatmap.iter().copied().fold(1.0, f32::min);
    let max = |heatmap: &ArrayD<f32>| heatmap.iter().copied().fold(0.0, f32::max);
    let (mut compared, mut exact) = (0, 0);
    for golden in goldens() {
        let heatmap = golden.heatmap();
        for (classes, expected) in (2..).zip(&golden.multi_otsu) {
            let thresholds = multi_otsu(heatmap.view(), classes).unwrap();
            let hottest = Threshold::MultiOtsu { classes }.value(heatmap.view()).unwrap();
            assert_eq!(hottest, *thresholds.last().unwrap());
            assert!(thresholds.is_sorted());
            let Some(expected) = expected else { continue };
            compared += 1;
            assert_eq!(thresholds.len(), expected.len());
            // Empty bins make splits equal; scikit-image's rounding in f32 chooses among them.
            let half = (max(&heatmap) - min(&heatmap)) / 512.0;
            for (&threshold, &expected) in thresholds.iter().zip(expected) {
                let later_bins = |threshold: f32| heatmap.iter().filter(|&&value| value > threshold + half).count();
                assert_eq!(
                    later_bins(threshold),
                    later_bins(expected as f32),
                    "{} {classes}: {threshold}, not {expected}",
                    golden.name
                );
                exact += usize::from((f64::from(threshold) - expected).abs() < 2e-7);
            }
        }
    }
    assert_eq!((compared, exact), (34, 61));
}

#[test]
fn local_thresholds_are_those_of_scikit_image() {
    let mut compared = 0;
    for golden in goldens() {
        let heatmap = golden.heatmap();
        let Some(expected) = &golden.local else { continue };
        for (side, window, expected) in [
            (5, LocalWindow::Mean, &expected[0]),
            (7, LocalWindow::Gaussian, &expected[1]),
        ] {
            let rule = LocalThreshold::default()
                .with_side(side)
                .with_window(window)
                .with_offset(0.02);
            let thresholds = rule.values(heatmap.view()).unwrap();
            for (&threshold, &expected) in thresholds.iter().zip(expected) {
                assert_abs_diff_eq!(f64::from(threshold), expected, epsilon = 3e-7);
            }
            let mask = rule.apply(heatmap.view()).unwrap();
            assert!(
                mask.iter()
                    .zip(heatmap.iter().zip(&thresholds))
                    .all(|(&on, (value, threshold))| on == (value > threshold))
            );
            // The same values in another memory layout, with their axes passed in another order.
            let turned = rule.values(heatmap.t()).unwrap();
            for (&turned, &threshold) in turned.iter().zip(thresholds.t()) {
                assert_abs_diff_eq!(turned, threshold, epsilon = 1e-7);
            }
            compared += 1;
        }
    }
    assert_eq!(compared, 6);
    let rule = LocalThreshold::default().with_side(4);
    assert_eq!(
        rule.apply(ndarray::array![0.5_f32].view()),
        Err(SegError::Window { side: 4 })
    );
}

#[test]
fn hysteresis_is_that_of_scikit_image() {
    let rule = Hysteresis::new(Threshold::Fixed(0.3), Threshold::Fixed(0.6));
    for golden in goldens() {
        let heatmap = golden.heatmap();
        let mask = rule.apply(heatmap.view()).unwrap();
        let digits: String = mask.iter().map(|&on| if on { '1' } else { '0' }).collect();
        assert_eq!(digits, golden.hysteresis, "{}", golden.name);
        assert_eq!(rule.apply(heatmap.t()).unwrap(), mask.t());
    }
}
