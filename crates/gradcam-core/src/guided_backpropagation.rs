//! Guided backpropagation and Guided Grad-CAM.

use std::collections::BTreeSet;

use tch::{Kind, TchError, Tensor};

use crate::capture::{check_finite, check_logits};
use crate::error::{CamError, Values};
use crate::heatmap::Maps;
use crate::stage::{self, Stages};
use crate::target::{Resolved, Target};

/// What a gradient of the input is called where an error names a layer.
const INPUT: &str = "input";

/// A stretch of the network from behind one ReLU up to the next.
struct Segment {
    /// What the errors call its beginning.
    name: String,
    /// Where its backward pass ends: the activations, and behind them what is carried past.
    starts: Vec<Tensor>,
    /// What goes into the ReLU behind it, or the logits, and what is carried past.
    ends: Vec<Tensor>,
    /// Where that ReLU lets values through.
    passes: Option<Tensor>,
}

/// The gradient of each sample's target by the input, with only positive gradients passed back
/// through the named ReLUs.
///
/// ```text
/// at a ReLU a = max(0, z):   dz = da · 1[z > 0] · 1[da > 0]      elsewhere as usual
/// ```
///
/// The network is not changed for it: the backward pass is taken one stretch between two of these
/// stages after the other. So each ReLU must be a stage of its own, and `relus` names them. **A ReLU
/// inside a stage cannot be seen** and is passed through as in any backward pass. The gradient is guided
/// in full only when every ReLU has a stage (of VGG, say); of blocks as stages (ResNet's, the fire
/// modules of SqueezeNet), only between blocks. With no stage named it is the plain gradient, the
/// saliency of Simonyan et al., [arXiv:1312.6034](https://arxiv.org/abs/1312.6034).
///
/// A warning from Adebayo et al., [arXiv:1810.03292](https://arxiv.org/abs/1810.03292): guided
/// backpropagation shows the image's edges much the same whatever the network has learnt. A picture of
/// it is no evidence of what the network looked at.
///
/// Springenberg et al., "Striving for Simplicity: The All Convolutional Net", 2014,
/// [arXiv:1412.6806](https://arxiv.org/abs/1412.6806).
///
/// # Shapes
/// `input` of shape `[N, C, H, W]` or `[N, C, D, H, W]` gives the same shape, f32. For a heatmap take
/// the largest magnitude over the channels, as in the example.
///
/// # Errors
/// [`CamError::UnknownLayer`], [`CamError::NotRelu`] for a named stage that computes neither ReLU nor
/// ReLU6 or does more than that, [`CamError::EmptyBatch`], [`CamError::Stage`], [`CamError::Logits`], those of the targets,
/// [`CamError::Disconnected`] and [`CamError::NonFinite`].
///
/// # Cost
/// A forward and a backward pass through the whole network; memory for both.
///
/// ```
/// use gradcam_core::{Maps, Stage, Stages, Target, guided_backpropagation};
/// use tch::Tensor;
///
/// // The class is 2 relu(x₀) - relu(x₁); x₂ is not positive.
/// let weights = Tensor::from_slice(&[2f32, -1.0, 5.0]);
/// let network = Stages::new(vec![
///     Stage::new("relu", |x| x.f_relu()),
///     Stage::new("class", |x| x.f_mul(&weights)?.f_sum_dim_intlist([2i64, 3].as_slice(), false, None)),
/// ])?;
/// let image = Tensor::from_slice(&[1f32, 1.0, -1.0]).view([1, 1, 1, 3]);
/// let gradient = guided_backpropagation(&network, &image, &["relu"], &[Target::Class(0)])?;
/// assert_eq!(Vec::<f32>::try_from(gradient.view(-1))?, [2.0, 0.0, 0.0]);
///
/// let heat = Maps::new(&gradient.abs().amax([1i64].as_slice(), false))?.normalise()?;
/// assert_eq!(Vec::<f32>::try_from(heat.tensor().view(-1))?, [1.0, 0.0, 0.0]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn guided_backpropagation(
    stages: &Stages<'_>,
    input: &Tensor,
    relus: &[&str],
    targets: &[Target],
) -> Result<Tensor, CamError> {
    let relus = relus
        .iter()
        .map(|relu| stages.position(relu))
        .collect::<Result<BTreeSet<usize>, CamError>>()?;
    let shape = input.size();
    let batch = match shape.first() {
        Some(&batch) if batch > 0 => batch,
        _ => return Err(CamError::EmptyBatch { shape }),
    };
    // The guard puts the mode back after an error and after a panic in a stage too.
    let _no_grad = tch::no_grad_guard();
    let segments = forward(stages, input, &relus)?;
    let output = &segments.last().ok_or(CamError::NoStages)?.ends[0];
    check_logits(output, batch)?;
    let logits = output.f_detach()?;
    let last = stages.as_slice().last().ok_or(CamError::NoStages)?;
    check_finite(&logits, Values::Logits, last.name())?;
    let resolved = Resolved::new(targets, &logits)?;
    let scores = tch::with_grad(|| resolved.scores(output))?;
    check_finite(&scores.f_detach()?, Values::Scores, last.name())?;
    // No sample's score depends on another sample, so the gradient of the sum at a sample is that of
    // its own score.
    let score = tch::with_grad(|| scores.f_sum(None::<Kind>))?;
    let mut scores = vec![score];
    let mut gradients = Vec::new();
    for segment in segments.iter().rev() {
        if let Some(passes) = &segment.passes {
            scores = segment.scores(&gradients, passes)?;
        }
        gradients = backward(&scores, segment)?;
    }
    let gradient = gradients
        .into_iter()
        .next()
        .flatten()
        .ok_or_else(|| CamError::Disconnected {
            layer: INPUT.to_owned(),
        })?;
    Ok(gradient.f_to_kind(Kind::Float)?)
}

