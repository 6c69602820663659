//! Masking images by heatmaps, and re-training classifiers on what is left.
//!
//! A heatmap that is right marks the pixels a classifier needs. Two questions test that: does a
//! classifier trained on the hottest pixels alone still work, and does one trained without them
//! fail? [`Filter`] makes such images, with a random region of the same area and shape as the
//! control; `train::fit` (feature `torch`) trains a classifier on them from the same initial weights.
//! That is remove-and-retrain: Hooker et al., "A Benchmark for Interpretability Methods in Deep
//! Neural Networks", 2019, [arXiv:1806.10758](https://arxiv.org/abs/1806.10758), with the keeping
//! variant of Guan & Loew, "A Sneak Attack on Segmentation of Medical Images Using Deep Neural
//! Network Classifiers", 2021.
//!
//! ```
//! use heatmap_filter::{Fill, Filter, Masking};
//! use ndarray::array;
//!
//! let image = array![[[0.1, 0.2], [0.3, 0.4]]];
//! let heatmap = array![[0.0, 0.9], [0.2, 0.1]];
//! let masking = Masking::new(Filter::RemoveHottest, 0.25, Fill::Value(0.5));
//! let filtered = masking.apply(image.view(), heatmap.view(), 7, 0)?;
//! assert_eq!(filtered, array![[[0.1, 0.5], [0.3, 0.4]]]);
//! # Ok::<(), heatmap_filter::FilterError>(())
//! ```
//!
//! | file | holds |
//! |---|---|
//! | `region.rs` | [`hottest`] pixels, and [`random_like`] them |
//! | `filter.rs` | [`Filter`], [`Fill`], [`Masking`] of images |
//! | `train/` | `fit` and `predict`: AdamW, augmentation, checkpoints (feature `torch`) |

#![forbid(unsafe_code)]

mod error;
mod filter;
mod region;
mod seed;
#[cfg(feature = "torch")]
pub mod train;

pub use error::FilterError;
pub use filter::{Fill, Filter, Masking};
pub use region::{hottest, random_like};

#[cfg(all(doctest, feature = "torch"))]
#[doc = include_str!("../README.md")]
struct Readme;
