use std::cell::RefCell;
use std::fmt;

use tch::{Kind, TchError, Tensor};

use crate::error::ModelError;
use crate::layers::{Layer, Pass, Sequence};

/// One step of a network: a name and a function from tensor to tensor.
///
/// The function knows whether the network is being trained (dropout drops, batch norms use the batch's own statistics
/// and update the running ones) or evaluated.
///
/// Where a network branches across stages, as a U-Net does from its way down to its way up, a stage puts aside what it is
/// given, and a later one takes it ([`Stage::carrying`]). A stage's output is thus never more than the layer's own.
pub struct Stage {
    name: String,
    prefixes: Vec<String>,
    for_inference: bool,
    layer: Box<dyn Layer>,
}

impl Stage {
    /// A stage called `name` that computes `forward(input, train)`.
    ///
    /// ```
    /// use models::Stage;
    /// use tch::Tensor;
    ///
    /// let double = Stage::new("double", |x: &Tensor, _train| x.f_mul_scalar(2));
    /// assert_eq!(double.forward(&Tensor::from_slice(&[1, 2]))?, Tensor::from_slice(&[2, 4]));
    /// # Ok::<(), tch::TchError>(())
    /// ```
    ///
    /// # Shapes
    /// Those of the function: what the stage before puts out is what it is given. Heatmaps need `[N, C, …]` at the stages
    /// that are looked into.
    ///
    /// # Errors
    /// None here; those of the function when the stage runs.
    pub fn new(
        name: impl Into<String>,
        forward: impl Fn(&Tensor, bool) -> Result<Tensor, TchError> + Send + 'static,
    ) -> Self {
        Self::layer(
            name,
            Function(move |x: &Tensor, _: &mut Vec<Tensor>, train: bool| forward(x, train)),
        )
    }

    /// A stage called `name` that computes `forward(input, carried, train)`, where `carried` holds what stages before it
    /// put aside for later ones: it may add to that, and take from it. Other stages leave it as it is.
    ///
    /// A stage puts aside what it is given, never its own output: then what is looked into at a stage is all that
    /// comes of its output.
    ///
    /// ```
    /// use models::{Stage, StageRow};
    /// use tch::{TchError, Tensor};
    ///
    /// let row = StageRow::new([
    ///     Stage::new("encoder", |x, _train| x.f_mul_scalar(2)),
    ///     Stage::carrying("bottom", |x, carried, _train| {
    ///         carried.push(x.shallow_clone());
    ///         x.f_mul_scalar(3)
    ///     }),
    ///     Stage::carrying("decoder", |x, carried, _train| {
    ///         let skip = carried.pop().ok_or_else(|| TchError::Shape("no encoder's output".to_owned()))?;
    ///         x.f_add(&skip)
    ///     }),
    /// ])?;
    /// assert_eq!(row.forward(&Tensor::from_slice(&[1, 2]))?, Tensor::from_slice(&[8, 16]));
    /// # Ok::<(), models::ModelError>(())
    /// ```
    ///
    /// # Shapes
    /// Those of [`Stage::new`].
    ///
    /// # Errors
    /// None here; those of the function when the stage runs.
    pub fn carrying(
        name: impl Into<String>,
        forward: impl Fn(&Tensor, &mut Vec<Tensor>, bool) -> Result<Tensor, TchError> + Send + 'static,
    ) -> Self {
        Self::layer(name, Function(forward))
    }

    /// A stage called `name` that is this layer; its variables' names begin with the stage's.
    pub(crate) fn layer(name: impl Into<String>, layer: impl Layer + 'static) -> Self {
        let name = name.into();
        Self {
            prefixes: vec![name.clone()],
            name,
            for_inference: false,
            layer: Box::new(layer),
        }
    }

    /// With variables under other names than the stage's own.
    pub fn with_variables(mut self, prefixes: impl IntoIterator<Item = impl Into<String>>) -> Self {
        self.prefixes = prefixes.into_iter().map(Into::into).collect();
        self
    }

    /// The stage's name: torchvision's or MONAI's module path, or the Keras layer whose output the stage gives.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Whether the network's variable of this name belongs to this stage, as `layer1.0.bn2.weight` does to `layer1.0`.
    ///
    /// ```
    /// use models::Stage;
    ///
    /// let stage = Stage::new("layer1.0", |x: &tch::Tensor, _train| x.f_relu());
    /// assert!(stage.owns("layer1.0.bn2.weight"));
    /// assert!(!stage.owns("layer1.01.weight"));
    /// ```
    pub fn owns(&self, variable: &str) -> bool {
        self.prefixes.iter().any(|prefix| {
            variable
                .strip_prefix(prefix.as_str())
                .is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
        })
    }

    /// Runs the stage in evaluation mode, with nothing carried to it; what it puts aside is dropped.
    ///
    /// # Shapes
    /// A batch as the stage before puts it out, or the network's own input for the first stage; for stages of this crate's
    /// networks [`Network::describe`](crate::Network::describe) lists the shapes between them: `[N, C, …]` with the axes of
    /// space, behind the last pool `[N, C]`.
    ///
    /// # Errors
    /// [`TchError::Shape`] for a stage that takes what an earlier one puts aside; libtorch's own, for an input that the
    /// stage cannot take.
    pub fn forward(&self, input: &Tensor) -> Result<Tensor, TchError> {
        self.run(input, Pass::new(false))
    }

