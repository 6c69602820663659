use std::fmt;
use std::path::Path;
use std::str::FromStr;

use tch::{Device, TchError, Tensor, nn};

use crate::error::ModelError;
use crate::input::InputSpec;
use crate::load_rules::LoadRules;
use crate::stage::Stage;
use crate::weights::{self, Loaded};
use crate::{resnet, squeezenet};

/// The architectures this crate knows by name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Architecture {
    /// `squeezenet1_0`, [arXiv:1602.07360](https://arxiv.org/abs/1602.07360).
    SqueezeNet1_0,
    /// `resnet18`, [arXiv:1512.03385](https://arxiv.org/abs/1512.03385).
    ResNet18,
}

impl Architecture {
    /// Every architecture.
    pub const ALL: [Self; 2] = [Self::SqueezeNet1_0, Self::ResNet18];

    /// torchvision's name.
    pub fn name(self) -> &'static str {
        match self {
            Self::SqueezeNet1_0 => "squeezenet1_0",
            Self::ResNet18 => "resnet18",
        }
    }

    /// The path of the layer that holds one output per class.
    pub fn head(self) -> &'static str {
        match self {
            Self::SqueezeNet1_0 => squeezenet::HEAD,
            Self::ResNet18 => resnet::HEAD,
        }
    }
}

impl fmt::Display for Architecture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Architecture {
    type Err = ModelError;

    fn from_str(name: &str) -> Result<Self, ModelError> {
        Self::ALL
            .into_iter()
            .find(|architecture| architecture.name() == name)
            .ok_or_else(|| ModelError::UnknownArchitecture { name: name.to_owned() })
    }
}

/// Which network to build.
#[derive(Debug, Clone, PartialEq)]
pub struct NetworkConfig {
    architecture: Architecture,
    classes: i64,
    input: InputSpec,
}

impl NetworkConfig {
    /// `architecture` as published: ImageNet's 1000 classes, three channels.
    pub fn new(architecture: Architecture) -> Self {
        Self {
            architecture,
            classes: 1000,
            input: InputSpec::imagenet(),
        }
    }

    /// With another number of classes.
    pub fn with_classes(mut self, classes: i64) -> Self {
        self.classes = classes;
        self
    }

    /// With other input channels and statistics.
    pub fn with_input(mut self, input: InputSpec) -> Self {
        self.input = input;
        self
    }

    /// Builds the network with fresh weights on `device`, drawn from libtorch's global generator:
    /// call [`tch::manual_seed`] first for the same weights again.
    ///
    /// # Errors
    /// [`ModelError::Classes`] and [`ModelError::InputSpec`] for settings no network can have;
    /// libtorch's own, such as a lack of memory.
    pub fn build(&self, device: Device) -> Result<Network, ModelError> {
        if self.classes < 1 {
            return Err(ModelError::Classes { classes: self.classes });
        }
        let channels = self.input.channels();
        if channels < 1
            || self.input.std.len() != self.input.mean.len()
            || self.input.mean.iter().any(|mean| !mean.is_finite())
            || self.input.std.iter().any(|&std| !std.is_finite() || std <= 0.0)
        {
            return Err(ModelError::InputSpec {
                input: self.input.clone(),
            });
        }
        let variables = nn::VarStore::new(device);
        let stages = match self.architecture {
            Architecture::SqueezeNet1_0 => squeezenet::squeezenet1_0(&variables.root(), channels, self.classes)?,
            Architecture::ResNet18 => resnet::resnet18(&variables.root(), channels, self.classes)?,
        };
        Ok(Network {
            config: self.clone(),
            variables,
            stages,
        })
    }
}

/// A classifier as a row of named stages, with its variables.
#[derive(Debug)]
pub struct Network {
    config: NetworkConfig,
    variables: nn::VarStore,
    stages: Vec<Stage>,
}

impl Network {
    /// Which architecture this is.
    pub fn architecture(&self) -> Architecture {
        self.config.architecture
    }

    /// The number of classes, the width of the logits.
    pub fn classes(&self) -> i64 {
        self.config.classes
    }

    /// What the image batches should be.
    pub fn input(&self) -> &InputSpec {
        &self.config.input
    }

    /// The device that the variables are on.
    pub fn device(&self) -> Device {
        self.variables.device()
    }

    /// The stages, from the image batch to the logits.
    pub fn stages(&self) -> &[Stage] {
        &self.stages
    }

    /// The variables, for an optimiser or a checkpoint.
    pub fn variables(&self) -> &nn::VarStore {
        &self.variables
    }

    /// The logits `[N, classes]` of a batch `[N, C, H, W]` in evaluation mode.
    ///
    /// # Errors
    /// libtorch's own, for an input that a stage cannot take.
    pub fn forward(&self, input: &Tensor) -> Result<Tensor, TchError> {
        self.forward_t(input, false)
    }

    /// The logits `[N, classes]` of a batch `[N, C, H, W]`, in training mode if `train`.
    ///
    /// # Errors
    /// libtorch's own, for an input that a stage cannot take.
    pub fn forward_t(&self, input: &Tensor, train: bool) -> Result<Tensor, TchError> {
        self.stages
            .iter()
            .try_fold(input.shallow_clone(), |x, stage| stage.forward_t(&x, train))
    }

    /// Reads the variables by name from a file of safetensors or from a state dict as `torch.save`
    /// writes it (`.pth`); which of them it is shows in its content, not in its name. A pickle is read
    /// for tensors only, never run.
    ///
    /// Floating-point tensors of any width are converted to the network's own.
    /// `num_batches_tracked`, which torch keeps and nothing reads, is passed over. Everything must fit,
    /// less what the rules allow: with [`Head::Replace`](crate::Head::Replace) a head of another class
    /// count keeps its fresh weights. Nothing is changed unless everything fits.
    ///
    /// # Errors
    /// [`ModelError::StateDict`] for a file that is missing, or torch's and broken, unsafe or of
    /// something else than tensors; [`ModelError::Read`] for one that is neither torch's nor
    /// safetensors; [`ModelError::NoEntries`] for an entry of safetensors; [`ModelError::Weights`]
    /// with every missing, unexpected and misshapen key at once.
    pub fn load(&mut self, path: impl AsRef<Path>, rules: impl Into<LoadRules>) -> Result<Loaded, ModelError> {
        let head = self.config.architecture.head();
        weights::load(&self.variables, path.as_ref(), head, &rules.into())
    }

    /// Writes the variables to a safetensors file, which appears whole or not at all; until then its
    /// name begins with [`TEMPORARY_PREFIX`](crate::TEMPORARY_PREFIX).
    ///
    /// # Errors
    /// [`ModelError::Write`] with the path.
    pub fn save(&self, path: impl AsRef<Path>) -> Result<(), ModelError> {
        weights::save(&self.variables, path.as_ref())
    }
}
