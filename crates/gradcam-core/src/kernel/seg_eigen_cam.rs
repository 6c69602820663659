//! Seg-Eigen-CAM.

use ndarray::{Array, ArrayView, Dimension, RemoveAxis};

use super::feature_maps::FeatureMaps;
use super::principal_component::components;
use crate::error::CamError;
use crate::parallelism::Parallelism;

/// Seg-Eigen-CAM on arrays: what the channels of activation times the gradient's size have most in common.
///
/// ```text
/// X[n,k,s] = |G[n,k,s]| A[n,k,s]
/// map[n,s] = max(0, first principal component of X[n] at s)
/// ```
///
/// with the sign by which the value of the component that is farthest from zero is positive. What that means is said at
/// `seg_eigen_cam` at the crate's root, which computes the same.
///
/// Chung & Ying, "Seg-Eigen-CAM: Eigen-Value-Based Visual Explanations for Semantic Segmentation Models", Applied
/// Sciences 15(13), 2025, [doi:10.3390/app15137562](https://doi.org/10.3390/app15137562).
///
/// # Shapes
/// `[N, C, H, W]` gives `[N, H, W]`; any number of axes in place of `H, W` will do.
///
/// # Errors
/// Those of [`grad_cam`](super::grad_cam()).
///
/// # Cost
/// That of [`principal_component`](super::principal_component()), and an array of the products.
///
/// ```
/// use gradcam_core::{Parallelism, kernel};
/// use ndarray::{Array4, array};
///
/// // One place stands out, and the gradient there is negative.
/// let activations = Array4::from_shape_vec((1, 1, 1, 3), vec![0., 0., 3.])?;
/// let gradients = Array4::from_elem((1, 1, 1, 3), -1.);
/// let maps = kernel::seg_eigen_cam(activations.view(), gradients.view(), Parallelism::Serial)?;
/// assert!((maps - array![[[0., 0., 2.]]]).iter().all(|difference| difference.abs() < 1e-6));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn seg_eigen_cam<D>(
    activations: ArrayView<'_, f32, D>,
    gradients: ArrayView<'_, f32, D>,
    parallelism: Parallelism,
) -> Result<Array<f32, D::Smaller>, CamError>
where
    D: Dimension + RemoveAxis,
{
    let (activations, gradients) = FeatureMaps::pair(activations, gradients)?;
    let mut maps = components(&activations, parallelism, |sample| {
        let planes = activations.sample(sample).iter().zip(gradients.sample(sample));
        planes.map(|(&a, &g)| a * g.abs()).collect::<Vec<f32>>().into()
    })?;
    for map in maps.chunks_mut(activations.places) {
        let (least, most) = map.iter().fold((0f32, 0f32), |(least, most), &value| {
            (least.min(value), most.max(value))
        });
        if -least > most {
            map.iter_mut().for_each(|value| *value = -*value);
        }
    }
    activations.rectified_maps(maps)
}
