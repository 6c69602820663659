use ndarray::{ArrayView, ArrayView3, Axis, Dimension};
use rayon::prelude::*;

use crate::bit_mask::BitMask;
use crate::bounding_box::{bounding_box, union};
use crate::empty_masks::{DISTANCE, OVERLAP};
use crate::nearest_site::{MOST, Sites};
use crate::shape::{check_shapes, volume};
use crate::spacing::check_spacing;
use crate::{Connectivity, EmptyMasks, MetricError, surface_elements};

/// From which surface to which a directed measure looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Direction {
    /// From each voxel of the prediction's surface to the truth's surface.
    PredictionToTruth,
    /// From each voxel of the truth's surface to the prediction's surface.
    TruthToPrediction,
}

/// What a percentile of the Hausdorff distance is taken of. The three differ, and none is "the" HD95.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum HausdorffPercentile {
    /// The percentile of both directions' distances together, linear between them: MedPy's `hd95`.
    Pooled,
    /// The larger of the two directions' percentiles, linear between distances: MONAI's
    /// `compute_hausdorff_distance(percentile=…)` and MetricsReloaded's.
    MaxOfDirected,
    /// The larger of the two directions' percentiles by area: the least distance within which that share
    /// of the surface's area lies. `compute_robust_hausdorff` of DeepMind's `surface-distance`.
    SurfaceElements,
}

/// What a normalised surface Dice counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SurfaceDice {
    /// Voxels of the surfaces: MONAI's `compute_surface_dice` and MetricsReloaded's `normalised_surface_distance`.
    BoundaryVoxels,
    /// Area: `compute_surface_dice_at_tolerance` of DeepMind's `surface-distance`.
    SurfaceElements,
}

/// The distances between the surfaces of two masks, computed once for all measures that follow from them.
///
/// With `S(P)` and `S(T)` the surface voxels of prediction and truth – those with a neighbour outside their
/// mask, where [`Connectivity`] says what a neighbour is and beyond the image everything is outside –
/// and `d(p, S) = min over s in S of ‖p − s‖`, centre to centre in units of the spacing:
///
/// | measure | formula |
/// |---|---|
/// | [`hausdorff`](Self::hausdorff) | `max(max d(p, S(T)), max d(t, S(P)))` |
/// | [`hausdorff_percentile`](Self::hausdorff_percentile) | one of three, see [`HausdorffPercentile`] |
/// | [`assd`](Self::assd) | `(Σ d(p, S(T)) + Σ d(t, S(P))) / (│S(P)│ + │S(T)│)` |
/// | [`masd`](Self::masd) | `(mean d(p, S(T)) + mean d(t, S(P))) / 2` |
/// | [`surface_dice`](Self::surface_dice) | the share of both surfaces within a tolerance of the other |
///
/// What is named after surface elements takes, instead of voxels, the corners between voxels that the
/// surface passes, each weighted by the area of its piece of surface (2-D: length); see [`SurfaceDice`].
///
/// Maier-Hein et al., "Metrics reloaded: recommendations for image analysis validation", 2024,
/// [10.1038/s41592-023-02151-z](https://doi.org/10.1038/s41592-023-02151-z).
///
/// ```
/// use ndarray::Array2;
/// use seg_metrics::{Connectivity, EmptyMasks, HausdorffPercentile, SurfaceDice, SurfaceDistances};
///
/// let square = |left: usize| Array2::from_shape_fn((12, 16), |(y, x)| (3..9).contains(&y) && (left..left + 6).contains(&x));
/// let (prediction, truth) = (square(6), square(4));
/// let distances = SurfaceDistances::new(prediction.view(), truth.view(), &[1.0, 0.5], Connectivity::Faces)?;
///
/// let empty = EmptyMasks::default();
/// assert_eq!(distances.hausdorff(empty)?, 1.0);
/// assert_eq!(distances.hausdorff_percentile(95.0, HausdorffPercentile::Pooled, empty)?, 1.0);
/// assert_eq!(distances.surface_dice(1.0, SurfaceDice::BoundaryVoxels, empty)?, 1.0);
/// assert_eq!(distances.surface_dice(0.0, SurfaceDice::BoundaryVoxels, empty)?, 0.4);
/// # Ok::<(), seg_metrics::MetricError>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct SurfaceDistances {
    prediction_empty: bool,
    truth_empty: bool,
    prediction_to_truth: Distances,
    truth_to_prediction: Distances,
}

