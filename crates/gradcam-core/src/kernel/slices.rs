//! Arrays as slices in row-major layout, and back.

use ndarray::{Array, CowArray, Dimension, IxDyn};

use crate::error::CamError;

/// Values that make a piece of work worth handing to another thread.
pub(super) const GRAIN: usize = 1 << 14;

/// The values of an array in row-major layout.
pub(super) fn slice<'v, D: Dimension>(array: &'v CowArray<'_, f32, D>) -> &'v [f32] {
    array.as_slice().expect("an array in standard layout is one slice")
}

pub(super) fn from_vec<D: Dimension>(shape: &[usize], values: Vec<f32>) -> Result<Array<f32, D>, CamError> {
    let wrong = |_| CamError::Shape {
        shape: shape.to_vec(),
        expected: "one value for each place",
    };
    Array::from_shape_vec(IxDyn(shape), values)
        .map_err(wrong)?
        .into_dimensionality()
        .map_err(wrong)
}

/// Whether there are addresses for an array of this shape, and for a few numbers beside each of its values.
pub(crate) fn addressable(shape: &[usize]) -> bool {
    let bytes = shape
        .iter()
        .try_fold(32usize, |bytes, &extent| bytes.checked_mul(extent));
    bytes.is_some_and(|bytes| isize::try_from(bytes).is_ok())
}

/// Whether this is the shape of maps: samples, then space.
pub(super) fn check_maps(shape: &[usize]) -> Result<(), CamError> {
    if shape.len() < 2 || shape.contains(&0) {
        return Err(CamError::Shape {
            shape: shape.to_vec(),
            expected: "[N, spatial axes]",
        });
    }
    Ok(())
}

pub(super) fn all_finite(values: &[f32]) -> bool {
    values.iter().fold(true, |finite, value| finite & value.is_finite())
}

/// Names the first sample whose map, of so many places, holds a NaN or an infinity.
pub(super) fn check_finite(values: &[f32], places: usize) -> Result<(), CamError> {
    match values.chunks_exact(places).position(|map| !all_finite(map)) {
        Some(sample) => Err(CamError::NonFiniteMap { sample }),
        None => Ok(()),
    }
}
