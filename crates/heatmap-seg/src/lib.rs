//! Heatmaps to masks, without ever asking for a truth mask.
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
//! | `otsu.rs` | the histogram and the rule of [`Threshold::Otsu`] |
//! | `error.rs` | [`SegError`] |

#![forbid(unsafe_code)]

mod error;
mod otsu;
mod threshold;

pub use error::SegError;
pub use threshold::Threshold;

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
