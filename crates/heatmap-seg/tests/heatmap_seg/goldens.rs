//! `goldens/otsu.json` holds scikit-image's thresholds. They must agree to the last bit: both compute in
//! f32, in the same order.

use heatmap_seg::Threshold;
use ndarray::ArrayD;
use serde::Deserialize;

#[derive(Deserialize)]
struct Goldens {
    cases: Vec<Golden>,
}

#[derive(Deserialize)]
struct Golden {
    name: String,
    shape: Vec<usize>,
    divisor: u16,
    integers: Vec<u16>,
    threshold: f64,
    foreground: usize,
}

#[test]
fn otsu_is_that_of_scikit_image() {
    let goldens: Goldens = serde_json::from_str(include_str!("../goldens/otsu.json")).unwrap();
    assert_eq!(goldens.cases.len(), 16);
    for golden in goldens.cases {
        let values = golden
            .integers
            .iter()
            .map(|&k| f32::from(k) / f32::from(golden.divisor))
            .collect();
        let heatmap = ArrayD::from_shape_vec(golden.shape, values).unwrap();
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
