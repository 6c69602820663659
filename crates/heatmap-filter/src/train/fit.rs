use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;

use ndarray::ArrayView2;
use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Deserializer, Serialize};
use tch::{Device, Kind, Reduction, TchError, Tensor, nn};

use super::adamw::AdamW;
use super::checkpoint::{self, Record};
use super::predict::{logits, softmax};
use super::settings::TrainSettings;
use crate::error::FilterError;
use crate::seed::mix;

/// A network to train: a function and the variables it reads.
#[derive(Clone, Copy)]
pub struct Classifier<'a> {
    /// Image batch to logits `[N, K]`; the flag says whether the network is being trained.
    pub forward: &'a dyn Fn(&Tensor, bool) -> Result<Tensor, TchError>,
    /// The variables. Those that ask for gradients are trained, all are kept in checkpoints.
    pub variables: &'a nn::VarStore,
}

impl fmt::Debug for Classifier<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Classifier")
            .field("variables", &self.variables.len())
            .finish_non_exhaustive()
    }
}

/// Images with a class each.
#[derive(Debug, Clone, Copy)]
pub struct Examples<'a> {
    /// `[N, C, H, W]`, floating point, on the CPU or on the network's device.
    pub images: &'a Tensor,
    /// The class of each image, from 0.
    pub labels: &'a [i64],
}

/// What one pass over the training images came to.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Epoch {
    /// The pass, from 1.
    pub epoch: usize,
    /// Mean class-weighted cross-entropy of its steps.
    pub training_loss: f64,
    /// Class-weighted cross-entropy on the validation images after it.
    pub validation_loss: f64,
    /// The caller's score on the validation images after it.
    #[serde(deserialize_with = "nan_from_null")]
    pub validation_score: f64,
}

/// JSON has no NaN; it is written as null.
fn nan_from_null<'de, D: Deserializer<'de>>(value: D) -> Result<f64, D::Error> {
    Ok(Option::deserialize(value)?.unwrap_or(f64::NAN))
}

/// How far a training has come.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub enum Progress<'a> {
    /// Epochs that a checkpoint already held.
    Resumed(&'a [Epoch]),
    /// A step is done.
    Step {
        /// The pass, from 1.
        epoch: usize,
        /// The step within it, from 1.
        step: usize,
        /// Steps in a pass.
        steps: usize,
    },
    /// A pass is done, and its checkpoint written.
    Epoch(&'a Epoch),
}

/// What a training came to. The network holds the weights of the best epoch.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Training {
    /// Every epoch.
    pub history: Vec<Epoch>,
    /// Index in `history` of the epoch with the highest validation score; of equal ones that with
    /// the lowest validation loss.
    pub best: usize,
}

