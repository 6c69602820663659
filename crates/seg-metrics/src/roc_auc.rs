use crate::MetricError;
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
/// use ndarray::array;
/// use seg_metrics::roc_auc;
///
/// let positive = [false, false, true, true];
/// assert_eq!(roc_auc(&[0.1, 0.4, 0.35, 0.8], &positive)?, 0.75);
/// assert_eq!(roc_auc(&[0.5, 0.5, 0.5, 0.5], &positive)?, 0.5);
///
/// // Of a heatmap against a mask, a case is a pixel.
/// let (heatmap, mask) = (array![[0.9_f32, 0.2], [0.6, 0.1]], array![[true, false], [true, false]]);
/// let scores: Vec<f64> = heatmap.iter().map(|&value| value.into()).collect();
/// let inside: Vec<bool> = mask.iter().copied().collect();
/// assert_eq!(roc_auc(&scores, &inside)?, 1.0);
/// # Ok::<(), seg_metrics::MetricError>(())
/// ```
pub fn roc_auc(scores: &[f64], positive: &[bool]) -> Result<f64, MetricError> {
    let cases = by_falling_score(scores, positive)?;
    let positives = positive.iter().filter(|&&positive| positive).count() as u128;
    let negatives = positive.len() as u128 - positives;
    for (class, count) in [(true, positives), (false, negatives)] {
        if count == 0 {
            return Err(MetricError::ClassAbsent {
                score: "area under the ROC curve",
                class,
            });
        }
    }
    let mut twice_rank_sum = 0_u128;
    let mut below = positive.len() as u128;
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
