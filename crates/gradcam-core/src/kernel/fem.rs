//! FEM, the feature explanation method.

use ndarray::{Array, ArrayView, Dimension, RemoveAxis};

use super::channel_sum::weighted_sum;
use super::feature_maps::FeatureMaps;
use crate::error::CamError;
use crate::parallelism::Parallelism;

/// FEM on arrays: each channel counts by the share of its places that stand out from it.
///
/// ```text
/// w[n,k]   = share of the places s with A[n,k,s] > mean + sigmas * standard deviation of A[n,k]
/// map[n,s] = max(0, sum over k of w[n,k] A[n,k,s])
/// ```
///
/// Fuad et al., "Features Understanding in 3D CNNs for Actions Recognition in Video", IPTA 2020,
/// [doi:10.1109/IPTA50016.2020.9286629](https://doi.org/10.1109/IPTA50016.2020.9286629), with two
/// `sigmas`.
///
/// # Shapes
/// `[N, C, H, W]` gives `[N, H, W]`; any number of axes in place of `H, W` will do.
///
/// # Errors
/// [`CamError::Shape`], [`CamError::Sigmas`] for a number that is not finite, and
/// [`CamError::NonFiniteMap`].
///
/// # Cost
/// One read of the activations from memory, a second for maps larger than 64×64; three more of each channel from the
/// cache.
///
/// ```
/// use gradcam_core::{Parallelism, kernel};
/// use ndarray::{Array4, array};
///
/// let activations = Array4::from_shape_vec((1, 1, 1, 6), vec![0., 0., 0., 0., 0., 6.])?;
/// let maps = kernel::fem(activations.view(), 2.0, Parallelism::Serial)?;
/// assert_eq!(maps, array![[[0., 0., 0., 0., 0., 1.]]]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn fem<D>(
    activations: ArrayView<'_, f32, D>,
    sigmas: f64,
    parallelism: Parallelism,
) -> Result<Array<f32, D::Smaller>, CamError>
where
    D: Dimension + RemoveAxis,
{
    if !sigmas.is_finite() {
        return Err(CamError::Sigmas { sigmas });
    }
    let activations = FeatureMaps::new(activations)?;
    let planes = activations.planes();
    let sums = weighted_sum(&activations, parallelism, |number| {
        let plane = planes.get(number);
        let places = plane.len() as f64;
        let mean = plane.iter().copied().map(f64::from).sum::<f64>() / places;
        let squares = plane
            .iter()
            .map(|&value| (f64::from(value) - mean).powi(2))
            .sum::<f64>();
        let bound = mean + sigmas * (squares / places).sqrt();
        (plane.iter().filter(|&&value| f64::from(value) > bound).count() as f64 / places) as f32
    });
    activations.rectified_maps(sums)
}
