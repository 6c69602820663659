//! One forward pass, kept at some layers for as many methods and targets as are wanted.

use std::collections::BTreeSet;

use tch::{Kind, TchError, Tensor};

use crate::error::{CamError, Values};
use crate::stage::{self, Stage, Stages};
use crate::target::{Resolved, Target};

/// What one layer put out.
#[derive(Debug)]
struct Layer {
    name: String,
    /// In the graph, for the backward pass to end at.
    node: Tensor,
    /// The same memory outside the graph.
    activations: Tensor,
    /// What earlier stages carry past it, outside the graph.
    carried: Vec<Tensor>,
}

/// What a forward pass put out at some layers, and the logits.
///
/// Made by [`Stages::capture`]. It holds the graph from the earliest of its layers to the logits,
/// so that gradients can be had for one list of targets after another; memory is given back when
/// it is dropped.
#[derive(Debug)]
pub struct Capture {
    layers: Vec<Layer>,
    /// In the graph.
    output: Tensor,
    /// The same memory outside the graph.
    logits: Tensor,
    /// The input's shape.
    input: Vec<i64>,
    /// The network's stages by name.
    stages: Vec<String>,
}

impl Stages<'_> {
    /// Runs the network on `input` and keeps what the named layers put out.
    ///
    /// Stages up to the earliest of the layers run without a graph, so a late layer costs hardly
    /// more than a forward pass. The gradient mode is afterwards what it was, also after an error,
    /// and no variable's gradient is touched. The stages get copies of `input` and of what is kept, so
    /// that those in place change neither.
    ///
    /// # Shapes
    /// `input` has the samples on its first axis; the last stage puts out `[N, classes]`, that of a
    /// segmentation network `[N, classes, H, W]` or `[N, classes, D, H, W]`.
    ///
    /// # Errors
    /// [`CamError::NoLayers`], [`CamError::UnknownLayer`], [`CamError::EmptyBatch`],
    /// [`CamError::Stage`], [`CamError::CarriesOwnOutput`], [`CamError::Logits`] for an output that is no batch of
    /// logits, and [`CamError::NonFinite`] for activations or logits that are NaN or infinite.
    pub fn capture(&self, input: &Tensor, layers: &[&str]) -> Result<Capture, CamError> {
        let wanted = layers
            .iter()
            .map(|layer| self.position(layer))
            .collect::<Result<BTreeSet<usize>, CamError>>()?;
        let &first = wanted.first().ok_or(CamError::NoLayers)?;
        let shape = input.size();
        if shape.first().is_none_or(|&batch| batch < 1) {
            return Err(CamError::EmptyBatch { shape });
        }

        // The guard, unlike tch's closures, puts the mode back after a panic in a stage too.
        let _no_grad = tch::no_grad_guard();
        let mut carried = Vec::new();
        let trunk = self.run(0..first + 1, &stage::copy(input)?, &mut carried)?;
        let carried = detached(&carried)?;
        tch::with_grad(|| self.capture_tail(&trunk.f_detach()?, carried, &wanted, &shape))
    }

    fn capture_tail(
        &self,
        trunk: &Tensor,
        mut carried: Vec<Tensor>,
        wanted: &BTreeSet<usize>,
        input: &[i64],
    ) -> Result<Capture, CamError> {
        let stages = self.as_slice();
        let mut layers = Vec::with_capacity(wanted.len());
        let mut x = trunk.shallow_clone();
        let ends = wanted.iter().skip(1).map(|next| next + 1).chain([stages.len()]);
        for (&index, end) in wanted.iter().zip(ends) {
            let name = stages[index].name();
            let node = if x.requires_grad() {
                x.shallow_clone()
            } else {
                x.f_detach()?.f_set_requires_grad(true)?
            };
            let activations = node.f_detach()?;
            check_finite(&activations, Values::Activations, name)?;
            layers.push(Layer {
                name: name.to_owned(),
                activations,
                carried: detached(&carried)?,
                node,
            });
            // The next stage gets a copy: one that works in place would otherwise change what
            // was captured, or be refused by autograd.
            x = self.run(
                index + 1..end,
                &stage::copy(&layers[layers.len() - 1].node)?,
                &mut carried,
            )?;
        }
        check_logits(&x, input[0])?;
        let logits = x.f_detach()?;
        let last = self.as_slice().last().ok_or(CamError::NoStages)?;
        check_finite(&logits, Values::Logits, last.name())?;
        Ok(Capture {
            layers,
            output: x,
            logits,
            input: input.to_vec(),
            stages: self.as_slice().iter().map(|stage| stage.name().to_owned()).collect(),
        })
    }
}

impl Capture {
    /// The names of the captured layers, from the input on.
    pub fn layers(&self) -> impl Iterator<Item = &str> {
        self.layers.iter().map(|layer| layer.name.as_str())
    }

