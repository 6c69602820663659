use std::collections::BTreeMap;

use ndarray::{ArrayView, Dimension};

use crate::empty_masks::OVERLAP;
use crate::shape::check_shapes;
use crate::{Connectivity, EmptyMasks, MetricError, components};

/// When a predicted component finds a true one.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum LesionMatch {
    /// When they share a voxel. One component may find several and be found by several.
    AnyOverlap,
    /// When they are matched one to one, pairs of the highest IoU first, and their IoU is above this.
    /// Above 0.5 no component has two candidates.
    Iou(f64),
}

/// The components of a prediction and a truth, and which of them overlap: one mask per lesion, not per image.
///
/// ```
/// use ndarray::array;
/// use seg_metrics::{Connectivity, EmptyMasks, LesionMatch, Lesions};
///
/// let truth = array![[true, true, false, true, false, false]];
/// let prediction = array![[true, false, false, false, false, true]];
/// let lesions = Lesions::new(prediction.view(), truth.view(), Connectivity::Faces)?;
/// let found = lesions.detection(LesionMatch::AnyOverlap)?;
/// assert_eq!((found.found, found.missed, found.made_up), (1, 1, 1));
/// assert_eq!(found.f1(EmptyMasks::default())?, 0.5);
/// # Ok::<(), seg_metrics::MetricError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lesions {
    /// Sizes in voxels.
    predicted: Vec<usize>,
    truth: Vec<usize>,
    /// A predicted and a true component, from 0, and the voxels that they share.
    shared: BTreeMap<(usize, usize), usize>,
}

/// How many lesions a prediction found, missed and made up. Counts of images add up.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct Detection {
    /// True components that were found.
    pub found: u64,
    /// True components that were not.
    pub missed: u64,
    /// Predicted components that find something.
    pub right: u64,
    /// Predicted components that find nothing.
    pub made_up: u64,
}

impl Detection {
    /// The share of true components that was found.
    ///
    /// # Errors
    /// [`MetricError::EmptyMask`] where `empty` says so: a side is empty if it has no components. The
    /// prediction is not empty if it finds something, as one of [`Lesions::by_size`] may without a component of
    /// that size.
    ///
    /// ```
    /// # use seg_metrics::{Detection, EmptyMasks};
    /// let detection = Detection { found: 3, missed: 1, right: 3, made_up: 2 };
    /// assert_eq!(detection.sensitivity(EmptyMasks::default())?, 0.75);
    /// # Ok::<(), seg_metrics::MetricError>(())
    /// ```
    pub fn sensitivity(self, empty: EmptyMasks) -> Result<f64, MetricError> {
        // In a class of sizes a lesion may be found by a component of another class.
        let predicted = self.predicted() + self.found;
        empty
            .score(predicted == 0, self.truth() == 0, OVERLAP)
            .unwrap_or(Ok(self.found as f64 / self.truth() as f64))
    }

    /// The share of predicted components that find something.
    ///
    /// # Errors
    /// As [`Detection::sensitivity`]; the truth is not empty either if something of it is found.
    ///
    /// ```
    /// # use seg_metrics::{Detection, EmptyMasks};
    /// let detection = Detection { found: 3, missed: 1, right: 3, made_up: 1 };
    /// assert_eq!(detection.precision(EmptyMasks::default())?, 0.75);
    /// # Ok::<(), seg_metrics::MetricError>(())
    /// ```
    pub fn precision(self, empty: EmptyMasks) -> Result<f64, MetricError> {
        let truth = self.truth() + self.right;
        empty
            .score(self.predicted() == 0, truth == 0, OVERLAP)
            .unwrap_or(Ok(self.right as f64 / self.predicted() as f64))
    }

    /// The F1 of detection, the harmonic mean of sensitivity and precision.
    ///
    /// # Errors
    /// [`MetricError::EmptyMask`] where `empty` says so: a side is empty if it has no components.
    ///
    /// ```
    /// # use seg_metrics::{Detection, EmptyMasks};
    /// let detection = Detection { found: 3, missed: 1, right: 3, made_up: 1 };
    /// assert_eq!(detection.f1(EmptyMasks::default())?, 0.75);
    /// # Ok::<(), seg_metrics::MetricError>(())
    /// ```
    pub fn f1(self, empty: EmptyMasks) -> Result<f64, MetricError> {
        if let Some(score) = empty.score(self.predicted() == 0, self.truth() == 0, OVERLAP) {
            return score;
        }
        let (sensitivity, precision) = (self.sensitivity(empty)?, self.precision(empty)?);
        let sum = sensitivity + precision;
        Ok(if sum > 0.0 {
            2.0 * sensitivity * precision / sum
        } else {
            0.0
        })
    }

    fn predicted(self) -> u64 {
        self.right + self.made_up
    }

