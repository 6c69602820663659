//! HiResCAM.

use ndarray::{Array, ArrayView, Dimension, RemoveAxis};

use super::channel_sum::paired_channel_sum;
use super::feature_maps::FeatureMaps;
use crate::error::CamError;
use crate::parallelism::Parallelism;

/// HiResCAM on arrays: each activation counts by its own gradient.
///
/// ```text
/// map[n,s] = max(0, sum over k of G[n,k,s] A[n,k,s])
/// ```
///
/// Draelos and Carin, "Use HiResCAM instead of Grad-CAM for faithful explanations of convolutional
/// neural networks", 2020, [arXiv:2011.08891](https://arxiv.org/abs/2011.08891).
///
/// # Shapes
/// `[N, C, H, W]` gives `[N, H, W]`; any number of axes in place of `H, W` will do. Arrays in
/// another layout than row-major are copied first.
///
/// # Errors
/// Those of [`grad_cam`](super::grad_cam()).
///
/// # Cost
/// One read of the gradients and one of the activations.
///
/// ```
/// use gradcam_core::{Parallelism, kernel};
/// use ndarray::{Array4, array};
///
/// // The second channel takes away from what the first one gives.
/// let activations = Array4::from_shape_vec((1, 2, 1, 2), vec![1., 3., 2., 2.])?;
/// let gradients = Array4::from_shape_vec((1, 2, 1, 2), vec![1., 2., -1., -1.])?;
/// let maps = kernel::hires_cam(activations.view(), gradients.view(), Parallelism::Serial)?;
/// assert_eq!(maps, array![[[0., 4.]]]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn hires_cam<D>(
    activations: ArrayView<'_, f32, D>,
    gradients: ArrayView<'_, f32, D>,
    parallelism: Parallelism,
) -> Result<Array<f32, D::Smaller>, CamError>
where
    D: Dimension + RemoveAxis,
{
    let (activations, gradients) = FeatureMaps::pair(activations, gradients)?;
    let sums = paired_channel_sum(&activations, &gradients, parallelism, |a, g| a * g);
    activations.rectified_maps(sums)
}