    /// The logits, `[N, classes]` or with axes of space, outside the graph.
    pub fn logits(&self) -> &Tensor {
        &self.logits
    }

    /// The number of samples.
    pub fn batch(&self) -> i64 {
        self.logits.size()[0]
    }

    /// Fails unless this can be the capture of these stages on an input of this shape.
    pub(crate) fn check_origin(&self, stages: &Stages<'_>, input: &[i64]) -> Result<(), CamError> {
        if self.input != input {
            return Err(CamError::CaptureInput {
                captured: self.input.clone(),
                input: input.to_vec(),
            });
        }
        let names = || stages.as_slice().iter().map(Stage::name);
        if names().ne(self.stages.iter().map(String::as_str)) {
            return Err(CamError::CaptureStages {
                captured: self.stages.clone(),
                stages: names().map(str::to_owned).collect(),
            });
        }
        Ok(())
    }

    /// What `layer` put out, outside the graph.
    ///
    /// # Errors
    /// [`CamError::NotCaptured`].
    pub fn activations(&self, layer: &str) -> Result<&Tensor, CamError> {
        Ok(&self.layers[self.position(layer)?].activations)
    }

    /// What earlier stages carry past `layer` for later ones, outside the graph; nothing in most networks.
    ///
    /// # Errors
    /// [`CamError::NotCaptured`].
    pub fn carried(&self, layer: &str) -> Result<&[Tensor], CamError> {
        Ok(&self.layers[self.position(layer)?].carried)
    }

    /// The gradients of each sample's target at every captured layer: the derivatives by what the layer puts out, along
    /// every way from there to the score. What is [carried](Self::carried) past it is held fixed.
    ///
    /// May be called again with other targets; the forward pass is not run again. The backward
    /// pass ends at the earliest layer and leaves every variable's gradient as it was.
    ///
    /// # Shapes
    /// `targets` holds one target for each sample.
    ///
    /// # Errors
    /// [`CamError::TargetCount`] and the errors of each kind of target, [`CamError::Disconnected`]
    /// for a layer that the targets do not depend on, and [`CamError::NonFinite`].
    pub fn gradients(&self, targets: &[Target]) -> Result<Gradients<'_>, CamError> {
        self.gradients_of(&Resolved::new(targets, &self.logits)?)
    }

    /// The gradients of scores that were looked up in this output or in another.
    pub(crate) fn gradients_of(&self, targets: &Resolved) -> Result<Gradients<'_>, CamError> {
        let _no_grad = tch::no_grad_guard();
        let score = self.score(targets)?;
        let nodes: Vec<&Tensor> = self.layers.iter().map(|layer| &layer.node).collect();
        let gradients = Tensor::f_run_backward(&[score], &nodes, true, false)?;
        for (layer, gradient) in self.layers.iter().zip(&gradients) {
            check_gradient(gradient, &layer.name)?;
        }
        Ok(Gradients {
            capture: self,
            classes: targets.classes(),
            gradients,
        })
    }

    /// The gradients at one layer, and what the scores' second derivatives there make of its
    /// activations; nothing if the scores are linear in them.
    pub(crate) fn gradients_and_curvature(
        &self,
        layer: &str,
        targets: &[Target],
    ) -> Result<(Tensor, Option<Tensor>), CamError> {
        let targets = Resolved::new(targets, &self.logits)?;
        let Layer {
            name,
            node,
            activations,
            ..
        } = &self.layers[self.position(layer)?];
        let _no_grad = tch::no_grad_guard();
        tch::with_grad(|| {
            let score = self.score(&targets)?;
            let gradient = Tensor::f_run_backward(&[score], &[node], true, true)?.remove(0);
            check_gradient(&gradient, name)?;
            let curvature = if gradient.requires_grad() {
                let along = gradient.f_mul(activations)?.f_sum(Kind::Float)?;
                Some(Tensor::f_run_backward(&[along], &[node], true, false)?.remove(0)).filter(Tensor::defined)
            } else {
                None
            };
            if let Some(curvature) = &curvature {
                check_finite(curvature, Values::Gradients, name)?;
            }
            Ok((gradient.f_detach()?, curvature))
        })
    }

    /// The sum of the samples' scores, in the graph.
    fn score(&self, targets: &Resolved) -> Result<Tensor, CamError> {
        let disconnected = || {
            let layer = self.layers.last().ok_or(CamError::NoLayers)?;
            Err(CamError::Disconnected {
                layer: layer.name.clone(),
            })
        };
        if !self.output.requires_grad() {
            return disconnected();
        }
        let scores = tch::with_grad(|| targets.scores(&self.output))?;
        let last = self.stages.last().ok_or(CamError::NoStages)?;
        check_finite(&scores.f_detach()?, Values::Scores, last)?;
        if !scores.requires_grad() {
            return disconnected();
        }
        // No sample's score depends on another sample, so the gradient of the sum at a sample is
        // that of its own score.
        Ok(tch::with_grad(|| scores.f_sum(None::<Kind>))?)
    }

    /// A layer's activations with these gradients.
    pub(crate) fn at<'c>(&'c self, layer: &str, gradients: &'c Tensor) -> Result<AtLayer<'c>, CamError> {
        let captured = &self.layers[self.position(layer)?];
        Ok(AtLayer {
            layer: &captured.name,
            batch: self.batch(),
            activations: &captured.activations,
            gradients,
        })
    }

    fn position(&self, layer: &str) -> Result<usize, CamError> {
        self.layers()
            .position(|name| name == layer)
            .ok_or_else(|| CamError::NotCaptured {
                layer: layer.to_owned(),
                captured: self.layers().map(str::to_owned).collect(),
            })
    }
}

