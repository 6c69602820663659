//! Score-CAM against its formula in plain loops and against the goldens.

use std::cell::RefCell;

use gradcam_core::{
    CamError, Maps, Probe, ScoreCam, ScoreChannels, ScoreMask, ScoreWeights, Stage, Stages, Target, score_cam,
    weighted_cam,
};
use tch::{Kind, Tensor};

use crate::goldens::Golden;
use crate::perturbation_methods::{TARGETS, agrees, at_layers, classes, score, space};
use crate::small_net::{SmallNet, largest_difference, normal};

/// What Score-CAM and those after it make of a layer, in plain loops. Of a channel's mask the network is shown what `shown`
/// makes of it, and the mean of their scores is the channel's; `weigh` makes weights of these and of the blank image's score.
pub(crate) fn by_formula(
    stages: &Stages<'_>,
    input: &Tensor,
    layer: &str,
    classes: &[i64],
    shown: impl Fn(i64, &Tensor) -> Vec<Tensor>,
    weigh: impl Fn(&Tensor, f64) -> Tensor,
) -> Tensor {
    let capture = stages.capture(input, &[layer]).unwrap();
    let activations = capture.activations(layer).unwrap();
    let channels = activations.size()[1];
    let planes = Maps::new(&activations.flatten(0, 1)).unwrap();
    let masks = planes.heatmaps(&space(input)).unwrap();
    let of_sample = |(sample, &class): (i64, &i64)| {
        let image = input.narrow(0, sample, 1);
        let mean = |channel| {
            let shown = shown(channel, &masks.tensor().get(sample * channels + channel));
            let scores = shown.iter().map(|mask| score(stages, None, &(&image * mask), class));
            scores.sum::<f64>() / shown.len() as f64
        };
        let scores: Vec<f64> = (0..channels).map(mean).collect();
        weigh(
            &Tensor::from_slice(&scores),
            score(stages, None, &image.zeros_like(), class),
        )
    };
    let weights: Vec<Tensor> = (0..).zip(classes).map(of_sample).collect();
    weighted_cam(activations, &Tensor::stack(&weights, 0))
        .unwrap()
        .tensor()
        .shallow_clone()
}

pub(crate) fn softmax(scores: &Tensor, _blank: f64) -> Tensor {
    scores.softmax(0, Kind::Double)
}

pub(crate) fn assert_close(what: &str, found: &Maps, expected: &Tensor) {
    let difference = largest_difference(found.tensor(), expected);
    let size = expected.max().double_value(&[]);
    assert!(difference < 1e-5 * size, "{what}: {difference} of {size}");
}

#[test]
fn agrees_with_the_peers() {
    agrees("score_cam", |probe, layer| {
        score_cam(probe, layer, &ScoreCam::default())
    });
    agrees("score_cam_normalised_first", |probe, layer| {
        score_cam(probe, layer, &ScoreCam::default().with_mask(ScoreMask::NormalisedFirst))
    });
}

/// pytorch-grad-cam as it is; it fails on volumes.
#[test]
fn agrees_with_aligned_corners() {
    let method = |probe: &Probe<'_>, layer: &str| {
        score_cam(probe, layer, &ScoreCam::default().with_mask(ScoreMask::AlignedCorners))
    };
    at_layers([Golden::plain(), Golden::branched()], method, |golden, layer, maps| {
        golden.check("score_cam_aligned_corners", layer, maps);
    });
}

/// Masks by hand.
#[test]
fn equals_its_formula() {
    for net in [SmallNet::images(6), SmallNet::volumes(6)] {
        let (stages, input) = (net.stages(), net.input(3, 7));
        let probe = Probe::new(&stages, &input, &TARGETS).unwrap();
        let increase: fn(&Tensor, f64) -> Tensor = |scores, blank| scores - blank;
        for layer in ["relu1", "conv2"] {
            for (weights, weigh) in [
                (ScoreWeights::Softmax, softmax as fn(&Tensor, f64) -> Tensor),
                (ScoreWeights::Increase, increase),
            ] {
                let found = score_cam(&probe, layer, &ScoreCam::default().with_weights(weights)).unwrap();
                let shown = |_: i64, mask: &Tensor| vec![mask.shallow_clone()];
                let expected = by_formula(&stages, &input, layer, &classes(&probe), shown, weigh);
                assert_close(layer, &found, &expected);
            }
        }
    }
}

/// Dead channels mask everything, whatever they are; they must not be run each by itself.
#[test]
fn channels_of_one_value_are_looked_at_once() {
    let runs = RefCell::new(0);
    let stages = Stages::new(vec![
        Stage::new("seen", |x| {
            *runs.borrow_mut() += x.size()[0];
            x.f_relu()
        }),
        Stage::new("mostly_dead", |x| {
            Tensor::f_cat(&[x, &x.f_zeros_like()?, &x.f_full_like(2.5)?, &x.f_zeros_like()?], 1)
        }),
        Stage::new("logits", |x| x.f_mean_dim([2i64, 3].as_slice(), false, None)),
    ])
    .unwrap();
    let image = normal(&[1, 2, 5, 6], 9).abs();
    let probe = Probe::new(&stages, &image, &[Target::Class(0)]).unwrap();
    *runs.borrow_mut() = 0;
    let maps = score_cam(&probe, "mostly_dead", &ScoreCam::default()).unwrap();
    // The activations once more, the image as it is to see what a pass takes, two live channels, the blank image for the
    // others.
    assert_eq!(*runs.borrow(), 1 + 1 + 2 + 1);
    let live: Vec<f64> = (0..2)
        .map(|channel| {
            let plane = image.narrow(1, channel, 1);
            let (low, high) = (plane.min(), plane.max());
            score(&stages, None, &(&image * ((&plane - &low) / (high - low))), 0)
        })
        .collect();
    let blank = score(&stages, None, &image.zeros_like(), 0);
    let scores = [&live[..], &[blank; 6]].concat();
    let weights = Tensor::from_slice(&scores).softmax(0, Kind::Double).unsqueeze(0);
    let capture = stages.capture(&image, &["mostly_dead"]).unwrap();
    let expected = weighted_cam(capture.activations("mostly_dead").unwrap(), &weights).unwrap();
    assert!(largest_difference(maps.tensor(), expected.tensor()) < 1e-6);
}

#[test]
fn settings_are_checked() {
    let net = SmallNet::images(14);
    let stages = net.stages();
    let probe = Probe::new(&stages, &net.input(1, 20), &[Target::Class(0)]).unwrap();
    let most = |count| ScoreCam::default().with_channels(ScoreChannels::MostVaried(count));
    assert!(matches!(
        score_cam(&probe, "relu1", &most(0)),
        Err(CamError::ChannelCount { count: 0, channels: 6 })
    ));
    assert!(matches!(
        score_cam(&probe, "relu1", &most(7)),
        Err(CamError::ChannelCount { count: 7, channels: 6 })
    ));
    assert!(matches!(
        score_cam(&probe, "pool", &most(1)),
        Err(CamError::NotSpatial { .. })
    ));
}
