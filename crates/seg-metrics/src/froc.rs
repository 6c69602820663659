use std::collections::HashSet;

use crate::MetricError;

/// A place that a detector marks in an image.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Candidate {
    /// How sure the detector is.
    pub score: f64,
    /// The true lesion of the image that the place hits, from 0; None if it hits none.
    pub lesion: Option<usize>,
}

/// The free-response ROC curve: the share of all lesions found against the false candidates per image, at
/// every threshold of the candidates' scores.
///
/// A lesion is found once its first candidate is above the threshold; further candidates of the same lesion
/// are neither found lesions nor false. Bunch, Hamilton, Sanderson & Simmons, "A Free Response Approach to the
/// Measurement and Characterization of Radiographic-Observer Performance", 1977,
/// [10.1117/12.955926](https://doi.org/10.1117/12.955926).
///
/// ```
/// use seg_metrics::{Candidate, Froc};
///
/// let hit = |score, lesion| Candidate { score, lesion: Some(lesion) };
/// let miss = |score| Candidate { score, lesion: None };
/// // Two images with two and one lesions.
/// let froc = Froc::new(&[(2, vec![hit(0.9, 0), miss(0.8), hit(0.4, 1)]), (1, vec![miss(0.6), hit(0.5, 0)])])?;
/// assert_eq!(froc.points()[0].sensitivity, 1.0 / 3.0);
/// assert_eq!(froc.sensitivity_at(1.0)?, 1.0);
/// assert_eq!(froc.score(&[0.25, 0.5])?, 1.0 / 3.0);
/// # Ok::<(), seg_metrics::MetricError>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct Froc {
    points: Vec<FrocPoint>,
}

/// A point of a [`Froc`] curve.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct FrocPoint {
    /// Candidates of this score and above are taken.
    pub threshold: f64,
    /// False candidates per image.
    pub false_per_image: f64,
    /// The share of lesions found.
    pub sensitivity: f64,
}

impl Froc {
    /// The false candidates per image at which LUNA16 averages the sensitivity: ⅛ to 8.
    pub const LUNA16: [f64; 7] = [0.125, 0.25, 0.5, 1.0, 2.0, 4.0, 8.0];

    /// Makes the curve of images, each with the number of its lesions and its candidates.
    ///
    /// # Errors
    /// [`MetricError::Missing`] without images; [`MetricError::ClassAbsent`] without lesions;
    /// [`MetricError::ScoreNotFinite`]; [`MetricError::Lesion`] if a candidate names a lesion that its image has
    /// not.
    ///
    /// # Cost
    /// One sort of all candidates.
    ///
    /// ```
    /// # use seg_metrics::{Candidate, Froc, MetricError};
    /// let stray = Candidate { score: 0.5, lesion: Some(3) };
    /// let error = Froc::new(&[(1, vec![stray])]).unwrap_err();
    /// assert_eq!(error, MetricError::Lesion { image: 0, lesion: 3, lesions: 1 });
    /// ```
    pub fn new(images: &[(usize, Vec<Candidate>)]) -> Result<Self, MetricError> {
        if images.is_empty() {
            return Err(MetricError::Missing { what: "images" });
        }
        let lesions: f64 = images.iter().map(|&(lesions, _)| lesions as f64).sum();
        if lesions == 0.0 {
            return Err(MetricError::ClassAbsent {
                score: "free-response ROC curve",
                class: true,
            });
        }
        let mut candidates = Vec::new();
        for (image, (lesions, marks)) in images.iter().enumerate() {
            for (index, mark) in marks.iter().enumerate() {
                if !mark.score.is_finite() {
                    return Err(MetricError::ScoreNotFinite {
                        index,
                        value: mark.score,
                    });
                }
                if let Some(lesion) = mark.lesion.filter(|lesion| lesion >= lesions) {
                    return Err(MetricError::Lesion {
                        image,
                        lesion,
                        lesions: *lesions,
                    });
                }
                candidates.push((mark.score + 0.0, image, mark.lesion));
            }
        }
        candidates.sort_unstable_by(|left, right| right.0.total_cmp(&left.0));
        let mut found = HashSet::new();
        let (mut hits, mut misses) = (0, 0);
        let mut points = Vec::new();
        for tied in candidates.chunk_by(|left, right| left.0 == right.0) {
            for &(_, image, lesion) in tied {
                match lesion {
                    Some(lesion) => {
                        hits += usize::from(found.insert((image, lesion)));
                    }
                    None => misses += 1,
                }
            }
            points.push(FrocPoint {
                threshold: tied[0].0,
                false_per_image: misses as f64 / images.len() as f64,
                sensitivity: hits as f64 / lesions,
            });
        }
        Ok(Froc { points })
    }

    /// The points, from the highest threshold down.
    pub fn points(&self) -> &[FrocPoint] {
        &self.points
    }

    /// The sensitivity at so many false candidates per image, linear between the points and from (0, 0) on, as
    /// LUNA16 and CAMELYON16 score.
    ///
    /// # Errors
    /// [`MetricError::Weight`] if the number is not finite or negative.
    ///
    /// ```
    /// # use seg_metrics::{Candidate, Froc};
    /// let candidates = vec![Candidate { score: 0.8, lesion: None }, Candidate { score: 0.7, lesion: Some(0) }];
    /// let froc = Froc::new(&[(1, candidates)])?;
    /// assert_eq!((froc.sensitivity_at(0.5)?, froc.sensitivity_at(1.0)?), (0.0, 1.0));
    /// # Ok::<(), seg_metrics::MetricError>(())
    /// ```
    pub fn sensitivity_at(&self, false_per_image: f64) -> Result<f64, MetricError> {
        if !(false_per_image.is_finite() && false_per_image >= 0.0) {
            return Err(MetricError::Weight {
                name: "number of false candidates per image",
                value: false_per_image,
            });
        }
        let within = self
            .points
            .partition_point(|point| point.false_per_image <= false_per_image);
        let (rate, sensitivity) = within.checked_sub(1).map_or((0.0, 0.0), |last| {
            (self.points[last].false_per_image, self.points[last].sensitivity)
        });
        Ok(self.points.get(within).map_or(sensitivity, |next| {
            let way = (false_per_image - rate) / (next.false_per_image - rate);
            sensitivity + way * (next.sensitivity - sensitivity)
        }))
    }

    /// The mean of the sensitivities at several numbers of false candidates per image, such as
    /// [`Froc::LUNA16`].
    ///
    /// # Errors
    /// [`MetricError::Missing`] without numbers; [`MetricError::Weight`] if one is not finite or negative.
    ///
    /// ```
    /// # use seg_metrics::{Candidate, Froc};
    /// let froc = Froc::new(&[(2, vec![Candidate { score: 0.7, lesion: Some(0) }])])?;
    /// assert_eq!(froc.score(&Froc::LUNA16)?, 0.5);
    /// # Ok::<(), seg_metrics::MetricError>(())
    /// ```
    pub fn score(&self, false_per_image: &[f64]) -> Result<f64, MetricError> {
        if false_per_image.is_empty() {
            return Err(MetricError::Missing {
                what: "numbers of false candidates",
            });
        }
        let mut sum = 0.0;
        for &number in false_per_image {
            sum += self.sensitivity_at(number)?;
        }
        Ok(sum / false_per_image.len() as f64)
    }
}