    fn truth(self) -> u64 {
        self.found + self.missed
    }
}

impl std::ops::AddAssign for Detection {
    fn add_assign(&mut self, other: Self) {
        self.found += other.found;
        self.missed += other.missed;
        self.right += other.right;
        self.made_up += other.made_up;
    }
}

/// Panoptic quality and its two factors.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct PanopticQuality {
    /// The quality of segmentation: the mean IoU of matched components.
    pub segmentation: f64,
    /// The quality of recognition: the F1 of detection at an IoU above ½.
    pub recognition: f64,
    /// Their product.
    pub quality: f64,
}

impl Lesions {
    /// Finds the components of two masks and counts what they share.
    ///
    /// # Shapes
    /// Any of up to eight axes, the same for both.
    ///
    /// # Errors
    /// [`MetricError::Shape`]; [`MetricError::TooManyAxes`]; [`MetricError::Components`] if there are more than `u32` can number.
    ///
    /// # Cost
    /// [`components`] of both, and one pass.
    ///
    /// ```
    /// # use ndarray::array;
    /// # use seg_metrics::{Connectivity, Lesions};
    /// let (prediction, truth) = (array![true, false, true], array![true, true, true]);
    /// let lesions = Lesions::new(prediction.view(), truth.view(), Connectivity::Faces)?;
    /// assert_eq!((lesions.predicted_sizes(), lesions.true_sizes()), (&[1, 1][..], &[3][..]));
    /// # Ok::<(), seg_metrics::MetricError>(())
    /// ```
    pub fn new<D: Dimension>(
        prediction: ArrayView<'_, bool, D>,
        truth: ArrayView<'_, bool, D>,
        connectivity: Connectivity,
    ) -> Result<Self, MetricError> {
        check_shapes(&prediction, &truth)?;
        let (prediction, truth) = rayon::join(
            || components(prediction, connectivity),
            || components(truth, connectivity),
        );
        let (prediction, truth) = (prediction?, truth?);
        let mut shared = BTreeMap::new();
        for (&predicted, &true_) in prediction.labels().iter().zip(truth.labels()) {
            if predicted > 0 && true_ > 0 {
                *shared.entry((predicted as usize - 1, true_ as usize - 1)).or_insert(0) += 1;
            }
        }
        Ok(Lesions {
            predicted: prediction.sizes().to_vec(),
            truth: truth.sizes().to_vec(),
            shared,
        })
    }

    /// The sizes of the predicted components, in voxels.
    pub fn predicted_sizes(&self) -> &[usize] {
        &self.predicted
    }

    /// The sizes of the true components, in voxels.
    pub fn true_sizes(&self) -> &[usize] {
        &self.truth
    }

    /// How many components were found, missed and made up.
    ///
    /// # Errors
    /// [`MetricError::Share`] if an IoU asked for is not in 0..=1.
    ///
    /// ```
    /// # use ndarray::array;
    /// # use seg_metrics::{Connectivity, Detection, LesionMatch, Lesions};
    /// let (prediction, truth) = (array![true, false, true], array![true, true, true]);
    /// let lesions = Lesions::new(prediction.view(), truth.view(), Connectivity::Faces)?;
    /// let one_to_one = Detection { found: 1, missed: 0, right: 1, made_up: 1 };
    /// assert_eq!(lesions.detection(LesionMatch::Iou(0.3))?, one_to_one);
    /// # Ok::<(), seg_metrics::MetricError>(())
    /// ```
    pub fn detection(&self, by: LesionMatch) -> Result<Detection, MetricError> {
        let pairs = self.pairs(by)?;
        Ok(self.count(&pairs, 0..usize::MAX))
    }

    /// [`detection`](Lesions::detection) by the size of lesions: one count for sizes below the first edge, one
    /// for each pair of edges, and one from the last edge on.
    ///
    /// A true component counts by its own size, and so does a predicted one.
    ///
    /// # Units
    /// Edges are in voxels, ascending; an edge belongs to the larger sizes.
    ///
    /// # Errors
    /// [`MetricError::Share`]; [`MetricError::Unsorted`] unless the edges ascend.
    ///
    /// ```
    /// # use ndarray::array;
    /// # use seg_metrics::{Connectivity, EmptyMasks, LesionMatch, Lesions};
    /// let truth = array![true, true, true, false, true];
    /// let prediction = array![true, true, false, false, false];
    /// let lesions = Lesions::new(prediction.view(), truth.view(), Connectivity::Faces)?;
    /// let [small, large] = lesions.by_size(LesionMatch::AnyOverlap, &[3])?[..] else { panic!() };
    /// assert_eq!((small.found, small.missed, small.right), (0, 1, 1));
    /// assert_eq!((large.found, large.missed, large.right), (1, 0, 0));
    /// assert_eq!(large.sensitivity(EmptyMasks::default())?, 1.0); // Found by a small component.
    /// # Ok::<(), seg_metrics::MetricError>(())
    /// ```
    pub fn by_size(&self, by: LesionMatch, edges: &[usize]) -> Result<Vec<Detection>, MetricError> {
        if let Some(index) = (1..edges.len()).find(|&index| edges[index] <= edges[index - 1]) {
            return Err(MetricError::Unsorted { what: "edges", index });
        }
        let pairs = self.pairs(by)?;
        let starts = std::iter::once(0).chain(edges.iter().copied());
        let ends = edges.iter().copied().chain(std::iter::once(usize::MAX));
        Ok(starts
            .zip(ends)
            .map(|(start, end)| self.count(&pairs, start..end))
            .collect())
    }

