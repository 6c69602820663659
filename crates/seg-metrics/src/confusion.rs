use std::iter::Sum;
use std::ops::{Add, AddAssign};

use ndarray::{ArrayView, Dimension, Zip};
use rayon::prelude::*;

use crate::empty_masks::{DISTANCE, OVERLAP};
use crate::shape::check_shapes;
use crate::{EmptyMasks, MetricError};

/// How many pixels (or cases) a prediction got right and wrong, and the scores that follow from it.
///
/// With `TP`, `FP`, `FN`, `TN` the four counts. Counts of parts add up to the counts of the whole.
///
/// One rule for what is undefined: scores of the foreground ([`dice`](Self::dice), [`iou`](Self::iou),
/// [`precision`](Self::precision), [`recall`](Self::recall), [`f_beta`](Self::f_beta),
/// [`tversky`](Self::tversky) and those of volumes) take an [`EmptyMasks`], which decides whenever a mask is
/// empty; those that also look at the background ([`specificity`](Self::specificity),
/// [`accuracy`](Self::accuracy), [`balanced_accuracy`](Self::balanced_accuracy),
/// [`matthews`](Self::matthews), [`kappa`](Self::kappa)) are errors where a class they divide by is absent.
/// Scores of the agreement of partitions are in [`LabelConfusion`](crate::LabelConfusion).
///
/// ```
/// use seg_metrics::Confusion;
///
/// let left = Confusion::from_labels(&[true, false], &[true, true])?;
/// let right = Confusion::from_labels(&[true], &[true])?;
/// assert_eq!((left + right).accuracy()?, 2.0 / 3.0);
/// assert_eq!([left, right].into_iter().sum::<Confusion>(), left + right);
/// # Ok::<(), seg_metrics::MetricError>(())
/// ```
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct Confusion {
    /// Foreground in both.
    pub true_positives: u64,
    /// Foreground in the prediction alone.
    pub false_positives: u64,
    /// Foreground in the truth alone.
    pub false_negatives: u64,
    /// Foreground in neither.
    pub true_negatives: u64,
}

/// Labels that are counted together.
const LANES: usize = 32;
/// As many rows as a lane of u8 can count.
const BLOCK: usize = LANES * 255;

impl Confusion {
    /// Counts two masks.
    ///
    /// # Shapes
    /// Any, the same for both; the memory layouts may differ.
    ///
    /// # Errors
    /// [`MetricError::Shape`] if the shapes differ.
    ///
    /// # Cost
    /// One pass over both; where both are contiguous in the same layout, on all threads and at the speed of memory.
    ///
    /// ```
    /// use ndarray::array;
    /// use seg_metrics::Confusion;
    ///
    /// let prediction = array![[true, true], [false, false]];
    /// let truth = array![[true, false], [true, false]];
    /// let confusion = Confusion::from_masks(prediction.view(), truth.view())?;
    /// assert_eq!(
    ///     confusion,
    ///     Confusion { true_positives: 1, false_positives: 1, false_negatives: 1, true_negatives: 1 }
    /// );
    /// # Ok::<(), seg_metrics::MetricError>(())
    /// ```
    pub fn from_masks<D: Dimension>(
        prediction: ArrayView<'_, bool, D>,
        truth: ArrayView<'_, bool, D>,
    ) -> Result<Self, MetricError> {
        check_shapes(&prediction, &truth)?;
        if prediction.strides() == truth.strides()
            && let (Some(predicted), Some(true_)) = (prediction.as_slice_memory_order(), truth.as_slice_memory_order())
        {
            return Ok(Self::of_slices(predicted, true_));
        }
        // Indexed by `prediction + 2 · truth`.
        let mut counts = [0_u64; 4];
        Zip::from(prediction)
            .and(truth)
            .for_each(|&prediction, &truth| counts[usize::from(prediction) + 2 * usize::from(truth)] += 1);
        let [true_negatives, false_positives, false_negatives, true_positives] = counts;
        Ok(Confusion {
            true_positives,
            false_positives,
            false_negatives,
            true_negatives,
        })
    }

