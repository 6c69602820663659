use ndarray::{ArrayView, Dimension};
use serde::{Deserialize, Serialize};

use crate::threshold::with_checked_values;
use crate::{SegError, Threshold};

/// A fixed threshold that was chosen on validation images, with what it was chosen by.
///
/// `argmax_t  mean over pairs of  2 |M_t ∩ T| / (|M_t| + |T|)`, with `M_t` the pixels above `t` and `T` the
/// truth mask, over the thresholds 0, 0.01, …, 0.99; the least of them where several are best. Pairs whose
/// truth mask is empty have no say: their Dice is 0 or undefined at every threshold.
///
/// It is the only place of this crate that looks at truth masks. Choose on validation images, and score on
/// others: the Dice in here is that of the images it was chosen on.
///
/// ```
/// use heatmap_seg::Calibration;
/// use ndarray::array;
///
/// let heatmap = array![0.1_f32, 0.25, 0.4, 0.9];
/// let truth = array![false, false, true, true];
/// let calibration = Calibration::new([(heatmap.view(), truth.view())])?;
/// assert_eq!((calibration.threshold(), calibration.dice()), (0.25, 1.0));
///
/// let saved = serde_json::to_string(&calibration)?;
/// assert_eq!(saved, r#"{"threshold":0.25,"dice":1.0,"pairs":1}"#);
/// let read: Calibration = serde_json::from_str(&saved)?;
/// let mask = read.rule().apply(heatmap.view())?;
/// assert_eq!(mask, truth);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Calibration {
    threshold: f32,
    dice: f64,
    pairs: usize,
}

/// The thresholds that are tried.
const STEPS: usize = 100;

impl Calibration {
    /// The threshold of the greatest mean Dice over pairs of a heatmap and its truth mask.
    ///
    /// # Shapes
    /// Any; a pair's heatmap and mask have the same.
    ///
    /// # Errors
    /// [`SegError::Shapes`], [`SegError::Empty`] and [`SegError::Value`] for a pair that cannot be used;
    /// [`SegError::NothingToCalibrateOn`] if no pair has a truth mask with foreground.
    ///
    /// # Cost
    /// Two passes over the pairs, however many thresholds are tried.
    pub fn new<'a, D: Dimension + 'a>(
        pairs: impl IntoIterator<Item = (ArrayView<'a, f32, D>, ArrayView<'a, bool, D>)>,
    ) -> Result<Calibration, SegError> {
        let thresholds: [f32; STEPS] = std::array::from_fn(|step| step as f32 / STEPS as f32);
        let mut sums = [0.0_f64; STEPS];
        let (mut given, mut used) = (0, 0);
        for (heatmap, truth) in pairs {
            given += 1;
            if heatmap.shape() != truth.shape() {
                return Err(SegError::Shapes {
                    left: heatmap.shape().to_vec(),
                    right: truth.shape().to_vec(),
                });
            }
            with_checked_values(&heatmap, |_, _, _| ())?;
            // Pixels by how many of the thresholds they are above, those outside the truth and those inside.
            let mut counts = [[0_u64; 2]; STEPS + 1];
            for (value, &inside) in heatmap.iter().zip(&truth) {
                let guess = (value * STEPS as f32) as usize;
                let passed = (guess.saturating_sub(1)..STEPS.min(guess + 2))
                    .rev()
                    .find(|&step| *value > thresholds[step])
                    .map_or(guess.saturating_sub(1), |step| step + 1);
                counts[passed][usize::from(inside)] += 1;
            }
            let size: u64 = counts.iter().map(|count| count[1]).sum();
            if size == 0 {
                continue;
            }
            used += 1;
            let (mut marked, mut hit) = (0, 0);
            for step in (0..STEPS).rev() {
                marked += counts[step + 1][0] + counts[step + 1][1];
                hit += counts[step + 1][1];
                sums[step] += 2.0 * hit as f64 / (marked + size) as f64;
            }
        }
        if used == 0 {
            return Err(SegError::NothingToCalibrateOn { pairs: given });
        }
        let best = (0..STEPS).fold(0, |best, step| if sums[step] > sums[best] { step } else { best });
        Ok(Calibration {
            threshold: thresholds[best],
            dice: sums[best] / used as f64,
            pairs: used,
        })
    }

    /// The threshold as a rule for other heatmaps.
    pub fn rule(self) -> Threshold {
        Threshold::Fixed(self.threshold)
    }

    /// The threshold.
    pub fn threshold(self) -> f32 {
        self.threshold
    }

    /// The mean Dice that it had where it was chosen.
    pub fn dice(self) -> f64 {
        self.dice
    }

    /// How many pairs had a say.
    pub fn pairs(self) -> usize {
        self.pairs
    }
}
