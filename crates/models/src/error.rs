use std::fmt;
use std::io;
use std::path::PathBuf;

use tch::{Kind, TchError};

use crate::architecture::Architecture;
use crate::input::InputSpec;
use crate::state_dict::StateDictFault;

/// What can go wrong with a network, its weights or its device.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ModelError {
    /// No architecture has this name.
    #[error("there is no network called `{name}`; there are: {}", Architecture::ALL.map(Architecture::name).join(", "))]
    UnknownArchitecture {
        /// The name asked for.
        name: String,
    },
    /// A network needs a class.
    #[error("a network of {classes} classes was asked for; expected 1 or more")]
    Classes {
        /// The number asked for.
        classes: i64,
    },
    /// Channels without mean or with a standard deviation that is not positive, or a size below 1.
    #[error(
        "an input of size {}, {} means {:?} and {} standard deviations {:?} was asked for; expected a size of 1 or more, 1 or more finite means and as many positive, finite standard deviations",
        input.size, input.mean.len(), input.mean, input.std.len(), input.std
    )]
    InputSpec {
        /// The description asked for.
        input: InputSpec,
    },
    /// A dropout that is no probability below 1.
    #[error("a dropout of {probability} was asked for; expected 0 or more and less than 1")]
    Dropout {
        /// The probability asked for.
        probability: f64,
    },
    /// A stochastic depth that is no probability below 1.
    #[error("a stochastic depth of {probability} was asked for; expected 0 or more and less than 1")]
    StochasticDepth {
        /// The probability asked for.
        probability: f64,
    },
    /// A width multiplier that leaves no channels, or too many.
    #[error("a network {width} times as wide was asked for; expected more than 0 and at most {most}")]
    Width {
        /// The width asked for.
        width: f64,
        /// The largest that there can be.
        most: f64,
    },
    /// Levels of a U-Net without channels to halve, or with too many.
    #[error("levels of {features:?} channels were asked for; expected 2 to {most} each")]
    Features {
        /// The channels asked for.
        features: [i64; 6],
        /// The most that there can be.
        most: i64,
    },
    /// A setting that the architecture does not leave open.
    #[error("a choice of {setting} was asked for, which {architecture} does not have")]
    NoChoice {
        /// The architecture asked for.
        architecture: Architecture,
        /// What was asked for: a width, features or a norm.
        setting: &'static str,
    },
    /// Inference in numbers that are not real ones.
    #[error("inference in {kind:?} was asked for; expected Float, BFloat16, Half or Double")]
    InferenceKind {
        /// The kind asked for.
        kind: Kind,
    },
    /// A network that was rebuilt for inference was to be saved, loaded, trained or rebuilt.
    #[error("the network was rebuilt for inference; its original can be saved, loaded, trained and rebuilt, it cannot")]
    ForInference,
    /// The weights file is missing, a folder, or not to be opened.
    #[error("cannot open the weights file {}", path.display())]
    Open {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The weights file could not be read as safetensors.
    #[error("cannot read the weights file {} as safetensors", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: TchError,
    },
    /// The weights file is one of torch's or of Keras's and cannot be read.
    #[error("cannot read the weights file {}: {fault}", path.display())]
    StateDict {
        /// The file.
        path: PathBuf,
        /// Why.
        fault: Box<StateDictFault>,
    },
    /// An entry of a file that has none.
    #[error("the entry `{entry}` of {} was asked for, but only torch's own files have entries", path.display())]
    NoEntries {
        /// The file.
        path: PathBuf,
        /// The entry asked for.
        entry: String,
    },
    /// The weights file does not fit the network.
    #[error("the weights in {} do not fit the network: {mismatches}", path.display())]
    Weights {
        /// The file.
        path: PathBuf,
        /// Every key that does not fit.
        mismatches: Box<Mismatches>,
    },
    /// A file that is no TorchScript, or whose module cannot be loaded.
    #[error("cannot load the TorchScript file {}", path.display())]
    TorchScript {
        /// The file.
        path: PathBuf,
        /// Why.
        source: TchError,
    },
    /// A stage that the network does not have.
    #[error("there is no stage called `{name}`; there are: {}", stages.join(", "))]
    UnknownStage {
        /// The name asked for.
        name: String,
        /// Those that there are.
        stages: Vec<String>,
    },
    /// A learning rate that trains nothing.
    #[error("the learning-rate factor from the stage `{stage}` on is {factor}; expected a finite number above 0")]
    LearningRateFactor {
        /// The stage.
        stage: String,
        /// The factor asked for.
        factor: f64,
    },
    /// A network without a stage.
    #[error("a row of no stages was given; expected at least one")]
    NoStages,
    /// Two stages of one name.
    #[error("two stages are called `{name}`; expected a name of its own for each")]
    SameStages {
        /// The name.
        name: String,
    },
    /// The weights file could not be written.
    #[error("cannot write the weights file {}", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A device string that means nothing.
    #[error("`{text}` is not a device; expected auto, cpu, cuda or cuda:N")]
    UnknownDevice {
        /// The text.
        text: String,
    },
    /// CUDA was asked for and is not there.
    #[error("CUDA was asked for, but {reason}")]
    NoCuda {
        /// Which library or driver is missing.
        reason: String,
    },
    /// libtorch settled that there is no CUDA before its CUDA library was loaded.
    #[error(
        "libtorch computed before its CUDA library was loaded, so that it finds no GPU any more; choose the device first, before tch::manual_seed too"
    )]
    CudaTooLate,
    /// The GPU asked for is not there.
    #[error("cuda:{index} was asked for, but there are {count} GPUs, numbered from 0")]
    NoSuchGpu {
        /// The number asked for.
        index: usize,
        /// How many there are.
        count: i64,
    },
    /// An error of libtorch's own.
    #[error(transparent)]
    Torch(#[from] TchError),
}

/// Every key of a weights file that does not fit the network.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Mismatches {
    /// Keys that the network has and the file lacks.
    pub missing: Vec<String>,
    /// Keys that the file has and the network lacks.
    pub unexpected: Vec<String>,
    /// Keys of another shape: name, shape in the file, shape in the network.
    pub misshapen: Vec<(String, Vec<i64>, Vec<i64>)>,
    /// Keys whose values are not floating-point numbers: name, kind in the file.
    pub wrong_kind: Vec<(String, Kind)>,
    /// Keys that several tensors of the file have once prefixes are stripped.
    pub twice: Vec<String>,
}

impl Mismatches {
    pub(crate) fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

impl fmt::Display for Mismatches {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let misshapen = self
            .misshapen
            .iter()
            .map(|(name, found, expected)| format!("{name} (is {found:?}, expected {expected:?})"))
            .collect::<Vec<_>>();
        let wrong_kind = self
            .wrong_kind
            .iter()
            .map(|(name, kind)| format!("{name} (is {kind:?}, expected floating point)"))
            .collect::<Vec<_>>();
        let lists = [
            ("missing", &self.missing),
            ("unexpected", &self.unexpected),
            ("wrong shape", &misshapen),
            ("wrong kind", &wrong_kind),
            ("there more than once", &self.twice),
        ];
        let parts = lists
            .iter()
            .filter(|(_, names)| !names.is_empty())
            .map(|(what, names)| format!("{} {what}: {}", names.len(), names.join(", ")))
            .collect::<Vec<_>>();
        f.write_str(&parts.join("; "))
    }
}
