//! The spacing of voxels: one length per axis, always given by the caller.

use crate::MetricError;

/// Spacings whose squares, times those of any number of voxels, are far inside the range of f32.
const RANGE: std::ops::RangeInclusive<f64> = 1e-12..=1e12;

/// Checks that there is one spacing per axis, neither 0 nor out of range.
pub(crate) fn check_spacing(axes: usize, spacing: &[f64]) -> Result<(), MetricError> {
    if spacing.len() != axes {
        return Err(MetricError::Length {
            first: "axes",
            first_len: axes,
            second: "spacings",
            second_len: spacing.len(),
        });
    }
    match spacing.iter().position(|step| !RANGE.contains(step)) {
        Some(axis) => Err(MetricError::Spacing {
            axis,
            value: spacing[axis],
        }),
        None => Ok(()),
    }
}