    /// Runs the stage in evaluation mode with what earlier stages put aside, which it may add to and take from: the
    /// whole of a step through a network.
    ///
    /// ```
    /// use models::{Architecture, NetworkConfig};
    /// use tch::{Device, Kind, Tensor};
    ///
    /// let network = NetworkConfig::new(Architecture::BasicUNet2d).with_classes(2).build(Device::Cpu)?;
    /// let mut x = Tensor::zeros([1, 3, 64, 48], (Kind::Float, Device::Cpu));
    /// let mut carried = Vec::new();
    /// for stage in network.stages() {
    ///     x = stage.forward_carrying(&x, &mut carried)?;
    ///     if stage.name() == "down_4" {
    ///         assert_eq!((x.size(), carried.len()), (vec![1, 256, 4, 3], 4));
    ///     }
    /// }
    /// assert_eq!((x.size(), carried.len()), (vec![1, 2, 64, 48], 0));
    /// # Ok::<(), models::ModelError>(())
    /// ```
    ///
    /// # Shapes
    /// Those of [`Stage::forward`]; what is carried has the shapes of the inputs of the stages that put it aside.
    ///
    /// # Errors
    /// Those of [`Stage::forward`].
    pub fn forward_carrying(&self, input: &Tensor, carried: &mut Vec<Tensor>) -> Result<Tensor, TchError> {
        self.forward_carrying_t(input, carried, false)
    }

    /// As [`Stage::forward_carrying`], in training mode if `train`, so that a network which carries can be trained with
    /// losses at several stages, or with stages held in evaluation mode.
    ///
    /// Stages that [`Network::freeze_through`](crate::Network::freeze_through) rests are in evaluation mode in
    /// [`Network::forward_t`](crate::Network::forward_t); here that is for the caller to say.
    ///
    /// ```
    /// use models::{Architecture, NetworkConfig};
    /// use tch::{Device, Kind, Tensor};
    ///
    /// let network = NetworkConfig::new(Architecture::BasicUNet2d).with_classes(2).build(Device::Cpu)?;
    /// let mut x = Tensor::rand([1, 3, 64, 48], (Kind::Float, Device::Cpu));
    /// let (mut carried, mut loss) = (Vec::new(), Tensor::from(0f32));
    /// for stage in network.stages() {
    ///     x = stage.forward_carrying_t(&x, &mut carried, true)?;
    ///     if stage.name() == "down_4" {
    ///         // A loss of its own at the lowest level.
    ///         loss += x.square().mean(Kind::Float);
    ///     }
    /// }
    /// loss += x.square().mean(Kind::Float);
    /// loss.backward();
    /// assert!(network.variables().variables()["down_1.convs.conv_0.conv.weight"].grad().defined());
    /// # Ok::<(), models::ModelError>(())
    /// ```
    ///
    /// # Shapes
    /// Those of [`Stage::forward_carrying`].
    ///
    /// # Errors
    /// Those of [`Stage::forward_t`].
    pub fn forward_carrying_t(
        &self,
        input: &Tensor,
        carried: &mut Vec<Tensor>,
        train: bool,
    ) -> Result<Tensor, TchError> {
        let place = RefCell::new(std::mem::take(carried));
        let output = self.run(input, Pass::new(train).carrying(&place));
        *carried = place.into_inner();
        output
    }

    /// Runs the stage in training mode if `train`, in evaluation mode otherwise, with nothing carried to it; what it puts
    /// aside is dropped. [`Stage::forward_carrying_t`] and [`Network::forward_t`](crate::Network::forward_t) carry between
    /// stages in training too.
    ///
    /// # Shapes
    /// Those of [`Stage::forward`].
    ///
    /// # Errors
    /// [`TchError::Kind`] in training mode for a stage of a network that was rebuilt for inference; those of
    /// [`Stage::forward`].
    pub fn forward_t(&self, input: &Tensor, train: bool) -> Result<Tensor, TchError> {
        self.run(input, Pass::new(train))
    }

    pub(crate) fn run(&self, input: &Tensor, pass: Pass<'_>) -> Result<Tensor, TchError> {
        self.check(pass)?;
        self.layer.forward(input, pass)
    }

    /// As [`Stage::run`], for an input that nobody needs any more.
    pub(crate) fn run_owned(&self, input: Tensor, pass: Pass<'_>) -> Result<Tensor, TchError> {
        self.check(pass)?;
        self.layer.forward_owned(input, pass)
    }

    /// The output of this stage and those behind it, if the last of them is an activation that this one takes along and
    /// the others hand on their input; and how many those behind it are.
    pub(crate) fn run_activated(
        &self,
        input: &Tensor,
        behind: &[Stage],
        pass: Pass<'_>,
    ) -> Option<(Result<Tensor, TchError>, usize)> {
        if !self.layer.takes_activation() {
            return None;
        }
        let handed_on = behind.iter().take_while(|stage| stage.layer.is_identity()).count();
        let activation = behind.get(handed_on)?.layer.as_activation()?;
        let output = self
            .check(pass)
            .and_then(|()| self.layer.forward_activated(input, activation, pass));
        Some((output, handed_on + 1))
    }

