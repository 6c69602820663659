use ndarray::{ArrayView, Dimension, Zip};
use rayon::prelude::*;

use crate::binary::index_of;
use crate::mean::Mean;
use crate::{Confusion, EmptyMasks, MetricError};

/// Cells of the table that finds a value's place among the thresholds. A power of two, so that
/// `value * CELLS` is exact.
const CELLS: usize = 4096;

/// A heatmap (f32 in 0..=1) and the mask it is judged by, of the same shape.
pub type HeatmapAndMask<'a, D> = (ArrayView<'a, f32, D>, ArrayView<'a, bool, D>);

/// How well heatmaps agree with masks at every threshold, without choosing one.
///
/// At each threshold a pixel is foreground where `value > threshold` (the rule of `heatmap-seg`), each
/// pair of heatmap and mask gives a Dice and an IoU, and the curve holds their means over the pairs.
/// A threshold that is then used on other images belongs here, on training or validation pairs:
/// [`DiceCurve::best`].
///
/// ```
/// use ndarray::array;
/// use seg_metrics::{DiceCurve, EmptyMasks};
///
/// let heatmap = array![[0.9_f32, 0.6], [0.4, 0.1]];
/// let mask = array![[true, true], [false, false]];
/// let pairs = [(heatmap.view(), mask.view())];
/// let curve = DiceCurve::new(&pairs, &[0.0, 0.3, 0.5, 0.8], EmptyMasks::default())?;
/// assert_eq!(curve.points()[0].dice, 2.0 / 3.0);
/// assert_eq!((curve.best().threshold, curve.best().dice), (0.5, 1.0));
/// # Ok::<(), seg_metrics::MetricError>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct DiceCurve {
    points: Vec<DicePoint>,
    best: usize,
}

/// The means over the pairs at one threshold of a [`DiceCurve`].
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct DicePoint {
    /// The threshold: foreground is `value > threshold`.
    pub threshold: f32,
    /// The mean Dice of the pairs that count; NaN if none does.
    pub dice: f64,
    /// The mean IoU of the pairs that count; NaN if none does.
    pub iou: f64,
    /// How many pairs count.
    pub counted: usize,
    /// How many pairs do not, because the policy for empty masks makes their score NaN.
    pub skipped: usize,
}

impl DiceCurve {
    /// Scores every pair at every threshold.
    ///
    /// # Shapes
    /// Any for each pair (pairs of several dimensions as `ArrayViewD`), the same for its heatmap and mask.
    ///
    /// # Errors
    /// [`MetricError::Missing`] without pairs or thresholds; [`MetricError::Threshold`] and
    /// [`MetricError::Unsorted`] unless the thresholds are in 0..=1 and ascend;
    /// [`MetricError::PairShape`]; [`MetricError::HeatmapValue`] with the first value that is not in
    /// 0..=1; [`MetricError::EmptyMaskOfPair`] where `empty` says so; [`MetricError::NothingCounted`] if
    /// every score is NaN. Of several faulty pairs the first is named.
    ///
    /// # Cost
    /// One pass over each pair whatever the number of thresholds (a histogram over the gaps between
    /// them), pairs in parallel.
    ///
    /// ```
    /// use ndarray::array;
    /// use seg_metrics::{DiceCurve, EmptyMasks, MetricError};
    ///
    /// let (heatmap, mask) = (array![0.5_f32, f32::NAN], array![true, false]);
    /// let error = DiceCurve::new(&[(heatmap.view(), mask.view())], &[0.5], EmptyMasks::default());
    /// assert!(matches!(error, Err(MetricError::HeatmapValue { pair: 0, .. })));
    /// ```
    pub fn new<D: Dimension>(
        pairs: &[HeatmapAndMask<'_, D>],
        thresholds: &[f32],
        empty: EmptyMasks,
    ) -> Result<Self, MetricError> {
        if pairs.is_empty() {
            return Err(MetricError::Missing { what: "pairs" });
        }
        let levels = Levels::new(thresholds)?;
        let scored: Vec<Result<Vec<(f64, f64)>, MetricError>> = pairs
            .par_iter()
            .enumerate()
            .map(|(pair, (heatmap, mask))| {
                let scores = levels.count(pair, heatmap.view(), mask.view())?;
                scores
                    .into_iter()
                    .map(|confusion| Ok((confusion.dice(empty)?, confusion.iou(empty)?)))
                    .collect::<Result<_, MetricError>>()
                    .map_err(|error| match error {
                        MetricError::EmptyMask { empty } => MetricError::EmptyMaskOfPair { pair, empty },
                        other => other,
                    })
            })
            .collect();

        // In the order of the pairs, so that the sums round alike on any number of threads.
        let mut means = vec![(Mean::default(), Mean::default()); thresholds.len()];
        for scores in scored {
            for ((dice_mean, iou_mean), (dice, iou)) in means.iter_mut().zip(scores?) {
                dice_mean.add(dice);
                iou_mean.add(iou);
            }
        }
        let points: Vec<DicePoint> = thresholds
            .iter()
            .zip(means)
            .map(|(&threshold, (dice, iou))| DicePoint {
                threshold,
                dice: dice.value(),
                iou: iou.value(),
                counted: dice.counted,
                skipped: dice.skipped,
            })
            .collect();
        let mut best: Option<usize> = None;
        for (index, point) in points.iter().enumerate() {
            if !point.dice.is_nan() && best.is_none_or(|best| point.dice > points[best].dice) {
                best = Some(index);
            }
        }
        match best {
            Some(best) => Ok(DiceCurve { points, best }),
            None => Err(MetricError::NothingCounted { skipped: pairs.len() }),
        }
    }

    /// The curve, one point per threshold in the order given.
    ///
    /// ```
    /// # use ndarray::array;
    /// # use seg_metrics::{DiceCurve, EmptyMasks};
    /// # let (heatmap, mask) = (array![0.2_f32, 0.7], array![false, true]);
    /// let curve = DiceCurve::new(&[(heatmap.view(), mask.view())], &[0.1, 0.5], EmptyMasks::default())?;
    /// let plot: Vec<(f32, f64)> = curve.points().iter().map(|point| (point.threshold, point.iou)).collect();
    /// assert_eq!(plot, [(0.1, 0.5), (0.5, 1.0)]);
    /// # Ok::<(), seg_metrics::MetricError>(())
    /// ```
    pub fn points(&self) -> &[DicePoint] {
        &self.points
    }

    /// The point of the highest mean Dice; of several, the one of the lowest threshold.
    ///
    /// Where a policy makes some pairs NaN, thresholds may differ in how many pairs count: look at
    /// [`DicePoint::counted`].
    ///
    /// ```
    /// # use ndarray::array;
    /// # use seg_metrics::{DiceCurve, EmptyMasks};
    /// # let (heatmap, mask) = (array![0.2_f32, 0.7], array![false, true]);
    /// let pairs = [(heatmap.view(), mask.view())];
    /// let curve = DiceCurve::new(&pairs, &[0.1, 0.3, 0.5], EmptyMasks::default())?;
    /// assert_eq!(curve.best().threshold, 0.3);
    /// # Ok::<(), seg_metrics::MetricError>(())
    /// ```
    pub fn best(&self) -> DicePoint {
        self.points[self.best]
    }
}

/// Ascending thresholds, and a table that finds a value's place among them.
#[derive(Debug)]
struct Levels<'a> {
    thresholds: &'a [f32],
    /// For cell `c`, how many thresholds are below `c / CELLS`; one cell more than a value of 1 needs.
    below: Vec<usize>,
}

