//! Scores of masks and heatmaps against expert masks, and how sure one may be of them.
//!
//! A mask is an `ndarray` array of bool, a heatmap one of f32 in 0..=1, a score an f64. Views of any
//! dimension and any memory layout go in. What an empty mask scores is always the caller's choice, as a
//! value: [`EmptyMasks`].
//!
//! ```
//! use ndarray::array;
//! use seg_metrics::{Bootstrap, Confusion, EmptyMasks};
//!
//! let prediction = array![[true, true], [false, false]];
//! let truth = array![[true, false], [false, false]];
//! let confusion = Confusion::from_masks(prediction.view(), truth.view())?;
//! assert_eq!(confusion.dice(EmptyMasks::default())?, 2.0 / 3.0);
//!
//! let interval = Bootstrap::default().mean(&[0.6, 0.7, 0.2, f64::NAN, 0.9])?;
//! assert_eq!((interval.counted, interval.skipped), (4, 1));
//! assert!(interval.low < interval.value && interval.value < interval.high);
//! # Ok::<(), seg_metrics::MetricError>(())
//! ```
//!
//! | file | holds |
//! |---|---|
//! | `confusion.rs` | [`Confusion`]: Dice, IoU, precision, recall, specificity, accuracies |
//! | `empty_masks.rs` | [`EmptyMasks`]: what a score is when a mask is empty |
//! | `binary.rs` | masks from integer images |
//! | `dice_curve.rs` | [`DiceCurve`]: heatmaps against masks at every threshold |
//! | `roc_auc.rs` | [`roc_auc`] |
//! | `bootstrap.rs` | [`Bootstrap`]: BCa intervals, by case or by patient |
//! | `mean.rs` | means that skip and count NaN |
//! | `normal.rs` | the normal distribution that BCa needs |
//! | `surface_distances.rs` | [`SurfaceDistances`]: Hausdorff distances, ASSD, MASD, normalised surface Dice |
//! | `surface_elements.rs` | the areas of pieces of surface, by marching squares and cubes |
//! | `nearest_site.rs` | the exact distances from one surface to another |
//! | `bit_mask.rs` | masks at a bit a voxel, their borders and corners |
//! | `distance_transform.rs` | [`distance_transform`]: exact, anisotropic |
//! | `boundary_iou.rs` | [`boundary_iou`] |
//! | `connectivity.rs` | [`Connectivity`]: which voxels are neighbours |
//! | `components.rs` | [`components`]: connected components |
//! | `spacing.rs` | the check of a spacing |
//! | `baseline.rs` | [`everything`], [`centred_disk`], [`best_centred_disk`] |
//! | `error.rs` | [`MetricError`] |

#![forbid(unsafe_code)]

mod baseline;
mod binary;
mod bit_mask;
mod bootstrap;
mod boundary_iou;
mod components;
mod confusion;
mod connectivity;
mod dice_curve;
mod distance_transform;
mod empty_masks;
mod error;
mod mean;
mod nearest_site;
mod normal;
mod roc_auc;
mod spacing;
mod surface_distances;
mod surface_elements;

pub use baseline::{CentredDisk, best_centred_disk, centred_disk, everything};
pub use binary::{binary_mask, mask_above};
pub use bootstrap::{Bootstrap, Interval};
pub use boundary_iou::boundary_iou;
pub use components::{Components, components};
pub use confusion::Confusion;
pub use connectivity::Connectivity;
pub use dice_curve::{DiceCurve, DicePoint, HeatmapAndMask};
pub use distance_transform::distance_transform;
pub use empty_masks::{EmptyMasks, EmptyScore, EmptySide};
pub use error::MetricError;
pub use roc_auc::roc_auc;
pub use surface_distances::{Direction, HausdorffPercentile, SurfaceDice, SurfaceDistances};

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
