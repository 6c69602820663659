//! The first principal component of feature maps, on tensors.

use rayon::prelude::*;
use tch::{Kind, Tensor};

use crate::error::CamError;
use crate::kernel;

/// The first principal component over the channels of each sample, `[N, C, P]` to `[N, P]`, with
/// the sign of [`kernel::principal_component`], which finds it on the CPU wherever the terms are.
///
/// # Errors
/// [`CamError::NonFiniteMap`] for a NaN or an infinity.
pub(crate) fn principal_component(terms: &Tensor) -> Result<Tensor, CamError> {
    let (batch, channels, places) = terms.size3()?;
    let values: Vec<f32> = terms.f_to_kind(Kind::Float)?.f_contiguous()?.f_view([-1])?.try_into()?;
    let maps: Vec<Option<Vec<f32>>> = values
        .par_chunks((channels * places) as usize)
        .map(|terms| kernel::component(terms, places as usize))
        .collect();
    let maps = maps
        .into_iter()
        .enumerate()
        .map(|(sample, map)| map.ok_or(CamError::NonFiniteMap { sample }))
        .collect::<Result<Vec<_>, _>>()?;
    Ok(Tensor::f_from_slice(&maps.concat())?
        .f_view([batch, places])?
        .f_to_device(terms.device())?)
}
