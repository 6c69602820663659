use ndarray::{Array, ArrayView, Dimension};
use serde::{Deserialize, Serialize};

use crate::SegError;
use crate::threshold::with_checked_values;

/// How several heatmaps of one image become one.
///
/// ```
/// use heatmap_seg::Fusion;
/// use ndarray::array;
///
/// let (first, second) = (array![0.2_f32, 0.8], array![0.6_f32, 0.4]);
/// let maps = [first.view(), second.view()];
/// assert_eq!(Fusion::Max.apply(&maps)?, array![0.6, 0.8]);
/// assert_eq!(Fusion::Weighted(vec![3.0, 1.0]).apply(&maps)?, array![0.3, 0.7]);
/// # Ok::<(), heatmap_seg::SegError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Fusion {
    /// `Σ h_k / n`.
    Mean,
    /// `max_k h_k`: hot where any is.
    Max,
    /// `Π h_k`: hot where all are.
    Product,
    /// `Σ w_k h_k / Σ w_k`, a weight of 0 or more for each heatmap.
    Weighted(Vec<f64>),
}

impl Fusion {
    /// The heatmap of the heatmaps, summed and multiplied in f64.
    ///
    /// # Shapes
    /// One heatmap or more, all of one shape and of one pixel or more; the result has it too.
    ///
    /// # Errors
    /// [`SegError::NoHeatmaps`]; [`SegError::Weights`] if there is not one weight for each heatmap, each 0 or
    /// more, and one above 0; [`SegError::Shapes`]; [`SegError::Empty`]; [`SegError::Value`].
    ///
    /// # Cost
    /// Two passes over each heatmap, one of them to check it.
    pub fn apply<D: Dimension>(&self, heatmaps: &[ArrayView<'_, f32, D>]) -> Result<Array<f32, D>, SegError> {
        let Some(first) = heatmaps.first() else {
            return Err(SegError::NoHeatmaps);
        };
        for heatmap in heatmaps {
            if heatmap.shape() != first.shape() {
                return Err(SegError::Shapes {
                    left: first.shape().to_vec(),
                    right: heatmap.shape().to_vec(),
                });
            }
            with_checked_values(heatmap, |_, _, _| ())?;
        }
        let weights = match self {
            Fusion::Weighted(weights) => {
                let valid = weights.iter().all(|weight| weight.is_finite() && *weight >= 0.0);
                let sum: f64 = weights.iter().sum();
                if !valid || weights.len() != heatmaps.len() || sum <= 0.0 || !sum.is_finite() {
                    return Err(SegError::Weights {
                        weights: weights.clone(),
                        heatmaps: heatmaps.len(),
                    });
                }
                weights.iter().map(|weight| weight / sum).collect()
            }
            _ => vec![1.0 / heatmaps.len() as f64; heatmaps.len()],
        };
        let start = if *self == Fusion::Product { 1.0 } else { 0.0 };
        let mut fused = Array::from_elem(first.raw_dim(), start);
        for (heatmap, weight) in heatmaps.iter().zip(weights) {
            fused.zip_mut_with(heatmap, |fused: &mut f64, &value| {
                let value = f64::from(value);
                match self {
                    Fusion::Mean | Fusion::Weighted(_) => *fused += weight * value,
                    Fusion::Max => *fused = fused.max(value),
                    Fusion::Product => *fused *= value,
                }
            });
        }
        // Weights sum up to 1 but for rounding.
        Ok(fused.mapv(|value| value.min(1.0) as f32))
    }
}
