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
pub use fit::{Classifier, Epoch, Examples, Progress, Training, fit};
pub use predict::predict;
pub use settings::TrainSettings;

/// Two whole numbers to one that is as good as random, for a stream of its own per epoch
/// (splitmix64's finaliser).
fn mix(seed: u64, index: u64) -> u64 {
    let mut z = seed.wrapping_add(index.wrapping_add(1).wrapping_mul(0x9E37_79B9_7F4A_7C15));
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}
