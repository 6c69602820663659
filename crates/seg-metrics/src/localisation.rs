//! Where a heatmap's heat lies, seen against a mask, with no threshold.

use ndarray::{ArrayView, Dimension, Zip};

use crate::empty_masks::OVERLAP;
use crate::soft_dice::check_heatmap;
use crate::spacing::check_spacing;
use crate::{Confusion, EmptyMasks, MetricError, distance_transform};

/// The pointing game: whether the hottest pixel of a heatmap hits the mask, or comes within a tolerance
/// of it.
///
/// 1 for a hit, 0 for none. Where several pixels are the hottest it is the share of them that hit, so that
/// a flat heatmap scores what a pixel drawn at random scores. Zhang et al., "Top-down Neural Attention by
/// Excitation Backprop", 2016, [arXiv:1608.00507](https://arxiv.org/abs/1608.00507), with a tolerance of 15 pixels.
///
/// # Shapes
/// Any, the same for both.
///
/// # Units
/// `tolerance` is in those of `spacing`, which has one length per axis; 0 asks for the mask itself.
///
/// # Errors
/// [`MetricError::PairShape`], [`MetricError::HeatmapValue`] (both for pair 0); [`MetricError::Missing`]
/// without pixels; [`MetricError::Tolerance`]; [`MetricError::Length`] and [`MetricError::Spacing`] for a
/// wrong spacing. An empty mask is never hit.
///
/// # Cost
/// Two passes; with a tolerance, a [`distance_transform`] too.
///
/// ```
/// use ndarray::array;
/// use seg_metrics::pointing_game;
///
/// let (heatmap, mask) = (array![[0.2_f32, 0.9, 0.1]], array![[true, false, false]]);
/// assert_eq!(pointing_game(heatmap.view(), mask.view(), 0.0, &[1.0, 1.0])?, 0.0);
/// assert_eq!(pointing_game(heatmap.view(), mask.view(), 1.0, &[1.0, 1.0])?, 1.0);
/// # Ok::<(), seg_metrics::MetricError>(())
/// ```
pub fn pointing_game<D: Dimension>(
    heatmap: ArrayView<'_, f32, D>,
    mask: ArrayView<'_, bool, D>,
    tolerance: f64,
    spacing: &[f64],
) -> Result<f64, MetricError> {
    check_heatmap(&heatmap, &mask)?;
    check_spacing(mask.ndim(), spacing)?;
    if tolerance.is_nan() || tolerance < 0.0 {
        return Err(MetricError::Tolerance { value: tolerance });
    }
    if heatmap.is_empty() {
        return Err(MetricError::Missing { what: "pixels" });
    }
    let hottest = heatmap.iter().copied().fold(0.0, f32::max);
    let (mut pixels, mut hits) = (0_u64, 0_u64);
    let mut count = |value: f32, hit: bool| {
        if value == hottest {
            pixels += 1;
            hits += u64::from(hit);
        }
    };
    if tolerance > 0.0 {
        let distances = distance_transform(mask, spacing)?;
        // As far as f32 can tell.
        let tolerance = tolerance * (1.0 + 4.0 * f64::from(f32::EPSILON));
        Zip::from(&heatmap)
            .and(&distances)
            .for_each(|&value, &distance| count(value, distance.is_finite() && f64::from(distance) <= tolerance));
    } else {
        Zip::from(&heatmap)
            .and(&mask)
            .for_each(|&value, &inside| count(value, inside));
    }
    Ok(hits as f64 / pixels as f64)
}

/// The share of a heatmap's heat that lies in the mask: `Σ in the mask p / Σ p`.
///
/// Called the energy-based pointing game (Wang et al., "Score-CAM", 2020,
/// [arXiv:1910.01279](https://arxiv.org/abs/1910.01279)) and relevance mass accuracy (Arras, Osman & Samek, "CLEVR-XAI",
/// 2022, [10.1016/j.inffus.2021.11.008](https://doi.org/10.1016/j.inffus.2021.11.008)); on heatmaps, which have no
/// negative values, the two are the same.
///
/// # Shapes
/// Any, the same for both.
///
/// # Errors
/// [`MetricError::PairShape`], [`MetricError::HeatmapValue`] (both for pair 0); [`MetricError::NoHeat`] if the
/// heatmap is 0 everywhere.
///
/// # Cost
/// Two passes, summed in f64.
///
/// ```
/// use ndarray::array;
/// use seg_metrics::energy_in_mask;
///
/// let (heatmap, mask) = (array![0.75_f32, 0.25, 0.0], array![true, false, false]);
/// assert_eq!(energy_in_mask(heatmap.view(), mask.view())?, 0.75);
/// # Ok::<(), seg_metrics::MetricError>(())
/// ```
pub fn energy_in_mask<D: Dimension>(
    heatmap: ArrayView<'_, f32, D>,
    mask: ArrayView<'_, bool, D>,
) -> Result<f64, MetricError> {
    check_heatmap(&heatmap, &mask)?;
    let (mut inside_heat, mut heat) = (0.0, 0.0);
    Zip::from(&heatmap).and(&mask).for_each(|&value, &inside| {
        heat += f64::from(value);
        inside_heat += if inside { f64::from(value) } else { 0.0 };
    });
    if heat == 0.0 {
        return Err(MetricError::NoHeat);
    }
    Ok(inside_heat / heat)
}

