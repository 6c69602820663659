//! A network as a row of named stages.

use std::collections::HashSet;
use std::fmt;

use tch::{TchError, Tensor, nn};

use crate::error::CamError;

type Forward<'a> = Box<dyn Fn(&Tensor) -> Result<Tensor, TchError> + 'a>;

/// One step of a network: a name and a function from tensor to tensor, in evaluation mode.
///
/// A function that treats the samples of a batch one by one (no batch norm on the batch's own
/// statistics) gives each sample the heatmap it would get alone.
pub struct Stage<'a> {
    name: String,
    forward: Forward<'a>,
}

impl<'a> Stage<'a> {
    /// A stage called `name` that computes `forward`.
    pub fn new(name: impl Into<String>, forward: impl Fn(&Tensor) -> Result<Tensor, TchError> + 'a) -> Self {
        Self {
            name: name.into(),
            forward: Box::new(forward),
        }
    }

    /// A stage called `name` that runs one of tch's modules in evaluation mode.
    ///
    /// # Panics
    /// The stage panics, when it runs, where the module's own `forward_t` does: tch's layers do so
    /// for an input of a shape they cannot take. A closure over `f_…` calls in [`Stage::new`] gets
    /// an error instead.
    pub fn module(name: impl Into<String>, module: &'a impl nn::ModuleT) -> Self {
        Self::new(name, |input| Ok(module.forward_t(input, false)))
    }

    /// The stage's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Runs the stage.
    ///
    /// # Errors
    /// [`CamError::Stage`] with the stage's name.
    pub fn forward(&self, input: &Tensor) -> Result<Tensor, CamError> {
        (self.forward)(input).map_err(|source| CamError::Stage {
            stage: self.name.clone(),
            source,
        })
    }
}

impl fmt::Debug for Stage<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Stage")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

/// A network: stages from the image batch to the logits, no two of one name.
///
/// ```
/// use gradcam_core::{Stage, Stages, last_spatial};
/// use tch::{Device, Kind, Tensor};
///
/// let network = Stages::new(vec![
///     Stage::new("pool", |x| x.f_avg_pool2d([2, 2], [2, 2], [0, 0], false, true, None)),
///     Stage::new("flatten", |x| x.f_flatten(1, -1)),
/// ])?;
/// let shapes = network.shapes(&Tensor::zeros([1, 1, 8, 6], (Kind::Float, Device::Cpu)))?;
/// assert_eq!(shapes[0], ("pool".to_owned(), vec![1, 1, 4, 3]));
/// assert_eq!(last_spatial(&shapes), Some("pool"));
/// # Ok::<(), gradcam_core::CamError>(())
/// ```
#[derive(Debug)]
pub struct Stages<'a> {
    stages: Vec<Stage<'a>>,
}

impl<'a> Stages<'a> {
    /// The network of these stages.
    ///
    /// # Errors
    /// [`CamError::NoStages`] and [`CamError::DuplicateStage`].
    pub fn new(stages: Vec<Stage<'a>>) -> Result<Self, CamError> {
        if stages.is_empty() {
            return Err(CamError::NoStages);
        }
        let mut seen = HashSet::new();
        if let Some(twice) = stages.iter().find(|stage| !seen.insert(stage.name())) {
            return Err(CamError::DuplicateStage {
                stage: twice.name.clone(),
            });
        }
        Ok(Self { stages })
    }

    /// The stages, from the input on.
    pub fn as_slice(&self) -> &[Stage<'a>] {
        &self.stages
    }

    /// The output of the whole network. Whether a graph is built is the caller's gradient mode. Alone here and in
    /// [`Stages::forward_from`] the stages get the caller's tensor itself, so that a first one in place changes it.
    ///
    /// # Shapes
    /// What the first stage takes, `[N, C, H, W]` or `[N, C, D, H, W]`, to the logits `[N, K]`.
    ///
    /// # Errors
    /// [`CamError::Stage`].
    pub fn forward(&self, input: &Tensor) -> Result<Tensor, CamError> {
        run(&self.stages, input)
    }

    /// The output of the stages after `layer` for what `layer` puts out, or might have put out.
    /// Whether a graph is built is the caller's gradient mode.
    ///
    /// # Shapes
    /// The layer's output, such as `[N, C, h, w]`, to the logits `[N, K]`.
    ///
    /// # Errors
    /// [`CamError::UnknownLayer`], [`CamError::Stage`].
    pub fn forward_from(&self, layer: &str, activations: &Tensor) -> Result<Tensor, CamError> {
        let index = self.position(layer)?;
        run(&self.stages[index + 1..], activations)
    }

    /// What each stage puts out: its name and the shape. Runs the network once, without a graph.
    ///
    /// # Shapes
    /// `input` as the first stage takes it, `[N, C, H, W]` or `[N, C, D, H, W]`.
    ///
    /// # Errors
    /// [`CamError::Stage`].
    pub fn shapes(&self, input: &Tensor) -> Result<Vec<(String, Vec<i64>)>, CamError> {
        let _no_grad = tch::no_grad_guard();
        let mut x = copy(input)?;
        self.stages
            .iter()
            .map(|stage| {
                x = stage.forward(&x)?;
                Ok((stage.name.clone(), x.size()))
            })
            .collect()
    }

    /// The place of `layer` in the row.
    pub(crate) fn position(&self, layer: &str) -> Result<usize, CamError> {
        self.stages
            .iter()
            .position(|stage| stage.name == layer)
            .ok_or_else(|| CamError::UnknownLayer {
                layer: layer.to_owned(),
                known: self.stages.iter().map(|stage| stage.name.clone()).collect(),
            })
    }
}

/// The name of the last stage that puts out `[N, C, H, W]` or `[N, C, D, H, W]` with more than one
/// place in space: where a class-activation heatmap is usually taken.
pub fn last_spatial(shapes: &[(String, Vec<i64>)]) -> Option<&str> {
    shapes
        .iter()
        .rev()
        .find(|(_, shape)| matches!(shape.len(), 4 | 5) && shape[2..].iter().any(|&extent| extent > 1))
        .map(|(name, _)| name.as_str())
}

/// Runs a row of stages.
pub(crate) fn run(stages: &[Stage<'_>], input: &Tensor) -> Result<Tensor, CamError> {
    stages
        .iter()
        .try_fold(input.shallow_clone(), |x, stage| stage.forward(&x))
}

/// A stage may work in place; what it is given must be nobody else's. Laid out as the tensor is: channels last stays so.
pub(crate) fn copy(tensor: &Tensor) -> Result<Tensor, TchError> {
    tensor.f_to_dtype(tensor.kind(), false, true)
}
