//! The checks of an image that a heatmap is refined against.

use ndarray::{Array, ArrayView, Dimension};

use crate::SegError;
use crate::threshold::with_checked_values;

/// Whether their shapes are the same, the heatmap's values in 0..=1 and the image's finite.
pub(crate) fn check<D: Dimension>(
    heatmap: &ArrayView<'_, f32, D>,
    image: &ArrayView<'_, f32, D>,
) -> Result<(), SegError> {
    if heatmap.shape() != image.shape() {
        return Err(SegError::Shapes {
            left: heatmap.shape().to_vec(),
            right: image.shape().to_vec(),
        });
    }
    with_checked_values(heatmap, |_, _, _| ())?;
    check_image(image)
}

/// Whether an image has pixels, all of them finite.
pub(crate) fn check_image<D: Dimension>(image: &ArrayView<'_, f32, D>) -> Result<(), SegError> {
    if image.is_empty() {
        return Err(SegError::Empty {
            shape: image.shape().to_vec(),
        });
    }
    match image.iter().find(|value| !value.is_finite()) {
        Some(&value) => Err(SegError::Image { value }),
        None => Ok(()),
    }
}

/// The same values in f64 and in C order.
pub(crate) fn in_f64<D: Dimension>(array: &ArrayView<'_, f32, D>) -> Array<f64, D> {
    let mut copy = Array::zeros(array.raw_dim());
    copy.zip_mut_with(array, |copy: &mut f64, &value| *copy = f64::from(value));
    copy
}
