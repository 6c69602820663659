use ndarray::{Array, ArrayView, Dimension, Zip};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use crate::SegError;
use crate::otsu::otsu;

/// Values from which on the work is worth more than one thread.
const PARALLEL_FROM: usize = 1 << 20;

/// Where a heatmap is cut: foreground is `value > threshold`.
///
/// A threshold that was calibrated on validation images is a [`Threshold::Fixed`]; it is found where
/// the masks are, outside this crate.
///
/// As JSON it reads `{"fixed":0.5}` or `"otsu"`.
///
/// ```
/// use heatmap_seg::Threshold;
///
/// let read: Threshold = serde_json::from_str(r#"{"fixed":0.5}"#)?;
/// assert_eq!(read, Threshold::Fixed(0.5));
/// assert_eq!(serde_json::to_string(&Threshold::Otsu)?, r#""otsu""#);
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Threshold {
    /// This value, 0 to 1.
    Fixed(f32),
    /// The value that splits the map into the two classes of greatest variance between them:
    /// `argmax_t  w0(t) · w1(t) · (m0(t) − m1(t))²`, with `w` the number and `m` the mean of the values
    /// up to and above `t`, over 256 bins from the map's least to its greatest value.
    ///
    /// Otsu, "A Threshold Selection Method from Gray-Level Histograms", 1979,
    /// [10.1109/TSMC.1979.4310076](https://doi.org/10.1109/TSMC.1979.4310076). The value is bit for bit
    /// that of scikit-image 0.26, `threshold_otsu(heatmap, nbins=256)`, with two exceptions:
    ///
    /// - A constant map has no two classes. Its threshold is its value, so nothing is foreground.
    ///   (scikit-image returns the same.)
    /// - Where the values lie so close together that f32 has no room for 256 bins (0.5 and 0.50000006,
    ///   say), every f32 value is a bin of its own. (scikit-image raises an error.)
    Otsu,
}

impl Threshold {
    /// The mask of the pixels above the threshold.
    ///
    /// # Shapes
    /// Any heatmap, one pixel or more; the mask has its shape.
    ///
    /// # Errors
    /// As [`Threshold::value`].
    ///
    /// # Cost
    /// One pass over the map for [`Threshold::value`]'s checks (two more for [`Threshold::Otsu`]) and one
    /// to write the mask; on several threads from 2²⁰ values on.
    ///
    /// ```
    /// use heatmap_seg::Threshold;
    /// use ndarray::array;
    ///
    /// let heatmap = array![0.25_f32, 0.5, 0.75];
    /// let mask = Threshold::Fixed(0.5).apply(heatmap.view())?;
    /// assert_eq!(mask, array![false, false, true]);
    /// # Ok::<(), heatmap_seg::SegError>(())
    /// ```
    pub fn apply<D: Dimension>(self, heatmap: ArrayView<'_, f32, D>) -> Result<Array<bool, D>, SegError> {
        let threshold = self.value(heatmap.view())?;
        Ok(if heatmap.len() < PARALLEL_FROM {
            heatmap.mapv(|value| value > threshold)
        } else {
            Zip::from(heatmap).par_map_collect(|&value| value > threshold)
        })
    }

