/// What can go wrong when a heatmap is turned into a mask.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum SegError {
    /// A heatmap without a single pixel.
    #[error("the heatmap of shape {shape:?} has no pixels")]
    Empty {
        /// The heatmap's shape.
        shape: Vec<usize>,
    },
    /// A heatmap value that is NaN, infinite or outside 0..=1.
    #[error("the heatmap is {value} at {index:?}; expected 0 to 1")]
    Value {
        /// Where the first such value is, one number per axis.
        index: Vec<usize>,
        /// The value there.
        value: f32,
    },
    /// A fixed threshold that is NaN, infinite or outside 0..=1.
    #[error("the threshold is {threshold}; expected 0 to 1")]
    Threshold {
        /// The threshold given.
        threshold: f32,
    },
}
