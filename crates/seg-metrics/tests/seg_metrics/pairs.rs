//! The pairs of masks of `goldens/masks.json`, drawn by the integer formula of `goldens/masks.py`.

use ndarray::{Array, ArrayD, Dimension, IxDyn};
use serde_json::Value;

/// A prediction, a truth and a spacing.
pub(crate) struct Pair {
    pub(crate) prediction: ArrayD<bool>,
    pub(crate) truth: ArrayD<bool>,
    pub(crate) spacing: Vec<f64>,
}

pub(crate) const CASES: usize = 220;

/// A linear congruential generator with Knuth's constants for 64 bits.
struct Draw(u64);

impl Draw {
    fn new(seed: u64) -> Self {
        let mut draw = Draw(seed);
        draw.below(1);
        draw.below(1);
        draw
    }

    fn below(&mut self, below: usize) -> usize {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % below
    }

    fn blobs(&mut self, shape: &[usize], count: usize) -> ArrayD<bool> {
        let mut mask = ArrayD::from_elem(shape, false);
        for _ in 0..count {
            let centre: Vec<usize> = shape.iter().map(|&length| self.below(length)).collect();
            let radius: Vec<usize> = shape
                .iter()
                .map(|&length| 1 + self.below((length / 2).max(1)))
                .collect();
            let whole: usize = radius.iter().map(|radius| radius * radius).product();
            for (index, inside) in mask.indexed_iter_mut() {
                let total: usize = (0..shape.len())
                    .map(|axis| index[axis].abs_diff(centre[axis]).pow(2) * (whole / radius[axis].pow(2)))
                    .sum();
                *inside |= total <= whole;
            }
        }
        mask
    }

    fn noise(&mut self, shape: &[usize], eighths: usize) -> ArrayD<bool> {
        Array::from_shape_simple_fn(IxDyn(shape), || self.below(8) < eighths)
    }

    fn one(&mut self, shape: &[usize]) -> ArrayD<bool> {
        let index: Vec<usize> = shape.iter().map(|&length| self.below(length)).collect();
        let mut mask = ArrayD::from_elem(shape, false);
        mask[index.as_slice()] = true;
        mask
    }
}

pub(crate) fn pair(number: usize) -> Pair {
    let mut draw = Draw::new(number as u64);
    let shape = if number.is_multiple_of(2) {
        vec![8 + draw.below(33), 8 + draw.below(41)]
    } else {
        vec![3 + draw.below(8), 5 + draw.below(12), 5 + draw.below(14)]
    };
    let spacings: [&[f64]; 5] = if shape.len() == 2 {
        [&[1.0, 1.0], &[0.5, 0.5], &[1.5, 1.0], &[0.7, 1.3], &[3.0, 0.9]]
    } else {
        [
            &[1.0, 1.0, 1.0],
            &[1.5, 1.0, 1.0],
            &[0.7, 1.3, 2.5],
            &[5.0, 0.9, 0.9],
            &[1.0, 1.0, 2.0],
        ]
    };
    let spacing = spacings[draw.below(5)].to_vec();
    let shape = shape.as_slice();
    let all = |inside| ArrayD::from_elem(shape, inside);
    let (prediction, truth) = match number / 2 % 11 {
        0 => (draw.blobs(shape, 1), draw.blobs(shape, 1)),
        1 => (draw.blobs(shape, 2), draw.blobs(shape, 3)),
        2 => {
            let truth = draw.blobs(shape, 2);
            let moved = ArrayD::from_shape_fn(shape, |index| {
                let mut index = index.slice().to_vec();
                let Some(x) = index[shape.len() - 1].checked_sub(1) else {
                    return false;
                };
                index[shape.len() - 1] = x;
                truth[index.as_slice()]
            });
            (moved, truth)
        }
        3 => (draw.noise(shape, 3), draw.noise(shape, 3)),
        4 => (all(false), draw.blobs(shape, 1)),
        5 => (draw.blobs(shape, 1), all(false)),
        6 => (all(false), all(false)),
        7 => (all(true), draw.blobs(shape, 2)),
        8 => (draw.one(shape), draw.one(shape)),
        9 => (draw.noise(shape, 1), draw.noise(shape, 1)),
        _ => {
            let truth = draw.blobs(shape, 4);
            (&truth ^ &draw.noise(shape, 1), truth)
        }
    };
    Pair {
        prediction,
        truth,
        spacing,
    }
}

/// The goldens of every pair, in order.
pub(crate) fn goldens() -> Vec<Value> {
    let goldens: Value = serde_json::from_str(include_str!("../goldens/masks.json")).unwrap();
    let cases = goldens["cases"].as_array().unwrap().clone();
    assert_eq!(cases.len(), CASES);
    cases
}
