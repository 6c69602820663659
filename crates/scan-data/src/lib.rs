//! Reading of medical scans with expert masks, splits by patient, batches and synthetic phantoms.
//!
//! ```
//! use scan_data::{BatchSpec, Phantoms, Split, batch};
//!
//! let data = Phantoms::default().with_count(64).with_size(48).with_seed(1).generate()?;
//! let split = Split::by_group(&data.scans, [0.6, 0.2, 0.2], 1)?;
//! let images = batch(&data.scans, &split.train[..8], &BatchSpec::new(64, 64, 1))?;
//! assert_eq!(images.dim(), (8, 1, 64, 64));
//! # Ok::<(), scan_data::DataError>(())
//! ```
//!
//! With a folder the first step is [`Dataset::read`]; see [`Layout`] for the folders it knows.
//!
//! | file | holds |
//! |---|---|
//! | `scan.rs`, `class.rs` | [`Scan`]: image, mask, label, group; [`Class`] |
//! | `dataset.rs`, `read_options.rs` | [`Dataset`], [`Fault`], [`ReadOptions`], [`GreyMasks`] |
//! | `folder.rs`, `natural_order.rs`, `groups.rs` | what is in a folder, and its `groups.csv` |
//! | `layout.rs`, `layout/` | [`Layout`], one file each |
//! | `picture.rs`, `nifti_volume.rs` | decoding of images, masks and volumes |
//! | `split.rs` | [`Split`]: parts by group, stratified by class |
//! | `phantom.rs` | [`Phantoms`] |
//! | `preprocess.rs`, `batch_spec.rs`, `tensor.rs` | [`resize`], [`resize_mask`], [`batch`], [`BatchSpec`] |
//!
//! With the feature `torch` (on by default) there is also `batch_tensor`, the same batch as a
//! `tch::Tensor`. Nothing else needs libtorch.

#![forbid(unsafe_code)]

mod batch_spec;
mod class;
mod dataset;
mod error;
mod folder;
mod groups;
mod layout;
mod natural_order;
mod nifti_volume;
mod phantom;
mod picture;
mod preprocess;
mod read_options;
mod scan;
mod split;
#[cfg(feature = "torch")]
mod tensor;

pub use batch_spec::BatchSpec;
pub use class::Class;
pub use dataset::{Dataset, Fault};
pub use error::DataError;
pub use layout::Layout;
pub use phantom::Phantoms;
pub use preprocess::{batch, resize, resize_mask};
pub use read_options::{GreyMasks, ReadOptions};
pub use scan::Scan;
pub use split::{Part, PartCounts, Split, SplitCounts};
#[cfg(feature = "torch")]
pub use tensor::batch_tensor;

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
