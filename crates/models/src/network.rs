use std::cell::RefCell;
use std::ops::Range;
use std::path::Path;

use tch::{Device, Kind, TchError, Tensor, nn};

use crate::architecture::{Architecture, Blueprint, Open, Settings};
use crate::architectures::basic_unet::UNetNorm;
use crate::cuda_library;
use crate::description::{Description, StageDescription};
use crate::error::ModelError;
use crate::inference::{BatchNorms, InferenceConfig, MemoryLayout};
use crate::input::InputSpec;
use crate::layers::{BatchNorm, Pass, Work};
use crate::load_rules::LoadRules;
use crate::scope::{Existing, Scope};
use crate::stage::{Convert, Guard, Stage, check_floating};
use crate::weights::{self, Loaded};

/// The most that a network may be wider than published, and the most channels that a level of a U-Net may have: far
/// beyond any use, and small enough to count with.
const MOST_WIDTH: f64 = 100.0;
const MOST_FEATURES: i64 = 1 << 16;

/// Which network to build.
#[derive(Debug, Clone, PartialEq)]
pub struct NetworkConfig {
    architecture: Architecture,
    classes: i64,
    input: InputSpec,
    dropout: Option<f64>,
    stochastic_depth: Option<f64>,
    width: Option<f64>,
    features: Option<[i64; 6]>,
    norm: Option<UNetNorm>,
}

