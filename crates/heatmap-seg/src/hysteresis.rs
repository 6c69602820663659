use ndarray::{Array, ArrayView, Dimension};
use serde::{Deserialize, Serialize};

use crate::components::{Bordered, take_component};
use crate::{Connectivity, SegError, Threshold};

/// Two thresholds: what is above the lower and hangs together with something above the upper.
///
/// Both are any [`Threshold`]; a lower one that comes out above the upper counts as equal to it. It is
/// scikit-image 0.26's `apply_hysteresis_threshold`, which joins by [`Connectivity::Faces`].
///
/// Canny, "A Computational Approach to Edge Detection", 1986,
/// [10.1109/TPAMI.1986.4767851](https://doi.org/10.1109/TPAMI.1986.4767851).
///
/// ```
/// use heatmap_seg::{Hysteresis, Threshold};
/// use ndarray::array;
///
/// let heatmap = array![0.5_f32, 0.0, 0.5, 0.9, 0.5];
/// let rule = Hysteresis::new(Threshold::Fixed(0.4), Threshold::Fixed(0.8));
/// assert_eq!(rule.apply(heatmap.view())?, array![false, false, true, true, true]);
/// # Ok::<(), heatmap_seg::SegError>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Hysteresis {
    low: Threshold,
    high: Threshold,
    #[serde(default)]
    connectivity: Connectivity,
}

impl Hysteresis {
    /// The rule of a lower and an upper threshold, with [`Connectivity::Faces`].
    pub fn new(low: Threshold, high: Threshold) -> Hysteresis {
        Hysteresis {
            low,
            high,
            connectivity: Connectivity::Faces,
        }
    }

    /// Which pixels hang together.
    pub fn with_connectivity(self, connectivity: Connectivity) -> Hysteresis {
        Hysteresis { connectivity, ..self }
    }

    /// The mask of the parts above the lower threshold that reach above the upper.
    ///
    /// # Shapes
    /// Any heatmap, one pixel or more; the mask has its shape.
    ///
    /// # Errors
    /// As [`Threshold::value`]; [`SegError::Axes`] for more than eight axes.
    ///
    /// # Cost
    /// Both thresholds, and one visit to each pixel above the lower and its neighbours.
    pub fn apply<D: Dimension>(self, heatmap: ArrayView<'_, f32, D>) -> Result<Array<bool, D>, SegError> {
        let high = self.high.value(heatmap.view())?;
        let low = self.low.value(heatmap.view())?.min(high);
        let grid = Bordered::new(heatmap.shape())?;
        let steps = grid.steps(self.connectivity);
        let mut left = grid.surround(heatmap.iter().map(|&value| value > low), false);
        let mut reached = vec![false; left.len()];
        for (place, &value) in grid.places().zip(&heatmap) {
            if value > high && left[place] {
                for place in take_component(&mut left, place, &steps) {
                    reached[place] = true;
                }
            }
        }
        Ok(grid.inner(&reached, heatmap.raw_dim()))
    }
}
