//! Maps brought to 0..=1.

use ndarray::{Array, ArrayView, Dimension};
use rayon::prelude::*;

use super::slices::{GRAIN, all_finite, check_maps, from_vec, slice};
use crate::content::Content;
use crate::error::CamError;
use crate::parallelism::Parallelism;

/// Maps in 0..=1 and what they were before.
#[derive(Debug, Clone, PartialEq)]
pub struct Normalised<D: Dimension> {
    /// The heatmaps.
    pub maps: Array<f32, D>,
    /// What there was in each sample's map before it was normalised.
    pub contents: Vec<Content>,
}

/// Each map brought to 0..=1 by its own smallest and largest value.
///
/// ```text
/// heat[s] = (map[s] - min) / (max - min)
/// ```
///
/// There is no constant in the denominator, so maps of tiny values keep their full range. A
/// constant map has no range: it becomes zero and is reported, as is a map that was zero already.
///
/// # Shapes
/// `[N, …]` to the same.
///
/// # Errors
/// [`CamError::Shape`], and [`CamError::NonFiniteMap`] for a NaN or an infinity.
///
/// # Cost
/// Three passes over the maps, the first of which copies them.
///
/// ```
/// use gradcam_core::{Content, Parallelism, kernel};
/// use ndarray::array;
///
/// let maps = array![[[-1e-20f32, 3e-20]], [[7., 7.]]];
/// let heat = kernel::normalise(maps.view(), Parallelism::Serial)?;
/// assert_eq!(heat.maps, array![[[0., 1.]], [[0., 0.]]]);
/// assert_eq!(heat.contents, [Content::Graded, Content::Constant]);
/// # Ok::<(), gradcam_core::CamError>(())
/// ```
pub fn normalise<D: Dimension>(
    maps: ArrayView<'_, f32, D>,
    parallelism: Parallelism,
) -> Result<Normalised<D>, CamError> {
    let shape = maps.shape().to_vec();
    check_maps(&shape)?;
    let places = shape[1..].iter().product::<usize>();
    let mut values = slice(&maps.as_standard_layout()).to_vec();
    let each = |(sample, map): (usize, &mut [f32])| {
        if !all_finite(map) {
            return Err(CamError::NonFiniteMap { sample });
        }
        let (min, max) = map
            .iter()
            .fold((f32::INFINITY, f32::NEG_INFINITY), |(min, max), &value| {
                (min.min(value), max.max(value))
            });
        let content = Content::of(min, max);
        if content == Content::Graded {
            // In double precision no range underflows or overflows.
            let min = f64::from(min);
            let range = f64::from(max) - min;
            for value in map {
                *value = ((f64::from(*value) - min) / range) as f32;
            }
        } else {
            map.fill(0.0);
        }
        Ok(content)
    };
    let contents: Vec<Result<Content, CamError>> = match parallelism {
        Parallelism::Rayon => values
            .par_chunks_mut(places)
            .enumerate()
            .with_min_len(GRAIN.div_ceil(places))
            .map(each)
            .collect(),
        Parallelism::Serial => values.chunks_mut(places).enumerate().map(each).collect(),
    };
    Ok(Normalised {
        maps: from_vec(&shape, values)?,
        // The first sample's error, whichever thread came first.
        contents: contents.into_iter().collect::<Result<_, _>>()?,
    })
}
