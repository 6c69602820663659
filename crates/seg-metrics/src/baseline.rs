//! What an answer scores that never looked at the image: a Dice means little unless it is above these.

use std::collections::BTreeMap;

use ndarray::{Array, Array2, ArrayView2, ShapeBuilder};
use rayon::prelude::*;

use crate::mean::Mean;
use crate::{Confusion, EmptyMasks, MetricError};

/// The mask that marks everything.
///
/// Its Dice against a truth that fills the fraction `f` of the image is `2f / (1 + f)`: 0.57 where the
/// tumour fills 40 %.
///
/// # Shapes
/// Any.
///
/// # Cost
/// One pass that writes.
///
/// ```
/// use ndarray::array;
/// use seg_metrics::{Confusion, EmptyMasks, everything};
///
/// let truth = array![[true, true, false, false, false]];
/// let confusion = Confusion::from_masks(everything((1, 5)).view(), truth.view())?;
/// assert_eq!(confusion.dice(EmptyMasks::default())?, 4.0 / 7.0);
/// # Ok::<(), seg_metrics::MetricError>(())
/// ```
pub fn everything<Sh: ShapeBuilder>(shape: Sh) -> Array<bool, Sh::Dim> {
    Array::from_elem(shape, true)
}

/// A disk in the middle of an image of `(height, width)` pixels.
///
/// The pixel in row `i` and column `j` has its centre at `(i + ½, j + ½)` and is in the disk if that is
/// no further than `radius · min(height, width)` from `(height / 2, width / 2)`.
///
/// # Units
/// `radius` is a fraction of the shorter side: at 0.5 the disk touches the nearer borders; from
/// `√(h² + w²) / (2 · min(h, w))` on it covers the image. At 0 it holds the centre pixel of odd sides, and
/// nothing otherwise.
///
/// # Shapes
/// The mask is `(height, width)`.
///
/// # Errors
/// [`MetricError::Radius`] if the radius is not finite or negative.
///
/// # Cost
/// One pass that writes.
///
/// ```
/// use ndarray::array;
/// use seg_metrics::centred_disk;
///
/// let cross = array![[false, true, false], [true, true, true], [false, true, false]];
/// assert_eq!(centred_disk((3, 3), 0.4)?, cross);
/// # Ok::<(), seg_metrics::MetricError>(())
/// ```
pub fn centred_disk((height, width): (usize, usize), radius: f64) -> Result<Array2<bool>, MetricError> {
    check_radius(0, radius)?;
    let limit = squared_radius((height, width), radius);
    Ok(Array2::from_shape_fn((height, width), |pixel| {
        squared_distance((height, width), pixel) <= limit
    }))
}

/// The centred disk of the highest mean Dice, as [`best_centred_disk`] found it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct CentredDisk {
    /// Its radius, as a fraction of the shorter side.
    pub radius: f64,
    /// Its mean Dice over the masks that count.
    pub dice: f64,
    /// How many masks count.
    pub counted: usize,
    /// How many masks do not, because the policy for empty masks makes their Dice NaN.
    pub skipped: usize,
}

