use crate::EmptySide;

/// What can go wrong when scores are computed.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum MetricError {
    /// A prediction and a truth of different shapes.
    #[error("a prediction of shape {prediction:?} came with a truth of shape {truth:?}; expected the same")]
    Shape {
        /// The prediction's shape.
        prediction: Vec<usize>,
        /// The truth's shape.
        truth: Vec<usize>,
    },
    /// A heatmap and a mask of different shapes.
    #[error("pair {pair} has a heatmap of shape {heatmap:?} and a mask of shape {mask:?}; expected the same")]
    PairShape {
        /// Which pair, from 0.
        pair: usize,
        /// The heatmap's shape.
        heatmap: Vec<usize>,
        /// The mask's shape.
        mask: Vec<usize>,
    },
    /// Two lists that should go together, of different lengths.
    #[error("{first_len} {first} came with {second_len} {second}; expected as many")]
    Length {
        /// What the first list holds.
        first: &'static str,
        /// Its length.
        first_len: usize,
        /// What the second list holds.
        second: &'static str,
        /// Its length.
        second_len: usize,
    },
    /// An empty list where at least one thing is needed.
    #[error("no {what} were given; expected at least one")]
    Missing {
        /// What the list should hold.
        what: &'static str,
    },
    /// An integer image that is no mask.
    #[error("the mask is {value} at {index:?}; expected 0 or 1 (`mask_above` makes masks of other images)")]
    NotBinary {
        /// Where the first such value is, one number per axis.
        index: Vec<usize>,
        /// The value there.
        value: i128,
    },
    /// A heatmap value that is NaN, infinite or outside 0..=1.
    #[error("the heatmap of pair {pair} is {value} at {index:?}; expected 0 to 1")]
    HeatmapValue {
        /// Which pair, from 0.
        pair: usize,
        /// Where the first such value is, one number per axis.
        index: Vec<usize>,
        /// The value there.
        value: f32,
    },
    /// A threshold that is NaN, infinite or outside 0..=1.
    #[error("threshold {index} is {value}; expected 0 to 1")]
    Threshold {
        /// Which threshold, from 0.
        index: usize,
        /// The threshold.
        value: f32,
    },
    /// A radius that is NaN, infinite or negative.
    #[error("radius {index} is {value}; expected 0 or more")]
    Radius {
        /// Which radius, from 0.
        index: usize,
        /// The radius.
        value: f64,
    },
    /// Thresholds or radii that do not ascend.
    #[error("the {what} do not ascend: number {index} is not above the one before")]
    Unsorted {
        /// Thresholds or radii.
        what: &'static str,
        /// The first that is not above its predecessor, from 0.
        index: usize,
    },
    /// Masks of one axis or of more than three, for a measure of 2-D and 3-D masks.
    #[error("the masks have {found} axes; expected 2 or 3")]
    Axes {
        /// The number of axes.
        found: usize,
    },
    /// A mask of more axes than connected components are found in.
    #[error("the mask has {found} axes; expected at most {most}")]
    TooManyAxes {
        /// The number of axes.
        found: usize,
        /// How many there may be.
        most: usize,
    },
    /// An axis that is too long for the exact search between surfaces.
    #[error("axis {axis} has {length} voxels; expected at most {most}")]
    AxisLength {
        /// Which axis, from 0.
        axis: usize,
        /// The number of voxels along it.
        length: usize,
        /// How many there may be.
        most: usize,
    },
    /// A spacing of voxels that is NaN, not above 0, or so small or large that distances leave the range of f32.
    #[error("the spacing along axis {axis} is {value}; expected 1e-12 to 1e12")]
    Spacing {
        /// Which axis, from 0.
        axis: usize,
        /// The spacing.
        value: f64,
    },
    /// A percentile that is none.
    #[error("the percentile is {value}; expected 0 to 100")]
    Percentile {
        /// The percentile given.
        value: f64,
    },
    /// A distance up to which surfaces agree that is NaN or negative.
    #[error("the tolerance is {value}; expected 0 or more")]
    Tolerance {
        /// The tolerance.
        value: f64,
    },
    /// A width of rims that no voxel is within.
    #[error("the width of the rims is {value}; expected at least {least}, the smallest spacing")]
    Width {
        /// The width.
        value: f64,
        /// The smallest spacing.
        least: f64,
    },
    /// A mask of too many pieces for its connected components to be numbered.
    #[error("the mask has {runs} runs of voxels or more along its last axis; expected at most {most}")]
    Components {
        /// How many runs of voxels one after the other there are at least.
        runs: usize,
        /// How many there may be.
        most: usize,
    },
    /// A weight or a rate that is NaN, infinite or negative.
    #[error("the {name} is {value}; expected a finite number of 0 or more")]
    Weight {
        /// Its name.
        name: &'static str,
        /// The number.
        value: f64,
    },
    /// A label that is no class.
    #[error("the {side} is {value} at {index:?}; expected a class of 0 to {} or, in the truth, the ignored label", classes - 1)]
    Label {
        /// The prediction or the truth.
        side: &'static str,
        /// Where the first such label is, one number per axis.
        index: Vec<usize>,
        /// The label.
        value: i128,
        /// The number of classes.
        classes: usize,
    },
    /// A number that is no class, where counts of one are asked for.
    #[error("class {class} was asked for; expected 0 to {}", classes - 1)]
    Class {
        /// The number.
        class: usize,
        /// The number of classes.
        classes: usize,
    },
    /// More classes than counts of all pairs of them have room for.
    #[error("the number of classes is {classes}; expected at most {most}")]
    TooManyClasses {
        /// The number of classes.
        classes: usize,
        /// How many there may be.
        most: usize,
    },
    /// Counts of different numbers of classes.
    #[error("counts of {first} and of {second} classes cannot be added")]
    Classes {
        /// The number of classes of the one.
        first: usize,
        /// That of the other.
        second: usize,
    },
    /// Counts that leave out different labels.
    #[error("counts that ignore {first:?} and {second:?} cannot be added")]
    Ignored {
        /// The label that the one ignores, if any.
        first: Option<i128>,
        /// That of the other.
        second: Option<i128>,
    },
    /// A score that needs two classes, on labels of one.
    #[error("the {score} needs two classes; there is but one")]
    OneClass {
        /// The score.
        score: &'static str,
    },
    /// A share that is NaN or outside 0..=1.
    #[error("the {name} is {value}; expected 0 to 1")]
    Share {
        /// What the share is.
        name: &'static str,
        /// The share.
        value: f64,
    },
    /// A heatmap without a value above 0.
    #[error("the heatmap is 0 everywhere, so no share of it lies anywhere")]
    NoHeat,
    /// A number of bins that is 0 or beyond any use.
    #[error("the number of bins is {bins}; expected 1 to {most}")]
    Bins {
        /// The number of bins.
        bins: usize,
        /// How many there may be.
        most: usize,
    },
    /// A candidate for a lesion that its image does not have.
    #[error(
        "a candidate of image {image} hits lesion {lesion}; expected less than {lesions}, the number of its lesions"
    )]
    Lesion {
        /// Which image, from 0.
        image: usize,
        /// The lesion named, from 0.
        lesion: usize,
        /// The number of lesions of the image.
        lesions: usize,
    },
    /// An empty mask that the [`EmptyMasks`](crate::EmptyMasks) in use makes an error.
    #[error("{empty}, and the policy in use makes that an error")]
    EmptyMask {
        /// What is empty.
        empty: EmptySide,
    },
    /// The same, in a list of masks.
    #[error("mask pair {pair}: {empty}, and the policy in use makes that an error")]
    EmptyMaskOfPair {
        /// Which pair, from 0.
        pair: usize,
        /// What is empty.
        empty: EmptySide,
    },
    /// A score that needs both classes, on cases of which none is of the one class.
    #[error("the {score} needs both classes; no case is {}", if *.class { "positive" } else { "negative" })]
    ClassAbsent {
        /// The score.
        score: &'static str,
        /// The class without cases: true for the positive one.
        class: bool,
    },
    /// A score that cannot be ranked.
    #[error("score {index} is {value}; expected a finite number")]
    ScoreNotFinite {
        /// Which score, from 0.
        index: usize,
        /// The score.
        value: f64,
    },
    /// A confidence level that is none.
    #[error("the confidence level is {level}; expected more than 0 and less than 1")]
    Level {
        /// The level given.
        level: f64,
    },
    /// Too few resamples.
    #[error("the number of resamples is {resamples}; expected at least {least}")]
    Resamples {
        /// The number given.
        resamples: usize,
        /// The least number allowed.
        least: usize,
    },
    /// More resamples than there is room for.
    #[error("the number of resamples is {resamples}; expected at most {most}")]
    TooManyResamples {
        /// The number given.
        resamples: usize,
        /// How many there may be.
        most: usize,
    },
    /// Values of which all are NaN: a mean of them would be made up.
    #[error("nothing is left to average: all {skipped} values are NaN")]
    NothingCounted {
        /// The number of NaN values.
        skipped: usize,
    },
    /// Values that include both infinities, whose mean is undefined.
    #[error("the values hold both infinities: their mean is undefined")]
    BothInfinities,
    /// A statistic that is undefined on all cases together.
    #[error("the statistic is undefined on the {cases} cases as a whole")]
    Undefined {
        /// The number of cases.
        cases: usize,
    },
    /// A statistic that is undefined on too many resamples to bound it.
    #[error("the statistic is undefined on {undefined} of {resamples} resamples; expected at most half")]
    UndefinedResamples {
        /// On how many it is undefined.
        undefined: usize,
        /// Of how many.
        resamples: usize,
    },
}
