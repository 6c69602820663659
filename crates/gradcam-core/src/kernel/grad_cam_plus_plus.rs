//! Grad-CAM++.

use ndarray::{Array, ArrayView, Dimension, RemoveAxis};

use super::channel_sum::weighted_sum;
use super::channel_weights::{sum, sum_of};
use super::feature_maps::FeatureMaps;
use crate::error::CamError;
use crate::parallelism::Parallelism;

/// Grad-CAM++ on arrays: each channel counts by its positive gradients, each of them by how much of
/// the score its place alone accounts for.
///
/// ```text
/// w[n,k]   = sum over s with G[n,k,s] > 0 of G[n,k,s] / (2 + G[n,k,s] sum over t of A[n,k,t])
/// map[n,s] = max(0, sum over k of w[n,k] A[n,k,s])
/// ```
///
/// Chattopadhay et al., "Grad-CAM++: Improved Visual Explanations for Deep Convolutional Networks",
/// 2018, [arXiv:1710.11063](https://arxiv.org/abs/1710.11063). What `grad_cam_plus_plus` at the
/// crate's root says about the formula holds here too.
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
/// // 1 / (2 + 1 × 4) where the gradient is 1, nothing where it is not positive.
/// let activations = Array4::from_shape_vec((1, 1, 1, 2), vec![1., 3.])?;
/// let gradients = Array4::from_shape_vec((1, 1, 1, 2), vec![1., -1.])?;
/// let maps = kernel::grad_cam_plus_plus(activations.view(), gradients.view(), Parallelism::Serial)?;
/// assert_eq!(maps, array![[[1. / 6., 3. / 6.]]]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn grad_cam_plus_plus<D>(
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
        let total = sum(a.get(number)) as f32;
        let term = |gradient: f32| {
            let denominator = 2.0 + gradient * total;
            let weight = gradient / if denominator == 0.0 { f32::INFINITY } else { denominator };
            // Times zero, not zero: what is not finite has to be noticed.
            if gradient > 0.0 { weight } else { gradient * 0.0 }
        };
        sum_of(g.get(number), term) as f32
    });
    activations.rectified_maps(sums)
}
