//! The shapes of two masks that are compared, which must be the same.

use ndarray::{ArrayView, Dimension};

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
