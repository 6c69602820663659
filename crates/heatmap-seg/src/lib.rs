//! Heatmaps to masks, without ever asking for a truth mask; only a [`Calibration`] looks at some.
//!
//! A heatmap is an `ndarray` array of f32 in 0..=1, of any dimension and any memory layout. A mask is
//! an array of bool of the same shape. A pixel is foreground where `value > threshold`.
//!
//! ```
//! use heatmap_seg::Threshold;
//! use ndarray::array;
//!
//! let heatmap = array![[0.1_f32, 0.2, 0.1], [0.1, 0.9, 0.8]];
//! let mask = Threshold::Otsu.apply(heatmap.view())?;
//! assert_eq!(mask, array![[false, false, false], [false, true, true]]);
//! # Ok::<(), heatmap_seg::SegError>(())
//! ```
//!
//! | file | holds |
//! |---|---|
//! | `threshold.rs` | [`Threshold`]: a given value, or one found in the map |
//! | `histogram.rs` | the histogram that thresholds are found in |
//! | `otsu.rs`, `multi_otsu.rs`, `percentile.rs`, `yen.rs`, `li.rs`, `triangle.rs`, `maximum_entropy.rs` | a rule of [`Threshold`] each; [`multi_otsu`] |
//! | `local_threshold.rs` | [`LocalThreshold`]: a threshold of each pixel's own |
//! | `hysteresis.rs` | [`Hysteresis`]: what hangs together with something hot |
//! | `calibration.rs` | [`Calibration`]: a threshold chosen on validation images |
//! | `connectivity.rs`, `components.rs` | [`Connectivity`]: which pixels hang together, the components they make |
//! | `clean_up.rs` | [`CleanUp`]: a step on a mask |
//! | `fill_holes.rs`, `morphology.rs`, `convex_hull.rs`, `convex_hull_3d.rs` | such steps |
//! | `seeds.rs` | [`Seeds`]: where a heatmap is sure |
//! | `guided_filter.rs`, `random_walker.rs`, `watershed.rs` | [`GuidedFilter`], [`RandomWalker`], [`Watershed`]: refinement against the image |
//! | `multigrid.rs` | the solver of the random walker's equations |
//! | `slic.rs`, `superpixel_voting.rs` | [`Slic`], the image in small patches, and [`SuperpixelVoting`] over them |
//! | `dense_crf.rs`, `permutohedral.rs` | [`DenseCrf`], and the lattice that its bilateral kernel goes through |
//! | `fusion.rs` | [`Fusion`]: several heatmaps to one |
//! | `pipeline.rs` | [`Pipeline`]: all steps as one value, [`Segmentation`] |
//! | `image.rs` | [`Image`]: grey or of several channels |
//! | `mirror.rs`, `lanes.rs` | what lies past the border, and passes along the axes |
//! | `error.rs` | [`SegError`] |

#![forbid(unsafe_code)]

mod calibration;
mod clean_up;
mod components;
mod connectivity;
mod convex_hull;
mod convex_hull_3d;
mod dense_crf;
mod error;
mod fill_holes;
mod fusion;
mod guided_filter;
mod histogram;
mod hysteresis;
mod image;
mod lanes;
mod li;
mod local_threshold;
mod maximum_entropy;
mod mirror;
mod morphology;
mod multi_otsu;
mod multigrid;
mod otsu;
mod percentile;
mod permutohedral;
mod pipeline;
mod random_walker;
mod seeds;
mod slic;
mod superpixel_voting;
mod threshold;
mod triangle;
mod watershed;
mod yen;

pub use calibration::Calibration;
pub use clean_up::CleanUp;
pub use connectivity::Connectivity;
pub use dense_crf::DenseCrf;
pub use error::SegError;
pub use fusion::Fusion;
pub use guided_filter::GuidedFilter;
pub use hysteresis::Hysteresis;
pub use image::Image;
pub use local_threshold::{LocalThreshold, LocalWindow};
pub use multi_otsu::multi_otsu;
pub use pipeline::{Pipeline, Segmentation};
pub use random_walker::RandomWalker;
pub use seeds::Seeds;
pub use slic::Slic;
pub use superpixel_voting::SuperpixelVoting;
pub use threshold::Threshold;
pub use watershed::Watershed;

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
