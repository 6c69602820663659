//! KPCA-CAM.

use std::ops::Range;

use ndarray::linalg::general_mat_mul;
use ndarray::{Array, ArrayView, ArrayView2, ArrayViewMut2, Axis, Dimension, RemoveAxis, Slice};
use rayon::prelude::*;

use super::feature_maps::FeatureMaps;
use super::first_eigenvector::{dot, first_eigenvector};
use super::principal_component::orient;
use crate::error::CamError;
use crate::parallelism::Parallelism;

/// The places of the largest layer. More of them, all compared with one another dozens of times, would take hours.
const MOST_PLACES: usize = 1 << 15;
/// The values of the largest kernel that is held: 2 GiB, 128 by 128 places.
const HELD: usize = 1 << 28;
/// Rows of the kernel that make a piece of work.
const BLOCK: usize = 64;
/// Samples of no more places are worked on side by side, larger ones one after the other, their rows side by side.
const SMALL: usize = 1024;

/// How alike KPCA-CAM takes two places `x` and `y` to be, each a vector of the channels' values
/// around their means. A `gamma` of `None` is one over the number of channels, scikit-learn's.
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub enum KpcaKernel {
    /// `tanh(gamma x·y + offset)`.
    Sigmoid {
        /// The factor of the product.
        gamma: Option<f64>,
        /// What is added to it.
        offset: f64,
    },
    /// `exp(-gamma |x - y|²)`.
    Gaussian {
        /// The factor of the squared distance.
        gamma: Option<f64>,
    },
}

impl Default for KpcaKernel {
    /// pytorch-grad-cam's and scikit-learn's: a sigmoid with an offset of 1.
    fn default() -> Self {
        Self::Sigmoid {
            gamma: None,
            offset: 1.0,
        }
    }
}

/// KPCA-CAM on arrays: what the channels have most in common, seen through a kernel.
///
/// ```text
/// K[s,t]   = kernel of the places s and t of A[n], the channels' means taken away
/// Kc       = K less the means of its rows and of its columns, plus its mean
/// map[n]   = max(0, sqrt(e) v)         e, v: the largest eigenvalue of Kc and its unit eigenvector
/// ```
///
/// Karmani et al., "KPCA-CAM: Visual Explainability of Deep Computer Vision Models Using Kernel
/// PCA", 2024, [arXiv:2410.00267](https://arxiv.org/abs/2410.00267). The sign is that of
/// [`principal_component`](super::principal_component()): the map goes along with the sum of the
/// channels. With the plain product for a kernel this is [`eigen_cam`](super::eigen_cam()).
///
/// # Shapes
/// `[N, C, H, W]` gives `[N, H, W]`; any number of axes in place of `H, W` will do.
///
/// # Errors
/// [`CamError::KernelSettings`], [`CamError::Shape`], [`CamError::TooManyPlaces`] for more than 32 768, and
/// [`CamError::NonFiniteMap`] for a NaN or an infinity.
///
/// # Cost
/// A matrix of all places by all places in double precision, and as many products of places as that. The eigenvector
/// is found by Lanczos iteration. Of more than 16 384 places, whose matrix would take more than 2 GiB, it is worked out
/// anew in each step of that, dozens of times: minutes.
///
/// ```
/// use gradcam_core::{Parallelism, kernel};
/// use ndarray::Array4;
///
/// let activations = Array4::from_shape_vec((1, 2, 1, 4), vec![0., 0., 1., 5., 0., 0., 2., 9.])?;
/// let maps = kernel::kpca_cam(activations.view(), kernel::KpcaKernel::default(), Parallelism::Serial)?;
/// // The place that stands out is the highest.
/// assert!(maps[[0, 0, 3]] > maps[[0, 0, 2]] && maps[[0, 0, 0]] == 0.0);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn kpca_cam<D>(
    activations: ArrayView<'_, f32, D>,
    kernel: KpcaKernel,
    parallelism: Parallelism,
) -> Result<Array<f32, D::Smaller>, CamError>
where
    D: Dimension + RemoveAxis,
{
    kernel.check()?;
    let activations = FeatureMaps::new(activations)?;
    let places = activations.places;
    check_places(places)?;
    let (samples, rows) = if places <= SMALL {
        (parallelism, Parallelism::Serial)
    } else {
        (Parallelism::Serial, parallelism)
    };
    let one = |sample: usize| {
        let mut values: Vec<f64> = activations
            .sample(sample)
            .iter()
            .map(|&value| f64::from(value))
            .collect();
        let mut sum = vec![0f64; places];
        for plane in values.chunks_exact_mut(places) {
            sum.iter_mut().zip(&*plane).for_each(|(sum, value)| *sum += value);
            let mean = plane.iter().sum::<f64>() / places as f64;
            plane.iter_mut().for_each(|value| *value -= mean);
        }
        if !sum.iter().all(|value| value.is_finite()) {
            return Err(CamError::NonFiniteMap { sample });
        }
        Ok(kernel.component(&values, &sum, rows))
    };
    activations.rectified_maps(activations.by_sample(samples, one)?)
}

