/// What can go wrong when a heatmap is turned into a mask.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum SegError {
    /// A heatmap or an image without a single pixel.
    #[error("the map of shape {shape:?} has no pixels")]
    Empty {
        /// The map's shape.
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
    /// A percentile that is NaN or outside 0..=100.
    #[error("the percentile is {percentile}; expected 0 to 100")]
    Percentile {
        /// The percentile given.
        percentile: f32,
    },
    /// A number of classes that 256 bins cannot be split into.
    #[error("{classes} classes; expected 2 to 256")]
    Classes {
        /// The number given.
        classes: usize,
    },
    /// A window without a pixel in its middle, or too wide a one.
    #[error("the window is {side} pixels wide; expected an odd number up to 65535")]
    Window {
        /// The side given.
        side: usize,
    },
    /// An offset that is no number.
    #[error("the offset is {offset}; expected a finite number")]
    Offset {
        /// The offset given.
        offset: f32,
    },
    /// Two arrays that must have one shape.
    #[error("the shapes are {left:?} and {right:?}; expected the same")]
    Shapes {
        /// The shape of the one.
        left: Vec<usize>,
        /// The shape of the other.
        right: Vec<usize>,
    },
    /// Validation pairs none of which has a truth mask with foreground.
    #[error("none of {pairs} pairs has a foreground to calibrate on")]
    NothingToCalibrateOn {
        /// How many pairs were given.
        pairs: usize,
    },
    /// A number of axes that the step cannot work on.
    #[error("{found} axes; expected {expected}")]
    Axes {
        /// How many the array has.
        found: usize,
        /// How many it may have.
        expected: usize,
    },
    /// An axis too long for the step's arithmetic.
    #[error("{found} pixels along an axis; expected up to {most}")]
    Extent {
        /// How many there are.
        found: usize,
        /// How many there may be.
        most: usize,
    },
    /// An image value that is NaN or infinite.
    #[error("the image is {value} somewhere; expected finite numbers")]
    Image {
        /// The first such value in C order.
        value: f32,
    },
    /// An ε that is no positive number.
    #[error("epsilon is {epsilon}; expected a number above 0")]
    Epsilon {
        /// The ε given.
        epsilon: f64,
    },
    /// A β that is NaN, infinite or negative.
    #[error("beta is {beta}; expected 0 or more")]
    Beta {
        /// The β given.
        beta: f64,
    },
    /// A tolerance that no solver can stop at.
    #[error("the tolerance is {tolerance}; expected above 0 and below 1")]
    Tolerance {
        /// The tolerance given.
        tolerance: f64,
    },
    /// Spacings that are not a positive number for each axis.
    #[error("the spacing is {spacing:?} for {axes} axes; expected a number above 0 for each")]
    Spacing {
        /// The spacing given.
        spacing: Vec<f64>,
        /// How many axes the heatmap has.
        axes: usize,
    },
    /// An image of more channels than the method can take.
    #[error("{found} channels; expected up to {most}")]
    Channels {
        /// How many the image has.
        found: usize,
        /// How many it may have.
        most: usize,
    },
    /// A heatmap whose values all lie between the thresholds of the seeds.
    #[error("no value is up to {background} or above {foreground}, so there is no seed")]
    NoSeeds {
        /// The threshold up to which a pixel is background.
        background: f32,
        /// The threshold above which a pixel is foreground.
        foreground: f32,
    },
    /// A solver that did not come near enough.
    #[error("not solved after {steps} steps; a greater tolerance or a smaller beta helps")]
    NotConverged {
        /// How many steps were made.
        steps: usize,
    },
    /// No superpixels asked for.
    #[error("0 segments; expected 1 or more")]
    Segments,
    /// A compactness that is no positive number.
    #[error("the compactness is {compactness}; expected a number above 0")]
    Compactness {
        /// The compactness given.
        compactness: f64,
    },
    /// No iterations asked for.
    #[error("0 iterations; expected 1 or more")]
    Iterations,
    /// A pipeline with a step that looks at the image, and none given.
    #[error("a step of the pipeline needs the image; none was given")]
    NoImage,
    /// No heatmap to fuse.
    #[error("no heatmaps; expected one or more")]
    NoHeatmaps,
    /// Weights that do not fit the heatmaps.
    #[error("the weights are {weights:?} for {heatmaps} heatmaps; expected one each, 0 or more, and one above 0")]
    Weights {
        /// The weights given.
        weights: Vec<f64>,
        /// How many heatmaps there are.
        heatmaps: usize,
    },
    /// A setting of the dense CRF that is out of its range.
    #[error("{setting} is {value}, which is out of its range")]
    Crf {
        /// The setting's name, as in JSON.
        setting: &'static str,
        /// The value given.
        value: f32,
    },
}
