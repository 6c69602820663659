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
//! | `confusion.rs` | [`Confusion`]: Dice, IoU, Fβ, Tversky, volumes, accuracies, Matthews, kappa |
//! | `label_confusion.rs` | [`LabelConfusion`]: several classes, generalised Dice, agreement of partitions |
//! | `soft_dice.rs` | [`soft_dice`] |
//! | `empty_masks.rs` | [`EmptyMasks`]: what a score is when a mask is empty |
//! | `binary.rs` | masks from integer images |
//! | `dice_curve.rs` | [`DiceCurve`]: heatmaps against masks at every threshold |
//! | `roc_auc.rs` | [`roc_auc`], [`heatmap_roc_auc`] |
//! | `average_precision.rs` | [`average_precision`], [`heatmap_average_precision`]: the area under the precision-recall curve |
//! | `localisation.rs` | [`pointing_game`], [`energy_in_mask`], [`relevance_rank`], [`best_dice`] |
//! | `calibration.rs` | [`Calibration`]: expected and maximum calibration error, Brier score |
//! | `bootstrap.rs` | [`Bootstrap`]: BCa intervals, by case or by patient |
//! | `paired_tests.rs` | [`PermutationTest`], [`wilcoxon`], [`holm`] |
//! | `summary.rs` | [`Summary`]: mean, median, quartiles, and how many values they are of |
//! | `mean.rs` | means that skip and count NaN |
//! | `normal.rs` | the normal distribution that BCa needs |
//! | `surface_distances.rs` | [`SurfaceDistances`]: Hausdorff distances, ASSD, MASD, normalised surface Dice |
//! | `surface_elements.rs` | the areas of pieces of surface, by marching squares and cubes |
//! | `nearest_site.rs` | the exact distances from one surface to another |
//! | `bounding_box.rs` | the box around a mask |
//! | `bit_mask.rs` | masks at a bit a voxel, their borders and corners |
//! | `distance_transform.rs` | [`distance_transform`]: exact, anisotropic |
//! | `boundary_iou.rs` | [`boundary_iou`] |
//! | `connectivity.rs` | [`Connectivity`]: which voxels are neighbours |
//! | `components.rs` | [`components`]: connected components |
//! | `lesions.rs` | [`Lesions`]: detection by lesion, by size, panoptic quality |
//! | `froc.rs` | [`Froc`]: sensitivity against false candidates per image |
//! | `skeleton.rs` | [`skeleton`]: Lee's thinning |
//! | `cl_dice.rs` | [`cl_dice`] |
//! | `shape.rs`, `spacing.rs` | the checks of shapes and of a spacing |
//! | `ranking.rs` | scores of cases in order, for curves over thresholds |
//! | `baseline.rs` | [`everything`], [`centred_disk`], [`best_centred_disk`] |
//! | `error.rs` | [`MetricError`] |

#![forbid(unsafe_code)]

mod average_precision;
mod baseline;
mod binary;
mod bit_mask;
mod bootstrap;
mod boundary_iou;
mod bounding_box;
mod calibration;
mod cl_dice;
mod components;
mod confusion;
mod connectivity;
mod dice_curve;
mod distance_transform;
mod empty_masks;
mod error;
mod froc;
mod label_confusion;
mod lesions;
mod localisation;
mod mean;
mod nearest_site;
mod normal;
mod paired_tests;
mod ranking;
mod roc_auc;
mod shape;
mod skeleton;
mod soft_dice;
mod spacing;
mod summary;
mod surface_distances;
mod surface_elements;

pub use average_precision::{average_precision, heatmap_average_precision};
pub use baseline::{CentredDisk, best_centred_disk, centred_disk, everything};
pub use binary::{binary_mask, mask_above};
pub use bootstrap::{Bootstrap, Interval};
pub use boundary_iou::boundary_iou;
pub use calibration::{Calibration, CalibrationBin};
pub use cl_dice::cl_dice;
pub use components::{Components, components};
pub use confusion::Confusion;
pub use connectivity::Connectivity;
pub use dice_curve::{DiceCurve, DicePoint, HeatmapAndMask};
pub use distance_transform::distance_transform;
pub use empty_masks::{EmptyMasks, EmptyScore, EmptySide};
pub use error::MetricError;
pub use froc::{Candidate, Froc, FrocPoint};
pub use label_confusion::{LabelConfusion, VariationOfInformation};
pub use lesions::{Detection, LesionMatch, Lesions, PanopticQuality};
pub use localisation::{BestDice, best_dice, energy_in_mask, pointing_game, relevance_rank};
pub use paired_tests::{Alternative, PairedTest, PermutationTest, holm, wilcoxon};
pub use roc_auc::{heatmap_roc_auc, roc_auc};
pub use skeleton::skeleton;
pub use soft_dice::{SoftDenominator, soft_dice};
pub use summary::Summary;
pub use surface_distances::{Direction, HausdorffPercentile, SurfaceDice, SurfaceDistances};

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
