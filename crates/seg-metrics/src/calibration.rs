use ndarray::{ArrayView, Dimension, Zip};

use crate::MetricError;
use crate::soft_dice::check_heatmap;

/// How far a map of probabilities is from how often it is right, from bins of equal width.
///
/// A pixel of probability `p` is in bin `⌊p · bins⌋` (1 in the last). With `confᵢ` the mean probability in
/// bin `i`, `freqᵢ` the share of its pixels in the mask, and `wᵢ` its share of all pixels:
///
/// | error | formula |
/// |---|---|
/// | [`expected`](Calibration::expected) (ECE) | `Σ wᵢ·│confᵢ − freqᵢ│` |
/// | [`root_mean_square`](Calibration::root_mean_square) | `√(Σ wᵢ·(confᵢ − freqᵢ)²)` |
/// | [`maximum`](Calibration::maximum) (MCE) | `max │confᵢ − freqᵢ│` |
/// | [`brier`](Calibration::brier) | `mean (p − t)²`, without bins |
///
/// Naeini, Cooper & Hauskrecht, "Obtaining Well Calibrated Probabilities Using Bayesian Binning", 2015,
/// [10.1609/aaai.v29i1.9602](https://doi.org/10.1609/aaai.v29i1.9602). Only maps that are probabilities can be
/// calibrated; a heatmap scaled to 0..=1 is none of itself.
///
/// ```
/// use ndarray::array;
/// use seg_metrics::Calibration;
///
/// let (probability, mask) = (array![0.75_f32, 0.75, 0.25, 0.25], array![true, true, false, false]);
/// let calibration = Calibration::new(probability.view(), mask.view(), 10)?;
/// assert_eq!((calibration.expected(), calibration.brier()), (0.25, 0.0625));
/// # Ok::<(), seg_metrics::MetricError>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct Calibration {
    bins: Vec<CalibrationBin>,
    pixels: u64,
    squares: f64,
}

/// One bin of a [`Calibration`].
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct CalibrationBin {
    /// How many pixels are in the bin.
    pub pixels: u64,
    /// Their mean probability; NaN without pixels.
    pub confidence: f64,
    /// The share of them that is in the mask; NaN without pixels.
    pub frequency: f64,
}

const MOST_BINS: usize = 1_000_000;

impl Calibration {
    /// Sorts the pixels of a map into bins.
    ///
    /// # Shapes
    /// Any, the same for both.
    ///
    /// # Errors
    /// [`MetricError::Bins`] without bins or with more than a million; [`MetricError::PairShape`], [`MetricError::HeatmapValue`] (both
    /// for pair 0); [`MetricError::Missing`] without pixels.
    ///
    /// # Cost
    /// Two passes, summed in f64.
    ///
    /// ```
    /// # use ndarray::array;
    /// # use seg_metrics::Calibration;
    /// let error = Calibration::new(array![0.5_f32].view(), array![true].view(), 0).unwrap_err();
    /// assert_eq!(error.to_string(), "the number of bins is 0; expected 1 to 1000000");
    /// ```
    pub fn new<D: Dimension>(
        probability: ArrayView<'_, f32, D>,
        mask: ArrayView<'_, bool, D>,
        bins: usize,
    ) -> Result<Self, MetricError> {
        if !(1..=MOST_BINS).contains(&bins) {
            return Err(MetricError::Bins { bins, most: MOST_BINS });
        }
        check_heatmap(&probability, &mask)?;
        if mask.is_empty() {
            return Err(MetricError::Missing { what: "pixels" });
        }
        let mut sums = vec![(0_u64, 0.0_f64, 0_u64); bins];
        let mut squares = 0.0;
        Zip::from(&probability).and(&mask).for_each(|&value, &inside| {
            let value = f64::from(value);
            let bin = &mut sums[((value * bins as f64) as usize).min(bins - 1)];
            bin.0 += 1;
            bin.1 += value;
            bin.2 += u64::from(inside);
            squares += (value - f64::from(u8::from(inside))).powi(2);
        });
        let bins = sums.into_iter().map(|(pixels, confidence, inside)| CalibrationBin {
            pixels,
            confidence: confidence / pixels as f64,
            frequency: inside as f64 / pixels as f64,
        });
        Ok(Calibration {
            bins: bins.collect(),
            pixels: mask.len() as u64,
            squares,
        })
    }

    /// The bins, from probability 0 up: the points of a reliability diagram.
    pub fn bins(&self) -> &[CalibrationBin] {
        &self.bins
    }

    /// The expected calibration error, `Σ wᵢ·│confᵢ − freqᵢ│`.
    pub fn expected(&self) -> f64 {
        self.gaps().map(|(weight, gap)| weight * gap).sum()
    }

    /// The root mean square calibration error, `√(Σ wᵢ·(confᵢ − freqᵢ)²)`.
    pub fn root_mean_square(&self) -> f64 {
        self.gaps().map(|(weight, gap)| weight * gap * gap).sum::<f64>().sqrt()
    }

    /// The maximum calibration error, `max │confᵢ − freqᵢ│`.
    pub fn maximum(&self) -> f64 {
        self.gaps().map(|(_, gap)| gap).fold(0.0, f64::max)
    }

    /// The Brier score, `mean (p − t)²`. Brier, "Verification of Forecasts Expressed in Terms of Probability", 1950,
    /// [10.1175/1520-0493(1950)078<0001:VOFEIT>2.0.CO;2](https://doi.org/10.1175/1520-0493(1950)078%3C0001:VOFEIT%3E2.0.CO;2).
    pub fn brier(&self) -> f64 {
        self.squares / self.pixels as f64
    }

    /// The weights and gaps of bins with pixels.
    fn gaps(&self) -> impl Iterator<Item = (f64, f64)> {
        let filled = self.bins.iter().filter(|bin| bin.pixels > 0);
        filled.map(|bin| {
            let weight = bin.pixels as f64 / self.pixels as f64;
            (weight, (bin.confidence - bin.frequency).abs())
        })
    }
}