    /// Counts predicted and true labels of cases, true being the positive class.
    ///
    /// # Errors
    /// [`MetricError::Length`] if there are not as many of the one as of the other.
    ///
    /// ```
    /// use seg_metrics::Confusion;
    ///
    /// let confusion = Confusion::from_labels(&[true, true, false], &[true, false, false])?;
    /// assert_eq!(confusion.balanced_accuracy()?, 0.75);
    /// # Ok::<(), seg_metrics::MetricError>(())
    /// ```
    pub fn from_labels(predicted: &[bool], truth: &[bool]) -> Result<Self, MetricError> {
        if predicted.len() != truth.len() {
            return Err(MetricError::Length {
                first: "predicted labels",
                first_len: predicted.len(),
                second: "true labels",
                second_len: truth.len(),
            });
        }
        Ok(Self::of_slices(predicted, truth))
    }

    fn of_slices(predicted: &[bool], truth: &[bool]) -> Self {
        // A task reads so much that starting it is nothing beside that; most images are one piece.
        const PIECE: usize = 32 * BLOCK;
        let pieces = predicted.par_chunks(PIECE).zip(truth.par_chunks(PIECE));
        pieces.map(|(predicted, truth)| Self::of_piece(predicted, truth)).sum()
    }

    fn of_piece(predicted: &[bool], truth: &[bool]) -> Self {
        let (mut both, mut in_prediction, mut in_truth) = (0_u64, 0_u64, 0_u64);
        for (predicted, truth) in predicted.chunks(BLOCK).zip(truth.chunks(BLOCK)) {
            let mut lanes = [[0_u8; LANES]; 3];
            let (predicted_rows, predicted_rest) = predicted.as_chunks::<LANES>();
            let (truth_rows, truth_rest) = truth.as_chunks::<LANES>();
            for (predicted, truth) in predicted_rows.iter().zip(truth_rows) {
                for lane in 0..LANES {
                    lanes[0][lane] += u8::from(predicted[lane] & truth[lane]);
                    lanes[1][lane] += u8::from(predicted[lane]);
                    lanes[2][lane] += u8::from(truth[lane]);
                }
            }
            let [both_here, predicted_here, truth_here] =
                lanes.map(|lanes| lanes.iter().map(|&count| u64::from(count)).sum::<u64>());
            both += both_here;
            in_prediction += predicted_here;
            in_truth += truth_here;
            for (&predicted, &truth) in predicted_rest.iter().zip(truth_rest) {
                both += u64::from(predicted & truth);
                in_prediction += u64::from(predicted);
                in_truth += u64::from(truth);
            }
        }
        Self::of_sums(both, in_prediction, in_truth, predicted.len() as u64)
    }

    /// From the sizes of the intersection, the two masks and the image.
    pub(crate) fn of_sums(both: u64, in_prediction: u64, in_truth: u64, all: u64) -> Self {
        Confusion {
            true_positives: both,
            false_positives: in_prediction - both,
            false_negatives: in_truth - both,
            true_negatives: all + both - in_prediction - in_truth,
        }
    }

    /// The number of pixels or cases.
    ///
    /// ```
    /// # use seg_metrics::Confusion;
    /// let confusion = Confusion { true_positives: 2, false_positives: 1, false_negatives: 1, true_negatives: 4 };
    /// assert_eq!(confusion.total(), 8);
    /// ```
    pub fn total(self) -> u64 {
        self.true_positives + self.false_positives + self.false_negatives + self.true_negatives
    }

    /// Dice's coefficient, `2·TP / (2·TP + FP + FN)`: twice the overlap over the sum of both sizes.
    ///
    /// Dice, "Measures of the Amount of Ecologic Association Between Species", 1945,
    /// [10.2307/1932409](https://doi.org/10.2307/1932409).
    ///
    /// # Errors
    /// [`MetricError::EmptyMask`] where `empty` says so.
    ///
    /// ```
    /// # use seg_metrics::{Confusion, EmptyMasks};
    /// let confusion = Confusion { true_positives: 2, false_positives: 1, false_negatives: 1, true_negatives: 4 };
    /// assert_eq!(confusion.dice(EmptyMasks::default())?, 2.0 / 3.0);
    /// # Ok::<(), seg_metrics::MetricError>(())
    /// ```
    pub fn dice(self, empty: EmptyMasks) -> Result<f64, MetricError> {
        self.overlap(empty, 2 * self.true_positives, self.in_prediction() + self.in_truth())
    }

