use std::path::PathBuf;

use ndarray::Array2;

use crate::Class;

/// One image with its label and its expert mask.
///
/// # Shapes
/// `image` and `mask` are `[height, width]`, the same for both; row 0 is the top row. Images of one
/// data set may differ in size: [`batch`](crate::batch) makes them equal.
#[derive(Debug, Clone, PartialEq)]
pub struct Scan {
    /// A name that is unique in its data set, such as `benign/benign (12)` or `01_pre/slice 12`.
    pub id: String,
    /// The patient, or the group of near-duplicates: scans of one group never go to two parts of a
    /// [`Split`](crate::Split).
    pub group: String,
    /// Whether the image shows a lesion.
    pub lesion: bool,
    /// Grey values in 0..=1.
    pub image: Array2<f32>,
    /// True where the experts marked a lesion.
    pub mask: Array2<bool>,
    /// The file that the image was read from; empty for a synthetic one.
    pub source: PathBuf,
}

impl Scan {
    /// The label as a value.
    pub fn class(&self) -> Class {
        Class::of(self.lesion)
    }
}
