use ndarray::{Array2, ArrayView, ArrayView2, Dimension, Zip};

use crate::binary::index_of;
use crate::empty_masks::OVERLAP;
use crate::shape::check_shapes;
use crate::{Confusion, EmptyMasks, MetricError};

/// How often each class was predicted where each class is true, for label maps of several classes.
///
/// Counts stream: [`add`](LabelConfusion::add) image after image, [`merge`](LabelConfusion::merge) what
/// several threads counted. Pixels whose truth is the ignored label count nowhere.
///
/// ```
/// use ndarray::array;
/// use seg_metrics::{EmptyMasks, LabelConfusion};
///
/// let mut counts = LabelConfusion::new(3)?.with_ignored(255);
/// counts.add(array![[0_u8, 1, 2, 2]].view(), array![[0_u8, 1, 1, 255]].view())?;
/// assert_eq!(counts.counts(), array![[1, 0, 0], [0, 1, 1], [0, 0, 0]]);
/// assert_eq!(counts.accuracy()?, 2.0 / 3.0);
/// assert_eq!(counts.class(1)?.dice(EmptyMasks::default())?, 2.0 / 3.0);
/// # Ok::<(), seg_metrics::MetricError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LabelConfusion {
    counts: Array2<u64>,
    ignored: Option<i128>,
}

const MOST_CLASSES: usize = 1 << 14;

/// How many bits each of two partitions leaves open once the other is known.
///
/// Meilă, "Comparing Clusterings – an Information Based Distance", 2007,
/// [10.1016/j.jmva.2006.11.013](https://doi.org/10.1016/j.jmva.2006.11.013).
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct VariationOfInformation {
    /// `H(P | T)`, in bits: what the prediction splits.
    pub prediction_given_truth: f64,
    /// `H(T | P)`, in bits: what the prediction merges.
    pub truth_given_prediction: f64,
}

impl VariationOfInformation {
    /// The variation of information itself, the sum of both.
    ///
    /// ```
    /// # use seg_metrics::VariationOfInformation;
    /// let information = VariationOfInformation { prediction_given_truth: 0.5, truth_given_prediction: 0.25 };
    /// assert_eq!(information.total(), 0.75);
    /// ```
    pub fn total(self) -> f64 {
        self.prediction_given_truth + self.truth_given_prediction
    }
}

impl From<Confusion> for LabelConfusion {
    /// Background is class 0, foreground class 1.
    fn from(confusion: Confusion) -> Self {
        LabelConfusion {
            counts: ndarray::array![
                [confusion.true_negatives, confusion.false_positives],
                [confusion.false_negatives, confusion.true_positives]
            ],
            ignored: None,
        }
    }
}

impl LabelConfusion {
    /// Nothing counted yet, for classes 0 to `classes − 1`.
    ///
    /// # Errors
    /// [`MetricError::Missing`] without classes; [`MetricError::TooManyClasses`] beyond 16 384, whose counts take 2 GiB.
    ///
    /// ```
    /// # use seg_metrics::{LabelConfusion, MetricError};
    /// assert_eq!(LabelConfusion::new(0), Err(MetricError::Missing { what: "classes" }));
    /// ```
    pub fn new(classes: usize) -> Result<Self, MetricError> {
        if classes == 0 {
            return Err(MetricError::Missing { what: "classes" });
        }
        if classes > MOST_CLASSES {
            return Err(MetricError::TooManyClasses {
                classes,
                most: MOST_CLASSES,
            });
        }
        Ok(LabelConfusion {
            counts: Array2::zeros((classes, classes)),
            ignored: None,
        })
    }

    /// Leaves out pixels whose truth is this label, whatever the prediction says there.
    ///
    /// ```
    /// # use ndarray::array;
    /// # use seg_metrics::LabelConfusion;
    /// let mut counts = LabelConfusion::new(2)?.with_ignored(-1);
    /// counts.add(array![0, 1].view(), array![-1, 1].view())?;
    /// assert_eq!(counts.total(), 1);
    /// # Ok::<(), seg_metrics::MetricError>(())
    /// ```
    #[must_use]
    pub fn with_ignored(mut self, label: i128) -> Self {
        self.ignored = Some(label);
        self
    }