    /// The threshold that [`Threshold::apply`] uses on this heatmap: finite, in 0..=1.
    ///
    /// # Shapes
    /// Any heatmap, one pixel or more.
    ///
    /// # Errors
    /// [`SegError::Empty`]; [`SegError::Value`] with the first value that is not in 0..=1 (NaN and
    /// infinities are not); [`SegError::Threshold`] if a fixed threshold is not in 0..=1. The map is
    /// checked for a fixed threshold too, so that no NaN passes as background.
    ///
    /// ```
    /// use heatmap_seg::{SegError, Threshold};
    /// use ndarray::array;
    ///
    /// let constant = array![[0.3_f32, 0.3]];
    /// assert_eq!(Threshold::Otsu.value(constant.view())?, 0.3);
    ///
    /// let broken = array![[0.3_f32, 1.5]];
    /// let error = Threshold::Otsu.value(broken.view()).unwrap_err();
    /// assert_eq!(error, SegError::Value { index: vec![0, 1], value: 1.5 });
    /// # Ok::<(), SegError>(())
    /// ```
    pub fn value<D: Dimension>(self, heatmap: ArrayView<'_, f32, D>) -> Result<f32, SegError> {
        if heatmap.is_empty() {
            return Err(SegError::Empty {
                shape: heatmap.shape().to_vec(),
            });
        }
        // Neither the range nor the histogram depends on the order of the values.
        match heatmap.as_slice_memory_order() {
            Some(values) => self.value_of(values, &heatmap),
            None => self.value_of(&heatmap.iter().copied().collect::<Vec<_>>(), &heatmap),
        }
    }

    fn value_of<D: Dimension>(self, values: &[f32], heatmap: &ArrayView<'_, f32, D>) -> Result<f32, SegError> {
        let range = if values.len() < PARALLEL_FROM {
            Range::of(values)
        } else {
            values
                .par_chunks(PARALLEL_FROM / 4)
                .map(Range::of)
                .reduce(|| Range::NONE, Range::and)
        };
        if !range.valid {
            return Err(first_invalid(heatmap));
        }
        match self {
            Threshold::Fixed(threshold) if (0.0..=1.0).contains(&threshold) => Ok(threshold),
            Threshold::Fixed(threshold) => Err(SegError::Threshold { threshold }),
            // Adding 0 turns −0 into 0.
            Threshold::Otsu => Ok(otsu(values, range.least + 0.0, range.greatest + 0.0)),
        }
    }
}

/// The least and the greatest of some values, and whether all are in 0..=1.
#[derive(Debug, Clone, Copy)]
struct Range {
    least: f32,
    greatest: f32,
    valid: bool,
}

impl Range {
    const NONE: Range = Range {
        least: f32::INFINITY,
        greatest: f32::NEG_INFINITY,
        valid: true,
    };

    /// Sixteen lanes side by side, so that the compiler can use vector registers.
    fn of(values: &[f32]) -> Range {
        const LANES: usize = 16;
        let mut least = [f32::INFINITY; LANES];
        let mut greatest = [f32::NEG_INFINITY; LANES];
        let mut invalid = [false; LANES];
        let (rows, rest) = values.as_chunks::<LANES>();
        for row in rows {
            for lane in 0..LANES {
                let value = row[lane];
                least[lane] = if value < least[lane] { value } else { least[lane] };
                greatest[lane] = if value > greatest[lane] { value } else { greatest[lane] };
                // False for NaN.
                invalid[lane] |= !(0.0..=1.0).contains(&value);
            }
        }
        for (lane, &value) in rest.iter().enumerate() {
            least[lane] = least[lane].min(value);
            greatest[lane] = greatest[lane].max(value);
            invalid[lane] |= !(0.0..=1.0).contains(&value);
        }
        Range {
            least: least.into_iter().fold(f32::INFINITY, f32::min),
            greatest: greatest.into_iter().fold(f32::NEG_INFINITY, f32::max),
            valid: !invalid.contains(&true),
        }
    }

    fn and(self, other: Range) -> Range {
        Range {
            least: self.least.min(other.least),
            greatest: self.greatest.max(other.greatest),
            valid: self.valid && other.valid,
        }
    }
}

fn first_invalid<D: Dimension>(heatmap: &ArrayView<'_, f32, D>) -> SegError {
    let (mut position, value) = heatmap
        .iter()
        .copied()
        .enumerate()
        .find(|(_, value)| !(0.0..=1.0).contains(value))
        .unwrap_or((0, f32::NAN));
    let mut index = vec![0; heatmap.ndim()];
    for (axis, &length) in heatmap.shape().iter().enumerate().rev() {
        index[axis] = position % length;
        position /= length;
    }
    SegError::Value { index, value }
}
