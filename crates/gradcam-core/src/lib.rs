#![forbid(unsafe_code)]
// Without `torch` the names of what it would add stand in the docs unlinked.
#![cfg_attr(not(feature = "torch"), allow(rustdoc::broken_intra_doc_links))]
//! Class-activation heatmaps: where in an image a convolutional classifier saw its class.
//!
//! The way from an image to a picture of what the network saw:
//!
//! 1. [`Stages`]: the network as a row of named stages. tch has no hooks; this is what takes their
//!    place, and any tch network or TorchScript module can be put that way. Where it branches, as a
//!    U-Net does, stages put tensors aside for later ones ([`Stage::carrying`]).
//! 2. [`Stages::capture`]: one forward pass, kept at some layers.
//! 3. [`Capture::gradients`]: of each sample's [`Target`] at those layers; as often as wanted.
//! 4. A method, such as [`grad_cam`](fn@grad_cam): [`Maps`] on the layer's grid.
//! 5. [`Maps::heatmaps`]: upsampled to the image, in 0..=1, with a [`Content`] for each sample that
//!    says whether the map holds anything.
//! 6. [`overlay`](fn@overlay), [`contour`], [`side_by_side`]: pictures.
//!
//! Methods that alter the image or the layer and look at the score, such as
//! [`ablation_cam`](fn@ablation_cam), take a [`Probe`] instead of gradients.
//!
//! Everything works on batches and gives each sample what it would get alone, on images
//! `[N, C, H, W]` and volumes `[N, C, D, H, W]`. On a processor a batch changes one thing only, how libtorch
//! rounds its convolutions and linear layers: in single precision a capture's activations differ by some 1e-7
//! of their size from those of a sample alone, and not at all for most images of a usual size. [`Probe::new`] runs
//! each sample alone, so there not even that. No variable's gradient is touched and the gradient mode is left as
//! it was.
//!
//! Without the default feature `torch`, the [`kernel`] functions do steps 4 and 5 on ndarray arrays
//! from any framework. [`random_cam`](fn@random_cam) is the control to compare with.
//!
//! | file | holds |
//! |---|---|
//! | `stage.rs` | [`Stage`], [`Stages`], [`last_spatial`] |
//! | `capture.rs` | [`Capture`], [`Gradients`], [`AtLayer`] |
//! | `target.rs` | [`Target`], [`Score`] |
//! | `gradient_method.rs` | [`GradientMethod`]: the one-pass methods as a value |
//! | `grad_cam.rs`, `grad_cam_plus_plus.rs`, `x_grad_cam.rs`, `hires_cam.rs`, `element_wise_grad_cam.rs`, `layer_cam.rs`, `eigen_grad_cam.rs` | these methods, one each |
//! | `eigen_smoothing.rs` | any of them, and whatever has channel weights, with the channels' first principal component in place of their sum |
//! | `seg_eigen_cam.rs` | [`seg_eigen_cam`](fn@seg_eigen_cam): the component of activations times the gradients' size |
//! | `shapley_cam.rs`, `finer_cam.rs`, `smooth_grad_cam_plus_plus.rs`, `full_grad.rs` | methods that need more of the network |
//! | `full_gradient.rs` | [`FullGradient`]: a score parted into input and biases |
//! | `planes.rs`, `principal_component.rs` | what they share |
//! | `probe.rs`, `copies.rs` | [`Probe`]: altered copies of images and layers, and their scores |
//! | `ablation_cam.rs`, `recipro_cam.rs`, `score_cam.rs`, `ss_cam.rs`, `is_cam.rs`, `group_cam.rs`, `rise.rs`, `occlusion_sensitivity.rs`, `cam.rs` | the methods that take it, one each |
//! | `channel_masks.rs`, `gaussian_noise.rs` | what some of these share |
//! | `eigen_cam.rs`, `kpca_cam.rs`, `fem.rs`, `weighted_cam.rs` | methods on activations alone, one each |
//! | `heatmap.rs`, `content.rs` | [`Maps`], [`Heatmaps`], [`Content`] |
//! | `fusion.rs` | [`Fusion`], [`fuse`]: several layers' maps as one |
//! | `refine_cam.rs` | [`refine_cam`](fn@refine_cam): a method's maps at several layers multiplied |
//! | `test_time_augmentation.rs` | [`test_time_augmentation`](fn@test_time_augmentation): the mean over flips and scales |
//! | `guided_backpropagation.rs` | [`guided_backpropagation`](fn@guided_backpropagation), [`guided_grad_cam`] |
//! | `deep_feature_factorisation.rs` | [`deep_feature_factorisation`](fn@deep_feature_factorisation): a layer as a few concepts |
//! | `kernel/`, `parallelism.rs` | the same on arrays |
//! | `random_cam.rs` | the control |
//! | `overlay.rs`, `colour_map.rs`, `colour_tables.rs`, `window.rs` | pictures |
//! | `error.rs` | [`CamError`] |