    /// Counts one more pair of label maps.
    ///
    /// # Shapes
    /// Any, the same for both. Labels are integers of any type.
    ///
    /// # Errors
    /// [`MetricError::Shape`]; [`MetricError::Label`] with the first label that is no class. Nothing is
    /// counted of a pair that has one.
    ///
    /// # Cost
    /// One pass over both, and one over classes².
    ///
    /// ```
    /// # use ndarray::array;
    /// # use seg_metrics::{LabelConfusion, MetricError};
    /// let error = LabelConfusion::new(2)?.add(array![0, 1].view(), array![0, 2].view()).unwrap_err();
    /// assert_eq!(error, MetricError::Label { side: "truth", index: vec![1], value: 2, classes: 2 });
    /// # Ok::<(), MetricError>(())
    /// ```
    pub fn add<T, D>(&mut self, prediction: ArrayView<'_, T, D>, truth: ArrayView<'_, T, D>) -> Result<(), MetricError>
    where
        T: Copy + TryInto<i128>,
        D: Dimension,
    {
        check_shapes(&prediction, &truth)?;
        let classes = self.counts.nrows();
        // Of the integers, u128 alone goes beyond i128, and no class is there.
        let number = |label: T| label.try_into().unwrap_or(i128::MAX);
        let class = |label: T| usize::try_from(number(label)).ok().filter(|&label| label < classes);
        let mut counts = vec![0_u64; classes * classes];
        let mut broken = false;
        Zip::from(&prediction).and(&truth).for_each(|&prediction, &truth| {
            if self.ignored == Some(number(truth)) {
                return;
            }
            match (class(prediction), class(truth)) {
                (Some(prediction), Some(truth)) => counts[truth * classes + prediction] += 1,
                _ => broken = true,
            }
        });
        if broken {
            for (position, (&predicted, &true_)) in prediction.iter().zip(&truth).enumerate() {
                if self.ignored == Some(number(true_)) {
                    continue;
                }
                for (side, label) in [("prediction", predicted), ("truth", true_)] {
                    if class(label).is_none() {
                        return Err(MetricError::Label {
                            side,
                            index: index_of(position, truth.shape()),
                            value: number(label),
                            classes,
                        });
                    }
                }
            }
        }
        for (total, count) in self.counts.iter_mut().zip(counts) {
            *total += count;
        }
        Ok(())
    }

    /// Adds what was counted elsewhere.
    ///
    /// # Errors
    /// [`MetricError::Classes`] if it was counted for another number of classes; [`MetricError::Ignored`] if it was
    /// counted without another label.
    ///
    /// ```
    /// # use ndarray::array;
    /// # use seg_metrics::LabelConfusion;
    /// let (mut left, mut right) = (LabelConfusion::new(2)?, LabelConfusion::new(2)?);
    /// left.add(array![0, 1].view(), array![0, 0].view())?;
    /// right.add(array![1].view(), array![1].view())?;
    /// left.merge(&right)?;
    /// assert_eq!(left.counts(), array![[1, 1], [0, 1]]);
    /// # Ok::<(), seg_metrics::MetricError>(())
    /// ```
    pub fn merge(&mut self, other: &LabelConfusion) -> Result<(), MetricError> {
        if self.counts.dim() != other.counts.dim() {
            return Err(MetricError::Classes {
                first: self.counts.nrows(),
                second: other.counts.nrows(),
            });
        }
        if self.ignored != other.ignored {
            return Err(MetricError::Ignored {
                first: self.ignored,
                second: other.ignored,
            });
        }
        self.counts += &other.counts;
        Ok(())
    }

