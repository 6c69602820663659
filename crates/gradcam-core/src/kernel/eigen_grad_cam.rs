//! EigenGrad-CAM.

use ndarray::{Array, ArrayView, Dimension, RemoveAxis};

use super::feature_maps::FeatureMaps;
use super::principal_component::components;
use crate::error::CamError;
use crate::parallelism::Parallelism;

/// EigenGrad-CAM on arrays: what the channels of activation times gradient have most in common.
///
/// ```text
/// X[n,k,s] = G[n,k,s] A[n,k,s]
/// map[n,s] = max(0, first principal component of X[n] at s)
/// ```
///
/// pytorch-grad-cam's `EigenGradCAM`: Eigen-CAM (Muhammad and Yeasin, 2020,
/// [arXiv:2008.00299](https://arxiv.org/abs/2008.00299)) of the weighted activations. The sign is
/// that of [`principal_component`](super::principal_component()): high is evidence for the target.
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
/// // Two channels that agree about where: (-1, 0, 1) and twice that, around their means.
/// let activations = Array4::from_shape_vec((1, 2, 1, 3), vec![0., 1., 2., 0., 2., 4.])?;
/// let gradients = Array4::ones((1, 2, 1, 3));
/// let maps = kernel::eigen_grad_cam(activations.view(), gradients.view(), Parallelism::Serial)?;
/// let expected = array![[[0., 0., 5f32.sqrt()]]];
/// assert!((maps - expected).iter().all(|difference| difference.abs() < 1e-6));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn eigen_grad_cam<D>(
    activations: ArrayView<'_, f32, D>,
    gradients: ArrayView<'_, f32, D>,
    parallelism: Parallelism,
) -> Result<Array<f32, D::Smaller>, CamError>
where
    D: Dimension + RemoveAxis,
{
    let (activations, gradients) = FeatureMaps::pair(activations, gradients)?;
    let maps = components(&activations, parallelism, |sample| {
        let planes = activations.sample(sample).iter().zip(gradients.sample(sample));
        planes.map(|(&a, &g)| a * g).collect::<Vec<f32>>().into()
    })?;
    activations.rectified_maps(maps)
}
