//! Activations and gradients of a layer as every gradient method weighs them.

use tch::{Device, Kind, TchError, Tensor};

use crate::capture::AtLayer;
use crate::error::CamError;
use crate::heatmap::Maps;

/// Activations and gradients in single precision whatever the network computes in, the axes of
/// space made one: `[N, C, P]`.
pub(crate) struct Planes {
    pub(crate) activations: Tensor,
    pub(crate) gradients: Tensor,
    /// `[N, H, W]` or `[N, D, H, W]`.
    grid: Vec<i64>,
}

impl AtLayer<'_> {
    pub(crate) fn planes(&self) -> Result<Planes, CamError> {
        let shape = self.spatial_shape()?;
        let flat = |tensor: &Tensor| tensor.f_to_kind(Kind::Float)?.f_flatten(2, -1);
        Ok(Planes {
            activations: flat(self.activations())?,
            gradients: flat(self.gradients())?,
            grid: [&shape[..1], &shape[2..]].concat(),
        })
    }
}

impl Planes {
    /// `max(0, sum over k of weights[n,k] A[n,k,s])` for weights `[N, C]`.
    pub(crate) fn weighted_sum(&self, weights: &Tensor) -> Result<Maps, CamError> {
        self.maps(&sum_over_channels(&self.activations, weights)?)
    }

    /// `max(0, sum over k of terms[n,k,s])`.
    pub(crate) fn sum(&self, terms: &Tensor) -> Result<Maps, CamError> {
        self.maps(&terms.f_sum_dim_intlist([1i64].as_slice(), false, Kind::Float)?)
    }

    /// What is positive of values for each place, as maps.
    pub(crate) fn maps(&self, values: &Tensor) -> Result<Maps, CamError> {
        Maps::new(&values.f_relu()?.f_view(self.grid.as_slice())?)
    }

    /// `weights[n,k] A[n,k,s]` for weights `[N, C]`.
    pub(crate) fn weighted(&self, weights: &Tensor) -> Result<Tensor, TchError> {
        self.activations.f_mul(&weights.f_unsqueeze(2)?)
    }
}

/// The sum over space, `[N, C, P]` to `[N, C]`.
pub(crate) fn sum_over_space(values: &Tensor) -> Result<Tensor, TchError> {
    values.f_sum_dim_intlist([2i64].as_slice(), false, Kind::Float)
}

/// `sum over k of weights[n,k] values[n,k,s]`, `[N, C, P]` and `[N, C]` to `[N, P]`.
///
/// On a processor sample by sample: libtorch's product of batches rounds otherwise than that of one sample, and is no
/// faster but for many samples of few values.
pub(crate) fn sum_over_channels(values: &Tensor, weights: &Tensor) -> Result<Tensor, TchError> {
    if values.device() != Device::Cpu {
        return weights.f_unsqueeze(1)?.f_bmm(values)?.f_squeeze_dim(1);
    }
    let samples = values.f_unbind(0)?.into_iter().zip(weights.f_unbind(0)?);
    let maps = samples
        .map(|(values, weights)| values.f_transpose(0, 1)?.f_mv(&weights))
        .collect::<Result<Vec<Tensor>, TchError>>()?;
    Tensor::f_stack(&maps, 0)
}