    /// The counts: a row for each true class, a column for each predicted one.
    pub fn counts(&self) -> ArrayView2<'_, u64> {
        self.counts.view()
    }

    /// The number of pixels counted.
    pub fn total(&self) -> u64 {
        self.counts.sum()
    }

    /// One class against all others. A class that no pixel has, in prediction or truth, is two empty masks: its scores
    /// are what an [`EmptyMasks`] says.
    ///
    /// # Errors
    /// [`MetricError::Class`] for a number that is no class.
    ///
    /// ```
    /// # use ndarray::array;
    /// # use seg_metrics::{Confusion, LabelConfusion, MetricError};
    /// let mut counts = LabelConfusion::new(3)?;
    /// counts.add(array![0, 1, 2, 2].view(), array![0, 1, 1, 2].view())?;
    /// let confusion = Confusion { true_positives: 1, false_positives: 1, false_negatives: 0, true_negatives: 2 };
    /// assert_eq!(counts.class(2)?, confusion);
    /// assert_eq!(counts.class(3), Err(MetricError::Class { class: 3, classes: 3 }));
    /// # Ok::<(), seg_metrics::MetricError>(())
    /// ```
    pub fn class(&self, class: usize) -> Result<Confusion, MetricError> {
        let classes = self.counts.nrows();
        if class >= classes {
            return Err(MetricError::Class { class, classes });
        }
        let (predicted, truth) = (self.counts.column(class).sum(), self.counts.row(class).sum());
        let both = self.counts[(class, class)];
        Ok(Confusion::of_sums(both, predicted, truth, self.total()))
    }

    /// The share of pixels whose class is right.
    ///
    /// # Errors
    /// [`MetricError::Missing`] if nothing was counted.
    ///
    /// ```
    /// # use ndarray::array;
    /// # use seg_metrics::LabelConfusion;
    /// let mut counts = LabelConfusion::new(3)?;
    /// counts.add(array![0, 1, 2, 2].view(), array![0, 1, 1, 2].view())?;
    /// assert_eq!(counts.accuracy()?, 0.75);
    /// # Ok::<(), seg_metrics::MetricError>(())
    /// ```
    pub fn accuracy(&self) -> Result<f64, MetricError> {
        self.check_counted()?;
        Ok(self.counts.diag().sum() as f64 / self.total() as f64)
    }

    /// The generalised Dice score over the classes of a range, each weighted by `w = 1 / |T|²`:
    /// `2 Σ w·|P ∩ T| / Σ w·(|P| + |T|)`.
    ///
    /// A class that is absent from the truth has the largest weight of the others, as in MONAI. Sudre et al.,
    /// "Generalised Dice Overlap as a Deep Learning Loss Function for Highly Unbalanced Segmentations", 2017,
    /// [arXiv:1707.03237](https://arxiv.org/abs/1707.03237).
    ///
    /// # Errors
    /// [`MetricError::Class`] for a number that is no class; [`MetricError::EmptyMask`] where `empty` says so: a mask
    /// is empty if it has none of these classes.
    ///
    /// ```
    /// # use ndarray::array;
    /// # use seg_metrics::{EmptyMasks, LabelConfusion};
    /// let mut counts = LabelConfusion::new(3)?;
    /// counts.add(array![0, 1, 2, 2].view(), array![0, 1, 1, 2].view())?;
    /// // Class 1 (weight ¼): 1 of 1 and 2; class 2 (weight 1): 1 of 2 and 1.
    /// assert_eq!(counts.generalised_dice(1..3, EmptyMasks::default())?, 2.0 * 1.25 / 3.75);
    /// # Ok::<(), seg_metrics::MetricError>(())
    /// ```
    pub fn generalised_dice(&self, classes: std::ops::Range<usize>, empty: EmptyMasks) -> Result<f64, MetricError> {
        let classes: Vec<Confusion> = classes.map(|class| self.class(class)).collect::<Result<_, _>>()?;
        let predicted = |class: &Confusion| class.true_positives + class.false_positives;
        let truth = |class: &Confusion| class.true_positives + class.false_negatives;
        let weight = |size: u64| (size as f64).powi(-2);
        let largest = classes
            .iter()
            .map(truth)
            .filter(|&size| size > 0)
            .min()
            .map_or(1.0, weight);
        let (mut both, mut sizes) = (0.0, 0.0);
        for class in &classes {
            let weight = if truth(class) > 0 {
                weight(truth(class))
            } else {
                largest
            };
            both += weight * class.true_positives as f64;
            sizes += weight * (predicted(class) + truth(class)) as f64;
        }
        let (no_prediction, no_truth) = (
            classes.iter().all(|class| predicted(class) == 0),
            classes.iter().all(|class| truth(class) == 0),
        );
        empty
            .score(no_prediction, no_truth, OVERLAP)
            .unwrap_or(Ok(2.0 * both / sizes))
    }

    /// Matthews' correlation coefficient for several classes (`R_K`).
    ///
    /// With `s` pixels of which `c` are right, and `p_k` and `t_k` of each class predicted and true:
    /// `(c·s − Σ p·t) / √((s² − Σ p²)(s² − Σ t²))`. Gorodkin, "Comparing Two K-Category Assignments by a
    /// K-Category Correlation Coefficient", 2004,
    /// [10.1016/j.compbiolchem.2004.09.006](https://doi.org/10.1016/j.compbiolchem.2004.09.006).
    ///
    /// # Errors
    /// [`MetricError::Missing`] if nothing was counted; [`MetricError::OneClass`] if prediction or truth
    /// has but one class.
    ///
    /// ```
    /// # use seg_metrics::{Confusion, LabelConfusion};
    /// let confusion = Confusion { true_positives: 3, false_positives: 1, false_negatives: 1, true_negatives: 3 };
    /// assert!((LabelConfusion::from(confusion).matthews()? - confusion.matthews()?).abs() < 1e-15);
    /// # Ok::<(), seg_metrics::MetricError>(())
    /// ```
    pub fn matthews(&self) -> Result<f64, MetricError> {
        self.check_counted()?;
        // Exact: a rare class is what little is left of large squares.
        let (predicted, truth) = self.margins();
        let product = |left: &[u64], right: &[u64]| -> i128 {
            let pairs = left.iter().zip(right);
            pairs.map(|(&l, &r)| i128::from(l) * i128::from(r)).sum()
        };
        let (all, right) = (i128::from(self.total()), i128::from(self.counts.diag().sum()));
        let spread = [&predicted, &truth].map(|sizes| all * all - product(sizes, sizes));
        if spread.contains(&0) {
            return Err(MetricError::OneClass {
                score: "correlation of Matthews",
            });
        }
        let [predicted_spread, true_spread] = spread.map(|spread| (spread as f64).sqrt());
        Ok((right * all - product(&predicted, &truth)) as f64 / (predicted_spread * true_spread))
    }

    /// Cohen's kappa for several classes; see [`Confusion::kappa`].
    ///
    /// # Errors
    /// [`MetricError::Missing`] if nothing was counted; [`MetricError::OneClass`] if prediction and truth
    /// have but one class, the same.
    ///
    /// ```
    /// # use seg_metrics::{Confusion, LabelConfusion};
    /// let confusion = Confusion { true_positives: 3, false_positives: 1, false_negatives: 1, true_negatives: 3 };
    /// assert_eq!(LabelConfusion::from(confusion).kappa()?, confusion.kappa()?);
    /// # Ok::<(), seg_metrics::MetricError>(())
    /// ```
    pub fn kappa(&self) -> Result<f64, MetricError> {
        self.check_counted()?;
        let (predicted, truth) = self.margins();
        let all = self.total() as f64;
        let others = |size: u64| (self.total() - size) as f64;
        let by_chance: f64 = predicted.iter().zip(&truth).map(|(&p, &t)| p as f64 * others(t)).sum();
        if by_chance == 0.0 {
            return Err(MetricError::OneClass {
                score: "kappa of Cohen",
            });
        }
        Ok(1.0 - (all - self.counts.diag().sum() as f64) * all / by_chance)
    }

    /// The adjusted Rand index: the share of pairs of pixels on which two partitions agree, 0 by chance, 1
    /// for the same partition whatever its labels.
    ///
    /// Hubert & Arabie, "Comparing Partitions", 1985,
    /// [10.1007/BF01908075](https://doi.org/10.1007/BF01908075).
    ///
    /// # Errors
    /// [`MetricError::Missing`] if nothing was counted.
    ///
    /// ```
    /// # use ndarray::array;
    /// # use seg_metrics::LabelConfusion;
    /// let mut counts = LabelConfusion::new(2)?;
    /// counts.add(array![0, 0, 1, 1].view(), array![1, 1, 0, 0].view())?;
    /// assert_eq!(counts.adjusted_rand()?, 1.0);
    /// # Ok::<(), seg_metrics::MetricError>(())
    /// ```
    pub fn adjusted_rand(&self) -> Result<f64, MetricError> {
        self.check_counted()?;
        // Twice the number of pairs of pixels that are together, exact.
        let pairs = |sizes: &[u64]| -> i128 {
            let pairs = sizes.iter().map(|&size| i128::from(size) * (i128::from(size) - 1));
            pairs.sum()
        };
        let (predicted, truth) = self.margins();
        let counts: Vec<u64> = self.counts.iter().copied().collect();
        let both = pairs(&counts);
        let (split, merged) = (pairs(&truth) - both, pairs(&predicted) - both);
        if split == 0 && merged == 0 {
            return Ok(1.0);
        }
        let neither = pairs(&[self.total()]) - both - split - merged;
        // The four counts of pairs, as `pair_confusion_matrix` of scikit-learn has them: no large numbers are
        // taken from each other but where agreement is near chance.
        let [both, split, merged, neither] = [both, split, merged, neither].map(|pairs| pairs as f64);
        let by_chance = (both + split) * (split + neither) + (both + merged) * (merged + neither);
        Ok(2.0 * (both * neither - split * merged) / by_chance)
    }

    /// The variation of information of two partitions, in bits.
    ///
    /// # Errors
    /// [`MetricError::Missing`] if nothing was counted.
    ///
    /// ```
    /// # use ndarray::array;
    /// # use seg_metrics::LabelConfusion;
    /// let mut counts = LabelConfusion::new(2)?;
    /// counts.add(array![0, 1, 0, 1].view(), array![0, 0, 0, 0].view())?;
    /// let information = counts.variation_of_information()?;
    /// assert_eq!((information.prediction_given_truth, information.truth_given_prediction), (1.0, 0.0));
    /// # Ok::<(), seg_metrics::MetricError>(())
    /// ```
    pub fn variation_of_information(&self) -> Result<VariationOfInformation, MetricError> {
        self.check_counted()?;
        let (predicted, truth) = self.margins();
        let all = self.total() as f64;
        let mut information = VariationOfInformation {
            prediction_given_truth: 0.0,
            truth_given_prediction: 0.0,
        };
        for ((row, column), &count) in self.counts.indexed_iter().filter(|(_, count)| **count > 0) {
            let count = count as f64;
            information.prediction_given_truth += count / all * (truth[row] as f64 / count).log2();
            information.truth_given_prediction += count / all * (predicted[column] as f64 / count).log2();
        }
        Ok(information)
    }

    fn check_counted(&self) -> Result<(), MetricError> {
        if self.total() == 0 {
            return Err(MetricError::Missing {
                what: "pixels or cases",
            });
        }
        Ok(())
    }

    /// How many pixels of each class are predicted and true.
    fn margins(&self) -> (Vec<u64>, Vec<u64>) {
        let columns = self.counts.columns().into_iter().map(|column| column.sum());
        let rows = self.counts.rows().into_iter().map(|row| row.sum());
        (columns.collect(), rows.collect())
    }
}
