use ndarray::{ArrayView, Dimension, Zip};

use crate::binary::index_of;
use crate::empty_masks::OVERLAP;
use crate::{EmptyMasks, MetricError};

/// What a soft Dice divides by.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum SoftDenominator {
    /// `Σ p + Σ t`.
    #[default]
    Sums,
    /// `Σ p² + Σ t²`, as in V-Net. Milletari et al., 2016, [arXiv:1606.04797](https://arxiv.org/abs/1606.04797).
    Squares,
}

/// The Dice of a heatmap (or a map of probabilities) without a threshold: `2 Σ p·t / (Σ p + Σ t)`.
///
/// On a heatmap of zeros and ones it is [`Confusion::dice`](crate::Confusion::dice), whatever the denominator.
///
/// # Shapes
/// Any, the same for both.
///
/// # Errors
/// [`MetricError::PairShape`], [`MetricError::HeatmapValue`] (both for pair 0); [`MetricError::EmptyMask`]
/// where `empty` says so, the prediction being empty where the heatmap is all 0.
///
/// # Cost
/// One pass, summed in f64.
///
/// ```
/// use ndarray::array;
/// use seg_metrics::{EmptyMasks, SoftDenominator, soft_dice};
///
/// let (heatmap, mask) = (array![0.5_f32, 0.25, 0.25], array![true, false, false]);
/// assert_eq!(soft_dice(heatmap.view(), mask.view(), SoftDenominator::Sums, EmptyMasks::default())?, 0.5);
/// # Ok::<(), seg_metrics::MetricError>(())
/// ```
pub fn soft_dice<D: Dimension>(
    heatmap: ArrayView<'_, f32, D>,
    mask: ArrayView<'_, bool, D>,
    denominator: SoftDenominator,
    empty: EmptyMasks,
) -> Result<f64, MetricError> {
    check_heatmap(&heatmap, &mask)?;
    let (mut both, mut heat, mut truth) = (0.0, 0.0, 0_u64);
    Zip::from(&heatmap).and(&mask).for_each(|&value, &inside| {
        let value = f64::from(value);
        heat += match denominator {
            SoftDenominator::Sums => value,
            SoftDenominator::Squares => value * value,
        };
        if inside {
            both += value;
            truth += 1;
        }
    });
    empty
        .score(heat == 0.0, truth == 0, OVERLAP)
        .unwrap_or(Ok(2.0 * both / (heat + truth as f64)))
}

/// Checks that a heatmap goes with a mask and is in 0..=1.
pub(crate) fn check_heatmap<D: Dimension>(
    heatmap: &ArrayView<'_, f32, D>,
    mask: &ArrayView<'_, bool, D>,
) -> Result<(), MetricError> {
    if heatmap.shape() != mask.shape() {
        return Err(MetricError::PairShape {
            pair: 0,
            heatmap: heatmap.shape().to_vec(),
            mask: mask.shape().to_vec(),
        });
    }
    match heatmap
        .iter()
        .enumerate()
        .find(|(_, value)| !(0.0..=1.0).contains(*value))
    {
        Some((position, &value)) => Err(MetricError::HeatmapValue {
            pair: 0,
            index: index_of(position, heatmap.shape()),
            value,
        }),
        None => Ok(()),
    }
}
