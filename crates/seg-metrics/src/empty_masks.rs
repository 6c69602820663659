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
    /// This score.
    Score(f64),
}

/// What a score is when a mask has no foreground: a choice for each of the three cases.
///
/// The choice decides even where the formula has a value of its own (the Dice of an empty prediction
/// and a truth that is not empty is 0 by its formula), so no case is treated in silence.
///
/// | policy | both empty | truth empty | prediction empty |
/// |---|---|---|---|
/// | [`EmptyMasks::default`] | NaN | 0 | 0 |
/// | [`EmptyMasks::monai`] | NaN | NaN | 0 |
/// | [`EmptyMasks::medpy`] | 1 | 0 | 0 |
///
/// The default: a case with nothing to find and nothing found says nothing about overlap and is left
/// out of means, visibly; whatever else is missed or made up scores 0.
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
    /// Both empty: NaN. One empty: 0.
    fn default() -> Self {
        EmptyMasks {
            both: EmptyScore::Nan,
            truth: EmptyScore::Score(0.0),
            prediction: EmptyScore::Score(0.0),
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
            prediction: EmptyScore::Score(0.0),
        }
    }

    /// As MedPy 0.5 scores Dice: 1 if both are empty, 0 if one is.
    ///
    /// ```
    /// # use seg_metrics::{Confusion, EmptyMasks};
    /// let quiet = Confusion { true_negatives: 5, ..Confusion::default() };
    /// assert_eq!(quiet.dice(EmptyMasks::medpy())?, 1.0);
    /// # Ok::<(), seg_metrics::MetricError>(())
    /// ```
    pub fn medpy() -> Self {
        EmptyMasks {
            both: EmptyScore::Score(1.0),
            truth: EmptyScore::Score(0.0),
            prediction: EmptyScore::Score(0.0),
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
    /// let policy = EmptyMasks::default().with_both(EmptyScore::Score(1.0));
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

    /// The score of a pair with an empty mask; None if neither is empty.
    pub(crate) fn score(self, prediction_empty: bool, truth_empty: bool) -> Option<Result<f64, MetricError>> {
        let (empty, score) = match (prediction_empty, truth_empty) {
            (false, false) => return None,
            (true, true) => (EmptySide::Both, self.both),
            (false, true) => (EmptySide::Truth, self.truth),
            (true, false) => (EmptySide::Prediction, self.prediction),
        };
        Some(match score {
            EmptyScore::Error => Err(MetricError::EmptyMask { empty }),
            EmptyScore::Nan => Ok(f64::NAN),
            EmptyScore::Score(score) => Ok(score),
        })
    }
}