#[cfg(feature = "torch")]
mod ablation_cam;
#[cfg(feature = "torch")]
mod cam;
#[cfg(feature = "torch")]
mod capture;
#[cfg(feature = "torch")]
mod channel_masks;
mod colour_map;
mod colour_tables;
mod content;
#[cfg(feature = "torch")]
mod copies;
mod deep_feature_factorisation;
#[cfg(feature = "torch")]
mod eigen_cam;
#[cfg(feature = "torch")]
mod eigen_grad_cam;
#[cfg(feature = "torch")]
mod eigen_smoothing;
#[cfg(feature = "torch")]
mod element_wise_grad_cam;
mod error;
#[cfg(feature = "torch")]
mod fem;
#[cfg(feature = "torch")]
mod finer_cam;
#[cfg(feature = "torch")]
mod full_grad;
#[cfg(feature = "torch")]
mod full_gradient;
mod fusion;
#[cfg(feature = "torch")]
mod gaussian_noise;
#[cfg(feature = "torch")]
mod grad_cam;
#[cfg(feature = "torch")]
mod grad_cam_plus_plus;
#[cfg(feature = "torch")]
mod gradient_method;
#[cfg(feature = "torch")]
mod group_cam;
#[cfg(feature = "torch")]
mod guided_backpropagation;
#[cfg(feature = "torch")]
mod heatmap;
#[cfg(feature = "torch")]
mod hires_cam;
#[cfg(feature = "torch")]
mod is_cam;
pub mod kernel;
#[cfg(feature = "torch")]
mod kpca_cam;
#[cfg(feature = "torch")]
mod layer_cam;
#[cfg(feature = "torch")]
mod occlusion_sensitivity;
mod overlay;
mod parallelism;
#[cfg(feature = "torch")]
mod planes;
#[cfg(feature = "torch")]
mod principal_component;
#[cfg(feature = "torch")]
mod probe;
mod random_cam;
#[cfg(feature = "torch")]
mod recipro_cam;
#[cfg(feature = "torch")]
mod refine_cam;
#[cfg(feature = "torch")]
mod rise;
#[cfg(feature = "torch")]
mod score_cam;
#[cfg(feature = "torch")]
mod seg_eigen_cam;
#[cfg(feature = "torch")]
mod shapley_cam;
#[cfg(feature = "torch")]
mod smooth_grad_cam_plus_plus;
#[cfg(feature = "torch")]
mod ss_cam;
#[cfg(feature = "torch")]
mod stage;
#[cfg(feature = "torch")]
mod target;
#[cfg(feature = "torch")]
mod test_time_augmentation;
#[cfg(feature = "torch")]
mod weighted_cam;
mod window;
#[cfg(feature = "torch")]
mod x_grad_cam;

