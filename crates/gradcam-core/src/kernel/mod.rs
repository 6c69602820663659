//! The way from activations and gradients to heatmaps on plain arrays, without libtorch: for
//! candle, burn, ONNX Runtime or whatever else computed them.
//!
//! Each function equals its tensor twin to rounding: [`grad_cam`] that of the same name at the
//! crate's root, [`upsample`] and [`normalise`] the methods of `Maps`.
//!
//! ```
//! use gradcam_core::{Content, Parallelism, kernel};
//! use ndarray::{Array4, array};
//!
//! // One sample, two channels, 1×2 places. The class speaks for the first channel only.
//! let activations = Array4::from_shape_vec((1, 2, 1, 2), vec![1., 3., 9., 9.])?;
//! let gradients = Array4::from_shape_vec((1, 2, 1, 2), vec![1., 1., 0., 0.])?;
//! let maps = kernel::grad_cam(activations.view(), gradients.view(), Parallelism::Rayon)?;
//! assert_eq!(maps, array![[[1., 3.]]]);
//!
//! let heat = kernel::heatmaps(maps.view(), &[1, 4], Parallelism::Rayon)?;
//! assert_eq!(heat.maps, array![[[0., 0.25, 0.75, 1.]]]);
//! assert_eq!(heat.contents, [Content::Graded]);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod channel_sum;
mod channel_weights;
mod feature_maps;
mod grad_cam;
mod heatmaps;
mod normalise;
mod slices;
mod upsample;

pub use grad_cam::grad_cam;
pub use heatmaps::heatmaps;
pub use normalise::{Normalised, normalise};
pub use upsample::upsample;
