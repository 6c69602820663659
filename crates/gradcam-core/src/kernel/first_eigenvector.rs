//! The first eigenvector of a symmetric operator, by Lanczos iteration.
//!
//! The vectors `q` that the operator makes of one vector, each made orthogonal to those before,
//! turn it into a tridiagonal matrix. Its largest eigenvalue is soon that of the operator. Every
//! `q` is made orthogonal to all others twice, so that none comes back by rounding; at the latest
//! with as many of them as there are rows the result is exact. See Golub and Van Loan, "Matrix
//! Computations", 4th edition, section 10.1.

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// What the eigenvector may be off by, in units of the eigenvalue over the distance to the next.
const TOLERANCE: f64 = 1e-12;
/// Steps between two looks at the tridiagonal matrix.
const STEPS: usize = 4;
/// Products summed side by side.
const LANES: usize = 8;

/// The largest eigenvalue of a symmetric operator on vectors of `n` values, of which only what it makes of a vector is
/// known, and its unit eigenvector, of either sign. Where several vectors share the eigenvalue, it is one of them.
pub(super) fn first_eigenvector(n: usize, apply: impl Fn(&[f64]) -> Vec<f64>) -> (f64, Vec<f64>) {
    // Chosen by chance, but always the same: a vector that has to do with every eigenvector. What the operator makes of
    // it has nothing to do with those that it takes to zero.
    let mut generator = ChaCha8Rng::seed_from_u64(0);
    let any: Vec<f64> = (0..n).map(|_| generator.random_range(-1.0..1.0)).collect();
    let mut next = apply(&any);
    let mut length = norm(&next);
    if length == 0.0 {
        let length = norm(&any);
        return (0.0, any.into_iter().map(|value| value / length).collect());
    }
    let mut basis: Vec<Vec<f64>> = Vec::new();
    let mut tridiagonal = Tridiagonal::default();
    let mut scale = 0f64;
    loop {
        next.iter_mut().for_each(|value| *value /= length);
        let mut image = apply(&next);
        scale = scale.max(norm(&image));
        tridiagonal.diagonal.push(dot(&image, &next));
        basis.push(next);
        for _ in 0..2 {
            for q in &basis {
                let along = dot(q, &image);
                image.iter_mut().zip(q).for_each(|(value, q)| *value -= along * q);
            }
        }
        length = norm(&image);
        let steps = basis.len();
        // Nothing new but rounding: the vectors so far hold the eigenvector.
        let complete = steps == n || length <= 16.0 * f64::EPSILON * scale;
        if complete || steps.is_multiple_of(STEPS) {
            let (eigenvalue, coordinates) = tridiagonal.largest();
            let residual = length * coordinates[steps - 1];
            if complete || residual <= TOLERANCE * eigenvalue.abs() {
                let mut vector = vec![0.0; n];
                for (q, coordinate) in basis.iter().zip(&coordinates) {
                    vector.iter_mut().zip(q).for_each(|(value, q)| *value += coordinate * q);
                }
                return (eigenvalue, vector);
            }
        }
        tridiagonal.beside.push(length);
        next = image;
    }
}

/// A symmetric matrix with positive values beside the diagonal and zeros elsewhere.
#[derive(Default)]
struct Tridiagonal {
    diagonal: Vec<f64>,
    beside: Vec<f64>,
}

impl Tridiagonal {
    /// The largest eigenvalue `e` and its unit eigenvector, whose values are all positive.
    fn largest(&self) -> (f64, Vec<f64>) {
        let n = self.diagonal.len();
        let beside = |index: usize| self.beside.get(index).copied().unwrap_or(0.0);
        // No value of the diagonal is above `e`, and no row's sum below it.
        let (mut low, mut high, mut largest) = (f64::NEG_INFINITY, f64::NEG_INFINITY, 0f64);
        for (index, &value) in self.diagonal.iter().enumerate() {
            let before = if index > 0 { beside(index - 1) } else { 0.0 };
            let sides = before + if index + 1 < n { beside(index) } else { 0.0 };
            low = low.max(value);
            high = high.max(value + sides);
            largest = largest.max(value.abs() + sides);
        }
        let precision = f64::EPSILON * largest;
        high += precision;
        let mut pivots = vec![0.0; n];
        while high - low > precision {
            let middle = low + (high - low) / 2.0;
            if self.pivots(middle, &mut pivots) {
                high = middle;
            } else {
                low = middle;
            }
        }
        // `high - matrix` is positive definite and almost singular, so what solving with it leaves is the eigenvector;
        // nothing is subtracted on the way.
        let mut vector = vec![1.0; n];
        if self.pivots(high, &mut pivots) {
            for _ in 0..3 {
                for index in 1..n {
                    vector[index] += beside(index - 1) / pivots[index - 1] * vector[index - 1];
                }
                vector[n - 1] /= pivots[n - 1];
                for index in (0..n - 1).rev() {
                    vector[index] = (vector[index] + beside(index) * vector[index + 1]) / pivots[index];
                }
                let length = norm(&vector);
                vector.iter_mut().for_each(|value| *value /= length);
            }
        }
        (high, vector)
    }

    /// Whether `shift` is above every eigenvalue: whether elimination in `shift - matrix` meets
    /// positive pivots only.
    fn pivots(&self, shift: f64, pivots: &mut [f64]) -> bool {
        let mut before = f64::INFINITY;
        let mut beside = 0.0;
        for (index, (&value, pivot)) in self.diagonal.iter().zip(pivots).enumerate() {
            *pivot = shift - value - beside * beside / before;
            if *pivot <= 0.0 || pivot.is_nan() {
                return false;
            }
            before = *pivot;
            beside = self.beside.get(index).copied().unwrap_or(0.0);
        }
        true
    }
}

/// The product of two vectors.
pub(super) fn dot(a: &[f64], b: &[f64]) -> f64 {
    sum_of_products(a, b, |&value| value)
}

/// The product of a vector in single precision with one in double precision, in double precision.
pub(super) fn mixed_dot(a: &[f32], b: &[f64]) -> f64 {
    sum_of_products(a, b, |&value| f64::from(value))
}

fn sum_of_products<T>(a: &[T], b: &[f64], value: impl Fn(&T) -> f64) -> f64 {
    let mut lanes = [0f64; LANES];
    let (mut chunks, mut others) = (a.chunks_exact(LANES), b.chunks_exact(LANES));
    for (a, b) in (&mut chunks).zip(&mut others) {
        for (lane, (a, b)) in lanes.iter_mut().zip(a.iter().zip(b)) {
            *lane += value(a) * b;
        }
    }
    let rest = chunks.remainder().iter().zip(others.remainder());
    lanes.iter().sum::<f64>() + rest.map(|(a, b)| value(a) * b).sum::<f64>()
}

fn norm(values: &[f64]) -> f64 {
    dot(values, values).sqrt()
}