#[cfg(feature = "torch")]
pub use ablation_cam::{AblationValue, ablation_cam, ablation_cam_weights, ablation_cam_with};
#[cfg(feature = "torch")]
pub use cam::{cam, cam_with_weights};
#[cfg(feature = "torch")]
pub use capture::{AtLayer, Capture, Gradients};
#[cfg(feature = "torch")]
pub use channel_masks::{ScoreChannels, ScoreMask};
pub use colour_map::ColourMap;
pub use content::Content;
pub use deep_feature_factorisation::{DeepFeatureFactorisation, Factorisation, Offset, deep_feature_factorisation};
#[cfg(feature = "torch")]
pub use eigen_cam::eigen_cam;
#[cfg(feature = "torch")]
pub use eigen_grad_cam::eigen_grad_cam;
#[cfg(feature = "torch")]
pub use eigen_smoothing::{eigen_smoothing, eigen_smoothing_with_weights};
#[cfg(feature = "torch")]
pub use element_wise_grad_cam::element_wise_grad_cam;
pub use error::{CamError, Values};
#[cfg(feature = "torch")]
pub use fem::fem;
#[cfg(feature = "torch")]
pub use finer_cam::{FinerCam, ReferenceWeights, finer_cam};
#[cfg(feature = "torch")]
pub use full_grad::{Rescaling, full_grad};
#[cfg(feature = "torch")]
pub use full_gradient::{FullGradient, full_gradient};
pub use fusion::Fusion;
#[cfg(feature = "torch")]
pub use fusion::fuse;
#[cfg(feature = "torch")]
pub use grad_cam::grad_cam;
#[cfg(feature = "torch")]
pub use grad_cam_plus_plus::grad_cam_plus_plus;
#[cfg(feature = "torch")]
pub use gradient_method::GradientMethod;
#[cfg(feature = "torch")]
pub use group_cam::{GroupCam, group_cam};
#[cfg(feature = "torch")]
pub use guided_backpropagation::{guided_backpropagation, guided_grad_cam};
#[cfg(feature = "torch")]
pub use heatmap::{Heatmaps, Maps};
#[cfg(feature = "torch")]
pub use hires_cam::hires_cam;
#[cfg(feature = "torch")]
pub use is_cam::{IntegrationPath, IsCam, is_cam};
#[cfg(feature = "torch")]
pub use kpca_cam::kpca_cam;
#[cfg(feature = "torch")]
pub use layer_cam::layer_cam;
#[cfg(feature = "torch")]
pub use occlusion_sensitivity::{Occluder, OcclusionSensitivity, occlusion_sensitivity};
pub use overlay::{contour, grey, heatmap_picture, overlay, side_by_side};
pub use parallelism::Parallelism;
#[cfg(feature = "torch")]
pub use probe::Probe;
pub use random_cam::random_cam;
#[cfg(feature = "torch")]
pub use recipro_cam::{ReciproMask, recipro_cam};
#[cfg(feature = "torch")]
pub use refine_cam::refine_cam;
#[cfg(feature = "torch")]
pub use rise::{Rise, rise, rise_with_masks};
#[cfg(feature = "torch")]
pub use score_cam::{ScoreCam, ScoreWeights, score_cam, score_cam_weights};
#[cfg(feature = "torch")]
pub use seg_eigen_cam::seg_eigen_cam;
#[cfg(feature = "torch")]
pub use shapley_cam::{shapley_cam, shapley_cam_weights};
#[cfg(feature = "torch")]
pub use smooth_grad_cam_plus_plus::{
    SmoothGradCamPlusPlus, smooth_grad_cam_plus_plus, smooth_grad_cam_plus_plus_with_noise,
};
#[cfg(feature = "torch")]
pub use ss_cam::{SsCam, ss_cam, ss_cam_with_noise};
#[cfg(feature = "torch")]
pub use stage::{Stage, Stages, last_spatial};
#[cfg(feature = "torch")]
pub use target::{Score, Target};
#[cfg(feature = "torch")]
pub use test_time_augmentation::{Flip, TestTimeAugmentation, test_time_augmentation};
#[cfg(feature = "torch")]
pub use weighted_cam::weighted_cam;
pub use window::Window;
#[cfg(feature = "torch")]
pub use x_grad_cam::x_grad_cam;

#[cfg(all(doctest, feature = "torch"))]
#[doc = include_str!("../README.md")]
struct Readme;
