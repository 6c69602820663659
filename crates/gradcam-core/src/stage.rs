//! A network as a row of named stages.

use std::collections::HashSet;
use std::fmt;
use std::ops::Range;

use tch::{TchError, Tensor, nn};

use crate::error::CamError;

type Forward<'a> = Box<dyn Fn(&Tensor, &mut Vec<Tensor>) -> Result<Tensor, TchError> + 'a>;
type Fused<'a> = Box<dyn Fn(Range<usize>, &Tensor, &mut Vec<Tensor>) -> Result<Tensor, TchError> + 'a>;

/// One step of a network: a name and a function from tensor to tensor, in evaluation mode.
///
/// A function that treats the samples of a batch one by one (no batch norm on the batch's own
/// statistics) gives each sample the heatmap it would get alone.
///
/// Where a network branches across stages, as a U-Net does from its way down to its way up, a stage
/// made with [`Stage::carrying`] puts tensors aside for later ones.
///
/// A transformer hands on tokens `[N, T, C]`, which are no feature maps. Let one stage lay them out in space, and the next
/// one take them up as tokens again: the first is a layer for every method, and what it puts aside, such as a class token,
/// is held fixed. This is what pytorch-grad-cam's `reshape_transform` is for.
///
/// ```
/// use gradcam_core::{Stage, Stages, Target, grad_cam};
/// use tch::{TchError, Tensor};
///
/// const GRID: [i64; 2] = [2, 3];
/// let network = Stages::new(vec![
///     // Patches of 4×4 pixels as tokens of 16 values, and the class's token before them.
///     Stage::new("tokens", |x| {
///         let patches = x.f_pixel_unshuffle(4)?.f_flatten(2, -1)?.f_transpose(1, 2)?;
///         Tensor::f_cat(&[&patches.f_mean_dim([1i64].as_slice(), true, None)?, &patches], 1)
///     }),
///     Stage::carrying("grid", |x, carried| {
///         carried.push(x.f_narrow(1, 0, 1)?);
///         let patches = x.f_narrow(1, 1, GRID[0] * GRID[1])?;
///         patches.f_transpose(1, 2)?.f_reshape([x.size()[0], -1, GRID[0], GRID[1]])
///     }),
///     Stage::carrying("tokens again", |x, carried| {
///         let class = carried.pop().ok_or_else(|| TchError::Shape("no class token".to_owned()))?;
///         Tensor::f_cat(&[class, x.f_flatten(2, -1)?.f_transpose(1, 2)?], 1)
///     }),
///     // In place of the blocks behind: the class's token takes from the others.
///     Stage::new("logits", |x| x.f_mean_dim([1i64].as_slice(), false, None)),
/// ])?;
/// let image = Tensor::arange(8 * 12, (tch::Kind::Float, tch::Device::Cpu)).view([1, 1, 8, 12]);
/// let capture = network.capture(&image, &["grid"])?;
/// let maps = grad_cam(&capture.gradients(&[Target::Class(5)])?.at("grid")?)?;
/// assert_eq!(maps.tensor().size(), [1, 2, 3]);
/// assert_eq!(maps.heatmaps(&[8, 12])?.tensor().double_value(&[0, 7, 11]), 1.0);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Stage<'a> {
    name: String,
    forward: Forward<'a>,
}

impl<'a> Stage<'a> {
    /// A stage called `name` that computes `forward`.
    pub fn new(name: impl Into<String>, forward: impl Fn(&Tensor) -> Result<Tensor, TchError> + 'a) -> Self {
        Self::carrying(name, move |x, _| forward(x))
    }

