//! Eigen-CAM.

use tch::{Kind, Tensor};

use crate::error::CamError;
use crate::heatmap::Maps;
use crate::principal_component::principal_component;
use crate::weighted_cam::feature_maps;

/// Eigen-CAM: what the channels have most in common.
///
/// ```text
/// Y[n,k,s] = A[n,k,s] - mean over s of A[n,k,s]
/// map[n,s] = max(0, sum over k of v[n,k] Y[n,k,s])
/// ```
///
/// where `v[n]` is the unit vector by which the sum has the largest square over space. No target is
/// asked for: the map shows what the layer found, not what speaks for a class.
///
/// The paper leaves the means in; pytorch-grad-cam takes them away, and so is it here. The sign of
/// `v`, arbitrary there, is the one by which the map goes along with the sum of the channels:
///
/// ```text
/// sum over s of map[n,s] sum over k of A[n,k,s] ≥ 0     before the map is cut off
/// ```
///
/// so that high is where the layer is active.
///
/// Muhammad & Yeasin, "Eigen-CAM: Class Activation Map using Principal Components", 2020,
/// [arXiv:2008.00299](https://arxiv.org/abs/2008.00299).
///
/// # Shapes
/// `[N, C, H, W]` gives `[N, H, W]`, `[N, C, D, H, W]` gives `[N, D, H, W]`.
///
/// # Errors
/// [`CamError::Shape`], and [`CamError::NonFiniteMap`] for a NaN or an infinity.
///
/// # Cost
/// Some dozens of reads of the activations, by Lanczos iteration on the CPU; never a singular value
/// decomposition. On arrays [`kernel::eigen_cam`](crate::kernel::eigen_cam()) computes the same.
///
/// ```
/// use gradcam_core::eigen_cam;
/// use tch::Tensor;
///
/// let activations = Tensor::from_slice(&[0f32, 1., 2., 0., 2., 4.]).view([1, 2, 1, 3]);
/// let maps = eigen_cam(&activations)?;
/// let values = Vec::<f32>::try_from(maps.tensor().view(-1))?;
/// let expected = [0., 0., 5f32.sqrt()];
/// assert!(values.iter().zip(expected).all(|(found, expected)| (found - expected).abs() < 1e-6));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn eigen_cam(activations: &Tensor) -> Result<Maps, CamError> {
    let shape = feature_maps(activations)?;
    let _no_grad = tch::no_grad_guard();
    let planes = activations.f_flatten(2, -1)?;
    let grid = [&shape[..1], &shape[2..]].concat();
    Maps::new(&principal_component(&planes)?.f_relu()?.f_view(grid.as_slice())?)
}

/// Names the first sample with a value that is not finite.
pub(crate) fn finite_samples(planes: &Tensor) -> Result<(), CamError> {
    let sums = planes
        .f_to_kind(Kind::Double)?
        .f_sum_dim_intlist([1i64, 2].as_slice(), false, Kind::Double)?;
    match Vec::<f64>::try_from(sums)?.iter().position(|sum| !sum.is_finite()) {
        Some(sample) => Err(CamError::NonFiniteMap { sample }),
        None => Ok(()),
    }
}
