//! The sum of a layer's channels under given weights.

use tch::{Kind, Tensor};

use crate::error::CamError;
use crate::heatmap::Maps;
use crate::planes::sum_over_channels;

/// The sum of a layer's channels under given weights, negative values cut off: for weights of one's
/// own making. Score-CAM, Ablation-CAM and Grad-CAM are this with weights of theirs.
///
/// ```text
/// map[n,s] = max(0, sum over k of w[n,k] A[n,k,s])
/// ```
///
/// # Shapes
/// `[N, C, H, W]` and weights `[N, C]` give `[N, H, W]`; volumes alike.
///
/// # Errors
/// [`CamError::Shape`], [`CamError::WeightShape`], and [`CamError::NonFiniteMap`] for a NaN or an
/// infinity.
///
/// # Cost
/// One read of the activations. On CPU arrays [`kernel::weighted_cam`](crate::kernel::weighted_cam)
/// computes the same.
///
/// ```
/// use gradcam_core::weighted_cam;
/// use tch::Tensor;
///
/// let activations = Tensor::from_slice(&[1f32, 2., 3., 5.]).view([1, 2, 1, 2]);
/// let maps = weighted_cam(&activations, &Tensor::from_slice(&[2f32, -1.]).view([1, 2]))?;
/// assert_eq!(Vec::<f32>::try_from(maps.tensor().view(-1))?, [0., 0.]);
/// let maps = weighted_cam(&activations, &Tensor::from_slice(&[4f32, -1.]).view([1, 2]))?;
/// assert_eq!(Vec::<f32>::try_from(maps.tensor().view(-1))?, [1., 3.]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn weighted_cam(activations: &Tensor, weights: &Tensor) -> Result<Maps, CamError> {
    let _no_grad = tch::no_grad_guard();
    Maps::new(&channel_sum(activations, weights)?.f_relu()?)
}

/// The sum of channels under weights `[N, C]`, negative values and all, f32.
pub(crate) fn channel_sum(activations: &Tensor, weights: &Tensor) -> Result<Tensor, CamError> {
    let shape = weighted(activations, weights)?;
    let grid = [&shape[..1], &shape[2..]].concat();
    let planes = activations.f_to_kind(Kind::Float)?.f_flatten(2, -1)?;
    Ok(sum_over_channels(&planes, &weights.f_to_kind(Kind::Float)?)?.f_view(grid.as_slice())?)
}

/// The shape of feature maps that there is a weight for each channel of each sample of.
pub(crate) fn weighted(activations: &Tensor, weights: &Tensor) -> Result<Vec<i64>, CamError> {
    let shape = feature_maps(activations)?;
    if weights.size() == shape[..2] {
        return Ok(shape);
    }
    let sizes = |sizes: &[i64]| sizes.iter().map(|&size| size as usize).collect();
    Err(CamError::WeightShape {
        weights: sizes(&weights.size()),
        expected: sizes(&shape[..2]),
    })
}

/// The shape of feature maps that no layer's name goes with.
pub(crate) fn feature_maps(activations: &Tensor) -> Result<Vec<i64>, CamError> {
    let shape = activations.size();
    if matches!(shape.len(), 4 | 5) && !shape.contains(&0) {
        Ok(shape)
    } else {
        Err(CamError::Shape {
            shape: shape.iter().map(|&extent| extent as usize).collect(),
            expected: "[N, C, H, W] or [N, C, D, H, W]",
        })
    }
}