/// Guided Grad-CAM: the guided gradient where the heatmap is.
///
/// ```text
/// guided[n,c,s] = gradient[n,c,s] · upsample( max(0, map[n]) )[s]
/// ```
///
/// Selvaraju et al., "Grad-CAM: Visual Explanations from Deep Networks via Gradient-based
/// Localization", 2017, [arXiv:1610.02391](https://arxiv.org/abs/1610.02391).
///
/// # Shapes
/// `gradient` is that of [`guided_backpropagation`], `[N, C, H, W]` or `[N, C, D, H, W]`, `maps` are
/// [`grad_cam`](fn@crate::grad_cam)'s or another method's of the same samples on any grid. The result
/// has the gradient's shape.
///
/// # Errors
/// [`CamError::Input`] for a gradient of another shape, [`CamError::MapBatch`], and [`CamError::NonFinite`] for a
/// product that is not.
///
/// # Cost
/// One upsampling of the maps, and one product of the gradient's size.
///
/// ```
/// use gradcam_core::{Maps, guided_grad_cam};
/// use tch::Tensor;
///
/// let gradient = Tensor::from_slice(&[1f32, 2.0, -3.0, 4.0]).view([1, 2, 1, 2]);
/// let maps = Maps::new(&Tensor::from_slice(&[0.5f32, -1.0]).view([1, 1, 2]))?;
/// let guided = guided_grad_cam(&gradient, &maps)?;
/// assert_eq!(Vec::<f32>::try_from(guided.view(-1))?, [0.5, 0.0, -1.5, 0.0]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn guided_grad_cam(gradient: &Tensor, maps: &Maps) -> Result<Tensor, CamError> {
    let shape = gradient.size();
    if !matches!(shape.len(), 4 | 5) || shape.contains(&0) {
        return Err(CamError::Input { shape });
    }
    maps.check_batch(shape[0])?;
    let _no_grad = tch::no_grad_guard();
    let positive = Maps::new(&maps.tensor().f_clamp_min(0.0)?)?;
    let places = positive.upsample(&shape[2..])?;
    let guided = gradient.f_mul(&places.tensor().f_unsqueeze(1)?)?;
    check_finite(&guided, Values::Gradients, INPUT)?;
    Ok(guided)
}

