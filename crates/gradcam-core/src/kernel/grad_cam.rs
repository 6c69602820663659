//! Grad-CAM.

use ndarray::{Array, ArrayView, Dimension, RemoveAxis};

use super::channel_sum::weighted_sum;
use super::channel_weights::mean;
use super::feature_maps::FeatureMaps;
use crate::error::CamError;
use crate::parallelism::Parallelism;

/// Grad-CAM on arrays: each channel counts by the mean of its gradient over space.
///
/// ```text
/// w[n,k]   = mean over s of G[n,k,s]          G = d logit / d A
/// map[n,s] = max(0, sum over k of w[n,k] A[n,k,s])
/// ```
///
/// Selvaraju et al., "Grad-CAM: Visual Explanations from Deep Networks via Gradient-based
/// Localization", 2017, [arXiv:1610.02391](https://arxiv.org/abs/1610.02391).
///
/// # Shapes
/// `[N, C, H, W]` gives `[N, H, W]`; any number of axes in place of `H, W` will do. Arrays in
/// another layout than row-major are copied first.
///
/// # Errors
/// [`CamError::GradientShape`], [`CamError::Shape`], and [`CamError::NonFiniteMap`] for a NaN or an
/// infinity in a sample's activations, gradients or map.
///
/// # Cost
/// One read of the gradients and one of the activations: as fast as memory.
///
/// ```
/// use gradcam_core::{Parallelism, kernel};
/// use ndarray::{Array4, array};
///
/// // The class speaks for the first channel, at 1 in the mean, and half as much against the second.
/// let activations = Array4::from_shape_vec((1, 2, 1, 2), vec![1f32, 3., 4., 4.])?;
/// let gradients = Array4::from_shape_vec((1, 2, 1, 2), vec![0f32, 2., -0.5, -0.5])?;
/// let maps = kernel::grad_cam(activations.view(), gradients.view(), Parallelism::Serial)?;
/// assert_eq!(maps, array![[[0., 1.]]]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn grad_cam<D>(
    activations: ArrayView<'_, f32, D>,
    gradients: ArrayView<'_, f32, D>,
    parallelism: Parallelism,
) -> Result<Array<f32, D::Smaller>, CamError>
where
    D: Dimension + RemoveAxis,
{
    let (activations, gradients) = FeatureMaps::pair(activations, gradients)?;
    let gradients = gradients.planes();
    let sums = weighted_sum(&activations, parallelism, |number| mean(gradients.get(number)));
    activations.rectified_maps(sums)
}
