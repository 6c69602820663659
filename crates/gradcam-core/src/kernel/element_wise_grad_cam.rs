//! Element-wise Grad-CAM.

use ndarray::{Array, ArrayView, Dimension, RemoveAxis};

use super::channel_sum::paired_channel_sum;
use super::feature_maps::FeatureMaps;
use crate::error::CamError;
use crate::parallelism::Parallelism;

/// Element-wise Grad-CAM on arrays: each activation counts by its own gradient, where the two
/// together speak for the target.
///
/// ```text
/// map[n,s] = sum over k of max(0, G[n,k,s] A[n,k,s])
/// ```
///
/// pytorch-grad-cam's `GradCAMElementWise`.
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
/// // What the second channel says against the target is left out.
/// let activations = Array4::from_shape_vec((1, 2, 1, 2), vec![1., 3., 2., 2.])?;
/// let gradients = Array4::from_shape_vec((1, 2, 1, 2), vec![1., 2., -1., -1.])?;
/// let maps = kernel::element_wise_grad_cam(activations.view(), gradients.view(), Parallelism::Serial)?;
/// assert_eq!(maps, array![[[1., 6.]]]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn element_wise_grad_cam<D>(
    activations: ArrayView<'_, f32, D>,
    gradients: ArrayView<'_, f32, D>,
    parallelism: Parallelism,
) -> Result<Array<f32, D::Smaller>, CamError>
where
    D: Dimension + RemoveAxis,
{
    let (activations, gradients) = FeatureMaps::pair(activations, gradients)?;
    let sums = paired_channel_sum(&activations, &gradients, parallelism, |a, g| {
        let product = a * g;
        // Times zero, not zero: what is not finite has to be noticed.
        if product > 0.0 { product } else { product * 0.0 }
    });
    activations.rectified_maps(sums)
}