impl<'a> Levels<'a> {
    fn new(thresholds: &'a [f32]) -> Result<Self, MetricError> {
        if thresholds.is_empty() {
            return Err(MetricError::Missing { what: "thresholds" });
        }
        if let Some((index, &value)) = thresholds
            .iter()
            .enumerate()
            .find(|(_, value)| !(0.0..=1.0).contains(*value))
        {
            return Err(MetricError::Threshold { index, value });
        }
        if let Some(index) = (1..thresholds.len()).find(|&index| thresholds[index] <= thresholds[index - 1]) {
            return Err(MetricError::Unsorted {
                what: "thresholds",
                index,
            });
        }
        let below = (0..=CELLS + 1)
            .map(|cell| thresholds.partition_point(|&t| t < cell as f32 / CELLS as f32))
            .collect();
        Ok(Levels { thresholds, below })
    }

    /// How many thresholds the value is above. The value is in 0..=1.
    fn place(&self, value: f32) -> usize {
        let cell = (value * CELLS as f32) as usize;
        let (from, to) = (self.below[cell], self.below[cell + 1]);
        match &self.thresholds[from..to] {
            [] => from,
            [threshold] => from + usize::from(*threshold < value),
            several => from + several.partition_point(|&threshold| threshold < value),
        }
    }

    /// The counts at each threshold.
    fn count<D: Dimension>(
        &self,
        pair: usize,
        heatmap: ArrayView<'_, f32, D>,
        mask: ArrayView<'_, bool, D>,
    ) -> Result<Vec<Confusion>, MetricError> {
        if heatmap.shape() != mask.shape() {
            return Err(MetricError::PairShape {
                pair,
                heatmap: heatmap.shape().to_vec(),
                mask: mask.shape().to_vec(),
            });
        }
        let valid = |value: f32| (0.0..=1.0).contains(&value);
        // At each place, the pixels outside and inside the mask.
        let mut places = vec![[0_u64; 2]; self.thresholds.len() + 1];
        let mut invalid = false;
        Zip::from(&heatmap).and(&mask).for_each(|&value, &inside| {
            if valid(value) {
                places[self.place(value)][usize::from(inside)] += 1;
            } else {
                invalid = true;
            }
        });
        if invalid && let Some((position, &value)) = heatmap.iter().enumerate().find(|(_, value)| !valid(**value)) {
            return Err(MetricError::HeatmapValue {
                pair,
                index: index_of(position, heatmap.shape()),
                value,
            });
        }
        let in_truth = places.iter().map(|place| place[1]).sum();
        let (mut both, mut in_prediction) = (0, 0);
        let mut confusions: Vec<Confusion> = places[1..]
            .iter()
            .rev()
            .map(|[outside, inside]| {
                both += inside;
                in_prediction += outside + inside;
                Confusion::of_sums(both, in_prediction, in_truth, heatmap.len() as u64)
            })
            .collect();
        confusions.reverse();
        Ok(confusions)
    }
}
