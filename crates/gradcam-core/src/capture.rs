//! One forward pass, kept at some layers for as many methods and targets as are wanted.

use std::collections::BTreeSet;

use tch::{Kind, Tensor};

use crate::error::{CamError, Values};
use crate::stage::{self, Stages};
use crate::target::{Resolved, Target};

/// What one layer put out.
#[derive(Debug)]
struct Layer {
    name: String,
    /// In the graph, for the backward pass to end at.
    node: Tensor,
    /// The same memory outside the graph.
    activations: Tensor,
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
}

impl Stages<'_> {
    /// Runs the network on `input` and keeps what the named layers put out.
    ///
    /// Stages up to the earliest of the layers run without a graph, so a late layer costs hardly
    /// more than a forward pass. The gradient mode is afterwards what it was, also after an error,
    /// and no variable's gradient is touched.
    ///
    /// # Shapes
    /// `input` has the samples on its first axis; the last stage puts out `[N, classes]`, that of a
    /// segmentation network `[N, classes, H, W]` or `[N, classes, D, H, W]`.
    ///
    /// # Errors
    /// [`CamError::NoLayers`], [`CamError::UnknownLayer`], [`CamError::EmptyBatch`],
    /// [`CamError::Stage`], [`CamError::Logits`] for an output that is no batch of logits, and
    /// [`CamError::NonFinite`] for activations or logits that are NaN or infinite.
    pub fn capture(&self, input: &Tensor, layers: &[&str]) -> Result<Capture, CamError> {
        let wanted = layers
            .iter()
            .map(|layer| self.position(layer))
            .collect::<Result<BTreeSet<usize>, CamError>>()?;
        let &first = wanted.first().ok_or(CamError::NoLayers)?;
        let shape = input.size();
        let batch = match shape.first() {
            Some(&batch) if batch > 0 => batch,
            _ => return Err(CamError::EmptyBatch { shape }),
        };

        // The guard, unlike tch's closures, puts the mode back after a panic in a stage too.
        let _no_grad = tch::no_grad_guard();
        let trunk = stage::run(&self.as_slice()[..=first], input)?;
        tch::with_grad(|| self.capture_tail(first, &trunk.f_detach()?, &wanted, batch))
    }

    fn capture_tail(
        &self,
        first: usize,
        trunk: &Tensor,
        wanted: &BTreeSet<usize>,
        batch: i64,
    ) -> Result<Capture, CamError> {
        let mut layers = Vec::with_capacity(wanted.len());
        let mut x = trunk.shallow_clone();
        for (index, stage) in self.as_slice().iter().enumerate().skip(first) {
            if index > first {
                x = stage.forward(&x)?;
            }
            if wanted.contains(&index) {
                let node = if x.requires_grad() {
                    x.shallow_clone()
                } else {
                    x.f_detach()?.f_set_requires_grad(true)?
                };
                let activations = node.f_detach()?;
                check_finite(&activations, Values::Activations, stage.name())?;
                // The next stage gets a copy: one that works in place would otherwise change what
                // was captured, or be refused by autograd.
                x = node.f_to_dtype(node.kind(), false, true)?;
                layers.push(Layer {
                    name: stage.name().to_owned(),
                    node,
                    activations,
                });
            }
        }
        check_logits(&x, batch)?;
        let logits = x.f_detach()?;
        let last = self.as_slice().last().ok_or(CamError::NoStages)?;
        check_finite(&logits, Values::Logits, last.name())?;
        Ok(Capture {
            layers,
            output: x,
            logits,
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

    /// What `layer` put out, outside the graph.
    ///
    /// # Errors
    /// [`CamError::NotCaptured`].
    pub fn activations(&self, layer: &str) -> Result<&Tensor, CamError> {
        Ok(&self.layers[self.position(layer)?].activations)
    }

    /// The gradients of each sample's target at every captured layer.
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
        let resolved = Resolved::new(targets, &self.logits)?;
        let disconnected = |layer: &Layer| CamError::Disconnected {
            layer: layer.name.clone(),
        };
        if !self.output.requires_grad()
            && let Some(layer) = self.layers.last()
        {
            return Err(disconnected(layer));
        }
        let nodes: Vec<&Tensor> = self.layers.iter().map(|layer| &layer.node).collect();
        let _no_grad = tch::no_grad_guard();
        // No sample's score depends on another sample, so the gradient of the sum at a sample is
        // that of its own score.
        let scores = tch::with_grad(|| resolved.scores(&self.output))?;
        if let (false, Some(layer)) = (scores.requires_grad(), self.layers.last()) {
            return Err(disconnected(layer));
        }
        let sum = tch::with_grad(|| scores.f_sum(Kind::Float))?;
        let gradients = Tensor::f_run_backward(&[sum], &nodes, true, false)?;
        for (layer, gradient) in self.layers.iter().zip(&gradients) {
            if !gradient.defined() {
                return Err(disconnected(layer));
            }
            check_finite(gradient, Values::Gradients, &layer.name)?;
        }
        Ok(Gradients {
            capture: self,
            classes: resolved.classes(),
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
        let index = self.capture.position(layer)?;
        let captured = &self.capture.layers[index];
        Ok(AtLayer {
            layer: &captured.name,
            batch: self.capture.batch(),
            activations: &captured.activations,
            gradients: &self.gradients[index],
        })
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