/// Ascending distances from one surface to the other.
#[derive(Debug, Clone, Default, PartialEq)]
struct Distances {
    voxels: Vec<f64>,
    mean: f64,
    /// The surface elements' distances with their areas.
    elements: Vec<(f64, f64)>,
    area: f64,
}

impl SurfaceDistances {
    /// Finds the surfaces of two masks and the distances between them.
    ///
    /// # Shapes
    /// 2-D or 3-D, the same for both; the memory layouts may differ.
    ///
    /// # Units
    /// All distances are in those of `spacing`, which has one length per axis.
    ///
    /// # Errors
    /// [`MetricError::Shape`]; [`MetricError::Axes`] unless there are 2 or 3; [`MetricError::AxisLength`] from
    /// 2²³ voxels along one; [`MetricError::Length`] and [`MetricError::Spacing`] for a wrong spacing.
    ///
    /// # Cost
    /// One pass over both masks, which finds the box around them; what is in it is packed to a bit a voxel, and the
    /// rest depends on the surfaces alone. On all threads. Beyond the masks it takes less than a byte for each voxel of
    /// the box and about 30 for each voxel and element of the surfaces, of which 8 and 16 remain.
    ///
    /// ```
    /// use ndarray::Array3;
    /// use seg_metrics::{Connectivity, MetricError, SurfaceDistances};
    ///
    /// let mask = Array3::from_elem((2, 3, 4), true);
    /// let error = SurfaceDistances::new(mask.view(), mask.view(), &[1.0, 1.0], Connectivity::Faces).unwrap_err();
    /// assert!(matches!(error, MetricError::Length { first_len: 3, second_len: 2, .. }));
    /// ```
    pub fn new<D: Dimension>(
        prediction: ArrayView<'_, bool, D>,
        truth: ArrayView<'_, bool, D>,
        spacing: &[f64],
        connectivity: Connectivity,
    ) -> Result<Self, MetricError> {
        check_shapes(&prediction, &truth)?;
        let axes = prediction.ndim();
        let (mut prediction, mut truth) = (volume(prediction)?, volume(truth)?);
        let lengths = &prediction.shape()[3 - axes..];
        if let Some(axis) = lengths.iter().position(|&length| length > MOST) {
            return Err(MetricError::AxisLength {
                axis,
                length: lengths[axis],
                most: MOST,
            });
        }
        check_spacing(axes, spacing)?;
        let spacing = match *spacing {
            [y, x] => [1.0, y, x],
            [z, y, x] => [z, y, x],
            _ => unreachable!("as many spacings as axes"),
        };
        let (around_prediction, around_truth) = rayon::join(|| bounding_box(prediction), || bounding_box(truth));
        let mut distances = SurfaceDistances {
            prediction_empty: around_prediction.is_none(),
            truth_empty: around_truth.is_none(),
            prediction_to_truth: Distances::default(),
            truth_to_prediction: Distances::default(),
        };
        if distances.prediction_empty || distances.truth_empty {
            return Ok(distances);
        }
        for (axis, range) in union(around_prediction, around_truth).into_iter().flatten().enumerate() {
            prediction.slice_axis_inplace(Axis(axis), range.clone().into());
            truth.slice_axis_inplace(Axis(axis), range.into());
        }
        let (prediction, truth) = rayon::join(
            || Surface::new(prediction, axes, connectivity),
            || Surface::new(truth, axes, connectivity),
        );
        let areas = if axes == 3 {
            surface_elements::areas(spacing)
        } else {
            surface_elements::lengths([spacing[1], spacing[2]])
        };
        let (there, back) = rayon::join(
            || prediction.distances(&truth, spacing, &areas),
            || truth.distances(&prediction, spacing, &areas),
        );
        distances.prediction_to_truth = there;
        distances.truth_to_prediction = back;
        Ok(distances)
    }

