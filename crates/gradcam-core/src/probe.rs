//! A network, a batch and its targets, for methods that alter what goes in and look at the scores.

use std::ops::Range;

use tch::{Kind, TchError, Tensor};

use crate::capture::{Capture, Gradients, check_finite, check_logits, check_spatial};
use crate::copies::Copies;
use crate::error::{CamError, Values};
use crate::stage::{self, Stages};
use crate::target::{Resolved, Target};

/// A network, a batch and each sample's target, for the perturbation methods.
///
/// These methods run the network, or its tail from a layer on, on many altered copies of each
/// sample. Copies go through in chunks whose memory stays under [`Probe::with_memory_ceiling`];
/// never are all of them there at once. Everything runs without a graph; the network, its
/// variables and the gradient mode are left as they were, also after an error.
///
/// ```
/// use gradcam_core::{Probe, Rise, Stage, Stages, Target, ablation_cam, rise};
/// use tch::{Device, Kind, Tensor};
///
/// let network = Stages::new(vec![
///     Stage::new("double", |x| x.f_mul_scalar(2.0)),
///     Stage::new("mean", |x| x.f_mean_dim([2i64, 3].as_slice(), false, None)),
/// ])?;
/// let images = Tensor::rand([2, 3, 8, 8], (Kind::Float, Device::Cpu));
/// let targets = [Target::Class(2), Target::Predicted];
///
/// // With the forward pass of a capture, which gradient methods may use too …
/// let capture = network.capture(&images, &["double"])?;
/// let probe = Probe::from_capture(&network, &images, &capture, &targets)?;
/// assert_eq!(ablation_cam(&probe, "double")?.tensor().size(), [2, 8, 8]);
///
/// // … or with one of its own.
/// let probe = Probe::new(&network, &images, &targets)?.with_memory_ceiling(1 << 28);
/// assert_eq!(rise(&probe, &Rise::default().with_masks(20))?.tensor().size(), [2, 8, 8]);
/// # Ok::<(), gradcam_core::CamError>(())
/// ```
#[derive(Debug)]
pub struct Probe<'p> {
    stages: &'p Stages<'p>,
    input: Tensor,
    targets: Vec<Target>,
    resolved: Resolved,
    /// Of the batch as it is.
    scores: Tensor,
    /// The number of classes, and the axes of space of a segmentation.
    logits: Vec<i64>,
    /// Of the same input, with layers whose activations are known.
    capture: Option<&'p Capture>,
    ceiling: u64,
}

/// What there is at a layer.
#[derive(Debug)]
struct State {
    activations: Tensor,
    /// What earlier stages carry past it.
    carried: Vec<Tensor>,
}

/// A layer's activations and the stages after it.
#[derive(Debug)]
pub(crate) struct After<'p> {
    state: State,
    stages: &'p Stages<'p>,
    range: Range<usize>,
    ceiling: u64,
}

impl<'p> After<'p> {
    /// What the layer puts out: feature maps, `[N, C, H, W]` or `[N, C, D, H, W]`.
    pub(crate) fn activations(&self) -> &Tensor {
        &self.state.activations
    }

    /// For copies of what the layer puts out for one sample.
    pub(crate) fn copies(&self, sample: i64) -> Result<Copies<'p>, CamError> {
        let carried = self.state.carried.iter();
        Ok(Copies {
            stages: self.stages,
            range: self.range.clone(),
            carried: carried
                .map(|carried| carried.f_narrow(0, sample, 1))
                .collect::<Result<_, TchError>>()?,
            ceiling: self.ceiling,
        })
    }
}

impl<'p> Probe<'p> {
    /// Runs the network once, for the predicted classes and the scores of the samples as they are.
    ///
    /// # Shapes
    /// `input` has the samples on its first axis; one target for each of them.
    ///
    /// # Errors
    /// [`CamError::EmptyBatch`], [`CamError::Stage`], [`CamError::Logits`], [`CamError::NonFinite`],
    /// and those of targets that do not fit.
    ///
    /// # Cost
    /// One forward pass. A method that needs a layer's activations runs the stages up to it once
    /// more, sample by sample; [`Probe::from_capture`] has them already.
    pub fn new(stages: &'p Stages<'p>, input: &Tensor, targets: &[Target]) -> Result<Self, CamError> {
        let shape = input.size();
        if shape.first().is_none_or(|&batch| batch < 1) {
            return Err(CamError::EmptyBatch { shape });
        }
        let _no_grad = tch::no_grad_guard();
        let input = input.f_detach()?;
        let logits = stages.forward(&stage::copy(&input)?)?;
        check_logits(&logits, shape[0])?;
        check_finite(&logits, Values::Logits, last_name(stages)?)?;
        Self::with_logits(stages, input, &logits, targets, None)
    }

