//! Training a classifier, and training it again on filtered images.
//!
//! [`fit`] knows a network only as a function from images to logits and a store of variables, so
//! any tch network will do. It is made to be repeated exactly: with the same seed, data and initial
//! weights it gives the same weights on a CPU, also when it was killed in between and goes on from
//! its checkpoint.

mod adamw;
mod augmentation;
mod checkpoint;
mod fit;
mod predict;
mod settings;

pub use augmentation::Augmentation;
pub use checkpoint::TEMPORARY_PREFIX;
pub use fit::{Classifier, Epoch, Examples, Progress, Training, fit};
pub use predict::predict;
pub use settings::TrainSettings;
