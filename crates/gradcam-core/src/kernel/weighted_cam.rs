//! The sum of channels under given weights.

use ndarray::{Array, ArrayView, ArrayView2, Dimension, RemoveAxis};

use super::channel_sum::weighted_sum;
use super::feature_maps::FeatureMaps;
use crate::error::CamError;
use crate::parallelism::Parallelism;

/// The sum of channels under given weights, negative values cut off: the last step of CAM,
/// Score-CAM, Ablation-CAM and the like, for weights that another framework's network gave.
///
/// ```text
/// map[n,s] = max(0, sum over k of w[n,k] A[n,k,s])
/// ```
///
/// # Shapes
/// `[N, C, H, W]` and weights `[N, C]` give `[N, H, W]`; any number of axes in place of `H, W` will
/// do.
///
/// # Errors
/// [`CamError::Shape`], [`CamError::WeightShape`], and [`CamError::NonFiniteMap`] for a NaN or an
/// infinity.
///
/// # Cost
/// One read of the activations: as fast as memory.
///
/// ```
/// use gradcam_core::{Parallelism, kernel};
/// use ndarray::{Array4, array};
///
/// let activations = Array4::from_shape_vec((1, 2, 1, 2), vec![1., 2., 3., 5.])?;
/// let maps = kernel::weighted_cam(activations.view(), array![[4., -1.]].view(), Parallelism::Rayon)?;
/// assert_eq!(maps, array![[[1., 3.]]]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn weighted_cam<D>(
    activations: ArrayView<'_, f32, D>,
    weights: ArrayView2<'_, f32>,
    parallelism: Parallelism,
) -> Result<Array<f32, D::Smaller>, CamError>
where
    D: Dimension + RemoveAxis,
{
    let activations = FeatureMaps::new(activations)?;
    if weights.dim() != (activations.batch, activations.channels) {
        return Err(CamError::WeightShape {
            weights: weights.shape().to_vec(),
            expected: vec![activations.batch, activations.channels],
        });
    }
    let weights: Vec<f32> = weights.iter().copied().collect();
    activations.rectified_maps(weighted_sum(&activations, parallelism, |number| weights[number]))
}
