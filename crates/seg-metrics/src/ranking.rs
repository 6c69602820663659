//! Scores of cases in order, for curves over all thresholds.

use crate::MetricError;

/// The cases by falling score, each with whether it is positive.
pub(crate) fn by_falling_score(scores: &[f64], positive: &[bool]) -> Result<Vec<(f64, bool)>, MetricError> {
    if scores.len() != positive.len() {
        return Err(MetricError::Length {
            first: "scores",
            first_len: scores.len(),
            second: "labels",
            second_len: positive.len(),
        });
    }
    if let Some((index, &value)) = scores.iter().enumerate().find(|(_, score)| !score.is_finite()) {
        return Err(MetricError::ScoreNotFinite { index, value });
    }
    // Adding 0 turns −0 into 0, which the total order would tell apart.
    let scores = scores.iter().map(|score| score + 0.0);
    let mut cases: Vec<(f64, bool)> = scores.zip(positive.iter().copied()).collect();
    cases.sort_unstable_by(|left, right| right.0.total_cmp(&left.0));
    Ok(cases)
}
