//! From a method's maps to heatmaps.

use ndarray::{ArrayView, Dimension};

use super::{Normalised, normalise, upsample};
use crate::error::CamError;
use crate::parallelism::Parallelism;

/// Upsampled to `size`, then normalised: the usual way from a method's maps to heatmaps.
///
/// # Shapes
/// `[N, …]` to `[N, *size]`.
///
/// # Errors
/// Those of [`upsample`] and [`normalise`].
///
/// # Cost
/// That of [`upsample`], and three passes over its result.
///
/// ```
/// use gradcam_core::{Content, Parallelism, kernel};
/// use ndarray::array;
///
/// let maps = array![[[1f32, 3.]], [[0., 0.]]];
/// let heat = kernel::heatmaps(maps.view(), &[1, 4], Parallelism::Serial)?;
/// assert_eq!(heat.maps, array![[[0., 0.25, 0.75, 1.]], [[0., 0., 0., 0.]]]);
/// assert_eq!(heat.contents, [Content::Graded, Content::Zero]);
/// # Ok::<(), gradcam_core::CamError>(())
/// ```
pub fn heatmaps<D: Dimension>(
    maps: ArrayView<'_, f32, D>,
    size: &[usize],
    parallelism: Parallelism,
) -> Result<Normalised<D>, CamError> {
    normalise(upsample(maps, size, parallelism)?.view(), parallelism)
}