    /// The distances from one surface's voxels to the other surface, ascending; none if a mask is empty.
    ///
    /// ```
    /// # use ndarray::array;
    /// # use seg_metrics::{Connectivity, Direction, SurfaceDistances};
    /// let (prediction, truth) = (array![[true, false, true]], array![[true, false, false]]);
    /// let distances = SurfaceDistances::new(prediction.view(), truth.view(), &[1.0, 1.0], Connectivity::Faces)?;
    /// assert_eq!(distances.directed(Direction::PredictionToTruth), [0.0, 2.0]);
    /// assert_eq!(distances.directed(Direction::TruthToPrediction), [0.0]);
    /// # Ok::<(), seg_metrics::MetricError>(())
    /// ```
    pub fn directed(&self, direction: Direction) -> &[f64] {
        &self.side(direction).voxels
    }

    /// The surface elements' distances to the other surface, ascending, each with its area (2-D: length).
    ///
    /// ```
    /// # use ndarray::array;
    /// # use seg_metrics::{Connectivity, Direction, SurfaceDistances};
    /// let mask = array![[true]];
    /// let distances = SurfaceDistances::new(mask.view(), mask.view(), &[1.0, 1.0], Connectivity::Faces)?;
    /// assert_eq!(distances.elements(Direction::PredictionToTruth), [(0.0, 0.5_f64.sqrt()); 4]);
    /// # Ok::<(), seg_metrics::MetricError>(())
    /// ```
    pub fn elements(&self, direction: Direction) -> &[(f64, f64)] {
        &self.side(direction).elements
    }

    /// The Hausdorff distance: the furthest that a surface voxel of either mask is from the other surface.
    ///
    /// # Errors
    /// [`MetricError::EmptyMask`] where `empty` says so; its worst value is infinity.
    ///
    /// ```
    /// # use ndarray::array;
    /// # use seg_metrics::{Connectivity, EmptyMasks, SurfaceDistances};
    /// let (prediction, truth) = (array![[true, false, true]], array![[true, false, false]]);
    /// let distances = SurfaceDistances::new(prediction.view(), truth.view(), &[1.0, 0.5], Connectivity::Faces)?;
    /// assert_eq!(distances.hausdorff(EmptyMasks::default())?, 1.0);
    /// # Ok::<(), seg_metrics::MetricError>(())
    /// ```
    pub fn hausdorff(&self, empty: EmptyMasks) -> Result<f64, MetricError> {
        self.score(empty, DISTANCE, |there, back| {
            last(&there.voxels).max(last(&back.voxels))
        })
    }

    /// A percentile of the Hausdorff distance, in one of three definitions.
    ///
    /// # Units
    /// `percentile` is in 0..=100: 95 for the HD95.
    ///
    /// # Errors
    /// [`MetricError::Percentile`]; [`MetricError::EmptyMask`] where `empty` says so; its worst value is
    /// infinity.
    ///
    /// ```
    /// # use ndarray::array;
    /// # use seg_metrics::{Connectivity, EmptyMasks, HausdorffPercentile, SurfaceDistances};
    /// let (prediction, truth) = (array![[true, false, true]], array![[true, false, false]]);
    /// let distances = SurfaceDistances::new(prediction.view(), truth.view(), &[1.0, 1.0], Connectivity::Faces)?;
    /// let median = |definition| distances.hausdorff_percentile(50.0, definition, EmptyMasks::default());
    /// assert_eq!(median(HausdorffPercentile::Pooled)?, 0.0); // of 0, 0 and 2
    /// assert_eq!(median(HausdorffPercentile::MaxOfDirected)?, 1.0); // of 0 and 2, and of 0
    /// # Ok::<(), seg_metrics::MetricError>(())
    /// ```
    pub fn hausdorff_percentile(
        &self,
        percentile: f64,
        definition: HausdorffPercentile,
        empty: EmptyMasks,
    ) -> Result<f64, MetricError> {
        let share = share(percentile)?;
        self.score(empty, DISTANCE, |there, back| match definition {
            HausdorffPercentile::Pooled => percentile_of(there.voxels.len() + back.voxels.len(), share, |rank| {
                ranked(&there.voxels, &back.voxels, rank)
            }),
            HausdorffPercentile::MaxOfDirected => there.percentile(share).max(back.percentile(share)),
            HausdorffPercentile::SurfaceElements => there.percentile_by_area(share).max(back.percentile_by_area(share)),
        })
    }