    fn check(&self, pass: Pass<'_>) -> Result<(), TchError> {
        match self.for_inference && pass.train() {
            true => Err(TchError::Kind(ModelError::ForInference.to_string())),
            false => Ok(()),
        }
    }

    /// Of a network that was rebuilt for inference.
    pub(crate) fn for_inference(mut self) -> Self {
        self.for_inference = true;
        self
    }

    /// With a layer before it.
    pub(crate) fn after(mut self, first: impl Layer + 'static) -> Self {
        self.layer = Box::new(Sequence::default().with(first).with_boxed(self.layer));
        self
    }

    /// With its output converted to `kind`.
    pub(crate) fn with_output(mut self, kind: Kind) -> Self {
        self.layer = Box::new(Sequence::default().with_boxed(self.layer).with(Convert(kind)));
        self
    }
}

impl fmt::Debug for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Stage")
            .field("name", &self.name)
            .field("prefixes", &self.prefixes)
            .finish_non_exhaustive()
    }
}

struct Function<F>(F);

impl<F: Fn(&Tensor, &mut Vec<Tensor>, bool) -> Result<Tensor, TchError> + Send> Layer for Function<F> {
    fn forward(&self, x: &Tensor, pass: Pass<'_>) -> Result<Tensor, TchError> {
        match pass.carried() {
            // Taken out, so that a stage that runs others inside may do what it likes.
            Some(place) => {
                let mut carried = place.take();
                let output = (self.0)(x, &mut carried, pass.train());
                place.replace(carried);
                output
            }
            None => (self.0)(x, &mut Vec::new(), pass.train()),
        }
    }
}

/// To another precision.
pub(crate) struct Convert(pub(crate) Kind);

impl Layer for Convert {
    fn forward(&self, x: &Tensor, _: Pass<'_>) -> Result<Tensor, TchError> {
        x.f_to_kind(self.0)
    }
}

/// Whether numbers of this kind can be an image.
pub(crate) fn is_floating(kind: Kind) -> bool {
    matches!(kind, Kind::Float | Kind::Double | Kind::BFloat16 | Kind::Half)
}

/// Refuses whole numbers: weights converted to them would be zeros.
pub(crate) fn check_floating(network: &str, kind: Kind) -> Result<(), TchError> {
    match is_floating(kind) {
        true => Ok(()),
        false => Err(TchError::Kind(format!(
            "{network} takes images in Float, BFloat16, Half or Double, found {kind:?}"
        ))),
    }
}

/// Refuses what the network cannot take, where a libtorch error would speak of some layer deep inside.
#[derive(Debug)]
pub(crate) struct Guard {
    pub(crate) network: &'static str,
    pub(crate) channels: i64,
    pub(crate) axes: usize,
    pub(crate) least: i64,
    /// Of the longest axis.
    pub(crate) least_longest: i64,
    /// One whose kind is all variables'; none where images are converted to it.
    pub(crate) variable: Option<Tensor>,
}

impl Guard {
    fn check_shape(&self, found: &[i64]) -> Result<(), TchError> {
        let Self {
            network,
            channels,
            axes,
            least,
            least_longest,
            ..
        } = *self;
        let fits = found.len() == axes + 2
            && found[1] == channels
            && found[2..].iter().all(|&extent| extent >= least)
            && found[2..].iter().any(|&extent| extent >= least_longest);
        if !fits {
            let longest = match least_longest {
                _ if least_longest == least => String::new(),
                longest => format!(", one of them at least {longest}"),
            };
            return Err(TchError::Shape(format!(
                "{network} takes [N, {channels}] and {axes} extents of at least {least}{longest}, found {found:?}"
            )));
        }
        match found[0] {
            0 => Err(TchError::Shape(format!(
                "{network} takes batches of one image or more, found {found:?}"
            ))),
            _ => Ok(()),
        }
    }

    fn check_kind(&self, found: Kind) -> Result<(), TchError> {
        let network = self.network;
        check_floating(network, found)?;
        let Some(variable) = &self.variable else { return Ok(()) };
        match (variable.f_kind()?, found) {
            (variable, found) if variable == found => Ok(()),
            // Mixed precision.
            (Kind::Float, Kind::BFloat16 | Kind::Half) => Ok(()),
            (variable @ Kind::Float, found) => Err(TchError::Kind(format!(
                "{network} has variables in {variable:?} and takes images in that, BFloat16 or Half, found {found:?}"
            ))),
            (variable, found) => Err(TchError::Kind(format!(
                "{network} has variables in {variable:?} and takes images in that, found {found:?}"
            ))),
        }
    }
}

impl Layer for Guard {
    fn forward(&self, x: &Tensor, _: Pass<'_>) -> Result<Tensor, TchError> {
        self.check_shape(&x.size())?;
        self.check_kind(x.f_kind()?)?;
        Ok(x.shallow_clone())
    }
}