    /// Takes logits and activations from a capture of the same input instead of running the
    /// network.
    ///
    /// The activations are the batch's, whose convolutions libtorch rounds otherwise than those of a
    /// sample alone: by some 1e-7 of their size, and so are the scores of altered copies. A weight
    /// that is a small difference of scores is off by that share of the scores, not of the weight.
    /// With [`Probe::new`] a sample's map does not depend on the batch at all.
    ///
    /// # Shapes
    /// `input` is what was captured from.
    ///
    /// # Errors
    /// [`CamError::CaptureInput`] for an input of another shape, [`CamError::CaptureStages`] for a network of other
    /// stages, and those of targets that do not fit.
    pub fn from_capture(
        stages: &'p Stages<'p>,
        input: &Tensor,
        capture: &'p Capture,
        targets: &[Target],
    ) -> Result<Self, CamError> {
        capture.check_origin(stages, &input.size())?;
        let _no_grad = tch::no_grad_guard();
        Self::with_logits(stages, input.f_detach()?, capture.logits(), targets, Some(capture))
    }

    fn with_logits(
        stages: &'p Stages<'p>,
        input: Tensor,
        logits: &Tensor,
        targets: &[Target],
        capture: Option<&'p Capture>,
    ) -> Result<Self, CamError> {
        let resolved = Resolved::new(targets, logits)?;
        let scores = resolved.scores(logits)?;
        check_finite(&scores, Values::Scores, last_name(stages)?)?;
        Ok(Self {
            stages,
            input,
            targets: targets.to_vec(),
            resolved,
            scores,
            logits: logits.size()[1..].to_vec(),
            capture,
            ceiling: 1 << 30,
        })
    }

    /// How much memory the altered copies may take on their way through the network, in bytes; 1 GiB
    /// unless set.
    ///
    /// How many copies make a chunk is derived from it and from what the sample as it is was seen to take in a run of
    /// its own: itself, its mask, and twice the largest input and output of a stage together, with what is carried
    /// past it. At least
    /// one copy at a time is run, whatever the ceiling. Fewer copies than fit are taken where more
    /// would only leave the cache.
    #[must_use]
    pub fn with_memory_ceiling(mut self, bytes: u64) -> Self {
        self.ceiling = bytes;
        self
    }

    /// The number of samples.
    pub fn batch(&self) -> i64 {
        self.input.size()[0]
    }

    /// Each sample's score as it is, `[N]`, f32, or f64 of a network in double precision.
    pub fn scores(&self) -> &Tensor {
        &self.scores
    }

    /// The class that each sample's target is about; `None` for a function of one's own.
    pub fn classes(&self) -> Vec<Option<i64>> {
        self.resolved.classes()
    }

    pub(crate) fn stages(&self) -> &'p Stages<'p> {
        self.stages
    }

    pub(crate) fn targets(&self) -> &[Target] {
        &self.targets
    }

    /// What `layer` puts out: feature maps, `[N, C, H, W]` or `[N, C, D, H, W]`.
    pub(crate) fn activations(&self, layer: &str) -> Result<Tensor, CamError> {
        Ok(self.after(layer)?.state.activations)
    }

