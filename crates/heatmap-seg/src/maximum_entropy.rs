//! Kapur's threshold, that of the greatest entropy.

use crate::histogram::{Histogram, first_greatest, running_sums};

/// `argmax_t  H(p_0…p_t) + H(p_{t+1}…)`, where the entropy of a class of weight P is `ln P − Σ p ln p / P`.
pub(crate) fn maximum_entropy(histogram: &Histogram) -> f32 {
    let shares = histogram.shares();
    let last = shares.len() - 1;
    let term = |share: &f64| if *share > 0.0 { -share * share.ln() } else { 0.0 };
    let lower = running_sums(shares.iter().copied());
    let upper = running_sums(shares.iter().rev().copied());
    let lower_terms = running_sums(shares.iter().map(term));
    let upper_terms = running_sums(shares.iter().rev().map(term));
    let split = first_greatest((0..last).map(|split| {
        let (above, rest) = (upper[last - 1 - split], upper_terms[last - 1 - split]);
        lower[split].ln() + lower_terms[split] / lower[split] + above.ln() + rest / above
    }));
    histogram.thresholds[split]
}