    /// Intersection over union (Jaccard's index), `TP / (TP + FP + FN)`.
    ///
    /// Jaccard, "The Distribution of the Flora in the Alpine Zone", 1912,
    /// [10.1111/j.1469-8137.1912.tb05611.x](https://doi.org/10.1111/j.1469-8137.1912.tb05611.x).
    ///
    /// # Errors
    /// [`MetricError::EmptyMask`] where `empty` says so.
    ///
    /// ```
    /// # use seg_metrics::{Confusion, EmptyMasks};
    /// let confusion = Confusion { true_positives: 2, false_positives: 1, false_negatives: 1, true_negatives: 4 };
    /// assert_eq!(confusion.iou(EmptyMasks::default())?, 0.5);
    /// # Ok::<(), seg_metrics::MetricError>(())
    /// ```
    pub fn iou(self, empty: EmptyMasks) -> Result<f64, MetricError> {
        self.overlap(empty, self.true_positives, self.in_prediction() + self.false_negatives)
    }

    /// Precision (positive predictive value), `TP / (TP + FP)`: how much of the prediction is right.
    ///
    /// # Errors
    /// [`MetricError::EmptyMask`] where `empty` says so.
    ///
    /// ```
    /// # use seg_metrics::{Confusion, EmptyMasks};
    /// let confusion = Confusion { true_positives: 2, false_positives: 2, false_negatives: 1, true_negatives: 4 };
    /// assert_eq!(confusion.precision(EmptyMasks::default())?, 0.5);
    /// # Ok::<(), seg_metrics::MetricError>(())
    /// ```
    pub fn precision(self, empty: EmptyMasks) -> Result<f64, MetricError> {
        self.overlap(empty, self.true_positives, self.in_prediction())
    }

    /// Recall (sensitivity), `TP / (TP + FN)`: how much of the truth is found.
    ///
    /// # Errors
    /// [`MetricError::EmptyMask`] where `empty` says so.
    ///
    /// ```
    /// # use seg_metrics::{Confusion, EmptyMasks};
    /// let confusion = Confusion { true_positives: 3, false_positives: 2, false_negatives: 1, true_negatives: 4 };
    /// assert_eq!(confusion.recall(EmptyMasks::default())?, 0.75);
    /// # Ok::<(), seg_metrics::MetricError>(())
    /// ```
    pub fn recall(self, empty: EmptyMasks) -> Result<f64, MetricError> {
        self.overlap(empty, self.true_positives, self.in_truth())
    }

    /// Specificity, `TN / (TN + FP)`: how much of the background is left alone.
    ///
    /// # Errors
    /// [`MetricError::ClassAbsent`] if the truth has no background.
    ///
    /// ```
    /// # use seg_metrics::Confusion;
    /// let confusion = Confusion { true_positives: 3, false_positives: 1, false_negatives: 1, true_negatives: 4 };
    /// assert_eq!(confusion.specificity()?, 0.8);
    /// # Ok::<(), seg_metrics::MetricError>(())
    /// ```
    pub fn specificity(self) -> Result<f64, MetricError> {
        let negatives = self.true_negatives + self.false_positives;
        if negatives == 0 {
            return Err(MetricError::ClassAbsent {
                score: "specificity",
                class: false,
            });
        }
        Ok(self.true_negatives as f64 / negatives as f64)
    }