    /// A percentile of the distances in one direction, linear between them; 100 for the directed
    /// Hausdorff distance.
    ///
    /// # Errors
    /// [`MetricError::Percentile`]; [`MetricError::EmptyMask`] where `empty` says so.
    ///
    /// ```
    /// # use ndarray::array;
    /// # use seg_metrics::{Connectivity, Direction, EmptyMasks, SurfaceDistances};
    /// let (prediction, truth) = (array![[true, false, true]], array![[true, false, false]]);
    /// let distances = SurfaceDistances::new(prediction.view(), truth.view(), &[1.0, 1.0], Connectivity::Faces)?;
    /// let empty = EmptyMasks::default();
    /// assert_eq!(distances.directed_hausdorff(Direction::PredictionToTruth, 100.0, empty)?, 2.0);
    /// assert_eq!(distances.directed_hausdorff(Direction::TruthToPrediction, 100.0, empty)?, 0.0);
    /// # Ok::<(), seg_metrics::MetricError>(())
    /// ```
    pub fn directed_hausdorff(
        &self,
        direction: Direction,
        percentile: f64,
        empty: EmptyMasks,
    ) -> Result<f64, MetricError> {
        let share = share(percentile)?;
        self.score(empty, DISTANCE, |_, _| self.side(direction).percentile(share))
    }

    /// The average symmetric surface distance: the mean of both directions' distances together.
    ///
    /// `ASSD` of MetricsReloaded, MedPy's `assd` and MONAI's `compute_average_surface_distance(symmetric=True)`.
    ///
    /// # Errors
    /// [`MetricError::EmptyMask`] where `empty` says so.
    ///
    /// ```
    /// # use ndarray::array;
    /// # use seg_metrics::{Connectivity, EmptyMasks, SurfaceDistances};
    /// let (prediction, truth) = (array![[true, false, true]], array![[true, false, false]]);
    /// let distances = SurfaceDistances::new(prediction.view(), truth.view(), &[1.0, 1.0], Connectivity::Faces)?;
    /// assert_eq!(distances.assd(EmptyMasks::default())?, 2.0 / 3.0);
    /// # Ok::<(), seg_metrics::MetricError>(())
    /// ```
    pub fn assd(&self, empty: EmptyMasks) -> Result<f64, MetricError> {
        self.score(empty, DISTANCE, |there, back| {
            let (m, n) = (there.voxels.len() as f64, back.voxels.len() as f64);
            (there.mean * m + back.mean * n) / (m + n)
        })
    }

    /// The mean average surface distance: the mean of the two directions' means. `MASD` of
    /// MetricsReloaded.
    ///
    /// # Errors
    /// [`MetricError::EmptyMask`] where `empty` says so.
    ///
    /// ```
    /// # use ndarray::array;
    /// # use seg_metrics::{Connectivity, EmptyMasks, SurfaceDistances};
    /// let (prediction, truth) = (array![[true, false, true]], array![[true, false, false]]);
    /// let distances = SurfaceDistances::new(prediction.view(), truth.view(), &[1.0, 1.0], Connectivity::Faces)?;
    /// assert_eq!(distances.masd(EmptyMasks::default())?, 0.5);
    /// # Ok::<(), seg_metrics::MetricError>(())
    /// ```
    pub fn masd(&self, empty: EmptyMasks) -> Result<f64, MetricError> {
        self.score(empty, DISTANCE, |there, back| (there.mean + back.mean) / 2.0)
    }

    /// The mean distance in one direction. MedPy's `asd`.
    ///
    /// # Errors
    /// [`MetricError::EmptyMask`] where `empty` says so.
    ///
    /// ```
    /// # use ndarray::array;
    /// # use seg_metrics::{Connectivity, Direction, EmptyMasks, SurfaceDistances};
    /// let (prediction, truth) = (array![[true, false, true]], array![[true, false, false]]);
    /// let distances = SurfaceDistances::new(prediction.view(), truth.view(), &[1.0, 1.0], Connectivity::Faces)?;
    /// assert_eq!(distances.mean_directed(Direction::PredictionToTruth, EmptyMasks::default())?, 1.0);
    /// # Ok::<(), seg_metrics::MetricError>(())
    /// ```
    pub fn mean_directed(&self, direction: Direction, empty: EmptyMasks) -> Result<f64, MetricError> {
        self.score(empty, DISTANCE, |_, _| self.side(direction).mean)
    }

