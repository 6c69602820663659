//! Convolutional classifiers on libtorch that can be looked into.
//!
//! A [`Network`] is a row of named [`Stage`]s from the image batch to the logits. A stage is a name
//! and a function from tensor to tensor, so any part of the row can be run alone: that is all a
//! heatmap method needs, and tch has no hooks to offer. Where a network branches across stages, what comes across is
//! carried beside ([`Stage::forward_carrying`]). Variables carry torchvision's key names
//! (`features.3.squeeze.weight`, `layer1.0.bn2.running_mean`), or Keras's or MONAI's for the networks that follow these,
//! so exported weights load by name.
//!
//! ```
//! use models::{Architecture, NetworkConfig};
//! use tch::{Device, Kind, Tensor};
//!
//! let network = NetworkConfig::new(Architecture::SqueezeNet1_0)
//!     .with_classes(2)
//!     .build(Device::Cpu)?;
//! let image = Tensor::zeros([1, 3, 64, 64], (Kind::Float, Device::Cpu));
//! assert_eq!(network.forward(&image)?.size(), [1, 2]);
//! assert_eq!(network.stages()[0].name(), "features.0");
//! # Ok::<(), models::ModelError>(())
//! ```
//!
//! | file | holds |
//! |---|---|
//! | `network.rs` | [`Network`], [`NetworkConfig`] |
//! | `architecture.rs` | [`Architecture`]: every network by name; [`Output`] |
//! | `architectures/` | one family of networks a file; [`UNetNorm`] |
//! | `layers/` | one layer a file |
//! | `scope.rs` | where layers get their variables: fresh, or another network's prepared for inference |
//! | `stage.rs` | [`Stage`] |
//! | `description.rs` | [`Description`]: shapes, parameters and multiplications by stage |
//! | `torch_script.rs` | stages from TorchScript files and tch's modules |
//! | `stage_row.rs` | [`StageRow`]: a network of one's own |
//! | `inference.rs` | [`InferenceConfig`], [`BatchNorms`], [`MemoryLayout`] |
//! | `onednn.rs` | [`packs_weights`]: oneDNN's layers, which tch has no functions for |
//! | `processor.rs` | [`has_bf16`] |
//! | `fine_tuning.rs` | freezing and learning rates by stage |
//! | `input.rs` | [`InputSpec`]: what a network expects its images to be |
//! | `weights.rs` | weights in and out, [`Loaded`], [`TEMPORARY_PREFIX`] |
//! | `load_rules.rs` | [`LoadRules`]: [`Head`], [`Stem`], entries, prefixes |
//! | `state_dict/` | torch's own files, read without running a pickle: [`StateDictFault`] |
//! | `memory.rs` | [`keep_freed_memory`] |
//! | `device.rs` | [`DeviceChoice`] and the loading of `libtorch_cuda` |

mod architecture;
mod architectures;
mod cuda_library;
mod description;
mod device;
mod error;
mod fine_tuning;
mod inference;
mod input;
mod layers;
mod load_rules;
mod memory;
mod network;
mod onednn;
mod processor;
mod scope;
mod stage;
mod stage_row;
mod state_dict;
mod torch_script;
mod weights;

pub use architecture::{Architecture, Output};
pub use architectures::basic_unet::UNetNorm;
pub use description::{Description, StageDescription};
pub use device::DeviceChoice;
pub use error::{Mismatches, ModelError};
pub use inference::{BatchNorms, InferenceConfig, MemoryLayout};
pub use input::InputSpec;
pub use load_rules::{Head, LoadRules, Stem};
pub use memory::keep_freed_memory;
pub use network::{Network, NetworkConfig};
pub use onednn::packs_weights;
pub use processor::has_bf16;
pub use stage::Stage;
pub use stage_row::StageRow;
pub use state_dict::StateDictFault;
pub use weights::{Loaded, TEMPORARY_PREFIX};

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
