//! Eigen-CAM.

use ndarray::{Array, ArrayView, Dimension, RemoveAxis};

use super::principal_component::principal_component;
use crate::error::CamError;
use crate::parallelism::Parallelism;

/// Eigen-CAM on arrays: what the channels have most in common.
///
/// ```text
/// map[n,s] = max(0, first principal component of A[n] at s)
/// ```
///
/// Muhammad & Yeasin, "Eigen-CAM: Class Activation Map using Principal Components", 2020,
/// [arXiv:2008.00299](https://arxiv.org/abs/2008.00299). The channels' means are taken away first,
/// as pytorch-grad-cam does; the sign is that of
/// [`principal_component`](super::principal_component()).
///
/// # Shapes
/// `[N, C, H, W]` gives `[N, H, W]`; any number of axes in place of `H, W` will do.
///
/// # Errors
/// [`CamError::Shape`], and [`CamError::NonFiniteMap`] for a NaN or an infinity.
///
/// # Cost
/// That of [`principal_component`](super::principal_component()).
///
/// ```
/// use gradcam_core::{Parallelism, kernel};
/// use ndarray::Array4;
///
/// let activations = Array4::from_shape_vec((1, 2, 1, 3), vec![0., 1., 2., 0., 2., 4.])?;
/// let maps = kernel::eigen_cam(activations.view(), Parallelism::Serial)?;
/// let expected = [0., 0., 5f32.sqrt()];
/// assert!(maps.iter().zip(expected).all(|(found, expected)| (found - expected).abs() < 1e-6));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn eigen_cam<D>(
    activations: ArrayView<'_, f32, D>,
    parallelism: Parallelism,
) -> Result<Array<f32, D::Smaller>, CamError>
where
    D: Dimension + RemoveAxis,
{
    let mut maps = principal_component(activations, parallelism)?;
    maps.mapv_inplace(|value| value.max(0.0));
    Ok(maps)
}
