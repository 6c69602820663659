//! The way from activations and gradients to heatmaps on plain arrays, without libtorch: for
//! candle, burn, ONNX Runtime or whatever else computed them.
//!
//! Each method's function equals its tensor twin of the same name at the crate's root to rounding,
//! [`upsample`] and [`normalise`] the methods of `Maps`. [`principal_component`] is eigen smoothing,
//! for whatever weighted activations it is given.
//!
//! What a framework hands out is one slice of values and a shape; a view of it is enough, and nothing
//! is copied:
//!
//! ```
//! use gradcam_core::{Content, Parallelism, kernel};
//! use ndarray::{ArrayView4, array};
//!
//! // One sample, two channels, 1×2 places, as `flatten_all()?.to_vec1::<f32>()?` of candle,
//! // `into_data().as_slice::<f32>()` of burn and `try_extract_tensor::<f32>()` of ort give them
//! // (the repository's examples/other_frameworks). The class speaks for the first channel only.
//! let shape = (1, 2, 1, 2);
//! let activations: &[f32] = &[1., 3., 9., 9.];
//! let gradients: &[f32] = &[1., 1., 0., 0.];
//! let activations = ArrayView4::from_shape(shape, activations)?;
//! let gradients = ArrayView4::from_shape(shape, gradients)?;
//!
//! let maps = kernel::grad_cam(activations, gradients, Parallelism::Rayon)?;
//! assert_eq!(maps, array![[[1., 3.]]]);
//! let heat = kernel::heatmaps(maps.view(), &[1, 4], Parallelism::Rayon)?;
//! assert_eq!(heat.maps, array![[[0., 0.25, 0.75, 1.]]]);
//! assert_eq!(heat.contents, [Content::Graded]);
//!
//! // Any other method takes the same views; eigen smoothing takes weighted activations.
//! let weighted = &activations * &gradients;
//! let smooth = kernel::principal_component(weighted.view(), Parallelism::Rayon)?;
//! assert!((smooth - array![[[-1., 1.]]]).iter().all(|difference: &f32| difference.abs() < 1e-6));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! Activations in the layout `[N, H, W, C]` are brought into this one by a view,
//! `view.permuted_axes([0, 3, 1, 2])`; a kernel then copies them once.

mod channel_sum;
mod channel_weights;
mod eigen_cam;
mod eigen_grad_cam;
mod element_wise_grad_cam;
mod feature_maps;
mod fem;
mod first_eigenvector;
mod fuse;
mod grad_cam;
mod grad_cam_plus_plus;
mod heatmaps;
mod hires_cam;
mod kpca_cam;
mod layer_cam;
mod normalise;
mod principal_component;
mod seg_eigen_cam;
mod slices;
mod upsample;
mod weighted_cam;
mod x_grad_cam;

pub use eigen_cam::eigen_cam;
pub use eigen_grad_cam::eigen_grad_cam;
pub use element_wise_grad_cam::element_wise_grad_cam;
pub use fem::fem;
pub use fuse::fuse;
pub use grad_cam::grad_cam;
pub use grad_cam_plus_plus::grad_cam_plus_plus;
pub use heatmaps::heatmaps;
pub use hires_cam::hires_cam;
#[cfg(feature = "torch")]
pub(crate) use kpca_cam::check_places;
pub use kpca_cam::{KpcaKernel, kpca_cam};
pub use layer_cam::layer_cam;
pub use normalise::{Normalised, normalise};
#[cfg(feature = "torch")]
pub(crate) use principal_component::component;
pub use principal_component::principal_component;
pub use seg_eigen_cam::seg_eigen_cam;
pub(crate) use slices::addressable;
pub use upsample::upsample;
pub use weighted_cam::weighted_cam;
pub use x_grad_cam::x_grad_cam;
