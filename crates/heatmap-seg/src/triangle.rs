//! The triangle threshold.

use crate::histogram::{Histogram, first_greatest};

/// The bin farthest below the line from the histogram's peak to the end of its longer tail.
pub(crate) fn triangle(histogram: &Histogram) -> f32 {
    let mut counts: Vec<f64> = histogram.counts.iter().map(|&count| count as f64).collect();
    let last = counts.len() - 1;
    let peak = first_greatest(counts.iter().copied());
    let flip = peak < last - peak;
    let width = if flip { last - peak } else { peak };
    if flip {
        counts.reverse();
    }
    let height = counts[width];
    let norm = height.hypot(width as f64);
    let (rise, run) = (height / norm, width as f64 / norm);
    let bin = first_greatest((0..width).map(|bin| rise * bin as f64 - run * counts[bin]));
    histogram.thresholds[if flip { last - bin } else { bin }]
}