/// The same memory outside the graph.
fn detached(carried: &[Tensor]) -> Result<Vec<Tensor>, TchError> {
    carried.iter().map(Tensor::f_detach).collect()
}

/// The gradients of each sample's target at every layer of a [`Capture`].
#[derive(Debug)]
pub struct Gradients<'c> {
    capture: &'c Capture,
    classes: Vec<Option<i64>>,
    gradients: Vec<Tensor>,
}

impl Gradients<'_> {
    /// The class that each sample's target is about; `None` for a function of one's own.
    pub fn classes(&self) -> &[Option<i64>] {
        &self.classes
    }

    /// Activations and gradients at one layer.
    ///
    /// # Errors
    /// [`CamError::NotCaptured`].
    pub fn at(&self, layer: &str) -> Result<AtLayer<'_>, CamError> {
        self.capture.at(layer, &self.gradients[self.capture.position(layer)?])
    }
}

/// What a gradient method weighs: activations and gradients of one layer, of one shape.
#[derive(Debug, Clone, Copy)]
pub struct AtLayer<'c> {
    layer: &'c str,
    batch: i64,
    activations: &'c Tensor,
    gradients: &'c Tensor,
}

impl<'c> AtLayer<'c> {
    /// The layer's name.
    pub fn layer(&self) -> &'c str {
        self.layer
    }

    /// What the layer put out.
    pub fn activations(&self) -> &'c Tensor {
        self.activations
    }

    /// The gradients of each sample's target there.
    pub fn gradients(&self) -> &'c Tensor {
        self.gradients
    }

    /// The layer's shape, `[N, C, H, W]` or `[N, C, D, H, W]`.
    ///
    /// # Errors
    /// [`CamError::NotSpatial`] for any other.
    pub(crate) fn spatial_shape(&self) -> Result<Vec<i64>, CamError> {
        check_spatial(self.activations, self.layer, self.batch)
    }
}

/// The shape of feature maps, `[batch, C, H, W]` or `[batch, C, D, H, W]`.
pub(crate) fn check_spatial(activations: &Tensor, layer: &str, batch: i64) -> Result<Vec<i64>, CamError> {
    let shape = activations.size();
    if matches!(shape.len(), 4 | 5) && shape[0] == batch && shape[1..].iter().all(|&extent| extent > 0) {
        Ok(shape)
    } else {
        Err(CamError::NotSpatial {
            layer: layer.to_owned(),
            shape,
            batch,
        })
    }
}

/// An output that holds the logits of `batch` samples, each of its own or with axes of space.
pub(crate) fn check_logits(output: &Tensor, batch: i64) -> Result<(), CamError> {
    let shape = output.size();
    if matches!(shape.len(), 2 | 4 | 5) && shape[0] == batch && !shape.contains(&0) {
        Ok(())
    } else {
        Err(CamError::Logits { shape, batch })
    }
}

/// A gradient that there is, and that is finite.
pub(crate) fn check_gradient(gradient: &Tensor, layer: &str) -> Result<(), CamError> {
    if !gradient.defined() {
        return Err(CamError::Disconnected {
            layer: layer.to_owned(),
        });
    }
    check_finite(gradient, Values::Gradients, layer)
}

/// A finite sum has finite terms only, so the exact look is needed for a sum that overflowed.
pub(crate) fn check_finite(tensor: &Tensor, values: Values, layer: &str) -> Result<(), CamError> {
    if f32::try_from(tensor.f_sum(Kind::Float)?)?.is_finite() || bool::try_from(tensor.f_isfinite()?.f_all()?)? {
        Ok(())
    } else {
        Err(CamError::NonFinite {
            values,
            layer: layer.to_owned(),
        })
    }
}
