//! The shapes of masks: the same for two that are compared, of two or three axes for some measures.

use ndarray::{ArrayView, ArrayView3, Axis, Dimension, Ix3};

use crate::MetricError;

/// Checks that a prediction has its truth's shape.
pub(crate) fn check_shapes<A, D: Dimension>(
    prediction: &ArrayView<'_, A, D>,
    truth: &ArrayView<'_, A, D>,
) -> Result<(), MetricError> {
    if prediction.shape() == truth.shape() {
        return Ok(());
    }
    Err(MetricError::Shape {
        prediction: prediction.shape().to_vec(),
        truth: truth.shape().to_vec(),
    })
}

/// A mask of two or three axes as one of three; a mask of two has one plane.
pub(crate) fn volume<D: Dimension>(mask: ArrayView<'_, bool, D>) -> Result<ArrayView3<'_, bool>, MetricError> {
    let axes = mask.ndim();
    let mut mask = mask.into_dyn();
    if axes == 2 {
        mask.insert_axis_inplace(Axis(0));
    }
    mask.into_dimensionality::<Ix3>()
        .map_err(|_| MetricError::Axes { found: axes })
}
