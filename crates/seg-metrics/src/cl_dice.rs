use ndarray::{ArrayView, AxisDescription, Dimension, Slice};

use crate::bounding_box::{bounding_box, union};
use crate::empty_masks::OVERLAP;
use crate::shape::check_shapes;
use crate::{Confusion, EmptyMasks, MetricError, skeleton};

/// Centreline Dice (clDice): whether the lines along the middle of two masks run inside the other mask, for
/// vessels and other things that must not be interrupted.
///
/// With `S` the [`skeleton`] of a mask: precision `|S(P) ∩ T| / |S(P)|`, sensitivity `|S(T) ∩ P| / |S(T)|`, and
/// their harmonic mean. Shit et al., "clDice – a Novel Topology-Preserving Loss Function for Tubular Structure
/// Segmentation", 2021, [arXiv:2003.07311](https://arxiv.org/abs/2003.07311).
///
/// # Shapes
/// 2-D or 3-D, the same for both.
///
/// # Errors
/// [`MetricError::Shape`], [`MetricError::Axes`]; [`MetricError::EmptyMask`] where `empty` says so.
///
/// # Cost
/// The [`skeleton`]s of both, in the box around the two.
///
/// ```
/// use ndarray::Array2;
/// use seg_metrics::{EmptyMasks, cl_dice};
///
/// let vessel = |width: usize| Array2::from_shape_fn((9, 30), |(y, x)| y.abs_diff(4) <= width && (4..26).contains(&x));
/// let (thick, thin) = (vessel(2), vessel(1));
/// assert_eq!(cl_dice(thick.view(), thin.view(), EmptyMasks::default())?, 1.0);
/// # Ok::<(), seg_metrics::MetricError>(())
/// ```
pub fn cl_dice<D: Dimension>(
    prediction: ArrayView<'_, bool, D>,
    truth: ArrayView<'_, bool, D>,
    empty: EmptyMasks,
) -> Result<f64, MetricError> {
    check_shapes(&prediction, &truth)?;
    let (around_prediction, around_truth) = (bounding_box(prediction.view()), bounding_box(truth.view()));
    let around = union(around_prediction, around_truth).unwrap_or_else(|| vec![0..0; truth.ndim()]);
    let within = |axis: AxisDescription| Slice::from(around[axis.axis.index()].clone());
    let (prediction, truth) = (prediction.slice_each_axis(within), truth.slice_each_axis(within));
    let (predicted_line, true_line) = rayon::join(|| skeleton(prediction.view()), || skeleton(truth.view()));
    let precision = Confusion::from_masks(predicted_line?.view(), truth)?;
    let sensitivity = Confusion::from_masks(true_line?.view(), prediction)?;
    let length = |line: Confusion| line.true_positives + line.false_positives;
    if let Some(score) = empty.score(length(precision) == 0, length(sensitivity) == 0, OVERLAP) {
        return score;
    }
    let share = |line: Confusion| line.true_positives as f64 / length(line) as f64;
    let (precision, sensitivity) = (share(precision), share(sensitivity));
    let sum = precision + sensitivity;
    Ok(if sum > 0.0 {
        2.0 * precision * sensitivity / sum
    } else {
        0.0
    })
}