    /// Accuracy, `(TP + TN) / (TP + FP + FN + TN)`.
    ///
    /// # Errors
    /// [`MetricError::Missing`] if nothing was counted.
    ///
    /// ```
    /// # use seg_metrics::Confusion;
    /// let confusion = Confusion { true_positives: 3, false_positives: 1, false_negatives: 1, true_negatives: 3 };
    /// assert_eq!(confusion.accuracy()?, 0.75);
    /// # Ok::<(), seg_metrics::MetricError>(())
    /// ```
    pub fn accuracy(self) -> Result<f64, MetricError> {
        if self.total() == 0 {
            return Err(MetricError::Missing {
                what: "pixels or cases",
            });
        }
        Ok((self.true_positives + self.true_negatives) as f64 / self.total() as f64)
    }

    /// Balanced accuracy, the mean of recall and specificity: ½ for any constant answer, however rare a
    /// class is.
    ///
    /// # Errors
    /// [`MetricError::ClassAbsent`] if a class is absent from the truth.
    ///
    /// ```
    /// # use seg_metrics::Confusion;
    /// let all_healthy = Confusion { false_negatives: 10, true_negatives: 990, ..Confusion::default() };
    /// assert_eq!(all_healthy.accuracy()?, 0.99);
    /// assert_eq!(all_healthy.balanced_accuracy()?, 0.5);
    /// # Ok::<(), seg_metrics::MetricError>(())
    /// ```
    pub fn balanced_accuracy(self) -> Result<f64, MetricError> {
        let absent = |class| MetricError::ClassAbsent {
            score: "balanced accuracy",
            class,
        };
        if self.in_truth() == 0 {
            return Err(absent(true));
        }
        let specificity = self.specificity().map_err(|_| absent(false))?;
        Ok((self.true_positives as f64 / self.in_truth() as f64 + specificity) / 2.0)
    }

    /// Fβ, `(1 + β²)·TP / ((1 + β²)·TP + β²·FN + FP)`: recall counts β times as much as precision; F1 is Dice.
    ///
    /// # Errors
    /// [`MetricError::Weight`] if β is not finite or negative; [`MetricError::EmptyMask`] where `empty` says so.
    ///
    /// ```
    /// # use seg_metrics::{Confusion, EmptyMasks};
    /// let confusion = Confusion { true_positives: 2, false_positives: 1, false_negatives: 3, true_negatives: 4 };
    /// assert_eq!(confusion.f_beta(1.0, EmptyMasks::default())?, confusion.dice(EmptyMasks::default())?);
    /// assert!((confusion.f_beta(2.0, EmptyMasks::default())? - 10.0 / 23.0).abs() < 1e-15);
    /// # Ok::<(), seg_metrics::MetricError>(())
    /// ```
    pub fn f_beta(self, beta: f64, empty: EmptyMasks) -> Result<f64, MetricError> {
        check_weight("beta", beta)?;
        let square = beta * beta;
        // The second is 1 where the square is infinite.
        self.tversky(1.0 / (1.0 + square), 1.0 / (1.0 + square.recip()), empty)
    }

    /// Tversky's index, `TP / (TP + α·FP + β·FN)`: Dice at α = β = ½, IoU at α = β = 1.
    ///
    /// Tversky, "Features of Similarity", 1977,
    /// [10.1037/0033-295X.84.4.327](https://doi.org/10.1037/0033-295X.84.4.327); for masks Salehi et al., 2017,
    /// [arXiv:1706.05721](https://arxiv.org/abs/1706.05721).
    ///
    /// # Errors
    /// [`MetricError::Weight`] if α or β is not finite or negative; [`MetricError::EmptyMask`] where `empty`
    /// says so.
    ///
    /// ```
    /// # use seg_metrics::{Confusion, EmptyMasks};
    /// let confusion = Confusion { true_positives: 2, false_positives: 1, false_negatives: 3, true_negatives: 4 };
    /// assert_eq!(confusion.tversky(1.0, 1.0, EmptyMasks::default())?, confusion.iou(EmptyMasks::default())?);
    /// # Ok::<(), seg_metrics::MetricError>(())
    /// ```
    pub fn tversky(self, alpha: f64, beta: f64, empty: EmptyMasks) -> Result<f64, MetricError> {
        check_weight("alpha", alpha)?;
        check_weight("beta", beta)?;
        let hits = self.true_positives as f64;
        let misses = alpha * self.false_positives as f64 + beta * self.false_negatives as f64;
        self.scored(
            empty,
            OVERLAP,
            if misses == 0.0 && hits == 0.0 {
                0.0
            } else {
                hits / (hits + misses)
            },
        )
    }

