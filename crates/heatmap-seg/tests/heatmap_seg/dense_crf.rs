//! `goldens/dense_crf.json` holds the mean field over all pairs of pixels, and that of pydensecrf.

use heatmap_seg::{DenseCrf, SegError};
use ndarray::{Array4, array};
use serde::Deserialize;

use crate::golden::{Scan, cases, off};

#[derive(Deserialize)]
struct Golden {
    #[serde(flatten)]
    scan: Scan,
    gaussian: Vec<f64>,
    bilateral: Vec<f64>,
    pydensecrf_bilateral: Vec<f64>,
}

fn goldens() -> Vec<Golden> {
    let goldens = cases(include_str!("../goldens/dense_crf.json"));
    assert_eq!(goldens.len(), 4);
    goldens
}

/// Exact but for f32 and for what lies beyond 5 σ.
#[test]
fn the_gaussian_kernel_is_that_of_all_pairs() {
    let crf = DenseCrf::default()
        .with_gaussian(2.0, 1.5)
        .with_bilateral(8.0, 0.1, 0.0);
    for golden in goldens() {
        let found = crf
            .probabilities(golden.scan.heatmap().view(), golden.scan.image().view())
            .unwrap();
        let (_, most) = off(&found, &golden.gaussian);
        assert!(most < 1e-5, "{}: {most}", golden.scan.name);
    }
}

/// The same lattice as pydensecrf's; the difference is that of f32.
#[test]
fn the_bilateral_kernel_is_that_of_pydensecrf() {
    let crf = DenseCrf::default()
        .with_gaussian(2.0, 0.0)
        .with_bilateral(8.0, 0.1, 4.0);
    for golden in goldens() {
        let (heatmap, image) = (golden.scan.heatmap(), golden.scan.image());
        let found = crf.probabilities(heatmap.view(), image.view()).unwrap();
        let (_, most) = off(&found, &golden.pydensecrf_bilateral);
        assert!(most < 1e-4, "{}: {most}", golden.scan.name);
        // The lattice's own error: pydensecrf's is the same.
        let (mean, _) = off(&found, &golden.bilateral);
        assert!(mean < 0.02, "{}: {mean}", golden.scan.name);
        let mask = crf.apply(heatmap.view(), image.view()).unwrap();
        assert_eq!(mask, found.mapv(|probability| probability > 0.5));
    }
}

#[test]
fn without_iterations_or_kernels_it_is_the_heatmap() {
    let golden = &goldens()[0];
    let (heatmap, image) = (golden.scan.heatmap(), golden.scan.image());
    let clipped: Vec<f64> = heatmap.iter().map(|value| f64::from(value.clamp(0.01, 0.99))).collect();
    for crf in [
        DenseCrf::default().with_iterations(0),
        DenseCrf::default()
            .with_gaussian(1.0, 0.0)
            .with_bilateral(1.0, 1.0, 0.0),
    ] {
        let found = crf.probabilities(heatmap.view(), image.view()).unwrap();
        assert!(off(&found, &clipped).1 < 1e-6);
    }
}

#[test]
fn settings_are_checked() {
    let (heatmap, image) = (array![0.1_f32, 0.9], array![0.1_f32, 0.9]);
    let crf = DenseCrf::default();
    for (crf, name) in [
        (crf.with_clip(0.0), "clip"),
        (crf.with_clip(0.5), "clip"),
        (crf.with_gaussian(0.0, 1.0), "gaussian_sigma"),
        (crf.with_gaussian(1.0, f32::NAN), "gaussian_weight"),
        (crf.with_bilateral(0.0, 1.0, 1.0), "bilateral_sigma"),
        (crf.with_bilateral(1.0, 1e-9, 1.0), "bilateral_tau"),
        (crf.with_bilateral(1.0, f32::NAN, 1.0), "bilateral_tau"),
        (crf.with_bilateral(1.0, 1.0, -1.0), "bilateral_weight"),
    ] {
        let error = crf.apply(heatmap.view(), image.view()).unwrap_err();
        assert!(
            matches!(error, SegError::Crf { setting, .. } if setting == name),
            "{error}"
        );
    }
    // A Gaussian wider than the image is no fault.
    assert!(crf.with_gaussian(1e30, 1.0).apply(heatmap.view(), image.view()).is_ok());
    let four = Array4::from_elem((1, 2, 1, 1), 0.5_f32);
    let expected = Err(SegError::Axes { found: 4, expected: 3 });
    assert_eq!(crf.apply(four.view(), four.view()), expected);
}