    /// What `layer` puts out, and the stages after it for copies of that.
    ///
    /// Sample by sample, unless it is known: convolutions round otherwise in a batch, and weights that are small
    /// differences of scores make more of that.
    pub(crate) fn after(&self, layer: &str) -> Result<After<'p>, CamError> {
        let index = self.stages.position(layer)?;
        let state = match self.captured(layer) {
            Some(capture) => State {
                activations: capture.activations(layer)?.shallow_clone(),
                carried: capture.carried(layer)?.iter().map(Tensor::shallow_clone).collect(),
            },
            None => self.alone(index, layer)?,
        };
        check_spatial(&state.activations, layer, self.batch())?;
        for carried in &state.carried {
            check_carried(carried, layer, self.batch())?;
        }
        Ok(After {
            state,
            stages: self.stages,
            range: index + 1..self.stages.as_slice().len(),
            ceiling: self.ceiling,
        })
    }

    /// The gradients of the targets at `layer`, if it was captured.
    pub(crate) fn gradients(&self, layer: &str) -> Result<Option<Gradients<'p>>, CamError> {
        let capture = self.captured(layer);
        capture.map(|capture| capture.gradients_of(&self.resolved)).transpose()
    }

    fn captured(&self, layer: &str) -> Option<&'p Capture> {
        self.capture
            .filter(|capture| capture.layers().any(|captured| captured == layer))
    }

    /// What there is at a layer, of each sample alone, put together again.
    fn alone(&self, index: usize, layer: &str) -> Result<State, CamError> {
        let mut activations = Vec::new();
        // For each carried tensor the samples.
        let mut carried = Vec::<Vec<Tensor>>::new();
        for sample in 0..self.batch() {
            let mut beside = Vec::new();
            let alone = self
                .stages
                .run(0..index + 1, &stage::copy(&self.sample(sample)?)?, &mut beside)?;
            check_spatial(&alone, layer, 1)?;
            activations.push(alone);
            carried.resize_with(beside.len(), Vec::new);
            for (samples, tensor) in carried.iter_mut().zip(beside) {
                check_carried(&tensor, layer, 1)?;
                samples.push(tensor);
            }
        }
        let activations = Tensor::f_cat(&activations, 0)?;
        check_finite(&activations, Values::Activations, layer)?;
        let carried = carried.iter().map(|samples| Tensor::f_cat(samples, 0));
        Ok(State {
            activations,
            carried: carried.collect::<Result<_, TchError>>()?,
        })
    }

    /// The number of classes.
    pub(crate) fn logit_count(&self) -> i64 {
        self.logits[0]
    }

    /// The places that there is a logit for; none for a classifier.
    pub(crate) fn logit_places(&self) -> &[i64] {
        &self.logits[1..]
    }

    /// One sample of the batch, `[1, C, …]`.
    pub(crate) fn sample(&self, sample: i64) -> Result<Tensor, CamError> {
        Ok(self.input.f_narrow(0, sample, 1)?)
    }

    /// The axes of space of the batch.
    ///
    /// # Errors
    /// [`CamError::Input`] for a batch that is neither of images nor of volumes.
    pub(crate) fn space(&self) -> Result<Vec<i64>, CamError> {
        let shape = self.input.size();
        if matches!(shape.len(), 4 | 5) && !shape.contains(&0) {
            Ok(shape[2..].to_vec())
        } else {
            Err(CamError::Input { shape })
        }
    }

    /// For copies of what goes in.
    pub(crate) fn of_input(&self) -> Copies<'p> {
        Copies {
            stages: self.stages,
            range: 0..self.stages.as_slice().len(),
            carried: Vec::new(),
            ceiling: self.ceiling,
        }
    }

    /// The score of a sample's target for the outputs of altered copies, `[copies]`, f32 or f64.
    pub(crate) fn scores_of(&self, sample: i64, outputs: &Tensor) -> Result<Tensor, CamError> {
        let scores = self.resolved.scores_of(sample as usize, outputs)?;
        check_finite(&scores, Values::Scores, last_name(self.stages)?)?;
        Ok(scores)
    }

    /// The scores of one sample's copies, chunk by chunk: what a reader of outputs adds up.
    pub(crate) fn gather(&self, sample: i64, scores: &mut Vec<Tensor>, outputs: &Tensor) -> Result<(), CamError> {
        // A copy in any case: the outputs may lie in the memory of the copies, which the next chunk writes over.
        scores.push(self.scores_of(sample, outputs)?.f_to_dtype(Kind::Double, false, true)?);
        Ok(())
    }
}

/// A carried tensor that can be taken apart by samples.
fn check_carried(carried: &Tensor, layer: &str, batch: i64) -> Result<(), CamError> {
    let shape = carried.size();
    if shape.first() == Some(&batch) {
        Ok(())
    } else {
        Err(CamError::CarriedShape {
            layer: layer.to_owned(),
            shape,
            batch,
        })
    }
}

fn last_name<'s>(stages: &'s Stages<'_>) -> Result<&'s str, CamError> {
    Ok(stages.as_slice().last().ok_or(CamError::NoStages)?.name())
}
