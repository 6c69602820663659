//! `goldens/superpixels.json` holds images parted by scikit-image's SLIC. Sums and distances are made in the same
//! order in f64, so every label is the same.

use std::collections::HashSet;

use heatmap_seg::{SegError, Slic, SuperpixelVoting, Threshold};
use ndarray::{Array2, Array4, ArrayView2, array};
use serde::Deserialize;

use crate::golden::{cases, quotients};

#[derive(Deserialize)]
struct Golden {
    name: String,
    shape: Vec<usize>,
    image: Vec<u8>,
    runs: Vec<Run>,
}

#[derive(Deserialize)]
struct Run {
    segments: usize,
    compactness: f64,
    iterations: usize,
    superpixels: Vec<usize>,
}

#[test]
fn superpixels_are_those_of_scikit_image() {
    let goldens: Vec<Golden> = cases(include_str!("../goldens/superpixels.json"));
    let mut compared = 0;
    for golden in goldens {
        let image = quotients(&golden.image, 255.0, &golden.shape);
        // The same values in another memory layout.
        let turned = image.t().as_standard_layout().into_owned();
        for run in golden.runs {
            let slic = Slic::default()
                .with_segments(run.segments)
                .with_compactness(run.compactness)
                .with_iterations(run.iterations);
            for view in [image.view(), turned.t()] {
                let found = slic.superpixels(view).unwrap();
                assert_eq!(found.shape(), golden.shape);
                let found: Vec<_> = found.into_iter().collect();
                let differing = found.iter().zip(&run.superpixels).filter(|(a, b)| a != b).count();
                assert_eq!(differing, 0, "{}, {} segments", golden.name, run.segments);
            }
            compared += 1;
        }
    }
    assert_eq!(compared, 28);
}

fn speckled(height: usize, width: usize) -> Array2<f32> {
    Array2::from_shape_fn((height, width), |(y, x)| ((y * 37 + x * 101).pow(2) % 251) as f32)
}

/// Whether the pixels of each label hang together, and no number up to the greatest is left out.
fn all_connected(labels: ArrayView2<'_, usize>) -> bool {
    let mut seen = HashSet::new();
    let mut left = Array2::from_elem(labels.dim(), true);
    for ((y, x), &label) in labels.indexed_iter() {
        if !left[(y, x)] {
            continue;
        }
        if !seen.insert(label) {
            return false;
        }
        let mut open = vec![(y, x)];
        while let Some((y, x)) = open.pop() {
            if labels.get((y, x)) == Some(&label) && std::mem::take(&mut left[(y, x)]) {
                open.extend([(y + 1, x), (y.wrapping_sub(1), x), (y, x + 1), (y, x.wrapping_sub(1))]);
            }
        }
    }
    seen.iter().all(|&label| label < seen.len())
}

#[test]
fn superpixels_hang_together_and_are_numbered_without_a_gap() {
    for (height, width) in [(1, 1), (1, 7), (31, 2), (31, 37), (64, 45)] {
        let image = speckled(height, width);
        for segments in [1, 2, 9, 100, 100_000] {
            for compactness in [1e-3, 0.1, 10.0] {
                let slic = Slic::default().with_segments(segments).with_compactness(compactness);
                let labels = slic.superpixels(image.view()).unwrap();
                assert!(
                    all_connected(labels.view()),
                    "{height}×{width}, {segments}, {compactness}"
                );
            }
        }
    }
}

#[test]
fn a_vote_is_the_mean_over_the_superpixel() {
    let image = speckled(31, 37);
    let heatmap = Array2::from_shape_fn((31, 37), |(y, x)| (y * x) as f32 / 1080.0);
    let slic = Slic::default().with_segments(20).with_compactness(0.5);
    let voting = SuperpixelVoting::default().with_slic(slic);
    let labels = slic.superpixels(image.view()).unwrap();
    let means = voting.means(heatmap.view(), image.view()).unwrap();
    for ((y, x), &mean) in means.indexed_iter() {
        let same = labels
            .iter()
            .zip(&heatmap)
            .filter(|(label, _)| **label == labels[(y, x)]);
        let values: Vec<f64> = same.map(|(_, &value)| f64::from(value)).collect();
        let expected = values.iter().sum::<f64>() / values.len() as f64;
        assert_eq!(mean, expected as f32);
    }
    let mask = voting.apply(heatmap.view(), image.view()).unwrap();
    assert_eq!(mask, Threshold::Otsu.apply(means.view()).unwrap());
    assert!(mask.iter().any(|&on| on) && mask.iter().any(|&on| !on));
    // A superpixel a pixel changes nothing.
    let finest = voting.with_slic(slic.with_segments(31 * 37));
    assert_eq!(finest.means(heatmap.view(), image.view()).unwrap(), heatmap);
}

#[test]
fn faults_are_named() {
    let image = array![[0.1_f32, 0.9]];
    let slic = Slic::default();
    let superpixels = |slic: Slic| slic.superpixels(image.view()).map(|_| ());
    assert_eq!(superpixels(slic.with_segments(0)), Err(SegError::Segments));
    assert_eq!(superpixels(slic.with_iterations(0)), Err(SegError::Iterations));
    for compactness in [0.0, -1.0, f64::NAN, f64::INFINITY] {
        let found = superpixels(slic.with_compactness(compactness));
        assert!(matches!(found, Err(SegError::Compactness { .. })));
    }
    let empty = Array2::<f32>::zeros((0, 3));
    assert_eq!(
        slic.superpixels(empty.view()),
        Err(SegError::Empty { shape: vec![0, 3] })
    );
    let broken = array![[0.1_f32, f32::NAN]];
    assert!(matches!(slic.superpixels(broken.view()), Err(SegError::Image { .. })));
    let four = Array4::<f32>::zeros((2, 2, 2, 2));
    let expected = Err(SegError::Axes { found: 4, expected: 3 });
    assert_eq!(slic.superpixels(four.view()), expected);
    let voting = SuperpixelVoting::default();
    assert!(matches!(
        voting.apply(broken.view(), image.view()),
        Err(SegError::Value { .. })
    ));
    assert!(matches!(
        voting.apply(array![[0.5_f32]].view(), image.view()),
        Err(SegError::Shapes { .. })
    ));
}
