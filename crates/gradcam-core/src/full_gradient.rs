//! The full gradient: a score parted into what the input and each stage's bias add to it.

use tch::{Kind, TchError, Tensor};

use crate::capture::{check_finite, check_gradient, check_logits};
use crate::error::{CamError, Values};
use crate::stage::{self, Stages};
use crate::target::{Resolved, Target};

/// Each sample's score, parted into what its input and each stage's bias add to it.
///
/// ```text
/// score = sum of (G0 x0) + sum over stages l of sum of (G[l] b[l])
/// b[l]  = y[l] - J[l] x[l]
/// ```
///
/// where stage `l` makes `y[l]` of `x[l]`, `J[l]` is its derivative there, and `G[l]` is the
/// derivative of the score by `y[l]`. `b[l]` is the stage's implicit bias: of a convolution its
/// bias, of a batch norm what it adds after scaling, of a ReLU or a pooling nothing. Since it is
/// found from what the stage does (`J x` by a backward pass through the backward pass), any stage
/// has one, and the sum is the score exactly, whatever the network is made of, if the score is
/// linear in the logits, as a [`Target::Class`] is.
///
/// Where a network branches across stages ([`Stage::carrying`](crate::Stage::carrying)), `x[l]` and `y[l]` are all that
/// a stage takes and puts out, what is carried past it too.
///
/// A channel's bias that is nowhere above 1e-6 (1e-12 in f64, 4e-3 in f16, 3e-2 in bf16) of what the stage puts
/// out at most is what rounding leaves of none, and is taken for none. Networks as trained have channels with biases as
/// small, whole stages of them: give such a network in f64 where they matter, as they do under
/// [`Rescaling::Channel`](crate::Rescaling::Channel). [`full_grad`](crate::full_grad()) says what single precision costs.
///
/// How fine the parts are is for the stages to say. With a stage for each convolution and norm they
/// are the published ones; of a stage that is a whole block, the biases inside it are carried on to
/// its output and stand there as one.
#[derive(Debug)]
pub struct FullGradient {
    input: Tensor,
    biases: Vec<(String, Tensor)>,
}

/// What a stage was given and what it made of it, with the graph between them.
struct Step<'a> {
    name: &'a str,
    /// The activations, and behind them what is carried.
    inputs: Vec<Tensor>,
    outputs: Vec<Tensor>,
}

/// What a step adds to the score.
struct Part {
    /// By the bias of each of the step's outputs.
    biases: Vec<Tensor>,
    /// The gradients at its inputs; none where nothing of the score depends on one.
    before: Vec<Option<Tensor>>,
}

