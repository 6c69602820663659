use std::fmt;

use crate::MetricError;

/// Which of two masks has no foreground.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum EmptySide {
    /// Both the prediction and the truth.
    Both,
    /// The truth alone.
    Truth,
    /// The prediction alone.
    Prediction,
}

impl fmt::Display for EmptySide {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            EmptySide::Both => "both masks are empty",
            EmptySide::Truth => "the truth is empty",
            EmptySide::Prediction => "the prediction is empty",
        })
    }
}

/// What a score is in one of the cases of [`EmptyMasks`].
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum EmptyScore {
    /// An error.
    Error,
    /// NaN, which the means of this crate skip and count.
    Nan,
    /// The best value that the score can have: 1 for an overlap, 0 for a distance or an error.
    Best,
    /// The worst value that the score can have: 0 for an overlap, infinity for a distance.
    Worst,
    /// This score.
    Score(f64),
}

/// What a score is when a mask has no foreground: a choice for each of the three cases.
///
/// The choice decides even where the formula has a value of its own (the Dice of an empty prediction
/// and a truth that is not empty is 0 by its formula), so no case is treated in silence.
///
/// | policy | both empty | truth empty | prediction empty | is how |
/// |---|---|---|---|---|
/// | [`EmptyMasks::default`] | NaN | worst | worst | MONAI scores Hausdorff distances and surface Dice; surface-distance scores Dice and surface Dice |
/// | [`EmptyMasks::monai`] | NaN | NaN | worst | MONAI scores Dice |
/// | [`EmptyMasks::medpy`] | best | worst | worst | MedPy scores IoU; MONAI scores Dice with `ignore_empty=False` |
/// | [`EmptyMasks::surface_distance`] | worst | worst | worst | surface-distance scores Hausdorff distances |
/// | [`EmptyMasks::nan`] | NaN | NaN | NaN | MONAI scores percentiles of Hausdorff distances |
/// | [`EmptyMasks::error`] | error | error | error | MedPy scores surface distances |
///
/// The default: a case with nothing to find and nothing found says nothing about overlap and is left
/// out of means, visibly; whatever else is missed or made up gets the worst value, which is 0 for an
/// overlap and infinity for a distance. So one policy serves both, and a miss never reads as perfect.
///
/// ```
/// use ndarray::array;
/// use seg_metrics::{Confusion, EmptyMasks, EmptyScore};
///
/// let empty = array![false, false];
/// let pair = Confusion::from_masks(empty.view(), empty.view())?;
/// assert!(pair.dice(EmptyMasks::default())?.is_nan());
/// assert_eq!(pair.dice(EmptyMasks::medpy())?, 1.0);
/// assert!(pair.dice(EmptyMasks::default().with_both(EmptyScore::Error)).is_err());
/// # Ok::<(), seg_metrics::MetricError>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct EmptyMasks {
    both: EmptyScore,
    truth: EmptyScore,
    prediction: EmptyScore,
}

impl Default for EmptyMasks {
    /// Both empty: NaN. One empty: the worst value.
    fn default() -> Self {
        EmptyMasks {
            both: EmptyScore::Nan,
            truth: EmptyScore::Worst,
            prediction: EmptyScore::Worst,
        }
    }
}

impl EmptyMasks {
    /// As MONAI 1.6 scores Dice with its default `ignore_empty=True`: NaN if the truth is empty, 0 if the
    /// prediction alone is.
    ///
    /// ```
    /// # use seg_metrics::{Confusion, EmptyMasks};
    /// let made_up = Confusion { false_positives: 3, true_negatives: 5, ..Confusion::default() };
    /// assert!(made_up.dice(EmptyMasks::monai())?.is_nan());
    /// # Ok::<(), seg_metrics::MetricError>(())
    /// ```
    pub fn monai() -> Self {
        EmptyMasks {
            both: EmptyScore::Nan,
            truth: EmptyScore::Nan,
            prediction: EmptyScore::Worst,
        }
    }

    /// As MedPy 0.5 scores IoU, and means to score Dice: 1 if both are empty, 0 if one is. (With numpy 2 the
    /// division by zero that its `dc` waits for is NaN instead of an error.)
    ///
    /// ```
    /// # use seg_metrics::{Confusion, EmptyMasks};
    /// let quiet = Confusion { true_negatives: 5, ..Confusion::default() };
    /// assert_eq!(quiet.dice(EmptyMasks::medpy())?, 1.0);
    /// # Ok::<(), seg_metrics::MetricError>(())
    /// ```
    pub fn medpy() -> Self {
        EmptyMasks {
            both: EmptyScore::Best,
            truth: EmptyScore::Worst,
            prediction: EmptyScore::Worst,
        }
    }

