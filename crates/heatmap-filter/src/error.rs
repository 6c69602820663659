#[cfg(feature = "torch")]
use std::io;
#[cfg(feature = "torch")]
use std::path::PathBuf;

/// What can go wrong when filtering images and training on them.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FilterError {
    /// A share of the pixels that is none.
    #[error("the fraction of pixels is {fraction}; expected 0 to 1")]
    Fraction {
        /// The fraction given.
        fraction: f64,
    },
    /// A heatmap with a value that cannot be ranked.
    #[error("the heatmap is {value} at row {}, column {}; expected finite values", index.0, index.1)]
    NotFinite {
        /// Row and column.
        index: (usize, usize),
        /// The value there.
        value: f32,
    },
    /// Image and heatmap of different sizes.
    #[error("an image of shape {image:?} came with a heatmap of shape {heatmap:?}; expected the same height and width")]
    Shape {
        /// The image's shape.
        image: Vec<usize>,
        /// The heatmap's shape.
        heatmap: Vec<usize>,
    },
    /// A fill for another number of channels.
    #[error("the fill has {fill} channels and the image {image}; expected as many")]
    FillChannels {
        /// Channels of the fill.
        fill: usize,
        /// Channels of the image.
        image: usize,
    },
    /// No filter has this name.
    #[error("there is no filter called `{name}`; there are: {}", crate::Filter::ALL.map(crate::Filter::name).join(", "))]
    UnknownFilter {
        /// The name asked for.
        name: String,
    },
    /// A training setting that makes no sense.
    #[cfg(feature = "torch")]
    #[error("the training setting `{name}` is {value}; expected {expected}")]
    Setting {
        /// The setting.
        name: &'static str,
        /// Its value.
        value: f64,
        /// What it may be.
        expected: &'static str,
    },
    /// Images and labels that do not go together.
    #[cfg(feature = "torch")]
    #[error(
        "{part} has images of shape {images:?} and {labels} labels; expected [N, C, H, W] and N labels, N at least 1"
    )]
    Examples {
        /// Training or validation set.
        part: &'static str,
        /// The images' shape.
        images: Vec<i64>,
        /// The number of labels.
        labels: usize,
    },
    /// A label outside the classes, or a class without an example.
    #[cfg(feature = "torch")]
    #[error("{part} has {counts:?} examples of the classes 0 to {}; expected at least one of each and no other label", counts.len() - 1)]
    Classes {
        /// Training or validation set.
        part: &'static str,
        /// Examples by class, of the labels that are a class.
        counts: Vec<usize>,
    },
    /// A network whose output is no logits.
    #[cfg(feature = "torch")]
    #[error("the network's output for one image has the shape {shape:?}; expected [1, K], K at least 1")]
    Logits {
        /// The output's shape.
        shape: Vec<i64>,
    },
    /// A network with nothing to train.
    #[cfg(feature = "torch")]
    #[error("none of the network's {variables} variables asks for gradients; expected at least one")]
    NothingToTrain {
        /// How many variables there are.
        variables: usize,
    },
    /// A learning-rate factor for variables that there are none of.
    #[cfg(feature = "torch")]
    #[error("a learning-rate factor was given for `{name}`, but no variable is called so, or so with a dot after it")]
    NoSuchVariable {
        /// The name given.
        name: String,
    },
    /// Training ran away.
    #[cfg(feature = "torch")]
    #[error(
        "in epoch {epoch} the training loss is {training_loss} and the validation loss {validation_loss}; a smaller learning rate than {learning_rate} may help"
    )]
    Diverged {
        /// The epoch, from 1.
        epoch: usize,
        /// The mean loss of its steps.
        training_loss: f64,
        /// The loss on the validation images after it.
        validation_loss: f64,
        /// The peak learning rate.
        learning_rate: f64,
    },
    /// A checkpoint that could not be read or written.
    #[cfg(feature = "torch")]
    #[error("cannot {action} the checkpoint {}", path.display())]
    Checkpoint {
        /// Read or write.
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A file that is no checkpoint of this training.
    #[cfg(feature = "torch")]
    #[error("{} is no checkpoint of this training: {what} is {found}, expected {expected}", path.display())]
    OtherCheckpoint {
        /// The file.
        path: PathBuf,
        /// What differs.
        what: String,
        /// What the file holds.
        found: String,
        /// What this training has.
        expected: String,
    },
    /// An error of libtorch's own.
    #[cfg(feature = "torch")]
    #[error(transparent)]
    Torch(#[from] tch::TchError),
}