    /// Panoptic quality, `Σ IoU of matches / (TP + ½·FP + ½·FN)`, matches being those of an IoU above ½.
    ///
    /// Kirillov, He, Girshick, Rother & Dollár, "Panoptic Segmentation", 2019,
    /// [arXiv:1801.00868](https://arxiv.org/abs/1801.00868).
    ///
    /// # Errors
    /// [`MetricError::EmptyMask`] where `empty` says so: a side is empty if it has no components.
    ///
    /// ```
    /// # use ndarray::array;
    /// # use seg_metrics::{Connectivity, EmptyMasks, Lesions};
    /// let truth = array![true, true, true, false, true];
    /// let prediction = array![true, true, false, false, false];
    /// let lesions = Lesions::new(prediction.view(), truth.view(), Connectivity::Faces)?;
    /// let panoptic = lesions.panoptic_quality(EmptyMasks::default())?;
    /// assert_eq!((panoptic.segmentation, panoptic.recognition), (2.0 / 3.0, 2.0 / 3.0));
    /// # Ok::<(), seg_metrics::MetricError>(())
    /// ```
    pub fn panoptic_quality(&self, empty: EmptyMasks) -> Result<PanopticQuality, MetricError> {
        let same = |value| PanopticQuality {
            segmentation: value,
            recognition: value,
            quality: value,
        };
        if let Some(score) = empty.score(self.predicted.is_empty(), self.truth.is_empty(), OVERLAP) {
            return score.map(same);
        }
        let pairs = self.pairs(LesionMatch::Iou(0.5))?;
        if pairs.is_empty() {
            return Ok(same(0.0));
        }
        let matches = pairs.len() as f64;
        let segmentation = pairs.iter().map(|&pair| self.iou(pair)).sum::<f64>() / matches;
        let recognition = 2.0 * matches / (self.predicted.len() + self.truth.len()) as f64;
        Ok(PanopticQuality {
            segmentation,
            recognition,
            quality: segmentation * recognition,
        })
    }

    fn iou(&self, pair: (usize, usize)) -> f64 {
        let shared = self.shared.get(&pair).copied().unwrap_or(0);
        shared as f64 / (self.predicted[pair.0] + self.truth[pair.1] - shared) as f64
    }

    /// The predicted and true components that belong together.
    fn pairs(&self, by: LesionMatch) -> Result<Vec<(usize, usize)>, MetricError> {
        let mut candidates: Vec<(usize, usize)> = self.shared.keys().copied().collect();
        let LesionMatch::Iou(least) = by else {
            return Ok(candidates);
        };
        if !(0.0..=1.0).contains(&least) {
            return Err(MetricError::Share {
                name: "IoU of a match",
                value: least,
            });
        }
        candidates.retain(|&pair| self.iou(pair) > least);
        // Of equal pairs the first comes first: the sort is stable.
        candidates.sort_by(|&left, &right| self.iou(right).total_cmp(&self.iou(left)));
        let (mut predicted, mut truth) = (vec![false; self.predicted.len()], vec![false; self.truth.len()]);
        candidates.retain(|&(p, t)| {
            let free = !predicted[p] && !truth[t];
            if free {
                (predicted[p], truth[t]) = (true, true);
            }
            free
        });
        Ok(candidates)
    }

    fn count(&self, pairs: &[(usize, usize)], sizes: std::ops::Range<usize>) -> Detection {
        let (mut predicted, mut truth) = (vec![false; self.predicted.len()], vec![false; self.truth.len()]);
        for &(p, t) in pairs {
            (predicted[p], truth[t]) = (true, true);
        }
        let count = |all: &[usize], hit: &[bool], which: bool| {
            let hits = all.iter().zip(hit);
            hits.filter(|&(size, &hit)| hit == which && sizes.contains(size))
                .count() as u64
        };
        Detection {
            found: count(&self.truth, &truth, true),
            missed: count(&self.truth, &truth, false),
            right: count(&self.predicted, &predicted, true),
            made_up: count(&self.predicted, &predicted, false),
        }
    }
}
