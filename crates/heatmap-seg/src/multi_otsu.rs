use ndarray::{ArrayView, Dimension};

use crate::SegError;
use crate::histogram::Histogram;
use crate::threshold::with_checked_values;

/// The thresholds that split a heatmap into `classes` classes of greatest variance between them.
///
/// `argmax  Σ_k (Σ_{i∈k} p_i x_i)² / Σ_{i∈k} p_i` over the 256 bins of [`Threshold::Otsu`](crate::Threshold::Otsu),
/// in rising order. They are the bin centres that scikit-image 0.26 gives, `threshold_multiotsu`; where empty
/// bins make several splits equal, the lowest. (scikit-image's choice among them is one of rounding.)
///
/// Where no more bins are occupied than classes are asked for, every occupied bin is a class of its own and
/// there are fewer thresholds; a constant map has one, its value. (scikit-image raises an error.)
///
/// Liao, Chen and Chung, "A Fast Algorithm for Multilevel Thresholding", 2001,
/// [10.6688/JISE.2001.17.5.1](https://doi.org/10.6688/JISE.2001.17.5.1).
///
/// # Shapes
/// Any heatmap, one pixel or more.
///
/// # Errors
/// [`SegError::Classes`] for fewer than 2 or more than 256 classes; [`SegError::Empty`]; [`SegError::Value`].
///
/// # Cost
/// The histogram, and `classes · 256²` steps of dynamic programming, where scikit-image tries all
/// `256^(classes − 1)` splits.
///
/// ```
/// use heatmap_seg::multi_otsu;
/// use ndarray::array;
///
/// let heatmap = array![0.0_f32, 0.02, 0.5, 0.52, 0.98, 1.0];
/// let thresholds = multi_otsu(heatmap.view(), 3)?;
/// assert_eq!(thresholds.len(), 2);
/// assert!((0.02..0.5).contains(&thresholds[0]) && (0.52..0.98).contains(&thresholds[1]));
/// # Ok::<(), heatmap_seg::SegError>(())
/// ```
pub fn multi_otsu<D: Dimension>(heatmap: ArrayView<'_, f32, D>, classes: usize) -> Result<Vec<f32>, SegError> {
    check_classes(classes)?;
    with_checked_values(&heatmap, |values, least, greatest| {
        if least == greatest {
            vec![least]
        } else {
            best_splits(&Histogram::of(values, least, greatest), classes)
        }
    })
}

pub(crate) fn check_classes(classes: usize) -> Result<(), SegError> {
    if (2..=256).contains(&classes) {
        Ok(())
    } else {
        Err(SegError::Classes { classes })
    }
}

pub(crate) fn best_splits(histogram: &Histogram, classes: usize) -> Vec<f32> {
    let occupied: Vec<usize> = (0..histogram.counts.len())
        .filter(|&bin| histogram.counts[bin] > 0)
        .collect();
    if occupied.len() <= classes {
        return occupied[..occupied.len() - 1]
            .iter()
            .map(|&bin| histogram.thresholds[bin])
            .collect();
    }
    // Only occupied bins can be the last of a class: an empty one adds nothing to it.
    let shares = histogram.shares();
    let mut sums = vec![(0.0, 0.0)];
    for &bin in &occupied {
        let (weight, sum) = sums[sums.len() - 1];
        sums.push((
            weight + shares[bin],
            sum + shares[bin] * f64::from(histogram.centres[bin]),
        ));
    }
    let worth = |from: usize, to: usize| {
        let (weight, sum) = (sums[to].0 - sums[from].0, sums[to].1 - sums[from].1);
        sum * sum / weight
    };
    let bins = occupied.len();
    // best[to] is the worth of the first `to` bins in as many classes as the round counts.
    let mut best: Vec<f64> = (0..=bins).map(|to| if to == 0 { 0.0 } else { worth(0, to) }).collect();
    let mut starts = Vec::new();
    for class in 1..classes {
        let mut next = vec![f64::NEG_INFINITY; bins + 1];
        let mut start = vec![0; bins + 1];
        for to in class + 1..=bins {
            for (from, before) in best[..to].iter().enumerate().skip(class) {
                let value = before + worth(from, to);
                if value > next[to] {
                    (next[to], start[to]) = (value, from);
                }
            }
        }
        best = next;
        starts.push(start);
    }
    let mut to = bins;
    let mut thresholds: Vec<f32> = starts
        .iter()
        .rev()
        .map(|start| {
            to = start[to];
            histogram.thresholds[occupied[to - 1]]
        })
        .collect();
    thresholds.reverse();
    thresholds
}