/// The radius at which [`centred_disk`] has the highest mean Dice over masks; of several, the smallest.
///
/// Choose it on training or validation masks, and score it on the test masks.
///
/// # Shapes
/// Each mask may have its own.
///
/// # Units
/// Radii are fractions of the shorter side of each mask, in ascending order.
///
/// # Errors
/// [`MetricError::Missing`] without masks or radii; [`MetricError::Radius`] and
/// [`MetricError::Unsorted`] unless the radii are finite, 0 or more, and ascend;
/// [`MetricError::EmptyMaskOfPair`] where `empty` says so; [`MetricError::NothingCounted`] if every
/// Dice is NaN.
///
/// # Cost
/// One pass over each mask whatever the number of radii, masks in parallel; the distances are computed
/// once for each shape.
///
/// ```
/// use seg_metrics::{EmptyMasks, best_centred_disk, centred_disk};
///
/// let masks = [centred_disk((64, 64), 0.31)?, centred_disk((48, 80), 0.29)?];
/// let views: Vec<_> = masks.iter().map(|mask| mask.view()).collect();
/// let best = best_centred_disk(&views, &[0.1, 0.2, 0.3, 0.4], EmptyMasks::default())?;
/// assert_eq!(best.radius, 0.3);
/// assert!(best.dice > 0.95);
/// # Ok::<(), seg_metrics::MetricError>(())
/// ```
pub fn best_centred_disk(
    masks: &[ArrayView2<'_, bool>],
    radii: &[f64],
    empty: EmptyMasks,
) -> Result<CentredDisk, MetricError> {
    for (what, missing) in [("masks", masks.is_empty()), ("radii", radii.is_empty())] {
        if missing {
            return Err(MetricError::Missing { what });
        }
    }
    for (index, &radius) in radii.iter().enumerate() {
        check_radius(index, radius)?;
        if index > 0 && radius <= radii[index - 1] {
            return Err(MetricError::Unsorted { what: "radii", index });
        }
    }
    let rings: BTreeMap<(usize, usize), Array2<usize>> = masks
        .iter()
        .map(|mask| mask.dim())
        .map(|shape| (shape, rings(shape, radii)))
        .collect();
    let scored: Vec<Result<Vec<f64>, MetricError>> = masks
        .par_iter()
        .enumerate()
        .map(|(pair, mask)| {
            // In each ring, the pixels outside and inside the mask.
            let mut counts = vec![[0_u64; 2]; radii.len() + 1];
            ndarray::Zip::from(&rings[&mask.dim()])
                .and(mask)
                .for_each(|&ring, &inside| counts[ring][usize::from(inside)] += 1);
            let in_truth = counts.iter().map(|ring| ring[1]).sum();
            let (mut both, mut in_disk) = (0, 0);
            counts[..radii.len()]
                .iter()
                .map(|[outside, inside]| {
                    both += inside;
                    in_disk += outside + inside;
                    Confusion::of_sums(both, in_disk, in_truth, mask.len() as u64).dice(empty)
                })
                .collect::<Result<_, _>>()
                .map_err(|error| match error {
                    MetricError::EmptyMask { empty } => MetricError::EmptyMaskOfPair { pair, empty },
                    other => other,
                })
        })
        .collect();

    let mut means = vec![Mean::default(); radii.len()];
    for scores in scored {
        for (mean, dice) in means.iter_mut().zip(scores?) {
            mean.add(dice);
        }
    }
    let mut best: Option<CentredDisk> = None;
    for (&radius, mean) in radii.iter().zip(means) {
        let dice = mean.value();
        if !dice.is_nan() && best.is_none_or(|best| dice > best.dice) {
            best = Some(CentredDisk {
                radius,
                dice,
                counted: mean.counted,
                skipped: mean.skipped,
            });
        }
    }
    best.ok_or(MetricError::NothingCounted { skipped: masks.len() })
}

fn check_radius(index: usize, value: f64) -> Result<(), MetricError> {
    if value.is_finite() && value >= 0.0 {
        Ok(())
    } else {
        Err(MetricError::Radius { index, value })
    }
}

fn squared_radius((height, width): (usize, usize), radius: f64) -> f64 {
    (radius * height.min(width) as f64).powi(2)
}

fn squared_distance((height, width): (usize, usize), (row, column): (usize, usize)) -> f64 {
    let y = row as f64 + 0.5 - height as f64 / 2.0;
    let x = column as f64 + 0.5 - width as f64 / 2.0;
    y * y + x * x
}

/// For each pixel, how many of the disks it is outside of.
fn rings(shape: (usize, usize), radii: &[f64]) -> Array2<usize> {
    let limits: Vec<f64> = radii.iter().map(|&radius| squared_radius(shape, radius)).collect();
    Array2::from_shape_fn(shape, |pixel| {
        let distance = squared_distance(shape, pixel);
        limits.partition_point(|&limit| limit < distance)
    })
}