impl KpcaKernel {
    pub(crate) fn check(self) -> Result<(), CamError> {
        let (gamma, offset) = match self {
            Self::Sigmoid { gamma, offset } => (gamma.unwrap_or(1.0), offset),
            Self::Gaussian { gamma } => (gamma.unwrap_or(1.0), 0.0),
        };
        if gamma.is_finite() && gamma > 0.0 && offset.is_finite() {
            Ok(())
        } else {
            Err(CamError::KernelSettings { gamma, offset })
        }
    }

    /// The first component of one sample, from its channels' planes, their means taken away, and the channels' sum, by
    /// which it gets its sign.
    pub(crate) fn component(self, values: &[f64], sum: &[f64], parallelism: Parallelism) -> Vec<f32> {
        self.component_holding(HELD, values, sum, parallelism)
    }

    fn component_holding(self, most: usize, values: &[f64], sum: &[f64], parallelism: Parallelism) -> Vec<f32> {
        let matrix = KernelMatrix::new(self, values, sum.len(), most, parallelism);
        let (eigenvalue, mut map) = first_eigenvector(sum.len(), |vector| matrix.times(vector));
        // Taking means away leaves about 1e-16 of what was even.
        let length = if eigenvalue > 1e-13 * matrix.size {
            eigenvalue.sqrt()
        } else {
            0.0
        };
        map.iter_mut().for_each(|value| *value *= length);
        orient(&mut map, sum, 0.0);
        map.into_iter().map(|value| value as f32).collect()
    }
}

/// Fails for a layer of more places than there is time to compare with one another.
pub(crate) fn check_places(places: usize) -> Result<(), CamError> {
    if places > MOST_PLACES {
        return Err(CamError::TooManyPlaces {
            places,
            most: MOST_PLACES,
        });
    }
    Ok(())
}

/// The kernel of all places with one another, the means of its rows and columns taken away.
struct KernelMatrix<'v> {
    kernel: KpcaKernel,
    /// A column for each place.
    values: ArrayView2<'v, f64>,
    /// Each place's product with itself.
    lengths: Vec<f64>,
    /// The kernel's, of each row. It is symmetric: those of the columns are the same.
    means: Vec<f64>,
    mean: f64,
    /// The root of the sum of the kernel's squares.
    size: f64,
    /// The blocks of rows one after the other, if there is room for all.
    held: Vec<Vec<f64>>,
    parallelism: Parallelism,
}

impl<'v> KernelMatrix<'v> {
    fn new(kernel: KpcaKernel, values: &'v [f64], places: usize, most: usize, parallelism: Parallelism) -> Self {
        let values = ArrayView2::from_shape((values.len() / places, places), values)
            .expect("as many values as channels have places");
        let mut lengths = vec![0f64; places];
        for plane in values.outer_iter() {
            lengths
                .iter_mut()
                .zip(plane)
                .for_each(|(sum, value)| *sum += value * value);
        }
        let mut matrix = Self {
            kernel,
            values,
            lengths,
            means: Vec::new(),
            mean: 0.0,
            size: 0.0,
            held: Vec::new(),
            parallelism,
        };
        let hold = places * places <= most;
        let blocks = matrix.by_block(|block| {
            let rows = matrix.kernel_rows(block);
            let means: Vec<f64> = rows
                .chunks_exact(places)
                .map(|row| row.iter().sum::<f64>() / places as f64)
                .collect();
            let squares: f64 = rows.iter().map(|value| value * value).sum();
            (means, squares, hold.then_some(rows))
        });
        let mut held = Vec::new();
        for (means, squares, rows) in blocks {
            matrix.means.extend(means);
            matrix.size += squares;
            held.extend(rows);
        }
        matrix.mean = matrix.means.iter().sum::<f64>() / places as f64;
        matrix.size = matrix.size.sqrt();
        for (index, rows) in held.iter_mut().enumerate() {
            matrix.centre(index * BLOCK, rows);
        }
        matrix.held = held;
        matrix
    }