/// Parts each sample's score into what its input and each stage's bias add to it.
///
/// Srinivas and Fleuret, "Full-Gradient Representation for Neural Network Visualization", 2019,
/// [arXiv:1905.00780](https://arxiv.org/abs/1905.00780).
///
/// # Shapes
/// `input` `[N, …]`; one target for each sample.
///
/// # Errors
/// [`CamError::EmptyBatch`], [`CamError::Stage`], [`CamError::CarriesOwnOutput`], [`CamError::Logits`],
/// [`CamError::Disconnected`] for a stage that cannot be differentiated, [`CamError::NonFinite`], those of the targets,
/// and [`CamError::Torch`].
///
/// # Cost
/// One forward pass that builds a graph, and two backward passes of which one builds a graph too.
/// Memory as for training. No variable's gradient is touched.
///
/// ```
/// use gradcam_core::{Stage, Stages, Target, full_gradient};
/// use tch::{Kind, TchError, Tensor};
///
/// // 2 x + 1, summed up.
/// let network = Stages::new(vec![
///     Stage::new("affine", |x| x.f_mul_scalar(2.0)?.f_add_scalar(1.0)),
///     Stage::new("logit", |x| x.f_sum_dim_intlist([2i64, 3].as_slice(), false, None)),
/// ])?;
/// let image = Tensor::from_slice(&[1f32, 3.]).view([1, 1, 1, 2]);
/// let parts = full_gradient(&network, &image, &[Target::Class(0)])?;
/// assert_eq!(Vec::<f32>::try_from(parts.input().view(-1))?, [2., 6.]);
/// let (stage, bias) = parts.biases().next().unwrap();
/// assert_eq!((stage, Vec::<f32>::try_from(bias.view(-1))?), ("affine", vec![1., 1.]));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn full_gradient(stages: &Stages<'_>, input: &Tensor, targets: &[Target]) -> Result<FullGradient, CamError> {
    let shape = input.size();
    if shape.first().is_none_or(|&batch| batch < 1) {
        return Err(CamError::EmptyBatch { shape });
    }
    let _no_grad = tch::no_grad_guard();
    let mut given = vec![input.f_detach()?];
    let mut steps = Vec::with_capacity(stages.as_slice().len());
    for stage in stages.as_slice() {
        let inputs = given
            .iter()
            .map(stage::node)
            .collect::<Result<Vec<Tensor>, TchError>>()?;
        let mut carried = inputs[1..].iter().map(Tensor::shallow_clone).collect();
        // The stage gets a copy, which it may work in.
        let output = tch::with_grad(|| stage.forward_carrying(&stage::copy(&inputs[0])?, &mut carried))?;
        check_finite(&output.f_detach()?, Values::Activations, stage.name())?;
        let outputs: Vec<Tensor> = std::iter::once(output).chain(carried).collect();
        given = outputs.iter().map(Tensor::f_detach).collect::<Result<_, TchError>>()?;
        steps.push(Step {
            name: stage.name(),
            inputs,
            outputs,
        });
    }

    let logits = given.swap_remove(0).f_set_requires_grad(true)?;
    check_logits(&logits, shape[0])?;
    let targets = Resolved::new(targets, &logits.f_detach()?)?;
    let last = steps.last().ok_or(CamError::NoStages)?.name;
    let scores = tch::with_grad(|| targets.scores(&logits))?;
    check_finite(&scores.f_detach()?, Values::Scores, last)?;
    let score = tch::with_grad(|| scores.f_sum(None::<Kind>))?;
    if !score.requires_grad() {
        return Err(CamError::Disconnected { layer: last.to_owned() });
    }
    let gradient = Tensor::f_run_backward(&[score], &[&logits], false, false)?.remove(0);
    check_gradient(&gradient, last)?;
    // What is still carried behind the last stage is of no use to the score.
    let mut gradients = vec![Some(gradient)];

    let mut biases = Vec::with_capacity(steps.len());
    // Each step's graph is let go when its turn is over.
    while let Some(step) = steps.pop() {
        gradients.resize_with(step.outputs.len(), || None);
        let part = step.part(&gradients)?;
        biases.extend(part.biases.into_iter().rev().map(|bias| (step.name.to_owned(), bias)));
        gradients = part.before;
    }
    biases.reverse();
    let first = stages.as_slice().first().ok_or(CamError::NoStages)?;
    let gradient = gradients.swap_remove(0).ok_or_else(|| CamError::Disconnected {
        layer: first.name().to_owned(),
    })?;
    let input = gradient.f_mul(input)?.f_to_kind(Kind::Float)?;
    check_finite(&input, Values::Parts, first.name())?;
    Ok(FullGradient { input, biases })
}

impl FullGradient {
    /// What each value of the input adds to the score, in the input's shape, f32.
    pub fn input(&self) -> &Tensor {
        &self.input
    }

    /// What each value of each stage's implicit bias adds to the score: the stage's name, and a
    /// tensor in the shape of what it puts out, f32; from the input on. What a stage makes of carried tensors may
    /// have a bias too: such a stage comes again with each of these.
    pub fn biases(&self) -> impl Iterator<Item = (&str, &Tensor)> {
        self.biases.iter().map(|(name, bias)| (name.as_str(), bias))
    }
}

