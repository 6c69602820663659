//! XGrad-CAM.

use ndarray::{Array, ArrayView, Dimension, RemoveAxis};

use super::channel_sum::weighted_sum;
use super::channel_weights::{paired_sum, sum};
use super::feature_maps::FeatureMaps;
use crate::error::CamError;
use crate::parallelism::Parallelism;

/// XGrad-CAM on arrays: each channel counts by the mean of its gradient, weighed by its activation.
///
/// ```text
/// w[n,k]   = sum over s of G[n,k,s] A[n,k,s] / sum over s of A[n,k,s]
/// map[n,s] = max(0, sum over k of w[n,k] A[n,k,s])
/// ```
///
/// A channel whose activations sum to zero counts for nothing.
///
/// Fu et al., "Axiom-based Grad-CAM: Towards Accurate Visualization and Explanation of CNNs", 2020,
/// [arXiv:2008.02312](https://arxiv.org/abs/2008.02312).
///
/// # Shapes
/// `[N, C, H, W]` gives `[N, H, W]`; any number of axes in place of `H, W` will do. Arrays in
/// another layout than row-major are copied first.
///
/// # Errors
/// Those of [`grad_cam`](super::grad_cam()).
///
/// # Cost
/// One read of the gradients and one of the activations, of which maps larger than 64×64 take a second.
///
/// ```
/// use gradcam_core::{Parallelism, kernel};
/// use ndarray::{Array4, array};
///
/// // (1 × 0.5 + 3 × 0.5) / (1 + 3)
/// let activations = Array4::from_shape_vec((1, 1, 1, 2), vec![1., 3.])?;
/// let gradients = Array4::from_elem((1, 1, 1, 2), 0.5);
/// let maps = kernel::x_grad_cam(activations.view(), gradients.view(), Parallelism::Serial)?;
/// assert_eq!(maps, array![[[0.5, 1.5]]]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn x_grad_cam<D>(
    activations: ArrayView<'_, f32, D>,
    gradients: ArrayView<'_, f32, D>,
    parallelism: Parallelism,
) -> Result<Array<f32, D::Smaller>, CamError>
where
    D: Dimension + RemoveAxis,
{
    let (activations, gradients) = FeatureMaps::pair(activations, gradients)?;
    let (a, g) = (activations.planes(), gradients.planes());
    let sums = weighted_sum(&activations, parallelism, |number| {
        let (activations, gradients) = (a.get(number), g.get(number));
        let product = paired_sum(activations, gradients, |a, g| a * g);
        let total = sum(activations);
        if total == 0.0 {
            (product * 0.0) as f32
        } else {
            (product / total) as f32
        }
    });
    activations.rectified_maps(sums)
}
