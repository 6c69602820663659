use std::ops::Range;

use ndarray::{Array, ArrayView, AxisDescription, Dimension, Slice, Zip};

use crate::bounding_box::bounding_box;
use crate::distance_transform::transform;
use crate::shape::check_shapes;
use crate::spacing::check_spacing;
use crate::{Confusion, EmptyMasks, MetricError};

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
/// A [`distance_transform`](crate::distance_transform) of the box around each mask, one after the other: 5 bytes for
/// each voxel of a box.
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
    // As far as f32 can tell.
    let width = width * (1.0 + 4.0 * f64::from(f32::EPSILON));
    let on_rim = |inside: bool, to_outside: f32| inside && f64::from(to_outside) <= width;
    let all = truth.len() as u64;
    let (predicted, true_) = (Boxed::new(prediction), Boxed::new(truth));

    let rim = Zip::from(&predicted.mask)
        .and(inner(&predicted.to_outside(spacing)))
        .par_map_collect(|&inside, &to_outside| on_rim(inside, to_outside));
    let in_prediction = rim.iter().filter(|&&inside| inside).count() as u64;

    // The truth's rim is counted as it is found: there is one transform at a time, and one rim.
    let to_outside = true_.to_outside(spacing);
    let to_outside = inner(&to_outside);
    let add = |left: u64, right: u64| left + right;
    let in_truth = Zip::from(&true_.mask).and(&to_outside).par_fold(
        || 0,
        |count, &inside, &to_outside| count + u64::from(on_rim(inside, to_outside)),
        add,
    );
    let common = |from: &Boxed<'_, D>| {
        let (from, predicted, true_) = (from.bounds.clone(), &predicted.bounds, &true_.bounds);
        move |axis: AxisDescription| {
            let axis = axis.axis.index();
            let start = predicted[axis].start.max(true_[axis].start);
            let end = predicted[axis].end.min(true_[axis].end).max(start);
            let shift = |at: usize| at.min(from[axis].end) - from[axis].start;
            Slice::from(shift(start)..shift(end))
        }
    };
    let both = Zip::from(rim.slice_each_axis(common(&predicted)))
        .and(true_.mask.slice_each_axis(common(&true_)))
        .and(to_outside.slice_each_axis(common(&true_)))
        .par_fold(
            || 0,
            |count, &on_other, &inside, &to_outside| count + u64::from(on_other && on_rim(inside, to_outside)),
            add,
        );
    Confusion::of_sums(both, in_prediction, in_truth, all).iou(empty)
}

/// What is in the box around a mask.
struct Boxed<'a, D: Dimension> {
    bounds: Vec<Range<usize>>,
    mask: ArrayView<'a, bool, D>,
}

impl<'a, D: Dimension> Boxed<'a, D> {
    fn new(mut mask: ArrayView<'a, bool, D>) -> Self {
        let bounds = bounding_box(mask.view()).unwrap_or_else(|| vec![0..0; mask.ndim()]);
        mask.slice_each_axis_inplace(|axis| Slice::from(bounds[axis.axis.index()].clone()));
        Boxed { bounds, mask }
    }

    /// The distance of each voxel to the nearest outside, in a box one voxel wider all round: of what is outside,
    /// the nearest is never further from the box than that.
    fn to_outside(&self, spacing: &[f64]) -> Array<f32, D> {
        let mut wider = self.mask.raw_dim();
        for axis in 0..wider.ndim() {
            wider[axis] += 2;
        }
        let mut distances = Array::zeros(wider);
        Zip::from(distances.slice_each_axis_mut(|_| Slice::new(1, Some(-1), 1)))
            .and(&self.mask)
            .par_for_each(|distance, &inside| *distance = if inside { f32::INFINITY } else { 0.0 });
        transform(&mut distances, spacing);
        distances
    }
}

/// Without one voxel all round.
fn inner<D: Dimension>(wider: &Array<f32, D>) -> ArrayView<'_, f32, D> {
    wider.slice_each_axis(|_| Slice::new(1, Some(-1), 1))
}
