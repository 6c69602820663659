//! LayerCAM.

use ndarray::{Array, ArrayView, Dimension, RemoveAxis};

use super::channel_sum::paired_channel_sum;
use super::feature_maps::FeatureMaps;
use crate::error::CamError;
use crate::parallelism::Parallelism;

/// LayerCAM on arrays: each activation counts by its own gradient, where that is positive.
///
/// ```text
/// map[n,s] = max(0, sum over k of max(0, G[n,k,s]) A[n,k,s])
/// ```
///
/// Jiang et al., "LayerCAM: Exploring Hierarchical Class Activation Maps for Localization", 2021,
/// [doi:10.1109/TIP.2021.3089943](https://doi.org/10.1109/TIP.2021.3089943).
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
/// let activations = Array4::from_shape_vec((1, 2, 1, 2), vec![1., 3., 2., 2.])?;
/// let gradients = Array4::from_shape_vec((1, 2, 1, 2), vec![1., 2., -1., 0.5])?;
/// let maps = kernel::layer_cam(activations.view(), gradients.view(), Parallelism::Serial)?;
/// assert_eq!(maps, array![[[1., 7.]]]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn layer_cam<D>(
    activations: ArrayView<'_, f32, D>,
    gradients: ArrayView<'_, f32, D>,
    parallelism: Parallelism,
) -> Result<Array<f32, D::Smaller>, CamError>
where
    D: Dimension + RemoveAxis,
{
    let (activations, gradients) = FeatureMaps::pair(activations, gradients)?;
    let sums = paired_channel_sum(&activations, &gradients, parallelism, |a, g| {
        // Times zero, not zero: what is not finite has to be noticed.
        let weight = if g > 0.0 { g } else { g * 0.0 };
        a * weight
    });
    activations.rectified_maps(sums)
}
