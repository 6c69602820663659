//! The spacing of voxels: one length per axis, always given by the caller.

use crate::MetricError;

/// Checks that there is one finite, positive spacing per axis.
pub(crate) fn check_spacing(axes: usize, spacing: &[f64]) -> Result<(), MetricError> {
    if spacing.len() != axes {
        return Err(MetricError::Length {
            first: "axes",
            first_len: axes,
            second: "spacings",
            second_len: spacing.len(),
        });
    }
    match spacing.iter().position(|&step| !(step.is_finite() && step > 0.0)) {
        Some(axis) => Err(MetricError::Spacing {
            axis,
            value: spacing[axis],
        }),
        None => Ok(()),
    }
}
