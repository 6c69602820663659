//! Maps at another size.

use ndarray::{Array, ArrayView, Dimension};
use rayon::prelude::*;

use super::slices::{GRAIN, addressable, check_finite, check_maps, from_vec, slice};
use crate::error::CamError;
use crate::parallelism::Parallelism;

/// The maps at another size: linear along every axis of space, at half-pixel centres, values at
/// the edge held (torch's `align_corners = false`, OpenCV's `INTER_LINEAR`).
///
/// # Shapes
/// `[N, H, W]` with a `size` of `[H, W]`; any number of axes in place of `H, W` will do.
///
/// # Errors
/// [`CamError::Shape`], [`CamError::Size`], and [`CamError::NonFiniteMap`] for a NaN or an infinity.
///
/// # Cost
/// One pass for each axis, the last first, since then the arrays are still small.
///
/// ```
/// use gradcam_core::{Parallelism, kernel};
/// use ndarray::array;
///
/// // Half-pixel centres: the new places lie a quarter of an old one inside and outside of the old centres.
/// let maps = kernel::upsample(array![[[0f32, 4.]]].view(), &[1, 4], Parallelism::Serial)?;
/// assert_eq!(maps, array![[[0., 1., 3., 4.]]]);
/// # Ok::<(), gradcam_core::CamError>(())
/// ```
pub fn upsample<D: Dimension>(
    maps: ArrayView<'_, f32, D>,
    size: &[usize],
    parallelism: Parallelism,
) -> Result<Array<f32, D>, CamError> {
    let mut shape = maps.shape().to_vec();
    check_maps(&shape)?;
    let wrong = CamError::Size {
        size: size.iter().map(|&extent| extent as i64).collect(),
        grid: shape[1..].iter().map(|&extent| extent as i64).collect(),
    };
    if size.len() != shape.len() - 1 || size.contains(&0) {
        return Err(wrong);
    }
    let mut values = slice(&maps.as_standard_layout()).to_vec();
    check_finite(&values, values.len() / shape[0])?;
    for axis in (1..shape.len()).rev() {
        let length = size[axis - 1];
        if length != shape[axis] {
            let from = std::mem::replace(&mut shape[axis], length);
            if !addressable(&shape) {
                return Err(wrong);
            }
            let inner = shape[axis + 1..].iter().product();
            values = resize_axis(&values, from, length, inner, parallelism);
        }
    }
    // Between values of opposite sign near the largest that f32 holds.
    check_finite(&values, values.len() / shape[0])?;
    from_vec(&shape, values)
}

/// Linear interpolation along one axis: `[outer, from, inner]` to `[outer, to, inner]`.
fn resize_axis(values: &[f32], from: usize, to: usize, inner: usize, parallelism: Parallelism) -> Vec<f32> {
    // For each new place the old one before it, the one after it, and how far it is between them.
    let scale = from as f64 / to as f64;
    let sources: Vec<(usize, usize, f32)> = (0..to)
        .map(|place| {
            let source = ((place as f64 + 0.5) * scale - 0.5).max(0.0);
            let before = (source as usize).min(from - 1);
            (before, (before + 1).min(from - 1), (source - before as f64) as f32)
        })
        .collect();
    // Written so that equal neighbours give that value exactly.
    let between = |a: f32, b: f32, t: f32| a + (b - a) * t;
    let block = |(values, out): (&[f32], &mut [f32])| {
        if inner == 1 {
            for (out, &(before, after, t)) in out.iter_mut().zip(&sources) {
                *out = between(values[before], values[after], t);
            }
        } else {
            for (out, &(before, after, t)) in out.chunks_exact_mut(inner).zip(&sources) {
                let before = &values[before * inner..][..inner];
                let after = &values[after * inner..][..inner];
                for ((out, &a), &b) in out.iter_mut().zip(before).zip(after) {
                    *out = between(a, b, t);
                }
            }
        }
    };
    let mut out = vec![0f32; values.len() / from * to];
    match parallelism {
        Parallelism::Rayon => values
            .par_chunks(from * inner)
            .zip(out.par_chunks_mut(to * inner))
            .with_min_len(GRAIN.div_ceil(to * inner))
            .for_each(block),
        Parallelism::Serial => values
            .chunks(from * inner)
            .zip(out.chunks_mut(to * inner))
            .for_each(block),
    }
    out
}