    /// Volumetric similarity, `1 − |FN − FP| / (2·TP + FP + FN)`: how alike the two sizes are, wherever the
    /// masks lie.
    ///
    /// Taha & Hanbury, "Metrics for Evaluating 3D Medical Image Segmentation", 2015,
    /// [10.1186/s12880-015-0068-x](https://doi.org/10.1186/s12880-015-0068-x).
    ///
    /// # Errors
    /// [`MetricError::EmptyMask`] where `empty` says so.
    ///
    /// ```
    /// # use seg_metrics::{Confusion, EmptyMasks};
    /// let elsewhere = Confusion { true_positives: 0, false_positives: 5, false_negatives: 5, true_negatives: 4 };
    /// assert_eq!(elsewhere.volumetric_similarity(EmptyMasks::default())?, 1.0);
    /// # Ok::<(), seg_metrics::MetricError>(())
    /// ```
    pub fn volumetric_similarity(self, empty: EmptyMasks) -> Result<f64, MetricError> {
        let difference = self.false_negatives.abs_diff(self.false_positives) as f64;
        let sizes = (self.in_prediction() + self.in_truth()) as f64;
        self.scored(empty, OVERLAP, 1.0 - difference / sizes)
    }

    /// Relative volume error with its sign, `(|P| − |T|) / |T|`: above 0 where the prediction is too large.
    ///
    /// # Errors
    /// [`MetricError::EmptyMask`] where `empty` says so; the worst value is infinity.
    ///
    /// ```
    /// # use seg_metrics::{Confusion, EmptyMasks};
    /// let confusion = Confusion { true_positives: 2, false_positives: 0, false_negatives: 2, true_negatives: 4 };
    /// assert_eq!(confusion.relative_volume_error(EmptyMasks::default())?, -0.5);
    /// # Ok::<(), seg_metrics::MetricError>(())
    /// ```
    pub fn relative_volume_error(self, empty: EmptyMasks) -> Result<f64, MetricError> {
        self.scored(empty, DISTANCE, self.volume_error())
    }

    /// Absolute relative volume error, `| |P| − |T| | / |T|`, which does not cancel in a mean.
    ///
    /// # Errors
    /// [`MetricError::EmptyMask`] where `empty` says so; the worst value is infinity.
    ///
    /// ```
    /// # use seg_metrics::{Confusion, EmptyMasks};
    /// let confusion = Confusion { true_positives: 2, false_positives: 0, false_negatives: 2, true_negatives: 4 };
    /// assert_eq!(confusion.absolute_volume_error(EmptyMasks::default())?, 0.5);
    /// # Ok::<(), seg_metrics::MetricError>(())
    /// ```
    pub fn absolute_volume_error(self, empty: EmptyMasks) -> Result<f64, MetricError> {
        self.scored(empty, DISTANCE, self.volume_error().abs())
    }

    fn volume_error(self) -> f64 {
        let truth = self.in_truth() as f64;
        (self.in_prediction() as f64 - truth) / truth
    }

    /// Matthews' correlation coefficient, `(TP·TN − FP·FN) / √((TP+FP)(TP+FN)(TN+FP)(TN+FN))`.
    ///
    /// Matthews, "Comparison of the Predicted and Observed Secondary Structure of T4 Phage Lysozyme", 1975,
    /// [10.1016/0005-2795(75)90109-9](https://doi.org/10.1016/0005-2795(75)90109-9).
    ///
    /// # Errors
    /// [`MetricError::ClassAbsent`] if a class is absent from the prediction or the truth, where
    /// scikit-learn makes it 0.
    ///
    /// ```
    /// # use seg_metrics::Confusion;
    /// let confusion = Confusion { true_positives: 3, false_positives: 1, false_negatives: 1, true_negatives: 3 };
    /// assert_eq!(confusion.matthews()?, 0.5);
    /// # Ok::<(), seg_metrics::MetricError>(())
    /// ```
    pub fn matthews(self) -> Result<f64, MetricError> {
        let [tp, fp, fn_, tn] = self.counts();
        for (class, count) in [
            (true, self.in_prediction().min(self.in_truth())),
            (
                false,
                (self.true_negatives + self.false_positives).min(self.true_negatives + self.false_negatives),
            ),
        ] {
            if count == 0 {
                return Err(MetricError::ClassAbsent {
                    score: "correlation of Matthews",
                    class,
                });
            }
        }
        Ok((tp * tn - fp * fn_) / ((tp + fp).sqrt() * (tp + fn_).sqrt() * (tn + fp).sqrt() * (tn + fn_).sqrt()))
    }