    /// A stage called `name` that computes `forward(activations, carried)`, where `carried` holds what
    /// stages before it put aside for later ones: it may add to that, and take from it. Other stages
    /// leave it as it is.
    ///
    /// **What stage L puts out is put aside by the stage after L**, from what it is given, and never by
    /// L itself. Then the gradient at L counts every way from there to the score, as PyTorch's hooks
    /// on L do: at a captured layer its own output is what is differentiated by, and what is already
    /// carried past it is held fixed. A stage that puts its own output aside is refused, also where it made it in place.
    ///
    /// One that only hands on what it is given, and puts that aside too, is not: nothing is its own. At such a stage
    /// the way past it is not counted, as it would be by a hook; capture at the stage before it.
    ///
    /// Each carried tensor has the samples on its first axis, and is read only: methods on altered
    /// copies of one sample give all copies the same memory. A stage may still work in place on
    /// activations that it does not put aside.
    ///
    /// ```
    /// use gradcam_core::{Stage, Stages, Target, grad_cam};
    /// use tch::{TchError, Tensor};
    ///
    /// let network = Stages::new(vec![
    ///     Stage::new("encoder", |x| x.f_mul_scalar(2.0)),
    ///     // Puts the encoder's output aside for the decoder.
    ///     Stage::carrying("bottom", |x, carried| {
    ///         carried.push(x.shallow_clone());
    ///         x.f_mul_scalar(3.0)
    ///     }),
    ///     Stage::carrying("decoder", |x, carried| {
    ///         let skip = carried.pop().ok_or_else(|| TchError::Shape("no encoder's output".to_owned()))?;
    ///         x.f_add(&skip)
    ///     }),
    ///     Stage::new("mean", |x| x.f_mean_dim([2i64, 3].as_slice(), false, None)),
    /// ])?;
    /// let image = Tensor::from_slice(&[1f32, 3.]).view([1, 1, 1, 2]);
    /// let capture = network.capture(&image, &["encoder", "bottom"])?;
    /// let gradients = capture.gradients(&[Target::Class(0)])?;
    /// // Through the bottom and past it, (3 + 1) / 2; through the bottom alone, 1 / 2.
    /// assert_eq!(Vec::<f32>::try_from(gradients.at("encoder")?.gradients().view(-1))?, [2.0, 2.0]);
    /// assert_eq!(Vec::<f32>::try_from(gradients.at("bottom")?.gradients().view(-1))?, [0.5, 0.5]);
    /// // The decoder alone has nothing to add.
    /// assert!(network.as_slice()[2].forward(&image).is_err());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn carrying(
        name: impl Into<String>,
        forward: impl Fn(&Tensor, &mut Vec<Tensor>) -> Result<Tensor, TchError> + 'a,
    ) -> Self {
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

    /// Runs the stage with nothing carried to it; what it puts aside is dropped.
    ///
    /// # Errors
    /// [`CamError::Stage`] with the stage's name; so also for a stage that takes what is not there.
    /// [`CamError::CarriesOwnOutput`] for one that puts its own output aside.
    pub fn forward(&self, input: &Tensor) -> Result<Tensor, CamError> {
        self.forward_carrying(input, &mut Vec::new())
    }

    /// Runs the stage with what earlier stages put aside, which it may add to and take from.
    ///
    /// # Errors
    /// [`CamError::Stage`] with the stage's name, [`CamError::CarriesOwnOutput`] for a stage that puts its own
    /// output aside.
    pub fn forward_carrying(&self, input: &Tensor, carried: &mut Vec<Tensor>) -> Result<Tensor, CamError> {
        let before: Vec<_> = carried.iter().map(Tensor::data_ptr).collect();
        let version = input.f_internal_version();
        let output = (self.forward)(input, carried).map_err(|source| CamError::Stage {
            stage: self.name.clone(),
            source,
        })?;
        // A stage that hands on its input, or something carried to it, has no memory of its own to put aside.
        if !carried.is_empty() {
            let own = output.data_ptr();
            let handed_on = if own == input.data_ptr() {
                // libtorch counts what is written to a tensor's memory: what was made in place is the stage's own.
                matches!((version, input.f_internal_version()), (Ok(before), Ok(after)) if before == after)
            } else {
                before.contains(&own)
            };
            let handed_on = own.is_null() || handed_on;
            if !handed_on && carried.iter().any(|carried| carried.data_ptr() == own) {
                return Err(CamError::CarriesOwnOutput {
                    stage: self.name.clone(),
                });
            }
        }
        Ok(output)
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
pub struct Stages<'a> {
    stages: Vec<Stage<'a>>,
    fused: Option<Fused<'a>>,
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
        Ok(Self { stages, fused: None })
    }

    /// With a faster way through several stages: `forward(range, activations, carried)` computes what the stages at these
    /// places do one after the other, and may merge them, as a convolution with the activation behind it, or work in place
    /// on what passes between them.
    ///
    /// Used wherever a pass need not stop at each stage: up to a captured layer, from there to the next and to the logits,
    /// and for altered copies. Unlike a stage it writes over neither what it is given nor what it gave before; it
    /// builds a graph in the caller's gradient mode. What it puts aside is not looked at: that no stage puts its own output
    /// aside is for the row to show, as it does in [`Stages::shapes`].
    ///
    /// ```
    /// use gradcam_core::{Stage, Stages};
    /// use tch::Tensor;
    ///
    /// let scale = |x: &Tensor| x.f_mul_scalar(2.0);
    /// let network = Stages::new(vec![Stage::new("scale", scale), Stage::new("shift", |x| x.f_add_scalar(1.0))])?
    ///     .with_fused(move |range, x, _carried| match range {
    ///         std::ops::Range { start: 0, end: 2 } => scale(x)?.f_add_scalar_(1.0),
    ///         std::ops::Range { start: 0, .. } => scale(x),
    ///         _ => x.f_add_scalar(1.0),
    ///     });
    /// assert_eq!(network.forward(&Tensor::from_slice(&[3f32]))?, Tensor::from_slice(&[7f32]));
    /// # Ok::<(), gradcam_core::CamError>(())
    /// ```
    #[must_use]
    pub fn with_fused(
        mut self,
        forward: impl Fn(Range<usize>, &Tensor, &mut Vec<Tensor>) -> Result<Tensor, TchError> + 'a,
    ) -> Self {
        self.fused = Some(Box::new(forward));
        self
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
    /// [`CamError::Stage`], [`CamError::CarriesOwnOutput`].
    pub fn forward(&self, input: &Tensor) -> Result<Tensor, CamError> {
        self.run(0..self.stages.len(), input, &mut Vec::new())
    }

    /// The output of the stages after `layer` for what `layer` puts out, or might have put out.
    /// Whether a graph is built is the caller's gradient mode.
    ///
    /// Nothing is carried past `layer`; where a network does that, [`Stages::forward_from_carrying`] goes on.
    ///
    /// # Shapes
    /// The layer's output, such as `[N, C, h, w]`, to the logits `[N, K]`.
    ///
    /// # Errors
    /// [`CamError::UnknownLayer`], [`CamError::CarriesOwnOutput`], [`CamError::Stage`]; so also for a stage that takes
    /// what earlier ones put aside.
    pub fn forward_from(&self, layer: &str, activations: &Tensor) -> Result<Tensor, CamError> {
        self.forward_from_carrying(layer, activations, &[])
    }

    /// [`Stages::forward_from`] with what is carried past `layer`, as [`Capture::carried`](crate::Capture::carried)
    /// gives it.
    ///
    /// # Errors
    /// Those of [`Stages::forward_from`].
    pub fn forward_from_carrying(
        &self,
        layer: &str,
        activations: &Tensor,
        carried: &[Tensor],
    ) -> Result<Tensor, CamError> {
        let index = self.position(layer)?;
        let mut carried = carried.iter().map(Tensor::shallow_clone).collect();
        self.run(index + 1..self.stages.len(), activations, &mut carried)
    }

    /// What each stage puts out: its name and the shape. Runs the network once, without a graph.
    ///
    /// # Shapes
    /// `input` as the first stage takes it, `[N, C, H, W]` or `[N, C, D, H, W]`.
    ///
    /// # Errors
    /// [`CamError::Stage`], [`CamError::CarriesOwnOutput`].
    pub fn shapes(&self, input: &Tensor) -> Result<Vec<(String, Vec<i64>)>, CamError> {
        let _no_grad = tch::no_grad_guard();
        let mut x = copy(input)?;
        let mut carried = Vec::new();
        self.stages
            .iter()
            .map(|stage| {
                x = stage.forward_carrying(&x, &mut carried)?;
                Ok((stage.name.clone(), x.size()))
            })
            .collect()
    }

    /// Runs the stages at these places; what is carried past them is left in `carried`.
    pub(crate) fn run(
        &self,
        range: Range<usize>,
        input: &Tensor,
        carried: &mut Vec<Tensor>,
    ) -> Result<Tensor, CamError> {
        let stages = &self.stages[range.clone()];
        match &self.fused {
            Some(fused) if stages.len() > 1 => fused(range, input, carried).map_err(|source| CamError::Stage {
                stage: format!("{} to {}", stages[0].name, stages[stages.len() - 1].name),
                source,
            }),
            _ => stages
                .iter()
                .try_fold(input.shallow_clone(), |x, stage| stage.forward_carrying(&x, carried)),
        }
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

impl fmt::Debug for Stages<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Stages")
            .field("stages", &self.stages)
            .field("fused", &self.fused.is_some())
            .finish()
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

/// A stage may work in place; what it is given must be nobody else's. Laid out as the tensor is: channels last stays so.
pub(crate) fn copy(tensor: &Tensor) -> Result<Tensor, TchError> {
    tensor.f_to_dtype(tensor.kind(), false, true)
}

/// For a backward pass to end at. Whole numbers, such as the places of maxima carried on, have no gradient.
pub(crate) fn node(tensor: &Tensor) -> Result<Tensor, TchError> {
    let node = tensor.f_detach()?;
    if node.is_floating_point() {
        node.f_set_requires_grad(true)
    } else {
        Ok(node)
    }
}
