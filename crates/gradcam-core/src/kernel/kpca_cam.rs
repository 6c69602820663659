//! KPCA-CAM.

use ndarray::{Array, ArrayView, ArrayView2, Dimension, RemoveAxis};

use super::feature_maps::FeatureMaps;
use super::first_eigenvector::first_eigenvector;
use super::principal_component::orient;
use crate::error::CamError;
use crate::parallelism::Parallelism;

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
/// [`CamError::KernelSettings`], [`CamError::Shape`], and [`CamError::NonFiniteMap`] for a NaN or an
/// infinity.
///
/// # Cost
/// A matrix of all places by all places in double precision for each sample at work, and as many
/// products of places as that. The eigenvector is found by Lanczos iteration.
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
    let (channels, places) = (activations.channels, activations.places);
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
        let values =
            ArrayView2::from_shape((channels, places), &values).expect("as many values as channels have places");
        let products = values.t().dot(&values).as_standard_layout().iter().copied().collect();
        Ok(kernel.component(products, channels, &sum))
    };
    activations.rectified_maps(activations.by_sample(parallelism, one)?)
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

    /// The first component of one sample, from the products of its places with one another, row
    /// after row, and the channels' sum, by which it gets its sign.
    pub(crate) fn component(self, products: Vec<f64>, channels: usize, sum: &[f64]) -> Vec<f32> {
        let places = sum.len();
        let mut matrix = products;
        let lengths: Vec<f64> = (0..places).map(|place| matrix[place * (places + 1)]).collect();
        let of_channels = 1.0 / channels as f64;
        for (row, length) in matrix.chunks_exact_mut(places).zip(&lengths) {
            for (value, other) in row.iter_mut().zip(&lengths) {
                *value = match self {
                    Self::Sigmoid { gamma, offset } => (gamma.unwrap_or(of_channels) * *value + offset).tanh(),
                    Self::Gaussian { gamma } => {
                        (-gamma.unwrap_or(of_channels) * (length + other - 2.0 * *value).max(0.0)).exp()
                    }
                };
            }
        }
        // The matrix is symmetric: the means of its columns are those of its rows.
        let means: Vec<f64> = matrix
            .chunks_exact(places)
            .map(|row| row.iter().sum::<f64>() / places as f64)
            .collect();
        let mean = means.iter().sum::<f64>() / places as f64;
        let size = matrix.iter().map(|value| value * value).sum::<f64>().sqrt();
        for (row, row_mean) in matrix.chunks_exact_mut(places).zip(&means) {
            for (value, column_mean) in row.iter_mut().zip(&means) {
                *value += mean - row_mean - column_mean;
            }
        }
        let (eigenvalue, mut map) = first_eigenvector(&matrix, places);
        // Taking means away leaves about 1e-16 of what was even.
        let length = if eigenvalue > 1e-13 * size {
            eigenvalue.sqrt()
        } else {
            0.0
        };
        map.iter_mut().for_each(|value| *value *= length);
        orient(&mut map, sum, 0.0);
        map.into_iter().map(|value| value as f32).collect()
    }
}