    /// The mean distance of the surface elements in one direction, weighted by area.
    ///
    /// One of the two answers of DeepMind's `compute_average_surface_distance`.
    ///
    /// # Errors
    /// [`MetricError::EmptyMask`] where `empty` says so.
    ///
    /// ```
    /// # use ndarray::array;
    /// # use seg_metrics::{Connectivity, Direction, EmptyMasks, SurfaceDistances};
    /// let (prediction, truth) = (array![[true, false, true]], array![[true, false, false]]);
    /// let distances = SurfaceDistances::new(prediction.view(), truth.view(), &[1.0, 1.0], Connectivity::Faces)?;
    /// // Of the eight corners, four coincide, two are one away and two are two away.
    /// let mean = distances.mean_by_area(Direction::PredictionToTruth, EmptyMasks::default())?;
    /// assert!((mean - 0.75).abs() < 1e-15);
    /// # Ok::<(), seg_metrics::MetricError>(())
    /// ```
    pub fn mean_by_area(&self, direction: Direction, empty: EmptyMasks) -> Result<f64, MetricError> {
        self.score(empty, DISTANCE, |_, _| {
            let side = self.side(direction);
            let sum: f64 = side.elements.iter().map(|(distance, area)| distance * area).sum();
            sum / side.area
        })
    }

    /// The normalised surface Dice: the share of both surfaces that lies within a tolerance of the other,
    /// in one of two definitions.
    ///
    /// ```text
    /// (│{p : d(p, S(T)) ≤ τ}│ + │{t : d(t, S(P)) ≤ τ}│) / (│S(P)│ + │S(T)│)
    /// ```
    ///
    /// Nikolov et al., "Clinically Applicable Segmentation of Head and Neck Anatomy for Radiotherapy", 2021,
    /// [10.2196/26151](https://doi.org/10.2196/26151).
    ///
    /// # Units
    /// `tolerance` is in those of the spacing.
    ///
    /// # Errors
    /// [`MetricError::Tolerance`]; [`MetricError::EmptyMask`] where `empty` says so.
    ///
    /// ```
    /// # use ndarray::array;
    /// # use seg_metrics::{Connectivity, EmptyMasks, SurfaceDice, SurfaceDistances};
    /// let (prediction, truth) = (array![[true, false, true]], array![[true, false, false]]);
    /// let distances = SurfaceDistances::new(prediction.view(), truth.view(), &[1.0, 1.0], Connectivity::Faces)?;
    /// let empty = EmptyMasks::default();
    /// assert_eq!(distances.surface_dice(1.0, SurfaceDice::BoundaryVoxels, empty)?, 2.0 / 3.0);
    /// let by_length = distances.surface_dice(1.0, SurfaceDice::SurfaceElements, empty)?;
    /// assert!((by_length - 10.0 / 12.0).abs() < 1e-15);
    /// # Ok::<(), seg_metrics::MetricError>(())
    /// ```
    pub fn surface_dice(&self, tolerance: f64, counts: SurfaceDice, empty: EmptyMasks) -> Result<f64, MetricError> {
        if tolerance.is_nan() || tolerance < 0.0 {
            return Err(MetricError::Tolerance { value: tolerance });
        }
        self.score(empty, OVERLAP, |there, back| match counts {
            SurfaceDice::BoundaryVoxels => {
                let within = |side: &Distances| side.voxels.partition_point(|&distance| distance <= tolerance);
                (within(there) + within(back)) as f64 / (there.voxels.len() + back.voxels.len()) as f64
            }
            SurfaceDice::SurfaceElements => {
                let within = |side: &Distances| {
                    let count = side.elements.partition_point(|&(distance, _)| distance <= tolerance);
                    side.elements[..count].iter().map(|&(_, area)| area).sum::<f64>()
                };
                (within(there) + within(back)) / (there.area + back.area)
            }
        })
    }

