//! Masks from integer images, which come as 0/1, as 0/255 and as numbers of classes.

use ndarray::{Array, ArrayView, Dimension};

use crate::MetricError;

/// The mask of an integer image of zeros and ones.
///
/// Any other value is an error, so that an image of 0 and 255 or of several classes is never taken for
/// something it is not; [`mask_above`] is for those.
///
/// # Shapes
/// Any; the mask has the image's shape.
///
/// # Errors
/// [`MetricError::NotBinary`] with the first other value and its index.
///
/// # Cost
/// Two passes, one that checks and one that writes.
///
/// ```
/// use ndarray::array;
/// use seg_metrics::{MetricError, binary_mask};
///
/// assert_eq!(binary_mask(array![[0_u8, 1]].view())?, array![[false, true]]);
/// let error = binary_mask(array![[0_u8, 255]].view()).unwrap_err();
/// assert_eq!(error, MetricError::NotBinary { index: vec![0, 1], value: 255 });
/// # Ok::<(), MetricError>(())
/// ```
pub fn binary_mask<T, D>(image: ArrayView<'_, T, D>) -> Result<Array<bool, D>, MetricError>
where
    T: Copy + Into<i128>,
    D: Dimension,
{
    if let Some((position, &value)) = image
        .iter()
        .enumerate()
        .find(|&(_, &value)| !matches!(value.into(), 0 | 1))
    {
        return Err(MetricError::NotBinary {
            index: index_of(position, image.shape()),
            value: value.into(),
        });
    }
    Ok(image.mapv(|value| value.into() == 1))
}

/// The mask of the pixels of an integer image above a threshold: `value > threshold`.
///
/// # Shapes
/// Any; the mask has the image's shape.
///
/// # Cost
/// One pass.
///
/// ```
/// use ndarray::array;
/// use seg_metrics::mask_above;
///
/// assert_eq!(mask_above(array![0_u8, 127, 128, 255].view(), 127), array![false, false, true, true]);
/// ```
pub fn mask_above<T, D>(image: ArrayView<'_, T, D>, threshold: T) -> Array<bool, D>
where
    T: Copy + Ord,
    D: Dimension,
{
    image.mapv(|value| value > threshold)
}

/// The index, one number per axis, of the element at a position in the order of iteration.
pub(crate) fn index_of(mut position: usize, shape: &[usize]) -> Vec<usize> {
    let mut index = vec![0; shape.len()];
    for (axis, &length) in shape.iter().enumerate().rev() {
        index[axis] = position % length;
        position /= length;
    }
    index
}