/// Runs the network, one graph for each segment.
fn forward(stages: &Stages<'_>, input: &Tensor, relus: &BTreeSet<usize>) -> Result<Vec<Segment>, CamError> {
    let mut segments = Vec::with_capacity(relus.len() + 1);
    let mut name = INPUT;
    let mut given = vec![input.shallow_clone()];
    let mut next = 0;
    let bounds = relus.iter().copied().chain([stages.as_slice().len()]);
    for bound in bounds {
        let starts = given
            .iter()
            .map(stage::node)
            .collect::<Result<Vec<Tensor>, TchError>>()?;
        let ends = tch::with_grad(|| -> Result<Vec<Tensor>, CamError> {
            let mut carried = starts[1..].iter().map(Tensor::shallow_clone).collect();
            // The stages get a copy: one that works in place would be refused by autograd.
            let end = stages.run(next..bound, &stage::copy(&starts[0])?, &mut carried)?;
            Ok(std::iter::once(end).chain(carried).collect())
        })?;
        let mut passes = None;
        if let Some(relu) = stages.as_slice().get(bound) {
            let mut carried = ends
                .iter()
                .map(Tensor::f_detach)
                .collect::<Result<Vec<Tensor>, TchError>>()?;
            let before = carried.remove(0);
            let places = |carried: &[Tensor]| carried.iter().map(Tensor::data_ptr).collect::<Vec<_>>();
            let beside = places(&carried);
            // A copy again, for a ReLU in place.
            let x = relu.forward_carrying(&stage::copy(&before)?, &mut carried)?;
            check_finite(&x, Values::Activations, relu.name())?;
            if !is_relu(&before, &x)? || places(&carried) != beside {
                return Err(CamError::NotRelu {
                    stage: relu.name().to_owned(),
                });
            }
            // At ReLU6's upper end the slope is none either.
            passes = Some(x.f_eq_tensor(&before)?.f_logical_and(&x.f_gt(0.0)?)?);
            given = std::iter::once(x).chain(carried).collect();
            next = bound + 1;
        }
        segments.push(Segment {
            name: name.to_owned(),
            starts,
            ends,
            passes,
        });
        if let Some(relu) = stages.as_slice().get(bound) {
            name = relu.name();
        }
    }
    Ok(segments)
}

impl Segment {
    /// Numbers whose gradients at the segment's end are these, guided at the activations: libtorch's backward pass
    /// starts from numbers.
    fn scores(&self, gradients: &[Option<Tensor>], passes: &Tensor) -> Result<Vec<Tensor>, TchError> {
        let mut scores = Vec::with_capacity(1);
        for (index, (end, gradient)) in self.ends.iter().zip(gradients).enumerate() {
            let Some(gradient) = gradient else { continue };
            let gradient = match index {
                0 => gradient.f_clamp_min(0.0)?.f_mul(passes)?,
                _ => gradient.shallow_clone(),
            };
            scores.push(tch::with_grad(|| end.f_mul(&gradient)?.f_sum(None::<Kind>))?);
        }
        Ok(scores)
    }
}

/// The gradients at a segment's start; none where no score depends on a tensor there.
fn backward(scores: &[Tensor], segment: &Segment) -> Result<Vec<Option<Tensor>>, CamError> {
    let disconnected = || CamError::Disconnected {
        layer: segment.name.clone(),
    };
    let scores: Vec<&Tensor> = scores.iter().filter(|score| score.requires_grad()).collect();
    let starts: Vec<&Tensor> = segment.starts.iter().filter(|start| start.requires_grad()).collect();
    if scores.is_empty() || starts.is_empty() {
        return Err(disconnected());
    }
    let mut found = Tensor::f_run_backward(&scores, &starts, false, false)?.into_iter();
    let mut gradients = Vec::with_capacity(segment.starts.len());
    for start in &segment.starts {
        let gradient = if start.requires_grad() { found.next() } else { None }.filter(Tensor::defined);
        if let Some(gradient) = &gradient {
            check_finite(gradient, Values::Gradients, &segment.name)?;
        }
        gradients.push(gradient);
    }
    if gradients.iter().all(Option::is_none) {
        return Err(disconnected());
    }
    Ok(gradients)
}

/// Whether a stage computed `max(0, z)` or `min(6, max(0, z))`.
fn is_relu(before: &Tensor, after: &Tensor) -> Result<bool, CamError> {
    Ok(before.size() == after.size()
        && (before.f_relu()?.f_equal(after)? || before.f_clamp(0.0, 6.0)?.f_equal(after)?))
}
