//! Otsu's threshold in f32, in the order in which scikit-image and numpy sum, so that ties between
//! thresholds agree with theirs.

use crate::histogram::Histogram;

pub(crate) fn otsu(histogram: &Histogram) -> f32 {
    histogram.thresholds[best_split(&histogram.counts, &histogram.centres)]
}

/// The last bin of the lower class; the lowest such bin if several splits are best.
fn best_split(counts: &[u64], centres: &[f32]) -> usize {
    let bins = counts.len();
    let (mut weight, mut sum) = (0.0_f32, 0.0_f32);
    let lower: Vec<(f32, f32)> = (0..bins)
        .map(|bin| {
            weight += counts[bin] as f32;
            sum += counts[bin] as f32 * centres[bin];
            (weight, sum / weight)
        })
        .collect();
    (weight, sum) = (0.0, 0.0);
    let mut best = (0, f32::NEG_INFINITY);
    for bin in (0..bins - 1).rev() {
        weight += counts[bin + 1] as f32;
        sum += counts[bin + 1] as f32 * centres[bin + 1];
        let (lower_weight, lower_mean) = lower[bin];
        let distance = lower_mean - sum / weight;
        let variance = lower_weight * weight * (distance * distance);
        if variance >= best.1 {
            best = (bin, variance);
        }
    }
    best.0
}
