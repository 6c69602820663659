//! Building a network, training it and scoring it on the test images.

use std::path::Path;

use anyhow::{Context as _, Result};
use heatmap_filter::train::{Classifier, Examples, TrainSettings, Training, fit, predict};
use models::{Architecture, Head, Network, NetworkConfig};
use ndarray::{Array4, ArrayView2};
use scan_data::Part;
use seg_metrics::{Bootstrap, Confusion, MetricError, roc_auc};
use tch::{Device, TchError, Tensor};

use crate::data::{Data, tensor};
use crate::options::Options;
use crate::progress::Steps;
use crate::summary;

/// Normal, lesion.
const CLASSES: i64 = 2;
/// The class whose evidence the heatmaps show.
pub const LESION: i64 = 1;

/// A network as it stands before training, the same each time for the same options, and whether the head of
/// `--weights` did not fit and was left out.
pub fn build(options: &Options, architecture: Architecture, device: Device) -> Result<(Network, bool)> {
    tch::manual_seed(options.seed as i64);
    let mut network = NetworkConfig::new(architecture).with_classes(CLASSES).build(device)?;
    let mut head_replaced = false;
    if let Some(weights) = &options.weights {
        let loaded = network
            .load(weights, Head::Replace)
            .with_context(|| format!("starting {architecture} from --weights"))?;
        head_replaced = loaded.head_replaced;
    }
    Ok((network, head_replaced))
}

/// A network as the trainer sees it: from grey images to logits, in training mode or not.
fn forward(network: &Network) -> impl Fn(&Tensor, bool) -> Result<Tensor, TchError> {
    |images, train| network.forward_t(&network.input().prepare(images)?, train)
}

/// Trains a network on images laid out like the data's own.
pub fn train(
    network: &Network,
    data: &Data,
    images: &Array4<f32>,
    options: &Options,
    checkpoint: &Path,
    steps: &mut Steps,
) -> Result<Training> {
    let settings = TrainSettings::default()
        .with_epochs(options.epochs())
        .with_batch(options.batch())
        .with_learning_rate(options.learning_rate())
        .with_seed(options.seed);
    let part = |part| tensor(data.slice(images, part));
    let (training, validation) = (part(Part::Train)?, part(Part::Validation)?);
    let forward = forward(network);
    let examples = |images, part| Examples {
        images,
        labels: &data.labels[data.range(part)],
    };
    let training = fit(
        Classifier {
            forward: &forward,
            variables: network.variables(),
        },
        examples(&training, Part::Train),
        examples(&validation, Part::Validation),
        &|probabilities, labels| auc(probabilities, labels).unwrap_or(f64::NAN),
        &settings,
        Some(checkpoint),
        &mut |progress| steps.report(progress),
    )?;
    Ok(training)
}

/// The probability of a lesion for every image, in the data's order: the mean over the image and its mirror image,
/// both of which the network was trained on.
pub fn probabilities(network: &Network, images: &Array4<f32>, options: &Options) -> Result<Vec<f64>> {
    let forward = forward(network);
    let classifier = Classifier {
        forward: &forward,
        variables: network.variables(),
    };
    let images = tensor(images.view())?;
    let view = |images: &Tensor| -> Result<Vec<f64>> {
        Ok(lesion_column(predict(classifier, images, options.batch())?.view()))
    };
    let (straight, mirrored) = (view(&images)?, view(&images.f_flip([3])?)?);
    Ok(straight
        .iter()
        .zip(mirrored)
        .map(|(one, other)| (one + other) / 2.0)
        .collect())
}

fn lesion_column(probabilities: ArrayView2<'_, f32>) -> Vec<f64> {
    probabilities
        .column(LESION as usize)
        .iter()
        .map(|&p| f64::from(p))
        .collect()
}

fn auc(probabilities: ArrayView2<'_, f32>, labels: &[i64]) -> Result<f64, MetricError> {
    let lesions: Vec<bool> = labels.iter().map(|&label| label == LESION).collect();
    roc_auc(&lesion_column(probabilities), &lesions)
}

/// A score from probabilities and whether each is of a lesion; none where a class is absent.
type Statistic = fn(&[f64], &[bool]) -> Option<f64>;

/// How the probabilities do on the test images, with intervals over groups.
pub fn test_scores(data: &Data, probabilities: &[f64], seed: u64) -> Result<summary::Scores> {
    let range = data.range(Part::Test);
    let lesions: Vec<bool> = data.labels[range.clone()]
        .iter()
        .map(|&label| label == LESION)
        .collect();
    let probabilities = &probabilities[range.clone()];
    let groups = data.groups(range);
    let bootstrap = Bootstrap::default().with_seed(seed);
    // With few groups, many a resample lacks a class: the score stands, without an interval.
    let interval = |statistic: Statistic| {
        let resampled = bootstrap.statistic_by_group(&groups, |indices| {
            let pick: (Vec<f64>, Vec<bool>) = indices.iter().map(|&i| (probabilities[i], lesions[i])).unzip();
            statistic(&pick.0, &pick.1)
        });
        match resampled {
            Ok(interval) => Ok((interval.value, Some([interval.low, interval.high]))),
            Err(error @ MetricError::UndefinedResamples { .. }) => {
                Ok((statistic(probabilities, &lesions).ok_or(error)?, None))
            }
            Err(error) => Err(error),
        }
    };
    let auc = interval(|probabilities, lesions| roc_auc(probabilities, lesions).ok())?;
    let balanced = interval(|probabilities, lesions| confusion(probabilities, lesions)?.balanced_accuracy().ok())?;
    let accuracy = interval(|probabilities, lesions| confusion(probabilities, lesions)?.accuracy().ok())?;
    Ok(summary::Scores {
        auc: auc.0,
        auc_interval: auc.1,
        balanced_accuracy: balanced.0,
        balanced_accuracy_interval: balanced.1,
        accuracy: accuracy.0,
        accuracy_interval: accuracy.1,
    })
}

/// Predictions at a probability of one half against the truth.
fn confusion(probabilities: &[f64], lesions: &[bool]) -> Option<Confusion> {
    let predicted: Vec<bool> = probabilities.iter().map(|&p| p > 0.5).collect();
    Confusion::from_labels(&predicted, lesions).ok()
}
