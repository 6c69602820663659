//! FEM, the feature explanation method.

use tch::{Kind, Tensor};

use crate::error::CamError;
use crate::heatmap::Maps;
use crate::weighted_cam::{channel_sum, feature_maps};

/// FEM: each channel counts by the share of its places that stand out from it.
///
/// ```text
/// w[n,k]   = share of the places s with A[n,k,s] > mean + sigmas * standard deviation of A[n,k]
/// map[n,s] = max(0, sum over k of w[n,k] A[n,k,s])
/// ```
///
/// No target is asked for: the map shows what the layer found, not what speaks for a class. The
/// authors take two `sigmas`.
///
/// Fuad et al., "Features Understanding in 3D CNNs for Actions Recognition in Video", IPTA 2020,
/// [doi:10.1109/IPTA50016.2020.9286629](https://doi.org/10.1109/IPTA50016.2020.9286629).
///
/// # Shapes
/// `[N, C, H, W]` gives `[N, H, W]`, `[N, C, D, H, W]` gives `[N, D, H, W]`.
///
/// # Errors
/// [`CamError::Shape`], [`CamError::Sigmas`] for a number that is not finite, and
/// [`CamError::NonFiniteMap`].
///
/// # Cost
/// Some reads of the activations, in double precision. On CPU arrays
/// [`kernel::fem`](crate::kernel::fem) computes the same.
///
/// ```
/// use gradcam_core::fem;
/// use tch::Tensor;
///
/// // In the first channel one place in eight stands out, in the second none.
/// let activations = Tensor::from_slice(&[0f32, 0., 0., 0., 0., 0., 0., 8., 1., 0., 1., 0., 1., 0., 1., 0.]);
/// let maps = fem(&activations.view([1, 2, 2, 4]), 2.0)?;
/// assert_eq!(Vec::<f32>::try_from(maps.tensor().view(-1))?, [0., 0., 0., 0., 0., 0., 0., 1.]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn fem(activations: &Tensor, sigmas: f64) -> Result<Maps, CamError> {
    if !sigmas.is_finite() {
        return Err(CamError::Sigmas { sigmas });
    }
    feature_maps(activations)?;
    let _no_grad = tch::no_grad_guard();
    // In double precision a channel of one value everywhere has exactly that mean.
    let flat = activations.f_flatten(2, -1)?.f_to_kind(Kind::Double)?;
    let mean = flat.f_mean_dim([2i64].as_slice(), true, None)?;
    let deviation = flat.f_std_dim([2i64].as_slice(), false, true)?;
    let bound = mean.f_add(&deviation.f_mul_scalar(sigmas)?)?;
    let weights = flat
        .f_gt_tensor(&bound)?
        .f_mean_dim([2i64].as_slice(), false, Kind::Float)?;
    Maps::new(&channel_sum(activations, &weights)?.f_relu()?)
}