    /// As surface-distance 0.1 scores Hausdorff distances: infinite whenever a mask is empty.
    ///
    /// ```
    /// # use ndarray::array;
    /// # use seg_metrics::{Connectivity, EmptyMasks, SurfaceDistances};
    /// let empty = array![[false, false]];
    /// let pair = SurfaceDistances::new(empty.view(), empty.view(), &[1.0, 1.0], Connectivity::Faces)?;
    /// assert_eq!(pair.hausdorff(EmptyMasks::surface_distance())?, f64::INFINITY);
    /// # Ok::<(), seg_metrics::MetricError>(())
    /// ```
    pub fn surface_distance() -> Self {
        EmptyMasks {
            both: EmptyScore::Worst,
            truth: EmptyScore::Worst,
            prediction: EmptyScore::Worst,
        }
    }

    /// NaN in all three cases, as MONAI 1.6 scores percentiles of Hausdorff distances.
    ///
    /// ```
    /// # use seg_metrics::{Confusion, EmptyMasks};
    /// let missed = Confusion { false_negatives: 3, true_negatives: 5, ..Confusion::default() };
    /// assert!(missed.dice(EmptyMasks::nan())?.is_nan());
    /// # Ok::<(), seg_metrics::MetricError>(())
    /// ```
    pub fn nan() -> Self {
        EmptyMasks {
            both: EmptyScore::Nan,
            truth: EmptyScore::Nan,
            prediction: EmptyScore::Nan,
        }
    }

    /// An error in all three cases.
    ///
    /// ```
    /// # use seg_metrics::{Confusion, EmptyMasks, EmptySide, MetricError};
    /// let missed = Confusion { false_negatives: 3, true_negatives: 5, ..Confusion::default() };
    /// let error = missed.dice(EmptyMasks::error()).unwrap_err();
    /// assert_eq!(error, MetricError::EmptyMask { empty: EmptySide::Prediction });
    /// ```
    pub fn error() -> Self {
        EmptyMasks {
            both: EmptyScore::Error,
            truth: EmptyScore::Error,
            prediction: EmptyScore::Error,
        }
    }

    /// Sets the score of two empty masks.
    ///
    /// ```
    /// # use seg_metrics::{Confusion, EmptyMasks, EmptyScore};
    /// let policy = EmptyMasks::default().with_both(EmptyScore::Best);
    /// assert_eq!(policy, EmptyMasks::medpy());
    /// ```
    #[must_use]
    pub fn with_both(mut self, score: EmptyScore) -> Self {
        self.both = score;
        self
    }

    /// Sets the score of an empty truth and a prediction that is not.
    ///
    /// ```
    /// # use seg_metrics::{Confusion, EmptyMasks, EmptyScore};
    /// let policy = EmptyMasks::default().with_truth(EmptyScore::Nan);
    /// assert_eq!(policy, EmptyMasks::monai());
    /// ```
    #[must_use]
    pub fn with_truth(mut self, score: EmptyScore) -> Self {
        self.truth = score;
        self
    }

    /// Sets the score of an empty prediction and a truth that is not.
    ///
    /// ```
    /// # use seg_metrics::{Confusion, EmptyMasks, EmptyScore};
    /// let missed = Confusion { false_negatives: 3, true_negatives: 5, ..Confusion::default() };
    /// let policy = EmptyMasks::default().with_prediction(EmptyScore::Nan);
    /// assert!(missed.precision(policy)?.is_nan());
    /// # Ok::<(), seg_metrics::MetricError>(())
    /// ```
    #[must_use]
    pub fn with_prediction(mut self, score: EmptyScore) -> Self {
        self.prediction = score;
        self
    }

    /// The score of a pair with an empty mask; None if neither is empty. The score is one whose range is
    /// given from its best to its worst value.
    pub(crate) fn score(
        self,
        prediction_empty: bool,
        truth_empty: bool,
        (best, worst): (f64, f64),
    ) -> Option<Result<f64, MetricError>> {
        let (empty, score) = match (prediction_empty, truth_empty) {
            (false, false) => return None,
            (true, true) => (EmptySide::Both, self.both),
            (false, true) => (EmptySide::Truth, self.truth),
            (true, false) => (EmptySide::Prediction, self.prediction),
        };
        Some(match score {
            EmptyScore::Error => Err(MetricError::EmptyMask { empty }),
            EmptyScore::Nan => Ok(f64::NAN),
            EmptyScore::Best => Ok(best),
            EmptyScore::Worst => Ok(worst),
            EmptyScore::Score(score) => Ok(score),
        })
    }
}

/// From best to worst, of scores of overlap.
pub(crate) const OVERLAP: (f64, f64) = (1.0, 0.0);
/// From best to worst, of distances and errors.
pub(crate) const DISTANCE: (f64, f64) = (0.0, f64::INFINITY);