    fn side(&self, direction: Direction) -> &Distances {
        match direction {
            Direction::PredictionToTruth => &self.prediction_to_truth,
            Direction::TruthToPrediction => &self.truth_to_prediction,
        }
    }

    fn score(
        &self,
        empty: EmptyMasks,
        range: (f64, f64),
        score: impl FnOnce(&Distances, &Distances) -> f64,
    ) -> Result<f64, MetricError> {
        empty
            .score(self.prediction_empty, self.truth_empty, range)
            .unwrap_or_else(|| Ok(score(&self.prediction_to_truth, &self.truth_to_prediction)))
    }
}

impl Distances {
    fn percentile(&self, share: f64) -> f64 {
        percentile_of(self.voxels.len(), share, |rank| self.voxels[rank])
    }

    fn percentile_by_area(&self, share: f64) -> f64 {
        // A share that is reached exactly is reached whichever way the sum rounds.
        let enough = share * self.area * (1.0 - 1e-12);
        let mut area = 0.0;
        let reached = self.elements.iter().find(|element| {
            area += element.1;
            area >= enough
        });
        reached.or(self.elements.last()).map_or(f64::NAN, |element| element.0)
    }
}

/// What is measured of a mask's surface.
struct Surface {
    voxels: Sites,
    elements: Sites,
    /// Which voxels around each element are inside, in the order of the elements.
    codes: Vec<u8>,
}

impl Surface {
    fn new(mask: ArrayView3<'_, bool>, axes: usize, connectivity: Connectivity) -> Self {
        let mask = BitMask::pack(mask, axes);
        let (voxels, (elements, codes)) = rayon::join(
            || Sites::new(&mask.border(connectivity)),
            || {
                let elements = Sites::new(&mask.surface_corners());
                let codes = elements.iter().map(|corner| mask.corner_code(corner)).collect();
                (elements, codes)
            },
        );
        Surface {
            voxels,
            elements,
            codes,
        }
    }

    fn distances(&self, other: &Surface, spacing: [f64; 3], areas: &[f64]) -> Distances {
        let (voxels, elements) = rayon::join(
            || {
                let mut voxels = self.voxels.distances(&other.voxels, spacing);
                voxels.par_sort_unstable_by(f64::total_cmp);
                voxels
            },
            || {
                let distances = self.elements.distances(&other.elements, spacing);
                let areas = self.codes.iter().map(|&code| areas[usize::from(code)]);
                let mut elements: Vec<(f64, f64)> = distances.into_iter().zip(areas).collect();
                elements
                    .par_sort_unstable_by(|left, right| left.0.total_cmp(&right.0).then(left.1.total_cmp(&right.1)));
                elements
            },
        );
        Distances {
            mean: voxels.iter().sum::<f64>() / voxels.len() as f64,
            voxels,
            area: elements.iter().map(|&(_, area)| area).sum(),
            elements,
        }
    }
}

fn share(percentile: f64) -> Result<f64, MetricError> {
    if (0.0..=100.0).contains(&percentile) {
        Ok(percentile / 100.0)
    } else {
        Err(MetricError::Percentile { value: percentile })
    }
}

fn last(ascending: &[f64]) -> f64 {
    ascending.last().copied().unwrap_or(f64::NAN)
}

/// The share of `count` ascending values, linear between them (type 7, as numpy and torch by default).
fn percentile_of(count: usize, share: f64, value: impl Fn(usize) -> f64) -> f64 {
    let position = share * (count - 1) as f64;
    let below = (position.floor() as usize).min(count - 1);
    let low = value(below);
    if below + 1 < count {
        low + (value(below + 1) - low) * (position - below as f64)
    } else {
        low
    }
}

/// The value of a rank among two ascending lists together.
fn ranked(left: &[f64], right: &[f64], rank: usize) -> f64 {
    // How many of the values up to that rank come from the left list.
    let (mut low, mut high) = (rank.saturating_sub(right.len()), rank.min(left.len()));
    while low < high {
        let middle = (low + high) / 2;
        if left[middle] < right[rank - middle - 1] {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    let next_left = left.get(low).copied().unwrap_or(f64::INFINITY);
    let next_right = right.get(rank - low).copied().unwrap_or(f64::INFINITY);
    next_left.min(next_right)
}
