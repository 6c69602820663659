use std::ops::Range;

use ndarray::{Array, ArrayView, Axis, AxisDescription, Dimension, Slice, Zip};

use crate::shape::check_shapes;
use crate::spacing::check_spacing;
use crate::{Confusion, EmptyMasks, MetricError, distance_transform};

/// Boundary IoU: the intersection over union of the inner rims of two masks.
///
/// The rim of a mask holds those of its voxels whose centre is at most `width` from the nearest centre of
/// a voxel outside it; beyond the image everything is outside.
///
/// ```text
/// |rim(P) ∩ rim(T)| / |rim(P) ∪ rim(T)|
/// ```
///
/// Cheng, Girshick, Dollár, Berg & Kirillov, "Boundary IoU: Improving Object-Centric Image Segmentation
/// Evaluation", 2021, [arXiv:2103.16562](https://arxiv.org/abs/2103.16562). Their program measures the width
/// in steps of a 3×3 erosion; here it is the Euclidean distance of their text, with the spacing.
///
/// # Shapes
/// Any, the same for both.
///
/// # Units
/// `width` and `spacing` in the same, such as millimetres; the paper takes 2 % of the image's diagonal.
///
/// # Errors
/// [`MetricError::Shape`]; [`MetricError::Length`] and [`MetricError::Spacing`] for a wrong spacing;
/// [`MetricError::Width`] if the width is NaN or less than the smallest spacing, where no rim holds a voxel;
/// [`MetricError::EmptyMask`] where `empty` says so.
///
/// # Cost
/// A [`distance_transform`] of the box around each mask.
///
/// ```
/// use ndarray::Array2;
/// use seg_metrics::{EmptyMasks, boundary_iou};
///
/// let square = |from: usize, to: usize| {
///     Array2::from_shape_fn((20, 20), |(y, x)| (from..to).contains(&y) && (from..to).contains(&x))
/// };
/// let (prediction, truth) = (square(5, 15), square(4, 16));
/// let score = boundary_iou(prediction.view(), truth.view(), 1.0, &[1.0, 1.0], EmptyMasks::default())?;
/// assert_eq!(score, 0.0); // Two rims of one voxel that nowhere meet.
/// let score = boundary_iou(prediction.view(), truth.view(), 2.0, &[1.0, 1.0], EmptyMasks::default())?;
/// assert_eq!(score, 36.0 / (64.0 + 80.0 - 36.0));
/// # Ok::<(), seg_metrics::MetricError>(())
/// ```
pub fn boundary_iou<D: Dimension>(
    prediction: ArrayView<'_, bool, D>,
    truth: ArrayView<'_, bool, D>,
    width: f64,
    spacing: &[f64],
    empty: EmptyMasks,
) -> Result<f64, MetricError> {
    check_shapes(&prediction, &truth)?;
    check_spacing(prediction.ndim(), spacing)?;
    // A narrower rim is empty whatever the mask, and two empty rims would pass for two empty masks.
    let least = spacing.iter().copied().fold(f64::INFINITY, f64::min);
    if width.is_nan() || width < least {
        return Err(MetricError::Width { value: width, least });
    }
    let (prediction, truth) = rayon::join(|| rim(prediction, width, spacing), || rim(truth, width, spacing));
    Confusion::from_masks(prediction?.view(), truth?.view())?.iou(empty)
}

fn rim<D: Dimension>(mask: ArrayView<'_, bool, D>, width: f64, spacing: &[f64]) -> Result<Array<bool, D>, MetricError> {
    let mut rim = Array::from_elem(mask.raw_dim(), false);
    let Some(bounds) = bounds(mask.view()) else {
        return Ok(rim);
    };
    // Of what is outside, the nearest is never further than one voxel from the box around the mask.
    let within = |axis: AxisDescription| Slice::from(bounds[axis.axis.index()].clone());
    let mask = mask.slice_each_axis(within);
    let mut padded = mask.raw_dim();
    for axis in 0..padded.ndim() {
        padded[axis] += 2;
    }
    let inner = |_: AxisDescription| Slice::new(1, Some(-1), 1);
    let mut outside = Array::from_elem(padded, true);
    Zip::from(outside.slice_each_axis_mut(inner))
        .and(&mask)
        .for_each(|outside, &inside| *outside = !inside);
    let distances = distance_transform(outside.view(), spacing)?;
    // As far as f32 can tell.
    let width = width * (1.0 + 4.0 * f64::from(f32::EPSILON));
    Zip::from(rim.slice_each_axis_mut(within))
        .and(&mask)
        .and(distances.slice_each_axis(inner))
        .for_each(|rim, &inside, &distance| *rim = inside && f64::from(distance) <= width);
    Ok(rim)
}

/// The box around a mask, a range for each axis; None if the mask is empty.
fn bounds<D: Dimension>(mut mask: ArrayView<'_, bool, D>) -> Option<Vec<Range<usize>>> {
    (0..mask.ndim())
        .map(|axis| {
            let filled = |&at: &usize| {
                mask.slice_axis(Axis(axis), Slice::from(at..at + 1))
                    .iter()
                    .any(|&inside| inside)
            };
            let all = 0..mask.len_of(Axis(axis));
            let range = all.clone().find(filled)?..all.rev().find(filled)? + 1;
            mask.slice_axis_inplace(Axis(axis), Slice::from(range.clone()));
            Some(range)
        })
        .collect()
}
