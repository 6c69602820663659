use ndarray::{ArrayView, Dimension};

use crate::MetricError;
use crate::localisation::hottest_first;
use crate::ranking::by_falling_score;

/// The area under the ROC curve: the chance that a positive case scores above a negative one, where a
/// tie counts half.
///
/// By ranks (Mann-Whitney): `AUC = (R − p(p+1)/2) / (p·n)`, with `p` positive and `n` negative cases and
/// `R` the sum of the positive cases' ranks, ties given their mean rank. Hanley & McNeil, "The Meaning
/// and Use of the Area under a Receiver Operating Characteristic (ROC) Curve", 1982,
/// [10.1148/radiology.143.1.7063747](https://doi.org/10.1148/radiology.143.1.7063747).
///
/// # Errors
/// [`MetricError::Length`] if there are not as many scores as labels, [`MetricError::ScoreNotFinite`],
/// and [`MetricError::ClassAbsent`] if all cases are of one class.
///
/// # Cost
/// One sort. The ranks are summed as integers, so nothing but the last division rounds.
///
/// ```
/// use seg_metrics::roc_auc;
///
/// let positive = [false, false, true, true];
/// assert_eq!(roc_auc(&[0.1, 0.4, 0.35, 0.8], &positive)?, 0.75);
/// assert_eq!(roc_auc(&[0.5, 0.5, 0.5, 0.5], &positive)?, 0.5);
/// # Ok::<(), seg_metrics::MetricError>(())
/// ```
pub fn roc_auc(scores: &[f64], positive: &[bool]) -> Result<f64, MetricError> {
    area(&by_falling_score(scores, positive)?)
}

/// The area under the ROC curve of a heatmap against a mask, a case being a pixel: the chance that a pixel of the
/// mask is hotter than one outside, where a tie counts half; see [`roc_auc`].
///
/// # Shapes
/// Any, the same for both.
///
/// # Errors
/// [`MetricError::PairShape`], [`MetricError::HeatmapValue`] (both for pair 0); [`MetricError::ClassAbsent`] if the
/// mask is empty or full.
///
/// # Cost
/// One sort.
///
/// ```
/// use ndarray::array;
/// use seg_metrics::heatmap_roc_auc;
///
/// let (heatmap, mask) = (array![[0.9_f32, 0.2], [0.6, 0.1]], array![[true, true], [false, false]]);
/// assert_eq!(heatmap_roc_auc(heatmap.view(), mask.view())?, 0.75);
/// # Ok::<(), seg_metrics::MetricError>(())
/// ```
pub fn heatmap_roc_auc<D: Dimension>(
    heatmap: ArrayView<'_, f32, D>,
    mask: ArrayView<'_, bool, D>,
) -> Result<f64, MetricError> {
    area(&hottest_first(heatmap, mask)?)
}

/// The area of cases in order, the highest first.
fn area<T: PartialEq>(cases: &[(T, bool)]) -> Result<f64, MetricError> {
    let positives = cases.iter().filter(|(_, positive)| *positive).count() as u128;
    let negatives = cases.len() as u128 - positives;
    for (class, count) in [(true, positives), (false, negatives)] {
        if count == 0 {
            return Err(MetricError::ClassAbsent {
                score: "area under the ROC curve",
                class,
            });
        }
    }
    let mut twice_rank_sum = 0_u128;
    let mut below = cases.len() as u128;
    for tied in cases.chunk_by(|left, right| left.0 == right.0) {
        let size = tied.len() as u128;
        below -= size;
        // Ranks below + 1 to below + size have the mean below + (size + 1) / 2.
        let twice_mean_rank = 2 * below + size + 1;
        twice_rank_sum += twice_mean_rank * tied.iter().filter(|(_, positive)| *positive).count() as u128;
    }
    let twice_wins = twice_rank_sum - positives * (positives + 1);
    Ok(twice_wins as f64 / (2 * positives * negatives) as f64)
}
