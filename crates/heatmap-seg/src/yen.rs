//! Yen's threshold.

use crate::histogram::{Histogram, first_greatest, running_sums};

/// `argmax_t  2 ln(P(t) (1 − P(t))) − ln(Σ_{i≤t} p_i² · Σ_{i>t} p_i²)`.
pub(crate) fn yen(histogram: &Histogram) -> f32 {
    let shares = histogram.shares();
    let last = shares.len() - 1;
    let lower = running_sums(shares.iter().copied());
    let lower_squares = running_sums(shares.iter().map(|share| share * share));
    let upper_squares = running_sums(shares.iter().rev().map(|share| share * share));
    let split = first_greatest((0..last).map(|split| {
        let (below, above) = (lower[split], 1.0 - lower[split]);
        2.0 * (below * above).ln() - (lower_squares[split] * upper_squares[last - 1 - split]).ln()
    }));
    histogram.thresholds[split]
}