    /// The product with a vector.
    fn times(&self, vector: &[f64]) -> Vec<f64> {
        let products =
            |rows: &[f64]| -> Vec<f64> { rows.chunks_exact(vector.len()).map(|row| dot(row, vector)).collect() };
        let blocks = self.by_block(|block| match self.held.get(block.start / BLOCK) {
            Some(rows) => products(rows),
            None => {
                let first = block.start;
                let mut rows = self.kernel_rows(block);
                self.centre(first, &mut rows);
                products(&rows)
            }
        });
        blocks.concat()
    }

    /// What is made of each block of rows.
    fn by_block<T: Send>(&self, one: impl Fn(Range<usize>) -> T + Sync + Send) -> Vec<T> {
        let places = self.lengths.len();
        let block = |index: usize| one(index * BLOCK..places.min((index + 1) * BLOCK));
        let count = places.div_ceil(BLOCK);
        match self.parallelism {
            Parallelism::Rayon => (0..count).into_par_iter().map(block).collect(),
            Parallelism::Serial => (0..count).map(block).collect(),
        }
    }

    /// Rows of the kernel, one after the other.
    fn kernel_rows(&self, block: Range<usize>) -> Vec<f64> {
        let places = self.lengths.len();
        let mut rows = vec![0f64; block.len() * places];
        let mut products =
            ArrayViewMut2::from_shape((block.len(), places), &mut rows).expect("as many values as rows have places");
        let of_block = self.values.slice_axis(Axis(1), Slice::from(block.clone()));
        general_mat_mul(1.0, &of_block.t(), &self.values, 0.0, &mut products);
        let of_channels = 1.0 / self.values.nrows() as f64;
        for (row, place) in rows.chunks_exact_mut(places).zip(block) {
            match self.kernel {
                KpcaKernel::Sigmoid { gamma, offset } => {
                    let gamma = gamma.unwrap_or(of_channels);
                    row.iter_mut()
                        .for_each(|value| *value = (gamma * *value + offset).tanh());
                }
                KpcaKernel::Gaussian { gamma } => {
                    let (gamma, length) = (gamma.unwrap_or(of_channels), self.lengths[place]);
                    for (value, other) in row.iter_mut().zip(&self.lengths) {
                        *value = (-gamma * (length + other - 2.0 * *value).max(0.0)).exp();
                    }
                    // No distance, whatever rounding leaves of it: where all others are far, little else is to go by.
                    row[place] = 1.0;
                }
            }
        }
        rows
    }

    /// Takes the means away from rows from the `first` on.
    fn centre(&self, first: usize, rows: &mut [f64]) {
        for (row, row_mean) in rows.chunks_exact_mut(self.means.len()).zip(&self.means[first..]) {
            for (value, column_mean) in row.iter_mut().zip(&self.means) {
                *value += self.mean - row_mean - column_mean;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{BLOCK, KpcaKernel};
    use crate::parallelism::Parallelism;

    /// Worked out anew in every step or held, on one core or on several: the same to the last bit.
    #[test]
    fn rows_need_not_be_held() {
        let places = 2 * BLOCK + 5;
        let planes: Vec<f64> = (0..3 * places).map(|index| ((index * index) as f64).sin()).collect();
        let sum: Vec<f64> = (0..places)
            .map(|place| planes.iter().skip(place).step_by(places).sum())
            .collect();
        for kernel in [KpcaKernel::default(), KpcaKernel::Gaussian { gamma: None }] {
            let held = kernel.component_holding(places * places, &planes, &sum, Parallelism::Serial);
            assert!(held.iter().any(|&value| value > 0.1));
            for parallelism in [Parallelism::Serial, Parallelism::Rayon] {
                assert_eq!(kernel.component_holding(0, &planes, &sum, parallelism), held);
                assert_eq!(kernel.component(&planes, &sum, parallelism), held);
            }
        }
    }
}