    /// Cohen's kappa, `(pₒ − pₑ) / (1 − pₑ)`: agreement beyond that of chance, with `pₒ` the accuracy and `pₑ`
    /// that of two independent answers with the same shares.
    ///
    /// Cohen, "A Coefficient of Agreement for Nominal Scales", 1960,
    /// [10.1177/001316446002000104](https://doi.org/10.1177/001316446002000104).
    ///
    /// # Errors
    /// [`MetricError::ClassAbsent`] if prediction and truth are all of the same class.
    ///
    /// ```
    /// # use seg_metrics::Confusion;
    /// let confusion = Confusion { true_positives: 3, false_positives: 1, false_negatives: 1, true_negatives: 3 };
    /// assert_eq!(confusion.kappa()?, 0.5);
    /// # Ok::<(), seg_metrics::MetricError>(())
    /// ```
    pub fn kappa(self) -> Result<f64, MetricError> {
        let [tp, fp, fn_, tn] = self.counts();
        // Disagreements by chance, times the total: predicted and not true, true and not predicted.
        let by_chance = (tp + fp) * (fp + tn) + (fn_ + tn) * (tp + fn_);
        if by_chance == 0.0 {
            return Err(MetricError::ClassAbsent {
                score: "kappa of Cohen",
                class: self.in_truth() == 0,
            });
        }
        Ok(1.0 - (fp + fn_) * (tp + fp + fn_ + tn) / by_chance)
    }

    fn counts(self) -> [f64; 4] {
        [
            self.true_positives as f64,
            self.false_positives as f64,
            self.false_negatives as f64,
            self.true_negatives as f64,
        ]
    }

    fn in_prediction(self) -> u64 {
        self.true_positives + self.false_positives
    }

    fn in_truth(self) -> u64 {
        self.true_positives + self.false_negatives
    }

    fn overlap(self, empty: EmptyMasks, numerator: u64, denominator: u64) -> Result<f64, MetricError> {
        self.scored(empty, OVERLAP, numerator as f64 / denominator as f64)
    }

    /// The score, unless a mask is empty.
    fn scored(self, empty: EmptyMasks, range: (f64, f64), score: f64) -> Result<f64, MetricError> {
        empty
            .score(self.in_prediction() == 0, self.in_truth() == 0, range)
            .unwrap_or(Ok(score))
    }
}

fn check_weight(name: &'static str, value: f64) -> Result<(), MetricError> {
    if value.is_finite() && value >= 0.0 {
        Ok(())
    } else {
        Err(MetricError::Weight { name, value })
    }
}

impl Add for Confusion {
    type Output = Self;

    fn add(mut self, other: Self) -> Self {
        self += other;
        self
    }
}

impl AddAssign for Confusion {
    fn add_assign(&mut self, other: Self) {
        self.true_positives += other.true_positives;
        self.false_positives += other.false_positives;
        self.false_negatives += other.false_negatives;
        self.true_negatives += other.true_negatives;
    }
}

impl Sum for Confusion {
    fn sum<I: Iterator<Item = Self>>(parts: I) -> Self {
        parts.fold(Confusion::default(), Add::add)
    }
}

impl<'a> Sum<&'a Confusion> for Confusion {
    fn sum<I: Iterator<Item = &'a Self>>(parts: I) -> Self {
        parts.copied().sum()
    }
}
