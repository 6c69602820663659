use ndarray::{Array, ArrayView, Dimension, Zip};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use crate::SegError;
use crate::histogram::Histogram;
use crate::li::li;
use crate::maximum_entropy::maximum_entropy;
use crate::multi_otsu::{best_splits, check_classes};
use crate::otsu::otsu;
use crate::percentile::percentile;
use crate::triangle::triangle;
use crate::yen::yen;

/// Values from which on the work is worth more than one thread.
const PARALLEL_FROM: usize = 1 << 20;

/// Where a heatmap is cut: foreground is `value > threshold`.
///
/// [`Calibration`](crate::Calibration) finds a fixed one on validation images. A constant map has no
/// foreground under any rule that looks at the map: its threshold is its value.
///
/// As JSON it reads `{"fixed":0.5}`, `{"percentile":95.0}`, `{"multi_otsu":{"classes":3}}` or `"otsu"`.
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
    ///   say), every f32 value is a bin of its own. (scikit-image raises an error.) So it is for all
    ///   rules that go by the histogram.
    Otsu,
    /// This percentile of the map's values, 0 to 100, interpolated as `numpy.percentile` does: 95 keeps
    /// the hottest twentieth.
    Percentile(f32),
    /// The hottest of several classes: the greatest threshold of [`multi_otsu`](crate::multi_otsu).
    MultiOtsu {
        /// How many classes, 2 to 256; the foreground is the last.
        classes: usize,
    },
    /// `argmax_t  ln((P(t) (1 − P(t)))² / (Σ_{i≤t} p_i² · Σ_{i>t} p_i²))` over 256 bins, `p` the share of
    /// the values in a bin and `P` its running sum.
    ///
    /// Yen, Chang and Chang, "A New Criterion for Automatic Multilevel Thresholding", 1995,
    /// [10.1109/83.366472](https://doi.org/10.1109/83.366472); scikit-image's `threshold_yen`.
    Yen,
    /// The least cross entropy between map and mask: the fixed point of `t = (m0 − m1) / (ln m0 − ln m1)`,
    /// `m` the means of the values up to and above `t`, counted from the map's least.
    ///
    /// Li and Tam, "An Iterative Algorithm for Minimum Cross Entropy Thresholding", 1998,
    /// [10.1016/S0167-8655(98)00057-9](https://doi.org/10.1016/S0167-8655(98)00057-9); scikit-image's
    /// `threshold_li`, from the map's mean and to the end of its iteration.
    Li,
    /// The bin farthest from the line between the peak of the histogram and the end of its longer tail.
    ///
    /// Zack, Rogers and Latt, "Automatic Measurement of Sister Chromatid Exchange Frequency", 1977,
    /// [10.1177/25.7.70454](https://doi.org/10.1177/25.7.70454); scikit-image's `threshold_triangle`.
    Triangle,
    /// The greatest sum of the entropies of both classes, `argmax_t  H(p_i / P, i ≤ t) + H(p_i / (1 − P), i > t)`
    /// over 256 bins.
    ///
    /// Kapur, Sahoo and Wong, "A New Method for Gray-Level Picture Thresholding Using the Entropy of the
    /// Histogram", 1985, [10.1016/0734-189X(85)90125-2](https://doi.org/10.1016/0734-189X(85)90125-2).
    MaximumEntropy,
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
    /// One pass over the map for [`Threshold::value`]'s checks, one more for the histogram (for
    /// [`Threshold::Li`] one an iteration, about ten; for [`Threshold::Percentile`] a copy and a selection)
    /// and one to write the mask; checks, histogram and mask on several threads from 2²⁰ values on.
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
    /// infinities are not); [`SegError::Threshold`] if a fixed threshold is not in 0..=1,
    /// [`SegError::Percentile`] if a percentile is not in 0..=100, [`SegError::Classes`] if the classes are
    /// not 2 to 256. The map is checked for a fixed threshold too, so that no NaN passes as background.
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
        match self {
            Threshold::Fixed(threshold) if !(0.0..=1.0).contains(&threshold) => {
                return Err(SegError::Threshold { threshold });
            }
            Threshold::Percentile(percentile) if !(0.0..=100.0).contains(&percentile) => {
                return Err(SegError::Percentile { percentile });
            }
            Threshold::MultiOtsu { classes } => check_classes(classes)?,
            _ => (),
        }
        with_checked_values(&heatmap, |values, least, greatest| match self {
            Threshold::Fixed(threshold) => threshold,
            Threshold::Percentile(percent) => percentile(values, percent),
            _ if least == greatest => least,
            Threshold::Li => li(values, least),
            Threshold::Otsu => otsu(&Histogram::of(values, least, greatest)),
            Threshold::MultiOtsu { classes } => {
                let thresholds = best_splits(&Histogram::of(values, least, greatest), classes);
                thresholds.last().copied().unwrap_or(least)
            }
            Threshold::Yen => yen(&Histogram::of(values, least, greatest)),
            Threshold::Triangle => triangle(&Histogram::of(values, least, greatest)),
            Threshold::MaximumEntropy => maximum_entropy(&Histogram::of(values, least, greatest)),
        })
    }
}

/// Hands a heatmap's values, in any order, its least and its greatest value to a function, once all are
/// known to be in 0..=1.
pub(crate) fn with_checked_values<D: Dimension, T>(
    heatmap: &ArrayView<'_, f32, D>,
    function: impl FnOnce(&[f32], f32, f32) -> T,
) -> Result<T, SegError> {
    if heatmap.is_empty() {
        return Err(SegError::Empty {
            shape: heatmap.shape().to_vec(),
        });
    }
    let copy: Vec<f32>;
    let values = match heatmap.as_slice_memory_order() {
        Some(values) => values,
        None => {
            copy = heatmap.iter().copied().collect();
            &copy
        }
    };
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
    // Adding 0 turns −0 into 0.
    Ok(function(values, range.least + 0.0, range.greatest + 0.0))
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
