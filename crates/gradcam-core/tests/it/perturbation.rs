//! What the perturbation methods have in common, and each against its formula in plain loops.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, HashSet};
use std::panic::{AssertUnwindSafe, catch_unwind};

use gradcam_core::{
    AblationValue, CamError, Content, GroupCam, IntegrationPath, IsCam, Maps, Occluder, OcclusionSensitivity, Probe,
    ReciproMask, Rise, ScoreCam, ScoreChannels, ScoreMask, ScoreWeights, SsCam, Stage, Stages, Target, Values,
    ablation_cam, ablation_cam_with, cam, cam_with_weights, group_cam, is_cam, occlusion_sensitivity, recipro_cam,
    rise, rise_with_masks, score_cam, ss_cam, ss_cam_with_noise, weighted_cam,
};
use proptest::prelude::*;
use tch::{Device, Kind, Tensor};

use crate::goldens::Golden;
use crate::small_net::{SmallNet, largest_difference, normal};

type Method = fn(&Probe<'_>, &str) -> Result<Maps, CamError>;

/// Every method that a probe is for, in little of what takes long.
const METHODS: [(&str, Method); 12] = [
    ("ablation_cam", ablation_cam),
    ("ablation_cam_mean", |probe, layer| {
        ablation_cam_with(probe, layer, AblationValue::ChannelMean)
    }),
    ("recipro_cam", |probe, layer| {
        recipro_cam(probe, layer, ReciproMask::Gaussian)
    }),
    ("recipro_cam_single", |probe, layer| {
        recipro_cam(probe, layer, ReciproMask::Single)
    }),
    ("score_cam", |probe, layer| {
        score_cam(probe, layer, &ScoreCam::default())
    }),
    ("score_cam_most_varied", |probe, layer| {
        let settings = ScoreCam::default().with_channels(ScoreChannels::MostVaried(2));
        score_cam(probe, layer, &settings)
    }),
    ("score_cam_normalised_first", |probe, layer| {
        score_cam(probe, layer, &ScoreCam::default().with_mask(ScoreMask::NormalisedFirst))
    }),
    ("ss_cam", |probe, layer| {
        ss_cam(probe, layer, &SsCam::default().with_draws(2).with_deviation(0.3))
    }),
    ("is_cam", |probe, layer| {
        let settings = IsCam::default().with_steps(2).with_path(IntegrationPath::Linear);
        is_cam(probe, layer, &settings)
    }),
    ("group_cam", |probe, layer| {
        group_cam(probe, layer, &GroupCam::default().with_groups(3).with_blur(3, 1.5))
    }),
    ("rise", |probe, _| {
        rise(probe, &Rise::default().with_masks(40).with_cells(3))
    }),
    ("occlusion_sensitivity", |probe, _| {
        let settings = OcclusionSensitivity::default()
            .with_window([3])
            .with_stride([2])
            .with_occluder(Occluder::ChannelMean);
        occlusion_sensitivity(probe, &settings)
    }),
];

const TARGETS: [Target; 3] = [Target::Class(3), Target::Predicted, Target::Class(0)];

fn space(input: &Tensor) -> Vec<i64> {
    input.size()[2..].to_vec()
}

/// The score of `class` for one altered image, or for altered activations after `layer`.
fn score(stages: &Stages<'_>, layer: Option<&str>, x: &Tensor, class: i64) -> f64 {
    let logits = match layer {
        Some(layer) => stages.forward_from(layer, &x.copy()).unwrap(),
        None => stages.forward(&x.copy()).unwrap(),
    };
    logits.double_value(&[0, class])
}

fn classes(probe: &Probe<'_>) -> Vec<i64> {
    probe.classes().into_iter().map(Option::unwrap).collect()
}

/// `count` masks, one value each of `[M, …]` that `value` gives for the mask and the place.
fn each_place(shape: &[i64], value: impl Fn(i64, &[i64]) -> f32) -> Tensor {
    let mut values = Vec::new();
    for index in 0..shape.iter().product::<i64>() {
        let mut rest = index;
        let mut place = vec![0; shape.len()];
        for axis in (0..shape.len()).rev() {
            place[axis] = rest % shape[axis];
            rest /= shape[axis];
        }
        values.push(value(place[0], &place[1..]));
    }
    Tensor::from_slice(&values).view(shape)
}

#[test]
fn a_batch_gives_each_sample_what_it_would_get_alone() {
    for net in [SmallNet::images(2), SmallNet::volumes(2)] {
        let (stages, input) = (net.stages(), net.input(3, 3));
        let batch = Probe::new(&stages, &input, &TARGETS).unwrap();
        for (name, method) in METHODS {
            let maps = method(&batch, "relu1").unwrap();
            for (sample, target) in (0i64..).zip(&TARGETS) {
                let alone = Probe::new(&stages, &input.narrow(0, sample, 1), std::slice::from_ref(target)).unwrap();
                let single = method(&alone, "relu1").unwrap();
                let size = single.tensor().abs().max().double_value(&[]).max(1e-6);
                let difference = largest_difference(&maps.tensor().narrow(0, sample, 1), single.tensor()) / size;
                assert!(difference < 1e-6, "{name} {sample}: {difference}");
                assert_eq!(maps.contents()[sample as usize], single.contents()[0], "{name}");
            }
            assert!(maps.contents().contains(&Content::Graded), "{name}");
        }
    }
}

#[test]
fn a_capture_serves_as_well_as_a_forward_pass() {
    let net = SmallNet::images(5);
    let (stages, input) = (net.stages(), net.input(3, 4));
    let capture = stages.capture(&input, &["conv1", "relu2"]).unwrap();
    let captured = Probe::from_capture(&stages, &input, &capture, &TARGETS).unwrap();
    let own = Probe::new(&stages, &input, &TARGETS).unwrap();
    assert_eq!(captured.classes(), own.classes());
    assert!(largest_difference(captured.scores(), own.scores()) < 1e-6);
    for layer in ["conv1", "relu1", "relu2"] {
        for (name, method) in METHODS {
            let difference = largest_difference(
                method(&captured, layer).unwrap().tensor(),
                method(&own, layer).unwrap().tensor(),
            );
            // The capture's convolutions saw the batch, the probe's own each sample alone.
            assert!(difference < 1e-5, "{name} {layer}: {difference}");
        }
    }
    let other = net.input(2, 4);
    assert!(matches!(
        Probe::from_capture(&stages, &other, &capture, &TARGETS),
        Err(CamError::CaptureBatch { batch: 3, .. })
    ));
}

/// At `conv1` and `conv2` the next stage works in place, on what would be the next chunk's copies.
#[test]
fn ablation_equals_its_formula_also_before_a_stage_that_works_in_place() {
    for net in [SmallNet::images(3), SmallNet::volumes(3)] {
        let (stages, input) = (net.stages(), net.input(3, 5));
        let capture = stages.capture(&input, &["conv1", "relu1", "conv2", "relu2"]).unwrap();
        let probe = Probe::from_capture(&stages, &input, &capture, &TARGETS).unwrap();
        for layer in ["conv1", "relu1", "conv2", "relu2"] {
            let activations = capture.activations(layer).unwrap();
            let channels = activations.size()[1];
            let mut weights = Vec::new();
            for (sample, class) in (0i64..).zip(classes(&probe)) {
                let whole = activations.narrow(0, sample, 1);
                for channel in 0..channels {
                    let without = whole.copy();
                    let _ = without.narrow(1, channel, 1).fill_(0.0);
                    let drop =
                        score(&stages, Some(layer), &whole, class) - score(&stages, Some(layer), &without, class);
                    weights.push(drop as f32);
                }
            }
            let expected = weighted_cam(activations, &Tensor::from_slice(&weights).view([3, channels])).unwrap();
            let found = ablation_cam(&probe, layer).unwrap();
            let difference = largest_difference(found.tensor(), expected.tensor());
            assert!(difference < 1e-5, "{layer}: {difference}");
            for ceiling in [0, 60_000, 1 << 40] {
                let capture = Probe::from_capture(&stages, &input, &capture, &TARGETS).unwrap();
                let again = ablation_cam(&capture.with_memory_ceiling(ceiling), layer).unwrap();
                let difference = largest_difference(found.tensor(), again.tensor());
                assert!(difference < 1e-5, "{layer} {ceiling}: {difference}");
            }
        }
    }
}

#[test]
fn ablation_takes_other_values() {
    let net = SmallNet::images(3);
    let (stages, input) = (net.stages(), net.input(1, 5));
    let probe = Probe::new(&stages, &input, &[Target::Class(1)]).unwrap();
    let capture = stages.capture(&input, &["conv2"]).unwrap();
    let whole = capture.activations("conv2").unwrap();
    let replaced = |value: &dyn Fn(&Tensor) -> f64| {
        let drop = |channel: i64| {
            let without = whole.copy();
            let mut plane = without.narrow(1, channel, 1);
            let _ = plane.fill_(value(&plane));
            (score(&stages, Some("conv2"), whole, 1) - score(&stages, Some("conv2"), &without, 1)) as f32
        };
        let weights: Vec<f32> = (0..8).map(drop).collect();
        weighted_cam(whole, &Tensor::from_slice(&weights).view([1, 8])).unwrap()
    };
    let mean = |plane: &Tensor| plane.mean(Kind::Double).double_value(&[]);
    for (value, expected) in [
        (AblationValue::Zero, replaced(&|_| 0.0)),
        (AblationValue::ChannelMean, replaced(&mean)),
        (AblationValue::Value(-0.7), replaced(&|_| -0.7)),
    ] {
        let found = ablation_cam_with(&probe, "conv2", value).unwrap();
        assert!(
            largest_difference(found.tensor(), expected.tensor()) < 1e-5,
            "{value:?}"
        );
    }
    assert!(matches!(
        ablation_cam_with(&probe, "conv2", AblationValue::Value(f64::NAN)),
        Err(CamError::AblationValue { .. })
    ));
}

/// After such a stage the logits lie in the memory of the copies.
#[test]
fn outputs_may_be_views_of_the_copies() {
    let stages = Stages::new(vec![
        Stage::new("image", |x| x.f_relu()),
        Stage::new("flatten", |x| x.f_flatten(1, -1)),
    ])
    .unwrap();
    // The logit of class 5 is the second channel's second place.
    let image = Tensor::from_slice(&[1f32, 2., 3., 4., 5., 6., 7., 8.]).view([1, 2, 2, 2]);
    let probe = Probe::new(&stages, &image, &[Target::Class(5)]).unwrap();
    let expected = image.narrow(1, 1, 1).squeeze_dim(1) * 6.0;
    assert_eq!(*ablation_cam(&probe, "image").unwrap().tensor(), expected);
    let maps = recipro_cam(&probe, "image", ReciproMask::Single).unwrap();
    assert_eq!(Vec::<f32>::try_from(maps.tensor().view(-1)).unwrap(), [0., 6., 0., 0.]);
}

/// The network sees the upper left quarter only.
#[test]
fn a_network_that_sees_one_corner_lights_that_corner() {
    let mask = Tensor::zeros([1, 1, 16, 16], (Kind::Float, Device::Cpu));
    let _ = mask.narrow(2, 0, 8).narrow(3, 0, 8).fill_(1.0);
    let stages = Stages::new(vec![
        Stage::new("seen", move |x| x.f_mul(&mask)),
        Stage::new("mean", |x| x.f_mean_dim([2i64, 3].as_slice(), false, None)),
    ])
    .unwrap();
    let image = normal(&[1, 3, 16, 16], 30).abs() + 0.5;
    let probe = Probe::new(&stages, &image, &[Target::Class(1)]).unwrap();
    // Before a mean over space the channels' means change nothing, and grey windows raise the score as often.
    let even = ["ablation_cam_mean", "occlusion_sensitivity"];
    for (name, method) in METHODS.into_iter().filter(|(name, _)| !even.contains(name)) {
        let heat = method(&probe, "seen").unwrap().heatmaps(&[16, 16]).unwrap();
        let corner = heat.tensor().narrow(1, 0, 8).narrow(2, 0, 8);
        let far = heat.tensor().narrow(1, 11, 5).narrow(2, 11, 5);
        assert_eq!(corner.max().double_value(&[]), 1.0, "{name}");
        let mean = |part: &Tensor| part.mean(Kind::Double).double_value(&[]);
        assert!(
            mean(&corner) > mean(&far) + 0.2,
            "{name}: {} {}",
            mean(&corner),
            mean(&far)
        );
    }
}

/// The paper's division by a negative score would turn the heatmap upside down.
#[test]
fn evidence_is_positive_whatever_the_sign_of_the_score() {
    let stages = Stages::new(vec![
        Stage::new("image", |x| x.f_relu()),
        Stage::new("logit", |x| {
            x.f_mean_dim([2i64, 3].as_slice(), false, None)?.f_sub_scalar(100.0)
        }),
    ])
    .unwrap();
    let image = Tensor::from_slice(&[0f32, 1., 2., 4.]).view([1, 1, 2, 2]);
    let maps = |target| ablation_cam(&Probe::new(&stages, &image, &[target]).unwrap(), "image").unwrap();
    let heat = maps(Target::Class(0)).normalise().unwrap();
    assert!(largest_difference(heat.tensor(), &(image.squeeze_dim(1) / 4.0)) < 1e-6);
    let against = maps(Target::Class(0).counterfactual());
    assert_eq!(against.contents(), [Content::Zero]);
}

/// The heatmaps of a network whose head is multiplied by `scale`.
fn with_scaled_head(scale: f64, target: &Target) -> Vec<(&'static str, Tensor)> {
    let net = SmallNet::images(7);
    tch::no_grad(|| {
        for name in ["fc.weight", "fc.bias"] {
            let _ = net.variable(name).g_mul_scalar_(scale);
        }
    });
    let (stages, input) = (net.stages(), net.input(1, 9));
    let probe = Probe::new(&stages, &input, std::slice::from_ref(target)).unwrap();
    METHODS
        .into_iter()
        .map(|(name, method)| {
            let heat = method(&probe, "relu2").unwrap().normalise().unwrap();
            (name, heat.tensor().shallow_clone())
        })
        .collect()
}

/// The evidence against a class is the evidence for it in a network that says the opposite.
#[test]
fn a_counterfactual_is_the_target_of_the_opposite_network() {
    let mut seen = HashSet::new();
    for class in 0..4 {
        let target = Target::Class(class);
        let opposite = with_scaled_head(-1.0, &target);
        let plain = with_scaled_head(1.0, &target);
        let against = with_scaled_head(1.0, &target.counterfactual());
        for (((name, found), (_, expected)), (_, plain)) in against.iter().zip(&opposite).zip(&plain) {
            assert!(largest_difference(found, expected) < 1e-6, "{name}");
            if largest_difference(found, plain) > 1e-3 {
                seen.insert(*name);
            }
        }
    }
    assert_eq!(seen.len(), METHODS.len(), "in these it is another heatmap: {seen:?}");
}

/// No constant added to scores or weights: a head many times larger or smaller leaves the heatmap, but where scores go
/// through a softmax.
#[test]
fn scaling_the_head_leaves_the_heatmap() {
    let target = Target::Class(2);
    let plain = with_scaled_head(1.0, &target);
    for scale in [16.0, 2f64.powi(-24)] {
        for ((name, found), (_, expected)) in with_scaled_head(scale, &target).iter().zip(&plain) {
            if !["score", "ss_", "is_"].iter().any(|softmax| name.starts_with(softmax)) {
                let difference = largest_difference(found, expected);
                assert!(difference < 1e-6, "{name} times {scale}: {difference}");
            }
        }
    }
}

#[test]
fn recipro_equals_its_formula() {
    for net in [SmallNet::images(4), SmallNet::volumes(4)] {
        let (stages, input) = (net.stages(), net.input(3, 6));
        let probe = Probe::new(&stages, &input, &TARGETS).unwrap();
        let capture = stages.capture(&input, &["relu2"]).unwrap();
        let activations = capture.activations("relu2").unwrap();
        let grid = space(activations);
        for mask in [ReciproMask::Single, ReciproMask::Gaussian] {
            let found = recipro_cam(&probe, "relu2", mask).unwrap();
            for (sample, class) in (0i64..).zip(classes(&probe)) {
                let expected = each_place(&[&[1], grid.as_slice()].concat(), |_, centre| {
                    let around = each_place(&[&[1], grid.as_slice()].concat(), |_, place| {
                        let factor = |(a, b): (&i64, &i64)| match (mask, (a - b).abs()) {
                            (ReciproMask::Gaussian, 0) => 0.5,
                            (ReciproMask::Gaussian, 1) => 0.25,
                            (_, 0) => 1.0,
                            _ => 0.0,
                        };
                        centre.iter().zip(place).map(factor).product()
                    });
                    let masked = activations.narrow(0, sample, 1) * around.unsqueeze(0);
                    score(&stages, Some("relu2"), &masked, class) as f32
                });
                let difference = largest_difference(&found.tensor().narrow(0, sample, 1), &expected);
                assert!(difference < 1e-5, "{mask:?}: {difference}");
            }
        }
    }
}

/// Masks by hand; with one draw of given noise also SS-CAM's.
#[test]
fn score_cam_and_its_smoothed_form_equal_their_formulas() {
    for net in [SmallNet::images(6), SmallNet::volumes(6)] {
        let (stages, input) = (net.stages(), net.input(3, 7));
        let probe = Probe::new(&stages, &input, &TARGETS).unwrap();
        let capture = stages.capture(&input, &["relu1", "conv2"]).unwrap();
        for layer in ["relu1", "conv2"] {
            let activations = capture.activations(layer).unwrap();
            let channels = activations.size()[1];
            let planes = Maps::new(&activations.flatten(0, 1)).unwrap();
            let masks = planes.heatmaps(&space(&input)).unwrap();
            let noise = normal(&[&[2, channels], space(&input).as_slice()].concat(), 8) * 0.3;
            let expected = |draws: Option<&Tensor>, weigh: &dyn Fn(&Tensor, f64) -> Tensor| {
                let mut weights = Vec::new();
                for (sample, class) in (0i64..).zip(classes(&probe)) {
                    let image = input.narrow(0, sample, 1);
                    let scores: Vec<f64> = (0..channels)
                        .map(|channel| {
                            let mask = masks.tensor().get(sample * channels + channel);
                            let one = |mask: &Tensor| score(&stages, None, &(&image * mask), class);
                            match draws {
                                None => one(&mask),
                                Some(noise) => {
                                    let each = |draw| one(&(&mask + noise.get(draw).get(channel)));
                                    (0..noise.size()[0]).map(each).sum::<f64>() / noise.size()[0] as f64
                                }
                            }
                        })
                        .collect();
                    let blank = score(&stages, None, &image.zeros_like(), class);
                    weights.push(weigh(&Tensor::from_slice(&scores), blank));
                }
                weighted_cam(activations, &Tensor::stack(&weights, 0)).unwrap()
            };
            let softmax = |scores: &Tensor, _: f64| scores.softmax(0, Kind::Double);
            let increase = |scores: &Tensor, blank: f64| scores - blank;
            for (found, expected) in [
                (score_cam(&probe, layer, &ScoreCam::default()), expected(None, &softmax)),
                (
                    score_cam(&probe, layer, &ScoreCam::default().with_weights(ScoreWeights::Increase)),
                    expected(None, &increase),
                ),
                (
                    ss_cam_with_noise(&probe, layer, &SsCam::default(), &noise),
                    expected(Some(&noise), &softmax),
                ),
            ] {
                let difference = largest_difference(found.unwrap().tensor(), expected.tensor());
                let size = expected.tensor().max().double_value(&[]);
                assert!(difference < 1e-5 * size, "{layer}: {difference} of {size}");
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
    // The activations once more, two live channels, the blank image for the others.
    assert_eq!(*runs.borrow(), 1 + 2 + 1);
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

/// Through the image of ones a stage sees the masks themselves.
#[test]
fn rise_is_the_mean_of_its_masks_by_score() {
    for net in [SmallNet::images(7), SmallNet::volumes(7)] {
        let seen = RefCell::new(Vec::new());
        let size = space(&net.input(1, 1));
        let mirror = Stages::new(vec![
            Stage::new("seen", |x| {
                seen.borrow_mut().push(x.copy());
                x.f_relu()
            }),
            Stage::new("logit", |x| {
                x.f_flatten(2, -1)?.f_mean_dim([2i64].as_slice(), false, None)
            }),
        ])
        .unwrap();
        let ones = Tensor::ones([&[1, 1], size.as_slice()].concat(), (Kind::Float, Device::Cpu));
        let probe = Probe::new(&mirror, &ones, &[Target::Class(0)]).unwrap();
        seen.borrow_mut().clear();
        let settings = Rise::default()
            .with_masks(300)
            .with_cells(4)
            .with_probability(0.3)
            .with_seed(5);
        rise(&probe, &settings).unwrap();
        let masks = Tensor::cat(&seen.borrow(), 0).squeeze_dim(1);
        assert_eq!(masks.size()[0], 300);
        assert!(masks.min().double_value(&[]) >= 0.0 && (0.6..1.0 + 1e-6).contains(&masks.max().double_value(&[])));
        let mean = masks.mean(Kind::Double).double_value(&[]);
        assert!((mean - 0.3).abs() < 0.02, "{mean}");

        let (stages, input) = (net.stages(), net.input(3, 8));
        let probe = Probe::new(&stages, &input, &TARGETS).unwrap();
        let drawn = rise(&probe, &settings).unwrap();
        let given = rise_with_masks(&probe, &masks).unwrap();
        assert!(largest_difference(&(drawn.tensor() * 0.3), &(given.tensor() * mean)) < 1e-6);
        for (sample, class) in (0i64..).zip(classes(&probe)) {
            let mut sum = masks.get(0).zeros_like();
            for mask in 0..300 {
                let mask = masks.get(mask);
                sum += score(&stages, None, &(input.narrow(0, sample, 1) * &mask), class) * mask;
            }
            let expected = sum / (300.0 * mean);
            assert!(largest_difference(&given.tensor().get(sample), &expected) < 1e-5);
        }
        assert_ne!(drawn.tensor(), rise(&probe, &settings.with_seed(6)).unwrap().tensor());
    }
}

#[test]
fn occlusion_equals_its_formula() {
    for net in [SmallNet::images(8), SmallNet::volumes(8)] {
        let (stages, input) = (net.stages(), net.input(3, 9));
        let size = space(&input);
        let probe = Probe::new(&stages, &input, &TARGETS).unwrap();
        let window: Vec<i64> = (0..size.len() as i64).map(|axis| 3 + axis).collect();
        let stride: Vec<i64> = (0..size.len() as i64).map(|axis| 2 + axis % 2).collect();
        let settings = OcclusionSensitivity::default()
            .with_window(window.clone())
            .with_stride(stride.clone())
            .with_occluder(Occluder::Value(0.4));
        let found = occlusion_sensitivity(&probe, &settings).unwrap();
        let mut starts = vec![vec![]];
        for axis in 0..size.len() {
            let mut along = vec![0];
            while along[along.len() - 1] + window[axis] < size[axis] {
                along.push(along[along.len() - 1] + stride[axis]);
            }
            starts = starts
                .iter()
                .flat_map(|start: &Vec<i64>| along.iter().map(move |&at| [start.as_slice(), &[at]].concat()))
                .collect();
        }
        for (sample, class) in (0i64..).zip(classes(&probe)) {
            let image = input.narrow(0, sample, 1);
            let whole = score(&stages, None, &image, class);
            let mut sums = Tensor::zeros(size.as_slice(), (Kind::Double, Device::Cpu));
            let mut counts = sums.zeros_like();
            for start in &starts {
                let inside = each_place(&[&[1], size.as_slice()].concat(), |_, place| {
                    let held =
                        (0..size.len()).all(|axis| (start[axis]..start[axis] + window[axis]).contains(&place[axis]));
                    f32::from(u8::from(held))
                });
                let covered = &image * (1.0 - &inside) + 0.4 * &inside;
                sums += inside.squeeze_dim(0) * (whole - score(&stages, None, &covered, class));
                counts += inside.squeeze_dim(0);
            }
            assert!(counts.min().double_value(&[]) > 0.0);
            let expected = (sums / counts).to_kind(Kind::Float);
            assert!(largest_difference(&found.tensor().get(sample), &expected) < 1e-5);
        }
    }
}

/// A stride beyond the window leaves gaps; what no window held is zero.
#[test]
fn occlusion_says_nothing_between_windows() {
    let stages = Stages::new(vec![Stage::new("sum", |x| {
        x.f_sum_dim_intlist([2i64, 3].as_slice(), false, None)
    })])
    .unwrap();
    let image = Tensor::ones([1, 1, 1, 5], (Kind::Float, Device::Cpu));
    let probe = Probe::new(&stages, &image, &[Target::Class(0)]).unwrap();
    let settings = OcclusionSensitivity::default().with_window([1]).with_stride([2]);
    let maps = occlusion_sensitivity(&probe, &settings).unwrap();
    assert_eq!(
        Vec::<f32>::try_from(maps.tensor().view(-1)).unwrap(),
        [1., 0., 1., 0., 1.]
    );
}

/// Group by group, with the blur as a mean over a window that is written out.
#[test]
fn group_cam_equals_its_formula() {
    let net = SmallNet::images(10);
    let (stages, input) = (net.stages(), net.input(2, 11));
    let targets = [Target::Class(2), Target::Class(1)];
    let probe = Probe::new(&stages, &input, &targets).unwrap();
    let found = group_cam(&probe, "relu1", &GroupCam::default().with_groups(4).with_blur(2, 1.0)).unwrap();

    let kernel: Vec<f64> = (-2..=2)
        .map(|offset: i32| (-0.5 * f64::from(offset * offset)).exp())
        .collect();
    let kernel = Tensor::from_slice(&kernel).to_kind(Kind::Float);
    let kernel = &kernel / kernel.sum(Kind::Float);
    let kernel = kernel.outer(&kernel).expand([2, 1, 5, 5], false);
    let blurred = input
        .reflection_pad2d([2, 2, 2, 2])
        .conv2d(&kernel, None::<&Tensor>, 1, 0, 1, 2);

    let capture = stages.capture(&input, &["relu1"]).unwrap();
    let gradients = capture.gradients(&targets).unwrap();
    let at = gradients.at("relu1").unwrap();
    let weighted = at.activations() * at.gradients().mean_dim([2i64, 3].as_slice(), true, Kind::Float);
    for (sample, class) in [(0, 2), (1, 1)] {
        let one = |tensor: &Tensor| tensor.narrow(0, sample, 1);
        let base = score(&stages, None, &one(&blurred), class);
        let mut expected = Tensor::zeros([12, 17], (Kind::Float, Device::Cpu));
        // Six channels in four groups: two each, as torch's `chunk` parts them.
        for group in 0..3 {
            let plane =
                weighted
                    .get(sample)
                    .narrow(0, 2 * group, 2)
                    .sum_dim_intlist([0i64].as_slice(), false, Kind::Float);
            let plane = plane.relu();
            let mut values = Vec::<f32>::try_from(plane.flatten(0, -1)).unwrap();
            values.sort_by(f32::total_cmp);
            let at = 0.7 * (values.len() - 1) as f64;
            let (below, above) = (values[at as usize], values[at as usize + 1]);
            let bound = f64::from(below) + (at - at.floor()) * f64::from(above - below);
            let plane = &plane * plane.gt(bound);
            let mask = Maps::new(&plane.unsqueeze(0)).unwrap().heatmaps(&[12, 17]).unwrap();
            let mask = mask.tensor().get(0);
            let mixed = one(&input) * &mask + one(&blurred) * (1.0 - &mask);
            expected += (score(&stages, None, &mixed, class) - base) * mask;
        }
        assert!(largest_difference(&found.tensor().get(sample), &expected.relu()) < 1e-5);
    }
}

#[test]
fn is_cam_takes_either_path() {
    let net = SmallNet::images(11);
    let (stages, input) = (net.stages(), net.input(1, 12));
    let probe = Probe::new(&stages, &input, &[Target::Class(2)]).unwrap();
    let capture = stages.capture(&input, &["relu1"]).unwrap();
    let activations = capture.activations("relu1").unwrap();
    let masks = Maps::new(&activations.squeeze_dim(0))
        .unwrap()
        .heatmaps(&[12, 17])
        .unwrap();
    for (path, strengths) in [
        (IntegrationPath::Linear, [1.0 / 3.0, 2.0 / 3.0, 1.0]),
        (IntegrationPath::Cumulative, [1.0 / 3.0, 1.0, 2.0]),
    ] {
        let mean = |channel: i64| {
            let mask = masks.tensor().get(channel);
            let each = strengths.map(|strength| score(&stages, None, &(&input * &mask * strength), 2));
            each.iter().sum::<f64>() / 3.0
        };
        let scores: Vec<f64> = (0..6).map(mean).collect();
        let weights = Tensor::from_slice(&scores).softmax(0, Kind::Double).unsqueeze(0);
        let expected = weighted_cam(activations, &weights).unwrap();
        let found = is_cam(&probe, "relu1", &IsCam::default().with_steps(3).with_path(path)).unwrap();
        assert!(largest_difference(found.tensor(), expected.tensor()) < 1e-5, "{path:?}");
    }
}

#[test]
fn cam_reads_the_heads_weights() {
    for net in [SmallNet::images(12), SmallNet::volumes(12)] {
        let (stages, input) = (net.stages(), net.input(3, 13));
        let targets = [
            Target::Class(3),
            Target::Class(1).against([0, 2], 0.5),
            Target::Class(2).counterfactual(),
        ];
        let weights = net.variable("fc.weight");
        let row = |class: i64| weights.get(class);
        let rows = [row(3), row(1) - (row(0) + row(2)) * 0.25, -row(2)];
        let capture = stages.capture(&input, &["relu2"]).unwrap();
        let activations = capture.activations("relu2").unwrap().flatten(2, -1);
        let expected = Tensor::stack(&rows, 0).unsqueeze(1).bmm(&activations);
        let probe = Probe::new(&stages, &input, &targets).unwrap();
        for found in [cam(&probe, "relu2"), cam_with_weights(&probe, "relu2", &weights)] {
            let found = found.unwrap().tensor().flatten(1, -1).unsqueeze(1);
            assert!(largest_difference(&found, &expected.detach()) < 1e-5);
        }
        // Convolutions lie between, and a probability is not linear.
        assert!(matches!(
            cam(&probe, "relu1"),
            Err(CamError::NotLinear { layer, sample: 0, .. }) if layer == "relu1"
        ));
        let probability = [const { Target::Predicted }; 3].map(Target::probability);
        let probe = Probe::new(&stages, &input, &probability).unwrap();
        assert!(matches!(cam(&probe, "relu2"), Err(CamError::NotLinear { .. })));
        let refused = cam_with_weights(&probe, "relu2", &weights);
        assert!(matches!(refused, Err(CamError::NotLinear { .. })));
        let refused = cam_with_weights(&probe, "relu2", &weights.transpose(0, 1));
        assert!(matches!(refused, Err(CamError::WeightShape { .. })));
    }
}

/// As many channels, rows and columns: shapes that would go together.
#[test]
fn weights_of_a_head_are_for_classifiers() {
    let (channels, kernel) = (3, normal(&[3, 3, 1, 1], 16));
    let network = Stages::new(vec![Stage::new("image", |x| x.f_relu()), {
        Stage::new("places", |x| {
            x.f_conv2d(&kernel, None::<&Tensor>, [1, 1], [0, 0], [1, 1], 1)
        })
    }])
    .unwrap();
    let input = normal(&[1, channels, 3, 3], 17);
    let marked = ndarray::Array2::from_elem((3, 3), true);
    let probe = Probe::new(&network, &input, &[Target::region(1, marked.view())]).unwrap();
    let refused = cam_with_weights(&probe, "image", &kernel.flatten(1, -1));
    assert!(matches!(refused, Err(CamError::Region { output, .. }) if output.is_empty()));
}

/// No chunk is larger than the ceiling allows, and what comes out does not depend on it.
#[test]
fn memory_stays_under_the_ceiling() {
    let chunks = RefCell::new(Vec::new());
    let weight = normal(&[40, 3, 3, 3], 14) * 0.3;
    let stages = Stages::new(vec![
        Stage::new("conv", |x| {
            chunks.borrow_mut().push(x.size()[0] as u64);
            x.f_conv2d(&weight, None::<&Tensor>, [1, 1], [1, 1], [1, 1], 1)?
                .f_relu()
        }),
        Stage::new("logits", |x| x.f_mean_dim([2i64, 3].as_slice(), false, None)),
    ])
    .unwrap();
    let image = normal(&[1, 3, 32, 32], 15);
    // Of one copy: itself and its mask, twice what goes into the convolution and comes out.
    let (copy, output) = (3 * 32 * 32 * 4, 40 * 32 * 32 * 4);
    let one = 2 * copy + 2 * (copy + output);
    let maps = |ceiling: u64| {
        let probe = Probe::new(&stages, &image, &[Target::Class(4)]).unwrap();
        chunks.borrow_mut().clear();
        let maps = score_cam(&probe.with_memory_ceiling(ceiling), "conv", &ScoreCam::default()).unwrap();
        let largest = *chunks.borrow().iter().max().unwrap();
        (maps, largest)
    };
    let (expected, most) = maps(1 << 40);
    // The first goes alone.
    assert_eq!(most, 39);
    for (ceiling, copies) in [(0, 1), (one, 1), (5 * one, 5), (11 * one + 1, 11)] {
        let (found, largest) = maps(ceiling);
        assert_eq!(largest, copies);
        assert!(largest_difference(found.tensor(), expected.tensor()) < 1e-6);
    }
}

#[test]
fn copies_are_laid_out_as_the_input_is() {
    let last = RefCell::new(Vec::new());
    let stages = Stages::new(vec![
        Stage::new("seen", |x| {
            last.borrow_mut().push(x.permute([0, 2, 3, 1]).is_contiguous());
            x.f_relu()
        }),
        Stage::new("logits", |x| x.f_mean_dim([2i64, 3].as_slice(), false, None)),
    ])
    .unwrap();
    let images = normal(&[2, 3, 6, 7], 16);
    let channels_last = images.permute([0, 2, 3, 1]).contiguous().permute([0, 3, 1, 2]);
    for (input, expected) in [(&images, false), (&channels_last, true)] {
        let probe = Probe::new(&stages, input, &[const { Target::Class(0) }; 2]).unwrap();
        for (name, method) in METHODS {
            last.borrow_mut().clear();
            method(&probe, "seen").unwrap();
            assert!(last.borrow().iter().all(|&last| last == expected), "{name}");
        }
    }
}

fn gradients_are_tracked() -> bool {
    let x = Tensor::ones([1], (Kind::Float, Device::Cpu)).set_requires_grad(true);
    (&x * 2.0).requires_grad()
}

#[test]
fn nothing_of_the_callers_is_changed() {
    let net = SmallNet::images(13);
    let stages = net.stages();
    let input = net.input(2, 17);
    let before = input.copy();
    let targets = [Target::Class(1), Target::Predicted];
    let variables: BTreeMap<String, Tensor> = net
        .variables
        .variables()
        .into_iter()
        .map(|(name, value)| (name, value.copy()))
        .collect();
    for tracked in [true, false] {
        let _guard = (!tracked).then(tch::no_grad_guard);
        let probe = Probe::new(&stages, &input, &targets).unwrap();
        for (name, method) in METHODS {
            assert!(!method(&probe, "relu1").unwrap().tensor().requires_grad());
            assert_eq!(gradients_are_tracked(), tracked, "{name}");
            assert!(method(&probe, "nowhere").is_err() || ["rise", "occlusion_sensitivity"].contains(&name));
            assert_eq!(gradients_are_tracked(), tracked, "{name}");
        }
    }
    assert_eq!(input, before);
    for (name, variable) in net.variables.variables() {
        assert!(!variable.grad().defined());
        assert_eq!(variable, variables[&name]);
    }

    // A network whose first stage works in place does not get the caller's images.
    let stages = Stages::new(vec![
        Stage::new("halve", |x| x.shallow_clone().f_mul_scalar_(0.5)),
        Stage::new("logits", |x| x.f_mean_dim([2i64, 3].as_slice(), false, None)),
    ])
    .unwrap();
    let probe = Probe::new(&stages, &input, &[const { Target::Predicted }; 2]).unwrap();
    let once = METHODS.map(|(_, method)| method(&probe, "halve").unwrap());
    let again = METHODS.map(|(_, method)| method(&probe, "halve").unwrap());
    assert_eq!(input, before);
    for (once, again) in once.iter().zip(&again) {
        assert_eq!(once.tensor(), again.tensor());
    }
}

/// A stage that fails or panics half-way through the copies.
#[test]
fn faults_on_the_way_leave_everything_as_it_was() {
    let net = SmallNet::images(15);
    let input = net.input(1, 29);
    let before = input.copy();
    let runs = Cell::new(0);
    let inner = net.stages();
    for panics in [false, true] {
        runs.set(0);
        let faulty = |x: &Tensor| {
            runs.set(runs.get() + 1);
            match runs.get() {
                3.. if panics => panic!("a stage that panics"),
                3.. => x.f_view([-1, 7, 11, 13]),
                _ => Ok(x.shallow_clone()),
            }
        };
        let stages = Stages::new(vec![
            Stage::new("trunk", |x| {
                Ok(inner.as_slice()[..2]
                    .iter()
                    .fold(x.shallow_clone(), |x, stage| stage.forward(&x).unwrap()))
            }),
            Stage::new("faulty", faulty),
            Stage::new("tail", |x| {
                Ok(inner.as_slice()[2..]
                    .iter()
                    .fold(x.shallow_clone(), |x, stage| stage.forward(&x).unwrap()))
            }),
        ])
        .unwrap();
        let capture = stages.capture(&input, &["trunk"]).unwrap();
        let probe = Probe::from_capture(&stages, &input, &capture, &[Target::Class(1)]).unwrap();
        // The first chunk is one copy; a second one fails.
        for (name, method) in METHODS {
            runs.set(1);
            let result = catch_unwind(AssertUnwindSafe(|| method(&probe, "trunk").map(|_| ())));
            assert!(runs.get() >= 3, "{name}");
            match result {
                Ok(result) => {
                    assert!(!panics, "{name}");
                    assert!(
                        matches!(result, Err(CamError::Stage { stage, .. }) if stage == "faulty"),
                        "{name}"
                    );
                }
                Err(_) => assert!(panics, "{name}"),
            }
            assert!(gradients_are_tracked(), "{name}");
        }
    }
    assert_eq!(input, before);
    assert!(
        net.variables
            .variables()
            .values()
            .all(|variable| !variable.grad().defined())
    );
}

/// What the score does not depend on has no part in it.
#[test]
fn a_map_with_nothing_in_it_is_flagged() {
    let stages = Stages::new(vec![
        Stage::new("image", |x| x.f_relu()),
        Stage::new("blind", |x| {
            x.f_mean_dim([2i64, 3].as_slice(), false, None)?
                .f_zeros_like()?
                .f_add_scalar(3.0)
        }),
    ])
    .unwrap();
    let image = normal(&[1, 2, 6, 6], 18);
    let probe = Probe::new(&stages, &image, &[Target::Class(0)]).unwrap();
    let increase = ScoreCam::default().with_weights(ScoreWeights::Increase);
    let window = OcclusionSensitivity::default().with_window([2]);
    for maps in [
        ablation_cam(&probe, "image"),
        score_cam(&probe, "image", &increase),
        occlusion_sensitivity(&probe, &window),
        cam(&probe, "image"),
    ] {
        assert_eq!(maps.unwrap().contents(), [Content::Zero]);
    }
    let maps = recipro_cam(&probe, "image", ReciproMask::Single).unwrap();
    assert_eq!(maps.contents(), [Content::Constant]);
    assert_eq!(
        maps.heatmaps(&[12, 12]).unwrap().tensor().abs().max().double_value(&[]),
        0.0
    );
}

/// Without the first channel, and on the blank image, the network divides by zero; as such it is well.
#[test]
fn scores_that_are_not_finite_are_an_error() {
    let stages = Stages::new(vec![
        Stage::new("image", |x| x.f_relu()),
        Stage::new("ratio", |x| {
            let means = x.f_mean_dim([2i64, 3].as_slice(), false, None)?;
            means.f_div(&means.f_narrow(1, 0, 1)?)
        }),
    ])
    .unwrap();
    let image = normal(&[1, 2, 6, 6], 19).abs();
    let probe = Probe::new(&stages, &image, &[Target::Class(1)]).unwrap();
    let increase = ScoreCam::default().with_weights(ScoreWeights::Increase);
    for maps in [ablation_cam(&probe, "image"), score_cam(&probe, "image", &increase)] {
        let error = maps.unwrap_err();
        assert!(
            matches!(&error, CamError::NonFinite { values: Values::Scores, layer } if layer == "ratio"),
            "{error}"
        );
    }
    // The blank image is not looked at where nothing depends on it.
    score_cam(&probe, "image", &ScoreCam::default()).unwrap();
    let _ = image.get(0).get(0).get(0).get(0).fill_(f64::NAN);
    assert!(matches!(
        Probe::new(&stages, &image, &[Target::Class(1)]),
        Err(CamError::NonFinite { .. })
    ));
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
    let ss = SsCam::default();
    assert!(matches!(
        ss_cam(&probe, "relu1", &ss.with_draws(0)),
        Err(CamError::Draws { .. })
    ));
    assert!(matches!(
        ss_cam(&probe, "relu1", &ss.with_deviation(-1.0)),
        Err(CamError::Deviation { .. })
    ));
    let noise = normal(&[2, 5, 12, 17], 1);
    assert!(matches!(
        ss_cam_with_noise(&probe, "relu1", &ss, &noise),
        Err(CamError::MaskShape { .. })
    ));
    assert!(matches!(
        is_cam(&probe, "relu1", &IsCam::default().with_steps(0)),
        Err(CamError::Draws { .. })
    ));
    let all = Rise::default();
    assert!(matches!(rise(&probe, &all.with_masks(0)), Err(CamError::Draws { .. })));
    assert!(matches!(rise(&probe, &all.with_cells(0)), Err(CamError::Cells { .. })));
    for probability in [0.0, 1.5, f64::NAN] {
        assert!(matches!(
            rise(&probe, &all.with_probability(probability)),
            Err(CamError::Probability { .. })
        ));
    }
    assert!(matches!(
        rise_with_masks(&probe, &normal(&[3, 4, 4], 1)),
        Err(CamError::MaskShape { .. })
    ));
    let group = GroupCam::default();
    assert!(matches!(
        group_cam(&probe, "relu1", &group.with_groups(0)),
        Err(CamError::Groups { .. })
    ));
    assert!(matches!(
        group_cam(&probe, "relu1", &group.with_quantile(1.1)),
        Err(CamError::Quantile { .. })
    ));
    assert!(matches!(
        group_cam(&probe, "relu1", &group.with_blur(3, 0.0)),
        Err(CamError::Deviation { .. })
    ));
    for (window, stride) in [
        (vec![13], vec![1]),
        (vec![0], vec![1]),
        (vec![2], vec![0]),
        (vec![1, 2, 3], vec![1]),
    ] {
        let settings = OcclusionSensitivity::default().with_window(window).with_stride(stride);
        assert!(matches!(
            occlusion_sensitivity(&probe, &settings),
            Err(CamError::Window { .. })
        ));
    }
    assert!(matches!(
        Probe::new(&stages, &net.input(2, 1), &[Target::Class(0)]),
        Err(CamError::TargetCount { targets: 1, batch: 2 })
    ));
    assert!(matches!(
        Probe::new(&stages, &net.input(1, 1).narrow(0, 0, 0), &[]),
        Err(CamError::EmptyBatch { .. })
    ));
}

/// A segmentation network and a region of its output go through the same way.
#[test]
fn regions_of_a_segmentation_are_targets_too() {
    let weight = normal(&[3, 2, 3, 3], 21);
    let stages = Stages::new(vec![
        Stage::new("image", |x| x.f_relu()),
        Stage::new("conv", move |x| {
            x.f_conv2d(&weight, None::<&Tensor>, [1, 1], [1, 1], [1, 1], 1)
        }),
    ])
    .unwrap();
    let image = normal(&[1, 2, 8, 8], 22);
    let region = ndarray::Array2::from_shape_fn((8, 8), |(row, column)| row < 2 && column < 2);
    let probe = Probe::new(&stages, &image, &[Target::region(1, region.view())]).unwrap();
    let window = OcclusionSensitivity::default().with_window([2]).with_stride([1]);
    let maps = occlusion_sensitivity(&probe, &window).unwrap();
    // What lies further off than the convolution reaches has no part in it.
    assert_eq!(maps.tensor().narrow(1, 4, 4).abs().max().double_value(&[]), 0.0);
    assert!(maps.tensor().narrow(1, 0, 3).abs().max().double_value(&[]) > 0.0);
    ablation_cam(&probe, "image").unwrap();
}

/// With 1×1 convolutions and a mean the network cannot tell left from right.
#[test]
fn flips_commute() {
    let (weight, head) = (normal(&[5, 2, 1, 1], 23), normal(&[3, 5], 24));
    let stages = Stages::new(vec![
        Stage::new("conv", move |x| {
            x.f_conv2d(&weight, None::<&Tensor>, [2, 2], [0, 0], [1, 1], 1)?
                .f_relu()
        }),
        Stage::new("pool", |x| x.f_mean_dim([2i64, 3].as_slice(), false, None)),
        Stage::new("head", move |x| x.f_linear(&head, None::<&Tensor>)),
    ])
    .unwrap();
    // Odd, so that the stride meets the same pixels from either side.
    let input = normal(&[2, 2, 9, 11], 25);
    let targets = [Target::Class(0), Target::Class(2)];
    for (name, method) in METHODS
        .into_iter()
        .filter(|(name, _)| !["rise", "ss_cam"].contains(name))
    {
        let maps = |input: &Tensor| method(&Probe::new(&stages, input, &targets).unwrap(), "conv").unwrap();
        for axis in [1i64, 2] {
            let flipped = maps(&input.flip([axis + 1]));
            let difference = largest_difference(&maps(&input).tensor().flip([axis]), flipped.tensor());
            assert!(difference < 1e-5, "{name}: {difference}");
        }
    }
}

#[test]
fn half_precision_gives_single_precision_maps() {
    let head = (normal(&[3, 4], 26) * 0.5).to_kind(Kind::BFloat16);
    let weight = normal(&[4, 2, 3, 3], 27) * 0.3;
    let network = |kind: Kind| {
        let (weight, head) = (weight.to_kind(kind), head.to_kind(kind));
        Stages::new(vec![
            Stage::new("conv", move |x| {
                x.f_conv2d(&weight, None::<&Tensor>, [1, 1], [1, 1], [1, 1], 1)?
                    .f_relu()
            }),
            Stage::new("pool", |x| x.f_mean_dim([2i64, 3].as_slice(), false, None)),
            Stage::new("head", move |x| x.f_linear(&head, None::<&Tensor>)),
        ])
        .unwrap()
    };
    let (half, single) = (network(Kind::BFloat16), network(Kind::Float));
    let images = normal(&[3, 2, 9, 9], 28);
    let targets = [Target::Class(0), Target::Class(1), Target::Class(2)];
    let probe = |stages, input| Probe::new(stages, input, &targets).unwrap();
    let rounded = images.to_kind(Kind::BFloat16);
    let (half, single) = (probe(&half, &rounded), probe(&single, &images));
    // Before a mean over space the channels' means change nothing.
    for (name, method) in METHODS.into_iter().filter(|(name, _)| *name != "ablation_cam_mean") {
        let (half, single) = (method(&half, "conv").unwrap(), method(&single, "conv").unwrap());
        assert_eq!(half.tensor().kind(), Kind::Float, "{name}");
        let graded: Vec<usize> = (0..3)
            .filter(|&sample| single.contents()[sample] == Content::Graded)
            .collect();
        assert!(!graded.is_empty(), "{name}");
        for sample in graded {
            let map = |maps: &Maps| maps.tensor().get(sample as i64).flatten(0, -1);
            let correlation = Tensor::stack(&[map(&half), map(&single)], 0)
                .corrcoef()
                .double_value(&[0, 1]);
            assert!(correlation > 0.97, "{name} {sample}: {correlation}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 16, failure_persistence: None, rng_seed: proptest::test_runner::RngSeed::Fixed(8), ..ProptestConfig::default() })]

    /// The maps are sums over channels, whichever way these are numbered.
    #[test]
    fn permuting_channels_leaves_the_map(seed in 0i64..1000, channels in 3i64..40) {
        use rand::{SeedableRng, seq::SliceRandom};
        let mut order: Vec<i64> = (0..channels).collect();
        order.shuffle(&mut rand_chacha::ChaCha8Rng::seed_from_u64(seed as u64));
        let order = Tensor::from_slice(&order);
        let (weight, head) = (normal(&[channels, 2, 3, 3], seed), normal(&[3, channels], seed + 1));
        let network = |weight: Tensor, head: Tensor| Stages::new(vec![
            Stage::new("conv", move |x| x.f_conv2d(&weight, None::<&Tensor>, [1, 1], [1, 1], [1, 1], 1)?.f_relu()),
            Stage::new("mean", move |x| x.f_mean_dim([2i64, 3].as_slice(), false, None)?.f_linear(&head, None::<&Tensor>)),
        ]).unwrap();
        let one = network(weight.shallow_clone(), head.shallow_clone());
        let other = network(weight.index_select(0, &order), head.index_select(1, &order));
        let image = normal(&[1, 2, 5, 6], seed + 2);
        for (name, method) in METHODS.into_iter().filter(|(name, _)| !["ablation_cam_mean", "ss_cam", "group_cam"].contains(name)) {
            let maps = |stages| method(&Probe::new(stages, &image, &[Target::Class(1)]).unwrap(), "conv").unwrap();
            let (one, other) = (maps(&one), maps(&other));
            let size = one.tensor().abs().max().double_value(&[]).max(1.0);
            prop_assert!(largest_difference(one.tensor(), other.tensor()) < 1e-4 * size, "{name}");
        }
    }
}

#[test]
fn ablation_cam_agrees() {
    agrees("ablation_cam", ablation_cam);
}

#[test]
fn score_cam_agrees() {
    agrees("score_cam", |probe, layer| {
        score_cam(probe, layer, &ScoreCam::default())
    });
    agrees("score_cam_normalised_first", |probe, layer| {
        score_cam(probe, layer, &ScoreCam::default().with_mask(ScoreMask::NormalisedFirst))
    });
}

/// pytorch-grad-cam as it is; it fails on volumes.
#[test]
fn score_cam_with_aligned_corners_agrees() {
    for golden in [Golden::plain(), Golden::branched()] {
        let (stages, images) = (golden.stages(), golden.images());
        let probe = Probe::new(&stages, &images, &golden.targets()).unwrap();
        let settings = ScoreCam::default().with_mask(ScoreMask::AlignedCorners);
        for layer in golden.layers {
            let maps = score_cam(&probe, layer, &settings).unwrap();
            golden.check("score_cam_aligned_corners", layer, &maps);
        }
    }
}

#[test]
fn is_cam_agrees() {
    agrees("is_cam", |probe, layer| {
        is_cam(
            probe,
            layer,
            &IsCam::default().with_steps(4).with_mask(ScoreMask::NormalisedFirst),
        )
    });
}

#[test]
fn ss_cam_agrees() {
    for golden in Golden::all() {
        let (stages, images, layer) = (golden.stages(), golden.images(), golden.layers[1]);
        let probe = Probe::new(&stages, &images, &golden.targets()).unwrap();
        let noise = golden.get(&format!("noise.ss_cam.{layer}"));
        let settings = SsCam::default().with_mask(ScoreMask::NormalisedFirst);
        golden.check(
            "ss_cam",
            layer,
            &ss_cam_with_noise(&probe, layer, &settings, &noise).unwrap(),
        );
    }
}

#[test]
fn recipro_cam_and_group_cam_agree() {
    let methods: [(&str, Method); 3] = [
        ("recipro_cam", |probe, layer| {
            recipro_cam(probe, layer, ReciproMask::Gaussian)
        }),
        ("recipro_cam_single", |probe, layer| {
            recipro_cam(probe, layer, ReciproMask::Single)
        }),
        ("group_cam", |probe, layer| {
            group_cam(probe, layer, &GroupCam::default().with_groups(3).with_blur(2, 1.5))
        }),
    ];
    for golden in Golden::all() {
        let (stages, images) = (golden.stages(), golden.images());
        let probe = Probe::new(&stages, &images, &golden.targets()).unwrap();
        for (name, method) in methods {
            for layer in golden.layers {
                golden.check_graded(&format!("{name}.{layer}"), &method(&probe, layer).unwrap());
            }
        }
    }
}

#[test]
fn rise_and_occlusion_sensitivity_agree() {
    for golden in Golden::all() {
        let (stages, images) = (golden.stages(), golden.images());
        let probabilities: Vec<Target> = golden.targets().into_iter().map(Target::probability).collect();
        let probe = Probe::new(&stages, &images, &probabilities).unwrap();
        golden.check_graded("rise", &rise_with_masks(&probe, &golden.get("masks.rise")).unwrap());
        let probe = Probe::new(&stages, &images, &golden.targets()).unwrap();
        let (window, stride) = match images.dim() {
            4 => (vec![5, 4], vec![3, 2]),
            _ => (vec![3, 4, 3], vec![2, 2, 2]),
        };
        let settings = OcclusionSensitivity::default().with_window(window).with_stride(stride);
        let maps = occlusion_sensitivity(&probe, &settings).unwrap();
        golden.check_graded("occlusion_sensitivity", &maps);
    }
}

#[test]
fn cam_agrees() {
    for golden in [Golden::plain(), Golden::volumes()] {
        let (stages, images, layer) = (golden.stages(), golden.images(), golden.layers[1]);
        let probe = Probe::new(&stages, &images, &golden.targets()).unwrap();
        golden.check("cam", layer, &cam(&probe, layer).unwrap());
        let weights = golden.get("weights.fc.weight");
        golden.check("cam", layer, &cam_with_weights(&probe, layer, &weights).unwrap());
    }
}

/// A method against the goldens, at both layers of every network.
fn agrees(name: &str, method: Method) {
    for golden in Golden::all() {
        let (stages, images) = (golden.stages(), golden.images());
        let capture = stages.capture(&images, &golden.layers).unwrap();
        let probe = Probe::from_capture(&stages, &images, &capture, &golden.targets()).unwrap();
        for layer in golden.layers {
            golden.check(name, layer, &method(&probe, layer).unwrap());
        }
    }
}
