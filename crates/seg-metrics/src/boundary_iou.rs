use ndarray::{Array, ArrayView, AxisDescription, Dimension, Slice, Zip};

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
/// [`MetricError::Tolerance`] if the width is NaN or negative; [`MetricError::EmptyMask`] where `empty`
/// says so.
///
/// # Cost
/// A [`distance_transform`] of each mask.
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
    if width.is_nan() || width < 0.0 {
        return Err(MetricError::Tolerance { value: width });
    }
    let (prediction, truth) = rayon::join(|| rim(prediction, width, spacing), || rim(truth, width, spacing));
    Confusion::from_masks(prediction?.view(), truth?.view())?.iou(empty)
}

fn rim<D: Dimension>(mask: ArrayView<'_, bool, D>, width: f64, spacing: &[f64]) -> Result<Array<bool, D>, MetricError> {
    // One voxel of outside all round.
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
    let mut rim = mask.to_owned();
    Zip::from(&mut rim)
        .and(distances.slice_each_axis(inner))
        .for_each(|inside, &distance| *inside &= f64::from(distance) <= width);
    Ok(rim)
}
