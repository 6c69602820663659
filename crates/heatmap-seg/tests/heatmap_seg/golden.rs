//! Reads the goldens, and compares with them.

use ndarray::{Array, ArrayD, Dimension};
use serde::Deserialize;
use serde::de::DeserializeOwned;

/// The cases of a file of goldens.
pub(crate) fn cases<T: DeserializeOwned>(json: &str) -> Vec<T> {
    #[derive(Deserialize)]
    struct Goldens<T> {
        cases: Vec<T>,
    }
    let goldens: Goldens<T> = serde_json::from_str(json).unwrap();
    goldens.cases
}

/// The f32 quotients of whole numbers, as the scripts make them.
pub(crate) fn quotients<K: Copy + Into<f32>>(numbers: &[K], divisor: f32, shape: &[usize]) -> ArrayD<f32> {
    let values = numbers.iter().map(|&number| number.into() / divisor);
    ArrayD::from_shape_vec(shape, values.collect()).unwrap()
}

/// A heatmap and the grey image that it is refined against.
#[derive(Deserialize)]
pub(crate) struct Scan {
    pub(crate) name: String,
    shape: Vec<usize>,
    heatmap: Vec<u16>,
    image: Vec<u8>,
}

impl Scan {
    pub(crate) fn heatmap(&self) -> ArrayD<f32> {
        quotients(&self.heatmap, 65535.0, &self.shape)
    }

    pub(crate) fn image(&self) -> ArrayD<f32> {
        quotients(&self.image, 255.0, &self.shape)
    }
}

/// The mean and the greatest difference.
pub(crate) fn off<D: Dimension>(found: &Array<f32, D>, expected: &[f64]) -> (f64, f64) {
    assert_eq!(found.len(), expected.len());
    assert!(found.iter().all(|value| value.is_finite()));
    let differences = found.iter().zip(expected).map(|(&a, b)| (f64::from(a) - b).abs());
    let (sum, most) = differences.fold((0.0, 0.0), |(sum, most): (f64, f64), off| (sum + off, most.max(off)));
    (sum / expected.len() as f64, most)
}