/// Relevance rank accuracy: of as many hottest pixels as the mask has, the share that lies in the mask.
///
/// Of pixels that are tied for the last places it takes what a fair draw gives on average. Arras, Osman &
/// Samek, "CLEVR-XAI", 2022, [10.1016/j.inffus.2021.11.008](https://doi.org/10.1016/j.inffus.2021.11.008).
///
/// # Shapes
/// Any, the same for both.
///
/// # Errors
/// [`MetricError::PairShape`], [`MetricError::HeatmapValue`] (both for pair 0); [`MetricError::ClassAbsent`]
/// if the mask is empty.
///
/// # Cost
/// One sort.
///
/// ```
/// use ndarray::array;
/// use seg_metrics::relevance_rank;
///
/// let mask = array![true, true, false, false];
/// assert_eq!(relevance_rank(array![0.9_f32, 0.1, 0.5, 0.0].view(), mask.view())?, 0.5);
/// assert_eq!(relevance_rank(array![0.9_f32, 0.1, 0.1, 0.0].view(), mask.view())?, 0.75);
/// # Ok::<(), seg_metrics::MetricError>(())
/// ```
pub fn relevance_rank<D: Dimension>(
    heatmap: ArrayView<'_, f32, D>,
    mask: ArrayView<'_, bool, D>,
) -> Result<f64, MetricError> {
    let pixels = hottest_first(heatmap, mask)?;
    let size = pixels.iter().filter(|(_, inside)| *inside).count();
    if size == 0 {
        return Err(MetricError::ClassAbsent {
            score: "relevance rank accuracy",
            class: true,
        });
    }
    let (mut taken, mut hits) = (0, 0.0);
    for tied in pixels.chunk_by(|left, right| left.0 == right.0) {
        let inside = tied.iter().filter(|(_, inside)| *inside).count() as f64;
        let places = tied.len().min(size - taken);
        hits += inside * places as f64 / tied.len() as f64;
        taken += places;
        if taken == size {
            break;
        }
    }
    Ok(hits / size as f64)
}

/// The best that one heatmap can score against its mask by any threshold, as [`best_dice`] found it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct BestDice {
    /// The highest threshold of that Dice: foreground is `value > threshold`.
    pub threshold: f32,
    /// The Dice.
    pub dice: f64,
}

/// The highest Dice of a heatmap over all thresholds, for which the heatmap's own values are enough.
///
/// It looks at the truth, so it is a bound on what a threshold can reach, not a score of a method.
/// [`DiceCurve`](crate::DiceCurve) chooses one threshold for many images.
///
/// # Shapes
/// Any, the same for both.
///
/// # Errors
/// [`MetricError::PairShape`], [`MetricError::HeatmapValue`] (both for pair 0); [`MetricError::EmptyMask`]
/// where `empty` says so, the prediction being empty where the heatmap is all 0.
///
/// # Cost
/// One sort.
///
/// ```
/// use ndarray::array;
/// use seg_metrics::{EmptyMasks, best_dice};
///
/// let (heatmap, mask) = (array![0.9_f32, 0.6, 0.4, 0.1], array![true, true, false, false]);
/// let best = best_dice(heatmap.view(), mask.view(), EmptyMasks::default())?;
/// assert_eq!((best.threshold, best.dice), (0.4, 1.0));
/// # Ok::<(), seg_metrics::MetricError>(())
/// ```
pub fn best_dice<D: Dimension>(
    heatmap: ArrayView<'_, f32, D>,
    mask: ArrayView<'_, bool, D>,
    empty: EmptyMasks,
) -> Result<BestDice, MetricError> {
    let pixels = hottest_first(heatmap, mask)?;
    let all = pixels.len() as u64;
    let in_truth = pixels.iter().filter(|(_, inside)| *inside).count() as u64;
    let no_heat = pixels.first().is_none_or(|pixel| pixel.0 == 0.0);
    if let Some(score) = empty.score(no_heat, in_truth == 0, OVERLAP) {
        return score.map(|dice| BestDice { threshold: 0.0, dice });
    }
    let (mut taken, mut both) = (0, 0);
    let mut best = BestDice {
        threshold: 0.0,
        dice: f64::NEG_INFINITY,
    };
    for tied in pixels.chunk_by(|left, right| left.0 == right.0) {
        if tied[0].0 == 0.0 {
            break; // No threshold of 0..=1 is below 0.
        }
        taken += tied.len();
        both += tied.iter().filter(|(_, inside)| *inside).count() as u64;
        let dice = Confusion::of_sums(both, taken as u64, in_truth, all).dice(empty)?;
        if dice > best.dice {
            let threshold = pixels.get(taken).map_or(0.0, |next| next.0);
            best = BestDice { threshold, dice };
        }
    }
    Ok(best)
}

/// The pixels with their masks, by falling heat.
pub(crate) fn hottest_first<D: Dimension>(
    heatmap: ArrayView<'_, f32, D>,
    mask: ArrayView<'_, bool, D>,
) -> Result<Vec<(f32, bool)>, MetricError> {
    check_heatmap(&heatmap, &mask)?;
    // Adding 0 turns −0 into 0, which the total order would tell apart.
    let mut pixels: Vec<(f32, bool)> = heatmap
        .iter()
        .map(|value| value + 0.0)
        .zip(mask.iter().copied())
        .collect();
    pixels.sort_unstable_by(|left, right| right.0.total_cmp(&left.0));
    Ok(pixels)
}