impl NetworkConfig {
    /// `architecture` as published: ImageNet's 1000 classes, three channels.
    pub fn new(architecture: Architecture) -> Self {
        Self {
            architecture,
            classes: 1000,
            input: architecture.input(),
            dropout: None,
            stochastic_depth: None,
            width: None,
            features: None,
            norm: None,
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

    /// With this probability in every dropout layer instead of the published one; it changes nothing where there is
    /// no such layer.
    pub fn with_dropout(mut self, probability: f64) -> Self {
        self.dropout = Some(probability);
        self
    }

    /// With this probability that a training sample skips the last residual branch, growing with depth from
    /// zero at the first, instead of the published one; it changes nothing where there is no stochastic depth.
    pub fn with_stochastic_depth(mut self, probability: f64) -> Self {
        self.stochastic_depth = Some(probability);
        self
    }

    /// With layers this many times as wide, rounded to multiples of 8: the width multiplier of the MobileNets,
    /// torchvision's `width_mult` and Keras's `alpha`. Below 1 the last layer before MobileNetV2's classifier keeps its
    /// width. Keras has published weights of its MobileNetV2 at 0.35, 0.5, 0.75, 1, 1.3 and 1.4.
    ///
    /// Howard et al., "MobileNets: Efficient Convolutional Neural Networks for Mobile Vision Applications", 2017,
    /// [arXiv:1704.04861](https://arxiv.org/abs/1704.04861).
    ///
    /// ```
    /// use models::{Architecture, NetworkConfig};
    ///
    /// let config = NetworkConfig::new(Architecture::KerasMobileNetV2).with_width(0.35);
    /// let network = config.build(tch::Device::Cpu)?;
    /// assert_eq!(network.parameters(), 1_677_128);
    /// # Ok::<(), models::ModelError>(())
    /// ```
    pub fn with_width(mut self, width: f64) -> Self {
        self.width = Some(width);
        self
    }

    /// With these channels at a U-Net's five levels, from the image's resolution down, and at the end of its way up:
    /// MONAI's `features`, instead of 32, 32, 64, 128, 256 and 32.
    ///
    /// ```
    /// use models::{Architecture, NetworkConfig};
    /// use tch::{Device, Kind, Tensor};
    ///
    /// let network = NetworkConfig::new(Architecture::BasicUNet2d)
    ///     .with_classes(2)
    ///     .with_features([8, 8, 16, 32, 64, 8])
    ///     .build(Device::Cpu)?;
    /// let image = Tensor::zeros([1, 3, 64, 48], (Kind::Float, Device::Cpu));
    /// assert_eq!(network.forward(&image)?.size(), [1, 2, 64, 48]);
    /// assert_eq!(network.variables().variables()["final_conv.weight"].size(), [2, 8, 1, 1]);
    /// # Ok::<(), models::ModelError>(())
    /// ```
    pub fn with_features(mut self, features: [i64; 6]) -> Self {
        self.features = Some(features);
        self
    }

    /// With a U-Net's convolutions normalised by this instead of instance norms.
    ///
    /// ```
    /// use models::{Architecture, NetworkConfig, UNetNorm};
    ///
    /// let config = NetworkConfig::new(Architecture::BasicUNet3d).with_norm(UNetNorm::Batch);
    /// let network = config.build(tch::Device::Cpu)?;
    /// assert!(network.variables().variables().contains_key("conv_0.conv_0.adn.N.running_mean"));
    /// # Ok::<(), models::ModelError>(())
    /// ```
    pub fn with_norm(mut self, norm: UNetNorm) -> Self {
        self.norm = Some(norm);
        self
    }

    /// Builds the network with fresh weights on `device`, drawn from libtorch's global generator:
    /// call [`tch::manual_seed`] first for the same weights again, and before that choose the device
    /// ([`DeviceChoice`](crate::DeviceChoice)).
    ///
    /// # Errors
    /// [`ModelError::Classes`], [`ModelError::InputSpec`], [`ModelError::Dropout`], [`ModelError::StochasticDepth`],
    /// [`ModelError::Width`] and [`ModelError::Features`] for settings no network can have; [`ModelError::NoChoice`] for
    /// a width, features or a norm of an architecture that does not leave them open; libtorch's own, such as a lack of
    /// memory.
    pub fn build(&self, device: Device) -> Result<Network, ModelError> {
        self.check()?;
        let _ = cuda_library::load();
        let variables = nn::VarStore::new(device);
        let stages = self.stages(&Scope::fresh(&variables), &variables)?;
        Ok(Network {
            config: self.clone(),
            inference: None,
            variables,
            stages,
            frozen_stages: 0,
        })
    }

    fn check(&self) -> Result<(), ModelError> {
        if self.classes < 1 {
            return Err(ModelError::Classes { classes: self.classes });
        }
        if self.input.channels() < 1
            || self.input.size < 1
            || self.input.std.len() != self.input.mean.len()
            || self.input.mean.iter().any(|mean| !mean.is_finite())
            || self.input.std.iter().any(|&std| !std.is_finite() || std <= 0.0)
        {
            return Err(ModelError::InputSpec {
                input: self.input.clone(),
            });
        }
        let bad = |probability: Option<f64>| probability.filter(|p| !(0.0..1.0).contains(p));
        if let Some(probability) = bad(self.dropout) {
            return Err(ModelError::Dropout { probability });
        }
        if let Some(probability) = bad(self.stochastic_depth) {
            return Err(ModelError::StochasticDepth { probability });
        }
        self.check_open()
    }

    /// What not every architecture leaves open.
    fn check_open(&self) -> Result<(), ModelError> {
        if let Some(width) = self.width.filter(|&width| !(width > 0.0 && width <= MOST_WIDTH)) {
            return Err(ModelError::Width {
                width,
                most: MOST_WIDTH,
            });
        }
        // The way up halves them.
        let fits = |features: &[i64; 6]| features.iter().all(|channels| (2..=MOST_FEATURES).contains(channels));
        if let Some(features) = self.features.filter(|features| !fits(features)) {
            return Err(ModelError::Features {
                features,
                most: MOST_FEATURES,
            });
        }
        let architecture = self.architecture;
        let asked = [
            (self.width.is_some(), Open::Width, "width"),
            (self.features.is_some(), Open::Levels, "features"),
            (self.norm.is_some(), Open::Levels, "norm"),
        ];
        for (asked, open, setting) in asked {
            if asked && architecture.blueprint().open != open {
                return Err(ModelError::NoChoice { architecture, setting });
            }
        }
        Ok(())
    }

    fn stages(&self, scope: &Scope<'_>, variables: &nn::VarStore) -> Result<Vec<Stage>, TchError> {
        let Blueprint {
            name,
            axes,
            least,
            least_longest,
            stages,
            ..
        } = self.architecture.blueprint();
        let channels = self.input.channels();
        let settings = Settings {
            channels,
            classes: self.classes,
            dropout: self.dropout,
            stochastic_depth: self.stochastic_depth,
            width: self.width,
            features: self.features,
            norm: self.norm,
        };
        // Batch norms take a single place at the lowest resolution.
        let least_longest = match self.norm {
            Some(UNetNorm::Batch) => least,
            _ => least_longest,
        };
        let mut stages = stages(scope, &settings)?;
        if !stages.is_empty() {
            let guard = Guard {
                network: name,
                channels,
                axes,
                least,
                least_longest,
                // None is trained in a network that is rebuilt for inference.
                variable: variables.trainable_variables().into_iter().next(),
            };
            let mut first = stages.remove(0);
            if let Some(kind) = scope.converts() {
                first = first.after(Convert(kind));
            }
            stages.insert(0, first.after(guard));
        }
        Ok(stages)
    }
}

/// A classifier as a row of named stages, with its variables.
#[derive(Debug)]
pub struct Network {
    config: NetworkConfig,
    inference: Option<InferenceConfig>,
    variables: nn::VarStore,
    stages: Vec<Stage>,
    /// How many stages from the first on run as in evaluation whatever is asked for.
    frozen_stages: usize,
}

impl Network {
    /// The architecture's name.
    ///
    /// ```
    /// use models::{Architecture, NetworkConfig};
    ///
    /// let network = NetworkConfig::new(Architecture::SqueezeNet1_1).build(tch::Device::Cpu)?;
    /// assert_eq!(network.name(), "squeezenet1_1");
    /// # Ok::<(), models::ModelError>(())
    /// ```
    pub fn name(&self) -> &'static str {
        self.architecture().name()
    }

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

    /// What the network was rebuilt for by [`Network::optimize_for_inference`], if it was.
    pub fn inference(&self) -> Option<&InferenceConfig> {
        self.inference.as_ref()
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

    /// The logits of a batch in evaluation mode.
    ///
    /// # Shapes
    /// Images `[N, C, H, W]` or volumes `[N, C, D, H, W]`, as many axes of space as
    /// [`Architecture::axes`], each of [`Architecture::least_extent`] or more; logits `[N, classes]`, of U-Nets
    /// `[N, classes, …]` with the input's extents.
    ///
    /// Images are in the precision of the variables, or in bf16 or f16 where those are in f32: then what passes between
    /// layers, and the logits, are in it too. A network that was rebuilt for inference takes images of any precision.
    ///
    /// # Errors
    /// [`TchError::Kind`] for whole numbers and other precisions; [`TchError::Shape`] for an empty batch, and for channels
    /// or extents that the network cannot take; libtorch's own.
    pub fn forward(&self, input: &Tensor) -> Result<Tensor, TchError> {
        self.forward_t(input, false)
    }

    /// The logits of a batch, in training mode if `train`; precisions are as in [`Network::forward`].
    ///
    /// # Shapes
    /// Those of [`Network::forward`].
    ///
    /// # Errors
    /// Those of [`Network::forward`]; [`TchError::Kind`] in training mode for a network that was rebuilt for inference.
    pub fn forward_t(&self, input: &Tensor, train: bool) -> Result<Tensor, TchError> {
        self.run(0..self.stages.len(), input, &RefCell::default(), train)
    }

    /// What the stages at these places make of `input` in evaluation mode, with what earlier stages put aside, which they
    /// may add to and take from: as [`Stage::forward_carrying`] of one after the other, and faster, as
    /// [`Network::forward`] is, since what passes between them may be written over and an activation is computed with the
    /// convolution before it. `input` is not written over.
    ///
    /// # Shapes
    /// What the first of the stages takes to what the last one puts out; the input itself for an empty range.
    ///
    /// ```
    /// use models::{Architecture, NetworkConfig};
    /// use tch::{Device, Kind, Tensor};
    ///
    /// let network = NetworkConfig::new(Architecture::ResNet18).with_classes(2).build(Device::Cpu)?;
    /// let head = network.stages().iter().position(|stage| stage.name() == "avgpool").expect("torchvision's name");
    /// let mut carried = Vec::new();
    /// let image = Tensor::zeros([1, 3, 64, 64], (Kind::Float, Device::Cpu));
    /// let maps = network.forward_stages(0..head, &image, &mut carried)?;
    /// assert_eq!(maps.size(), [1, 512, 2, 2]);
    /// let logits = network.forward_stages(head..network.stages().len(), &maps, &mut carried)?;
    /// assert_eq!(logits, network.forward(&image)?);
    /// # Ok::<(), models::ModelError>(())
    /// ```
    ///
    /// # Errors
    /// [`TchError::Shape`] for a range that does not lie in the network, and for an input or something carried that a
    /// stage cannot take; those of [`Network::forward`].
    pub fn forward_stages(
        &self,
        range: Range<usize>,
        input: &Tensor,
        carried: &mut Vec<Tensor>,
    ) -> Result<Tensor, TchError> {
        let count = self.stages.len();
        if range.start > range.end || range.end > count {
            return Err(TchError::Shape(format!("there are stages 0..{count}, found {range:?}")));
        }
        let place = RefCell::new(std::mem::take(carried));
        let output = self.run(range, input, &place, false);
        *carried = place.into_inner();
        output
    }

    fn run(
        &self,
        range: Range<usize>,
        input: &Tensor,
        carried: &RefCell<Vec<Tensor>>,
        train: bool,
    ) -> Result<Tensor, TchError> {
        let mut x = input.shallow_clone();
        let Range { start: mut index, end } = range;
        while let Some((stage, behind)) = self.stages[index..end].split_first() {
            let pass = Pass::new(train && index >= self.frozen_stages).carrying(carried);
            let mut run = 1;
            x = match stage.run_activated(&x, behind, pass) {
                Some((output, more)) => {
                    run += more;
                    output?
                }
                // Behind a stage that made a tensor of its own nobody else sees what passes from stage to stage; one that
                // puts aside what it is given does not work in it.
                None if x.data_ptr() != input.data_ptr() => stage.run_owned(x, pass)?,
                None => stage.run(&x, pass)?,
            };
            index += run;
        }
        Ok(x)
    }

    /// The logits, in f32, of a batch in training mode and mixed precision: what passes between the
    /// layers is of `kind`, bf16 as a rule, while the variables stay in f32 and are converted where they are used.
    ///
    /// Micikevicius et al., "Mixed Precision Training", 2018, [arXiv:1710.03740](https://arxiv.org/abs/1710.03740).
    /// bf16 has the range of f32, so the loss needs no scaling, which f16 would; the loss itself is best taken in f32, as
    /// it is from these logits.
    ///
    /// # Shapes
    /// Those of [`Network::forward`].
    ///
    /// # Errors
    /// [`TchError::Kind`] for whole numbers, as images or as `kind`, for a `kind` that variables of another do not go with
    /// ([`Network::forward`]), and for a network that was rebuilt for inference, whose variables are converted already;
    /// [`TchError::Shape`] for channels or extents that the network cannot take; libtorch's own.
    pub fn forward_mixed(&self, input: &Tensor, kind: Kind) -> Result<Tensor, TchError> {
        if self.inference.is_some() {
            return Err(TchError::Kind(ModelError::ForInference.to_string()));
        }
        for kind in [input.f_kind()?, kind] {
            check_floating(self.architecture().name(), kind)?;
        }
        self.forward_t(&input.f_to_kind(kind)?, true)?.f_to_kind(Kind::Float)
    }

    pub(crate) fn set_frozen_stages(&mut self, count: usize) {
        self.frozen_stages = count;
    }

    pub(crate) fn variables_mut(&mut self) -> &mut nn::VarStore {
        &mut self.variables
    }

    /// How many numbers there are for training to change; in a network that was rebuilt for inference, how many there are
    /// in its weights and biases, those that batch norms were folded into among them.
    ///
    /// ```
    /// use models::{Architecture, NetworkConfig};
    ///
    /// let network = NetworkConfig::new(Architecture::SqueezeNet1_1).build(tch::Device::Cpu)?;
    /// assert_eq!(network.parameters(), 1_235_496);
    /// # Ok::<(), models::ModelError>(())
    /// ```
    pub fn parameters(&self) -> u64 {
        self.numbers().iter().map(|(_, count)| count).sum()
    }

    /// What [`Network::parameters`] counts, by variable.
    fn numbers(&self) -> Vec<(String, u64)> {
        let trained = self.variables.trainable_variables();
        let trained: Vec<_> = trained.iter().map(Tensor::data_ptr).collect();
        let counts = |name: &str, variable: &Tensor| match self.inference {
            Some(_) => !BatchNorm::BUFFERS.contains(&name.rsplit('.').next().unwrap_or(name)),
            None => trained.contains(&variable.data_ptr()),
        };
        self.variables
            .variables()
            .into_iter()
            .filter(|(name, variable)| counts(name, variable))
            .map(|(name, variable)| (name, variable.numel() as u64))
            .collect()
    }

    /// Every stage with its output's shape, its parameters and its multiplications, for an input of this shape. Its
    /// text is a table.
    ///
    /// Multiply-adds are those of convolutions and linear layers; all else is next to nothing.
    ///
    /// ```
    /// use models::{Architecture, NetworkConfig};
    ///
    /// let network = NetworkConfig::new(Architecture::SqueezeNet1_1).build(tch::Device::Cpu)?;
    /// let description = network.describe(&[1, 3, 224, 224])?;
    /// assert_eq!(description.stages()[0].shape(), [1, 64, 111, 111]);
    /// assert_eq!(description.multiply_adds() / 1_000_000, 349);
    /// # Ok::<(), models::ModelError>(())
    /// ```
    ///
    /// # Shapes
    /// `input` is the shape of a batch that [`Network::forward`] takes.
    ///
    /// # Errors
    /// [`TchError::Shape`] for channels or extents that the network cannot take; libtorch's own.
    ///
    /// # Cost
    /// One evaluation of a black image.
    pub fn describe(&self, input: &[i64]) -> Result<Description, TchError> {
        let _no_grad = tch::no_grad_guard();
        let numbers = self.numbers();
        // A rebuilt network converts its images itself.
        let kind = match (&self.inference, self.variables.trainable_variables().first()) {
            (None, Some(variable)) => variable.f_kind()?,
            _ => Kind::Float,
        };
        let mut x = Tensor::f_zeros(input, (kind, self.device()))?;
        let mut stages = Vec::with_capacity(self.stages.len());
        let carried = RefCell::default();
        for stage in &self.stages {
            let work = Work::default();
            x = stage.run(&x, Pass::counting(&work).carrying(&carried))?;
            stages.push(StageDescription {
                name: stage.name().to_owned(),
                shape: x.size(),
                parameters: numbers
                    .iter()
                    .filter(|(name, _)| stage.owns(name))
                    .map(|(_, count)| count)
                    .sum(),
                multiply_adds: work.multiply_adds.get(),
                packed_multiply_adds: work.packed.get(),
            });
        }
        Ok(Description { stages })
    }

    /// The same network as it stands, rebuilt to be evaluated faster: the same stages by the same names, with
    /// variables of its own. Training, loading and saving are the original's; training mode is refused here.
    ///
    /// A stage never writes over its input, nor over an output that it gave before; [`Network::forward`] and
    /// [`Network::forward_stages`] let stages write over what passes between them, which nobody else sees.
    ///
    /// # Errors
    /// [`ModelError::InferenceKind`] for a kind that holds no real numbers; [`ModelError::ForInference`] for a network
    /// that is rebuilt already; libtorch's own.
    ///
    /// # Cost
    /// A copy of the variables; with [`MemoryLayout::Packed`] a second one of the weights of convolutions and linear
    /// layers, which the first pass makes.
    pub fn optimize_for_inference(&self, config: &InferenceConfig) -> Result<Network, ModelError> {
        config.check()?;
        if self.inference.is_some() {
            return Err(ModelError::ForInference);
        }
        let existing = Existing {
            variables: self.variables.variables().into_iter().collect(),
            kind: config.kind(),
            channels_last: config.layout() != MemoryLayout::Contiguous,
            fold: config.batch_norms() == BatchNorms::Fold,
            pack: config.layout() == MemoryLayout::Packed,
        };
        let variables = nn::VarStore::new(self.device());
        let mut stages = self
            .config
            .stages(&Scope::of_existing(&variables, &existing), &variables)?;
        if config.kind() != Kind::Float
            && let Some(last) = stages.pop()
        {
            stages.push(last.with_output(Kind::Float));
        }
        Ok(Network {
            config: self.config.clone(),
            inference: Some(config.clone()),
            variables,
            stages: stages.into_iter().map(Stage::for_inference).collect(),
            frozen_stages: 0,
        })
    }

    /// Reads the variables by name from a file of safetensors or from a state dict as `torch.save`
    /// writes it (`.pth`); which of them it is shows in its content, not in its name. A pickle is read
    /// for tensors only, never run.
    ///
    /// Floating-point tensors of any width are converted to the network's own.
    /// `num_batches_tracked`, which torch keeps and nothing reads, is passed over. Everything must fit,
    /// less what the rules allow: with [`Head::Replace`](crate::Head::Replace) another head keeps its
    /// fresh weights. Nothing is changed unless everything fits. Files that torchvision publishes are
    /// taken as torchvision takes them: DenseNets' old names as today's, GoogLeNet's auxiliary heads
    /// passed over.
    ///
    /// # Errors
    /// [`ModelError::Open`] for a file that is missing; [`ModelError::StateDict`] for one that is
    /// torch's and broken, unsafe or of something else than tensors, TorchScript or Keras's;
    /// [`ModelError::Read`] for one that is neither torch's nor
    /// safetensors; [`ModelError::NoEntries`] for an entry of safetensors; [`ModelError::Weights`]
    /// with every missing, unexpected and misshapen key at once; [`ModelError::ForInference`]
    /// for a network that was rebuilt for inference.
    pub fn load(&mut self, path: impl AsRef<Path>, rules: impl Into<LoadRules>) -> Result<Loaded, ModelError> {
        if self.inference.is_some() {
            return Err(ModelError::ForInference);
        }
        weights::load(&self.variables, path.as_ref(), self.architecture(), &rules.into())
    }

    /// Writes the variables to a safetensors file, which appears whole or not at all; until then its
    /// name begins with [`TEMPORARY_PREFIX`](crate::TEMPORARY_PREFIX).
    ///
    /// # Errors
    /// [`ModelError::Write`] with the path; [`ModelError::ForInference`] for a network that was rebuilt for inference,
    /// whose variables no other network could load.
    pub fn save(&self, path: impl AsRef<Path>) -> Result<(), ModelError> {
        if self.inference.is_some() {
            return Err(ModelError::ForInference);
        }
        weights::save(&self.variables, path.as_ref())
    }
}