impl Step<'_> {
    /// What the stage's implicit bias adds to the score, and the gradients at its inputs, for `gradients` at its
    /// outputs.
    fn part(&self, gradients: &[Option<Tensor>]) -> Result<Part, CamError> {
        let disconnected = || CamError::Disconnected {
            layer: self.name.to_owned(),
        };
        // before = Jᵀ gradient is linear in the gradient, so the derivative of <before, x> by it is J x.
        let mut cotangents = Vec::new();
        for (output, gradient) in self.outputs.iter().zip(gradients) {
            cotangents.push(match gradient {
                Some(gradient) if output.requires_grad() => Some(gradient.f_detach()?.f_set_requires_grad(true)?),
                _ => None,
            });
        }
        let used: Vec<&Tensor> = cotangents.iter().flatten().collect();
        let nodes: Vec<&Tensor> = self.inputs.iter().filter(|input| input.requires_grad()).collect();
        if used.is_empty() || nodes.is_empty() {
            return Err(disconnected());
        }
        let (mut found, along) = tch::with_grad(|| {
            let outputs = self.outputs.iter().zip(&cotangents);
            let scores = outputs
                .filter_map(|(output, cotangent)| Some((output, cotangent.as_ref()?)))
                .map(|(output, cotangent)| output.f_mul(cotangent)?.f_sum(Kind::Float))
                .collect::<Result<Vec<Tensor>, TchError>>()?;
            let before = Tensor::f_run_backward(&scores, &nodes, true, true)?;
            let along = before.iter().zip(&nodes).filter(|(before, _)| before.defined());
            let along = along
                .map(|(before, node)| before.f_mul(&node.f_detach()?)?.f_sum(Kind::Float))
                .collect::<Result<Vec<Tensor>, TchError>>()?;
            Ok::<_, TchError>((before.into_iter(), along))
        })?;
        if along.is_empty() {
            return Err(disconnected());
        }
        let along: Vec<Tensor> = along.into_iter().filter(Tensor::requires_grad).collect();
        let mut linear = if along.is_empty() {
            Vec::new()
        } else {
            Tensor::f_run_backward(&along, &used, false, false)?
        }
        .into_iter();

        let before = self.inputs.iter().map(|input| {
            let gradient = if input.requires_grad() { found.next() } else { None };
            let Some(gradient) = gradient.filter(Tensor::defined) else {
                return Ok(None);
            };
            check_finite(&gradient, Values::Gradients, self.name)?;
            Ok(Some(gradient.f_detach()?))
        });
        let before = before.collect::<Result<_, CamError>>()?;

        let mut biases = Vec::with_capacity(1);
        for (index, (output, gradient)) in self.outputs.iter().zip(gradients).enumerate() {
            let linear = match cotangents[index] {
                Some(_) => linear.next().filter(Tensor::defined),
                None => None,
            };
            let output = output.f_detach()?;
            let bias = match (gradient, linear) {
                (None, _) => output.f_zeros_like()?,
                (Some(gradient), None) => output.f_mul(gradient)?,
                (Some(gradient), Some(linear)) => without_rounding(&output, &linear)?.f_mul(gradient)?,
            };
            // What is only handed on has no bias.
            if index == 0 || bool::try_from(bias.f_any()?)? {
                let bias = bias.f_to_kind(Kind::Float)?;
                check_finite(&bias, Values::Parts, self.name)?;
                biases.push(bias);
            }
        }
        Ok(Part { biases, before })
    }
}

/// `output - linear`, and zero in each channel in which that is what rounding leaves. A convolution
/// without a bias has none, and what is left must not be taken for a map.
fn without_rounding(output: &Tensor, linear: &Tensor) -> Result<Tensor, CamError> {
    let rounding = match output.kind() {
        Kind::Double => 1e-12,
        Kind::Float => 1e-6,
        Kind::Half => 4e-3,
        _ => 3e-2,
    };
    let bias = output.f_sub(linear)?;
    if output.dim() < 2 {
        return Ok(bias);
    }
    let largest = |values: &Tensor, from: i64| -> Result<Tensor, CamError> {
        let axes: Vec<i64> = (from..values.dim() as i64).collect();
        let values = values.f_abs()?;
        // No axes would mean all of them.
        Ok(if axes.is_empty() {
            values
        } else {
            values.f_amax(axes.as_slice(), true)?
        })
    };
    let scale = largest(output, 1)?.f_maximum(&largest(linear, 1)?)?;
    let kept = largest(&bias, 2)?.f_gt_tensor(&scale.f_mul_scalar(rounding)?)?;
    Ok(bias.f_mul(&kept.f_to_kind(bias.kind())?)?)
}
