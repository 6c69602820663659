/// What can go wrong between a network and its heatmap pictures.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CamError {
    /// A network without stages.
    #[error("a network needs at least one stage")]
    NoStages,
    /// Two stages share a name, so that a layer could not be told by it.
    #[error("two stages are called `{stage}`")]
    DuplicateStage {
        /// The shared name.
        stage: String,
    },
    /// No stage has this name.
    #[error("there is no layer `{layer}`; there are: {}", known.join(", "))]
    UnknownLayer {
        /// The name asked for.
        layer: String,
        /// Every stage's name, from the input on.
        known: Vec<String>,
    },
    /// Capturing needs a layer to capture at.
    #[error("no layer to capture at was named")]
    NoLayers,
    /// No gradient method has this name.
    #[error("there is no method `{method}`; there are: {}", known.join(", "))]
    UnknownMethod {
        /// The name asked for.
        method: String,
        /// Every method's name.
        known: Vec<&'static str>,
    },
    /// The layer was not among those captured.
    #[error("layer `{layer}` was not captured; captured are: {}", captured.join(", "))]
    NotCaptured {
        /// The name asked for.
        layer: String,
        /// The names captured.
        captured: Vec<String>,
    },
    /// An input without a single sample.
    #[error("an input of shape {shape:?} was given; expected a batch of 1 or more")]
    EmptyBatch {
        /// The input's shape.
        shape: Vec<i64>,
    },
    /// The last stage does not put out logits for each sample.
    #[error("the network puts out {shape:?}; expected [{batch}, classes], or also the axes of space")]
    Logits {
        /// The output's shape.
        shape: Vec<i64>,
        /// The number of samples put in.
        batch: i64,
    },
    /// Not one target for each sample.
    #[error("{targets} targets were given for a batch of {batch}; expected one for each sample")]
    TargetCount {
        /// The number of targets.
        targets: usize,
        /// The number of samples.
        batch: i64,
    },
    /// A target that the network has no logit for.
    #[error("class {class} was asked for in sample {sample}, but there are {classes} classes, numbered from 0")]
    Class {
        /// The sample.
        sample: usize,
        /// The class asked for.
        class: i64,
        /// The number of classes.
        classes: i64,
    },
    /// A rank that the network has too few classes for.
    #[error("rank {rank} was asked for in sample {sample}, but there are {classes} classes, ranked from 0")]
    Rank {
        /// The sample.
        sample: usize,
        /// The rank asked for.
        rank: i64,
        /// The number of classes.
        classes: i64,
    },
    /// A probability or a contrast of something other than a class.
    #[error(
        "the target of sample {sample} is built on one that names no class; expected a class, a rank or the predicted class"
    )]
    NoClassNamed {
        /// The sample.
        sample: usize,
    },
    /// A contrast to no class, or of no finite strength.
    #[error(
        "the target of sample {sample} is a contrast to {classes} classes with strength {strength}; expected 1 or more, \
         and a finite strength"
    )]
    NoClassesToCompare {
        /// The sample.
        sample: usize,
        /// The number of classes.
        classes: usize,
        /// The strength given.
        strength: f64,
    },
    /// A contrast of a class to itself, in which the class cancels out.
    #[error("the target of sample {sample} is a contrast of class {class} to itself; expected other classes only")]
    ComparedWithItself {
        /// The sample.
        sample: usize,
        /// The class.
        class: i64,
    },
    /// A contrast that names a class more than once.
    #[error("the target of sample {sample} is a contrast that names class {class} more than once; expected each once")]
    ComparedTwice {
        /// The sample.
        sample: usize,
        /// The class.
        class: i64,
    },
    /// A softmax over a single class, which is 1 whatever the network sees.
    #[error(
        "the target of sample {sample} is made of a softmax, which is 1 of a single class; expected the logit itself, or \
         its sigmoid"
    )]
    OneClass {
        /// The sample.
        sample: usize,
    },
    /// A region that does not lie on the network's output.
    #[error(
        "the region of sample {sample} has shape {region:?}, the network's output for a class {output:?}; expected the same"
    )]
    Region {
        /// The sample.
        sample: usize,
        /// The region's shape.
        region: Vec<i64>,
        /// The output's places.
        output: Vec<i64>,
    },
    /// A region without a place.
    #[error("the region of sample {sample} marks no place, and nothing is evidence for it")]
    EmptyRegion {
        /// The sample.
        sample: usize,
    },
    /// A region asked of a classifier.
    #[error("the target of sample {sample} is a region, but the network puts out no places: one logit for each class")]
    NoPlaces {
        /// The sample.
        sample: usize,
    },
    /// The weights of a classifier's head given with a network that puts out a logit for every place.
    #[error("the network puts out {places:?} logits for each class; weights of a head are for one logit for each")]
    NeedsClassifier {
        /// The output's places.
        places: Vec<i64>,
    },
    /// A class asked of a network that puts out a logit for every place.
    #[error(
        "the network puts out {places:?} logits for each class; the target of sample {sample} needs a region of them"
    )]
    NeedsRegion {
        /// The sample.
        sample: usize,
        /// The output's places.
        places: Vec<i64>,
    },
    /// A function that does not give one score for each sample.
    #[error("the function that is the target of sample {sample} gave scores of shape {found:?}; expected [{expected}]")]
    ScoreShape {
        /// The sample.
        sample: usize,
        /// The shape it gave.
        found: Vec<i64>,
        /// The number of outputs it was given.
        expected: i64,
    },
    /// The layer's activations are no feature maps.
    #[error("layer `{layer}` puts out {shape:?}; expected [{batch}, C, H, W] or [{batch}, C, D, H, W], no axis empty")]
    NotSpatial {
        /// The layer.
        layer: String,
        /// The shape of its activations.
        shape: Vec<i64>,
        /// The number of samples put in.
        batch: i64,
    },
    /// The score does not depend on the layer through anything that can be differentiated.
    #[error("the score has no gradient at layer `{layer}`")]
    Disconnected {
        /// The layer.
        layer: String,
    },
    /// Noise or a blur that is none.
    #[error("a standard deviation of {deviation} was given; expected a finite number above 0")]
    Deviation {
        /// The value given.
        deviation: f64,
    },
    /// Noise that does not fit the input.
    #[error(
        "noise of shape {noise:?} was given for an input of {input:?}; expected an axis of 1 or more copies before it"
    )]
    Noise {
        /// The noise's shape.
        noise: Vec<i64>,
        /// The input's shape.
        input: Vec<i64>,
    },
    /// A NaN or an infinity on the way.
    #[error("the {values} at layer `{layer}` are not all finite")]
    NonFinite {
        /// Which values.
        values: Values,
        /// The layer.
        layer: String,
    },
    /// A layer of which not all places can be compared with one another.
    #[error("a layer of {places} places was given, all to be compared with one another; expected {most} or fewer")]
    TooManyPlaces {
        /// The layer's places.
        places: usize,
        /// The most there can be.
        most: usize,
    },
    /// Maps of complex numbers.
    #[cfg(feature = "torch")]
    #[error("maps of the kind {kind:?} were given; expected real numbers")]
    ComplexMaps {
        /// The maps' kind.
        kind: tch::Kind,
    },
    /// A NaN or an infinity in a map.
    #[error("the map of sample {sample} is not finite everywhere")]
    NonFiniteMap {
        /// The sample.
        sample: usize,
    },
    /// Activations and gradients that do not belong together.
    #[error("activations have shape {activations:?} and gradients {gradients:?}; expected the same")]
    GradientShape {
        /// The activations' shape.
        activations: Vec<usize>,
        /// The gradients' shape.
        gradients: Vec<usize>,
    },
    /// Channel weights that do not go with the channels.
    #[error("channel weights of shape {weights:?} were given; expected {expected:?}")]
    WeightShape {
        /// The weights' shape.
        weights: Vec<usize>,
        /// What the activations have.
        expected: Vec<usize>,
    },
    /// Not the input that was captured from.
    #[error("an input of shape {input:?} was given with a capture of one of shape {captured:?}")]
    CaptureInput {
        /// The shape of the input captured from.
        captured: Vec<i64>,
        /// The shape of the input given.
        input: Vec<i64>,
    },
    /// Not the network that was captured.
    #[error("a network of the stages {} was given with a capture of one of {}", stages.join(", "), captured.join(", "))]
    CaptureStages {
        /// The stages of the network captured.
        captured: Vec<String>,
        /// The stages of the network given.
        stages: Vec<String>,
    },
    /// Masks or noise that do not lie on the images, or none.
    #[error("masks or noise of shape {found:?} were given; expected 1 or more of {expected:?}")]
    MaskShape {
        /// The shape given.
        found: Vec<i64>,
        /// The shape of one.
        expected: Vec<i64>,
    },
    /// A head that is no mean over space and linear layer, or a target that is not linear in the logits.
    #[error(
        "the score of sample {sample} is not linear in the channel means of layer `{layer}`: it is {found}, but would be \
         {expected}"
    )]
    NotLinear {
        /// The layer.
        layer: String,
        /// The sample.
        sample: usize,
        /// The score.
        found: f64,
        /// What the weights make of it.
        expected: f64,
    },
    /// A value to cover channels or images with that is not finite.
    #[error("{value} was to take the place of what is removed; expected a finite value")]
    AblationValue {
        /// The value.
        value: f64,
    },
    /// More channels than there are, or none.
    #[error("{count} channels were asked for of a layer of {channels}; expected 1 or more, no more than there are")]
    ChannelCount {
        /// The number asked for.
        count: usize,
        /// The layer's channels.
        channels: i64,
    },
    /// Masks, noise or steps that are none.
    #[error("{draws} masks, draws or steps were asked for; expected 1 or more")]
    Draws {
        /// The number asked for.
        draws: usize,
    },
    /// A grid of no cells, or of more than there are places.
    #[error("masks of {cells} cells along each axis were asked for; expected 1 to {longest}, the longest axis")]
    Cells {
        /// The number asked for.
        cells: usize,
        /// The places along the image's longest axis.
        longest: usize,
    },
    /// A blur that reaches further than any image.
    #[error("a blur that reaches {radius} places was asked for; expected {most} or fewer")]
    Radius {
        /// The reach asked for.
        radius: usize,
        /// The most.
        most: usize,
    },
    /// A share of open cells, or a mean of masks, that cannot be divided by.
    #[error("a probability of {probability} was given; expected more than 0, at most 1")]
    Probability {
        /// The value given.
        probability: f64,
    },
    /// A window that does not fit the image.
    #[error(
        "a window of {window:?} in steps of {stride:?} was given for a size of {size:?}; expected one number or one for each \
         axis, 1 or more, no window larger than the image"
    )]
    Window {
        /// The window.
        window: Vec<i64>,
        /// The stride.
        stride: Vec<i64>,
        /// The image's size.
        size: Vec<i64>,
    },
    /// No group of channels.
    #[error("{groups} groups of channels were asked for; expected 1 or more")]
    Groups {
        /// The number asked for.
        groups: usize,
    },
    /// A quantile that is none.
    #[error("a quantile of {quantile} was given; expected 0..=1")]
    Quantile {
        /// The value given.
        quantile: f64,
    },
    /// A bound in standard deviations that is not finite.
    #[error("a bound of {sigmas} standard deviations was given; expected a finite number")]
    Sigmas {
        /// The value given.
        sigmas: f64,
    },
    /// A kernel's setting that is not finite, or a width that is not positive.
    #[error("a kernel with gamma {gamma} and offset {offset} was given; expected finite numbers, gamma above 0")]
    KernelSettings {
        /// The factor of products or squared distances.
        gamma: f64,
        /// What is added to products.
        offset: f64,
    },
    /// An array with too few or too many axes, or with an empty one.
    #[error("an array of shape {shape:?} was given; expected {expected}, no axis empty")]
    Shape {
        /// The shape given.
        shape: Vec<usize>,
        /// The axes expected.
        expected: &'static str,
    },
    /// A size that maps cannot be upsampled to.
    #[error(
        "maps on a grid of {grid:?} cannot take the size {size:?}; expected as many axes, none empty, that memory holds"
    )]
    Size {
        /// The size asked for.
        size: Vec<i64>,
        /// The maps' own size.
        grid: Vec<i64>,
    },
    /// Fusing needs a layer's maps.
    #[error("no maps to fuse were given")]
    NoMaps,
    /// Maps of another number of samples than what they belong to.
    #[error("there are maps of {found} samples; expected {expected}")]
    MapBatch {
        /// The number of maps.
        found: i64,
        /// The number of samples.
        expected: i64,
    },
    /// A scale of LayerCAM's fusion that lifts nothing.
    #[error("a gamma of {gamma} was given; expected a finite number above 0")]
    Gamma {
        /// The value given.
        gamma: f64,
    },
    /// An input that is no batch of images or volumes.
    #[error("an input of shape {shape:?} was given; expected [N, C, H, W] or [N, C, D, H, W], no axis empty")]
    Input {
        /// The input's shape.
        shape: Vec<i64>,
    },
    /// A flip along an axis that the input does not have.
    #[cfg(feature = "torch")]
    #[error("the flip {flip:?} was asked for, but the input has {axes} axes of space")]
    Flip {
        /// The flip.
        flip: crate::Flip,
        /// The input's axes of space.
        axes: usize,
    },
    /// A scale that no image can be resized by.
    #[error("a scale of {scale} was given; expected a finite number above 0")]
    Scale {
        /// The value given.
        scale: f64,
    },
    /// A factor that no image can be multiplied by.
    #[error("a factor of {factor} was given; expected a finite number")]
    Factor {
        /// The value given.
        factor: f64,
    },
    /// Augmenting needs a view.
    #[error("{scales} scales and {factors} factors were given; expected 1 or more of both")]
    NoViews {
        /// The number of scales.
        scales: usize,
        /// The number of factors.
        factors: usize,
    },
    /// A stage named as a ReLU that is none.
    #[error("stage `{stage}` was named as a ReLU, but does not compute max(0, x) or min(6, max(0, x))")]
    NotRelu {
        /// The stage.
        stage: String,
    },
    /// A factorisation into nothing, or into more concepts than there are places.
    #[error("{concepts} concepts were asked for; expected 1 to {most}")]
    Concepts {
        /// The number asked for.
        concepts: usize,
        /// The most there can be.
        most: usize,
    },
    /// A tolerance that is none.
    #[error("a tolerance of {tolerance} was given; expected a finite number of 0 or more")]
    Tolerance {
        /// The value given.
        tolerance: f64,
    },
    /// A search without a step.
    #[error("{iterations} iterations were asked for; expected 1 or more")]
    Iterations {
        /// The number asked for.
        iterations: usize,
    },
    /// An activation below zero where none may be.
    #[error(
        "channel {channel} of sample {sample} holds the activation {value}; expected 0 or more, as behind a ReLU, or an \
         offset"
    )]
    NegativeActivation {
        /// The sample.
        sample: usize,
        /// The channel.
        channel: usize,
        /// The value.
        value: f32,
    },
    /// A grey value or a heatmap's value that has no colour.
    #[error("the value {value} at row {row}, column {column} is not in 0..=1")]
    NotInUnitRange {
        /// The value.
        value: f32,
        /// Its row.
        row: usize,
        /// Its column.
        column: usize,
    },
    /// A window's centre that is no number.
    #[error("a window with the centre {centre} was given; expected a finite number")]
    WindowCentre {
        /// The value given.
        centre: f64,
    },
    /// A window that is too narrow.
    #[error("a window with the width {width} was given; expected a finite number of at least {least}")]
    WindowWidth {
        /// The value given.
        width: f64,
        /// The narrowest window.
        least: f64,
    },
    /// A window whose ends, or the way between them, no number holds.
    #[error("a window from {black} to {white} was given; expected finite ends, a finite number apart")]
    WindowEnds {
        /// What becomes black.
        black: f64,
        /// What becomes white.
        white: f64,
    },
    /// Percentiles that make no window.
    #[error("a window from percentile {low} to {high} was given; expected 0 ≤ low < high ≤ 100")]
    WindowPercentiles {
        /// The lower one.
        low: f64,
        /// The higher one.
        high: f64,
    },
    /// A NaN or an infinity in a scan.
    #[error("value {index} of the scan, counted row by row, is not finite")]
    NonFiniteValue {
        /// Its place, row by row.
        index: usize,
    },
    /// An opacity that is none.
    #[error("an alpha of {alpha} was given; expected 0..=1")]
    Alpha {
        /// The value given.
        alpha: f32,
    },
    /// A picture and what is drawn onto it differ in size.
    #[error(
        "the picture has {} rows and {} columns, what is drawn onto it {} and {}",
        picture.0, picture.1, drawn.0, drawn.1
    )]
    PictureSize {
        /// The picture's rows and columns.
        picture: (usize, usize),
        /// The rows and columns of what is drawn.
        drawn: (usize, usize),
    },
    /// A grid of no pictures or of no columns.
    #[error("a grid of {pictures} pictures in {columns} columns was asked for; expected 1 or more of both")]
    EmptyGrid {
        /// The number of pictures.
        pictures: usize,
        /// The number of columns.
        columns: u32,
    },
    /// A picture larger than a picture can be.
    #[error("a picture of {rows} rows and {columns} columns is too large")]
    TooLarge {
        /// The rows asked for.
        rows: u64,
        /// The columns asked for.
        columns: u64,
    },
    /// A stage that puts its own output aside for a later one. Gradients at it would lack that way to the score, which
    /// they have when the stage after it puts aside what it is given.
    #[error("stage `{stage}` carries its own output on; expected the stage after it to do so")]
    CarriesOwnOutput {
        /// The stage.
        stage: String,
    },
    /// A tensor carried past a layer that does not hold the samples of the batch.
    #[error(
        "a tensor of shape {shape:?} is carried past layer `{layer}`; expected the {batch} samples on its first axis"
    )]
    CarriedShape {
        /// The layer.
        layer: String,
        /// The tensor's shape.
        shape: Vec<i64>,
        /// The number of samples put in.
        batch: i64,
    },
    /// libtorch's own error inside a target's function.
    #[cfg(feature = "torch")]
    #[error("the function that is the target of sample {sample} failed")]
    TargetFunction {
        /// The sample.
        sample: usize,
        /// Why.
        source: tch::TchError,
    },
    /// libtorch's own error inside a stage.
    #[cfg(feature = "torch")]
    #[error("stage `{stage}` failed")]
    Stage {
        /// The stage.
        stage: String,
        /// Why.
        source: tch::TchError,
    },
    /// libtorch's own error outside the stages, such as a lack of memory.
    #[cfg(feature = "torch")]
    #[error(transparent)]
    Torch(#[from] tch::TchError),
}

/// Which values [`CamError::NonFinite`] found fault with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Values {
    /// What the layer puts out.
    Activations,
    /// The gradients of the score there.
    Gradients,
    /// The network's output, at its last stage.
    Logits,
    /// What a target makes of the network's output.
    Scores,
    /// What the input or a stage's bias adds to the score.
    Parts,
}

impl std::fmt::Display for Values {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Activations => "activations",
            Self::Gradients => "gradients",
            Self::Logits => "logits",
            Self::Scores => "scores",
            Self::Parts => "parts of the score",
        })
    }
}
