//! From a method's maps to heatmaps.

use ndarray::{ArrayView, Dimension};

use super::{Normalised, normalise, upsample};
use crate::error::CamError;
use crate::parallelism::Parallelism;

/// Upsampled to `size`, then normalised: the usual way from a method's maps to heatmaps.
///
/// # Errors
/// Those of [`upsample`] and [`normalise`].
pub fn heatmaps<D: Dimension>(
    maps: ArrayView<'_, f32, D>,
    size: &[usize],
    parallelism: Parallelism,
) -> Result<Normalised<D>, CamError> {
    normalise(upsample(maps, size, parallelism)?.view(), parallelism)
}
