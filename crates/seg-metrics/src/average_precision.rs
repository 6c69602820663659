use ndarray::{ArrayView, Dimension};

use crate::MetricError;
use crate::localisation::hottest_first;
use crate::ranking::by_falling_score;

/// The area under the precision-recall curve as average precision: `Σ (Rₙ − Rₙ₋₁)·Pₙ` over the thresholds
/// from the highest score down, tied scores taken at once.
///
/// No interpolation between points, which would be too optimistic. Davis & Goadrich, "The Relationship
/// Between Precision-Recall and ROC Curves", 2006,
/// [10.1145/1143844.1143874](https://doi.org/10.1145/1143844.1143874). A constant score has the share of positive
/// cases.
///
/// # Errors
/// [`MetricError::Length`], [`MetricError::ScoreNotFinite`]; [`MetricError::ClassAbsent`] if no case is
/// positive.
///
/// # Cost
/// One sort.
///
/// ```
/// use seg_metrics::average_precision;
///
/// let positive = [false, false, true, true];
/// assert_eq!(average_precision(&[0.1, 0.4, 0.35, 0.8], &positive)?, 0.5 + 0.5 * 2.0 / 3.0);
/// assert_eq!(average_precision(&[0.5; 4], &positive)?, 0.5);
/// # Ok::<(), seg_metrics::MetricError>(())
/// ```
pub fn average_precision(scores: &[f64], positive: &[bool]) -> Result<f64, MetricError> {
    area(&by_falling_score(scores, positive)?)
}

/// The average precision of a heatmap against a mask, a case being a pixel; see [`average_precision`].
///
/// # Shapes
/// Any, the same for both.
///
/// # Errors
/// [`MetricError::PairShape`], [`MetricError::HeatmapValue`] (both for pair 0); [`MetricError::ClassAbsent`] if the
/// mask is empty.
///
/// # Cost
/// One sort.
///
/// ```
/// use ndarray::array;
/// use seg_metrics::heatmap_average_precision;
///
/// let (heatmap, mask) = (array![[0.9_f32, 0.2], [0.6, 0.1]], array![[true, true], [false, false]]);
/// assert_eq!(heatmap_average_precision(heatmap.view(), mask.view())?, (1.0 + 2.0 / 3.0) / 2.0);
/// # Ok::<(), seg_metrics::MetricError>(())
/// ```
pub fn heatmap_average_precision<D: Dimension>(
    heatmap: ArrayView<'_, f32, D>,
    mask: ArrayView<'_, bool, D>,
) -> Result<f64, MetricError> {
    area(&hottest_first(heatmap, mask)?)
}

/// The area of cases in order, the highest first.
fn area<T: PartialEq>(cases: &[(T, bool)]) -> Result<f64, MetricError> {
    let positives = cases.iter().filter(|(_, positive)| *positive).count();
    if positives == 0 {
        return Err(MetricError::ClassAbsent {
            score: "average precision",
            class: true,
        });
    }
    let (mut hits, mut taken, mut area) = (0, 0, 0.0);
    for tied in cases.chunk_by(|left, right| left.0 == right.0) {
        let new = tied.iter().filter(|(_, positive)| *positive).count();
        hits += new;
        taken += tied.len();
        area += new as f64 * hits as f64 / taken as f64;
    }
    Ok(area / positives as f64)
}
