use std::fmt;

use tch::{Kind, TchError, Tensor};

use crate::error::ModelError;
use crate::layers::{Layer, Pass, Sequence};

/// One step of a network: a name and a function from tensor to tensor.
///
/// The function knows whether the network is being trained (dropout drops, batch norms use the batch's own statistics
/// and update the running ones) or evaluated.
pub struct Stage {
    name: String,
    prefixes: Vec<String>,
    carried: i64,
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
    pub fn new(
        name: impl Into<String>,
        forward: impl Fn(&Tensor, bool) -> Result<Tensor, TchError> + Send + 'static,
    ) -> Self {
        Self::layer(name, Function(forward))
    }

    /// A stage called `name` that is this layer; its variables' names begin with the stage's.
    pub(crate) fn layer(name: impl Into<String>, layer: impl Layer + 'static) -> Self {
        let name = name.into();
        Self {
            prefixes: vec![name.clone()],
            name,
            carried: 0,
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

    /// With this many channels at the end of the output that are no part of what the layer puts out, but carried on
    /// for a later stage: for a network whose layers look at more than the output before.
    pub fn carrying(mut self, channels: i64) -> Self {
        self.carried = channels;
        self
    }

    /// How many channels at the end of the output are carried on for a later stage.
    pub fn carried(&self) -> i64 {
        self.carried
    }

    /// The part of this stage's output, or of a gradient for it, that is the layer's own: all but the channels that
    /// are [carried](Self::carried) on.
    ///
    /// ```
    /// use models::Stage;
    /// use tch::{Device, Kind, Tensor};
    ///
    /// let stage = Stage::new("cell", |x: &Tensor, _train| x.f_relu()).carrying(2);
    /// let output = stage.forward(&Tensor::zeros([1, 5, 4, 4], (Kind::Float, Device::Cpu)))?;
    /// assert_eq!(stage.own(&output)?.size(), [1, 3, 4, 4]);
    /// # Ok::<(), tch::TchError>(())
    /// ```
    ///
    /// # Shapes
    /// `[N, C, …]` to `[N, C − carried, …]`.
    ///
    /// # Errors
    /// libtorch's own, for a tensor of fewer channels.
    pub fn own(&self, output: &Tensor) -> Result<Tensor, TchError> {
        match self.carried {
            0 => Ok(output.shallow_clone()),
            carried => output.f_narrow(1, 0, output.size().get(1).copied().unwrap_or(0) - carried),
        }
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

    /// Runs the stage in evaluation mode.
    ///
    /// # Errors
    /// libtorch's own, for an input that the stage cannot take.
    pub fn forward(&self, input: &Tensor) -> Result<Tensor, TchError> {
        self.run(input, Pass::new(false))
    }

    /// Runs the stage in training mode if `train`, in evaluation mode otherwise.
    ///
    /// # Errors
    /// [`TchError::Kind`] in training mode for a stage of a network that was rebuilt for inference; libtorch's own, for an
    /// input that the stage cannot take.
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

impl<F: Fn(&Tensor, bool) -> Result<Tensor, TchError> + Send> Layer for Function<F> {
    fn forward(&self, x: &Tensor, pass: Pass<'_>) -> Result<Tensor, TchError> {
        (self.0)(x, pass.train())
    }
}

/// To another precision.
pub(crate) struct Convert(pub(crate) Kind);

impl Layer for Convert {
    fn forward(&self, x: &Tensor, _: Pass<'_>) -> Result<Tensor, TchError> {
        x.f_to_kind(self.0)
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
}

impl Layer for Guard {
    fn forward(&self, x: &Tensor, _: Pass<'_>) -> Result<Tensor, TchError> {
        let Self {
            network,
            channels,
            axes,
            least,
            least_longest,
        } = *self;
        let found = x.size();
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
        Ok(x.shallow_clone())
    }
}
