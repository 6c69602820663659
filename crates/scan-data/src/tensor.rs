use tch::Tensor;

use crate::{BatchSpec, DataError, Scan, batch};

/// [`batch`] as a libtorch tensor on the CPU.
///
/// # Shapes
/// f32 `[indices, channels, height, width]`.
///
/// # Errors
/// As [`batch`], and libtorch's own.
pub fn batch_tensor(scans: &[Scan], indices: &[usize], spec: &BatchSpec) -> Result<Tensor, DataError> {
    let images = batch(scans, indices, spec)?;
    let shape: Vec<i64> = images.shape().iter().map(|&n| n as i64).collect();
    // The array was made in row-major order, so this moves it.
    let (values, _) = images.into_raw_vec_and_offset();
    Ok(Tensor::f_from_slice(&values)?.f_view(shape.as_slice())?)
}