/// Trains a classifier and leaves it with the weights of its best epoch.
///
/// The loss is cross-entropy with each class weighted by N / (K · Nₖ), so that a rare class counts
/// as much as a common one; the optimiser is AdamW with the schedule of [`TrainSettings`]. The best
/// epoch is that of the highest `score(probabilities [N, K], labels)` on the validation images.
///
/// With a `checkpoint` path the state is written there after every epoch, whole or not at all (a
/// file that is not finished has a name with [`TEMPORARY_PREFIX`](super::TEMPORARY_PREFIX)), and a
/// state found there is continued: the end is the same as if it had never stopped. libtorch's global
/// random generator is re-seeded every epoch from the settings' seed. A last batch of a single image
/// is left out of its epoch when there are others, since batch norms cannot train on one.
///
/// # Shapes
/// Images `[N, C, H, W]`, labels `[N]`, logits `[N, K]`.
///
/// # Errors
/// [`FilterError::Setting`], [`FilterError::NoSuchVariable`], [`FilterError::Examples`],
/// [`FilterError::Classes`], [`FilterError::Logits`] and [`FilterError::NothingToTrain`] before anything
/// is done;
/// [`FilterError::Diverged`] when the loss is no number; [`FilterError::Checkpoint`] and
/// [`FilterError::OtherCheckpoint`] for a file that cannot be read or written, or that is of another
/// training; libtorch's own.
///
/// # Cost
/// An epoch is one forward and backward pass over the training images and one forward pass over
/// the validation images.
pub fn fit(
    classifier: Classifier<'_>,
    training: Examples<'_>,
    validation: Examples<'_>,
    score: &dyn Fn(ArrayView2<'_, f32>, &[i64]) -> f64,
    settings: &TrainSettings,
    checkpoint: Option<&Path>,
    progress: &mut dyn FnMut(Progress<'_>),
) -> Result<Training, FilterError> {
    settings.check()?;
    training.check("the training set")?;
    validation.check("the validation set")?;
    let variables: BTreeMap<String, Tensor> = classifier.variables.variables().into_iter().collect();
    let device = classifier.variables.device();
    let factors = settings.factors(variables.keys())?;
    let mut optimiser = AdamW::new(&variables, settings.weight_decay, factors)?;
    if optimiser.moments.is_empty() {
        return Err(FilterError::NothingToTrain {
            variables: variables.len(),
        });
    }
    let weights = class_weights(classifier, training, validation)?.f_to_device(device)?;
    let (training_labels, validation_labels) = (training.labels_on(device)?, validation.labels_on(device)?);

    let data = format!("{}; validation: {}", training.describe()?, validation.describe()?);
    let found = match checkpoint {
        Some(path) => checkpoint::read(path, settings, &data)?.map(|found| (path, found)),
        None => None,
    };
    let (mut record, mut best) = match found {
        Some((path, (record, tensors))) => {
            progress(Progress::Resumed(&record.history));
            checkpoint::restore(&variables, &tensors, "best.", path)?;
            let best = checkpoint::snapshot(&variables)?;
            if record.history.len() < settings.epochs {
                checkpoint::restore(&variables, &tensors, "now.", path)?;
                let moments = |pick: fn(&super::adamw::Moments) -> &Tensor| {
                    let of = optimiser.moments.iter();
                    of.map(|(name, moments)| (name.clone(), pick(moments).shallow_clone()))
                        .collect()
                };
                checkpoint::restore(&moments(|moments| &moments.first), &tensors, "first.", path)?;
                checkpoint::restore(&moments(|moments| &moments.second), &tensors, "second.", path)?;
            }
            optimiser.steps = record.steps;
            (record, best)
        }
        None => {
            let record = Record {
                settings: settings.clone(),
                data,
                history: Vec::new(),
                best: 0,
                steps: 0,
            };
            (record, checkpoint::snapshot(&variables)?)
        }
    };

    let mut order: Vec<i64> = Vec::new();
    for epoch in record.history.len()..settings.epochs {
        let seed = mix(settings.seed, epoch as u64);
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        tch::manual_seed(seed as i64);
        order.clear();
        order.extend(0..training.labels.len() as i64);
        order.shuffle(&mut rng);
        let batches: Vec<&[i64]> = order
            .chunks(settings.batch)
            .filter(|batch| batch.len() > 1 || order.len() == 1 || settings.batch == 1)
            .collect();

        let mut loss_sum = Tensor::f_zeros([], (Kind::Double, device))?;
        for (index, batch) in batches.iter().enumerate() {
            let at = Tensor::f_from_slice(batch)?;
            let images = training
                .images
                .f_index_select(0, &at.f_to_device(training.images.device())?)?;
            let images = settings.augmentation.apply(&images.f_to_device(device)?, &mut rng)?;
            let labels = training_labels.f_index_select(0, &at.f_to_device(device)?)?;
            let loss = tch::with_grad(|| cross_entropy(&(classifier.forward)(&images, true)?, &labels, &weights))?;
            let rate = settings.rate(epoch * batches.len() + index, settings.epochs * batches.len());
            optimiser.step(&variables, &loss, rate)?;
            loss_sum = loss_sum.f_add(&loss.f_detach()?)?;
            progress(Progress::Step {
                epoch: epoch + 1,
                step: index + 1,
                steps: batches.len(),
            });
        }
        let training_loss = f64::try_from(loss_sum)? / batches.len() as f64;
        let logits = logits(classifier, validation.images, settings.batch)?;
        let validation_loss = f64::try_from(cross_entropy(&logits, &validation_labels, &weights)?)?;
        if !(training_loss.is_finite() && validation_loss.is_finite()) {
            return Err(FilterError::Diverged {
                epoch: epoch + 1,
                training_loss,
                validation_loss,
                learning_rate: settings.learning_rate,
            });
        }
        let validation_score = score(softmax(&logits)?.view(), validation.labels);
        record.history.push(Epoch {
            epoch: epoch + 1,
            training_loss,
            validation_loss,
            validation_score,
        });
        if epoch == 0 || is_better(&record.history[epoch], &record.history[record.best]) {
            record.best = epoch;
            best = checkpoint::snapshot(&variables)?;
        }
        record.steps = optimiser.steps;
        if let Some(path) = checkpoint {
            let ended = epoch + 1 == settings.epochs;
            checkpoint::write(path, &record, &best, (!ended).then_some((&variables, &optimiser)))?;
        }
        progress(Progress::Epoch(&record.history[epoch]));
    }

    for (name, variable) in &variables {
        tch::no_grad(|| variable.shallow_clone().f_copy_(&best[name]))?;
    }
    Ok(Training {
        history: record.history,
        best: record.best,
    })
}

/// Whether an epoch beats another: by score, where NaN loses, and by loss among equals.
fn is_better(one: &Epoch, other: &Epoch) -> bool {
    let score = |epoch: &Epoch| match epoch.validation_score.is_nan() {
        true => f64::NEG_INFINITY,
        false => epoch.validation_score,
    };
    score(one)
        .total_cmp(&score(other))
        .then(other.validation_loss.total_cmp(&one.validation_loss))
        .is_gt()
}

fn cross_entropy(logits: &Tensor, labels: &Tensor, weights: &Tensor) -> Result<Tensor, TchError> {
    const NO_LABEL_IGNORED: i64 = -100;
    logits.f_cross_entropy_loss(labels, Some(weights), Reduction::Mean, NO_LABEL_IGNORED, 0.0)
}

/// N / (K · Nₖ) of the training set, for as many classes K as the network has logits.
fn class_weights(
    classifier: Classifier<'_>,
    training: Examples<'_>,
    validation: Examples<'_>,
) -> Result<Tensor, FilterError> {
    let first = training.images.f_narrow(0, 0, 1)?;
    let shape = logits(classifier, &first, 1)?.size();
    let classes = match shape[..] {
        [1, classes] if classes > 0 => classes as usize,
        _ => return Err(FilterError::Logits { shape }),
    };
    validation.count("the validation set", classes)?;
    let counts = training.count("the training set", classes)?;
    let weights: Vec<f32> = counts
        .iter()
        .map(|&count| training.labels.len() as f32 / (classes * count) as f32)
        .collect();
    Ok(Tensor::f_from_slice(&weights)?)
}

impl Examples<'_> {
    fn check(&self, part: &'static str) -> Result<(), FilterError> {
        let images = self.images.size();
        if images.len() != 4 || images[0] as usize != self.labels.len() || self.labels.is_empty() {
            return Err(FilterError::Examples {
                part,
                images,
                labels: self.labels.len(),
            });
        }
        Ok(())
    }

    /// Examples of each class; one without any, or a label beyond them, is an error.
    fn count(&self, part: &'static str, classes: usize) -> Result<Vec<usize>, FilterError> {
        let mut counts = vec![0; classes];
        for &label in self.labels {
            if let Some(count) = usize::try_from(label).ok().and_then(|label| counts.get_mut(label)) {
                *count += 1;
            }
        }
        if counts.contains(&0) || counts.iter().sum::<usize>() != self.labels.len() {
            return Err(FilterError::Classes { part, counts });
        }
        Ok(counts)
    }

    fn labels_on(&self, device: Device) -> Result<Tensor, TchError> {
        Tensor::f_from_slice(self.labels)?.f_to_device(device)
    }

    /// Enough to tell these examples from others: their shape, and a checksum of labels and values.
    fn describe(&self) -> Result<String, TchError> {
        let mut checksum = crc32fast::Hasher::new();
        for label in self.labels {
            checksum.update(&label.to_le_bytes());
        }
        for image in 0..self.images.size()[0] {
            let image = self
                .images
                .f_get(image)?
                .f_to_device(Device::Cpu)?
                .f_to_kind(Kind::Float)?;
            for value in Vec::<f32>::try_from(&image.f_contiguous()?.f_view([-1])?)? {
                checksum.update(&value.to_le_bytes());
            }
        }
        Ok(format!(
            "images {:?} of checksum {:08x}",
            self.images.size(),
            checksum.finalize()
        ))
    }
}
