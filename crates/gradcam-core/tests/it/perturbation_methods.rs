//! What every perturbation method has to do, and what the tests of each share.

use std::collections::HashSet;

use gradcam_core::{
    AblationValue, CamError, Content, GroupCam, IntegrationPath, IsCam, Maps, Occluder, OcclusionSensitivity, Probe,
    ReciproMask, Rise, ScoreCam, ScoreChannels, ScoreMask, ScoreWeights, SsCam, Stage, Stages, Target, ablation_cam,
    ablation_cam_with, cam, group_cam, is_cam, occlusion_sensitivity, recipro_cam, rise, score_cam, ss_cam,
};
use proptest::prelude::*;
use tch::{Device, Kind, Tensor};

use crate::goldens::Golden;
use crate::small_net::{SmallNet, largest_difference, normal};

pub(crate) type Method = fn(&Probe<'_>, &str) -> Result<Maps, CamError>;

/// Every method that a probe is for, in little of what takes long.
pub(crate) const METHODS: [(&str, Method); 12] = [
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

pub(crate) const TARGETS: [Target; 3] = [Target::Class(3), Target::Predicted, Target::Class(0)];

/// The axes of space.
pub(crate) fn space(input: &Tensor) -> Vec<i64> {
    input.size()[2..].to_vec()
}

/// The score of `class` for one altered image, or for altered activations after `layer`.
pub(crate) fn score(stages: &Stages<'_>, layer: Option<&str>, x: &Tensor, class: i64) -> f64 {
    let logits = match layer {
        Some(layer) => stages.forward_from(layer, &x.copy()).unwrap(),
        None => stages.forward(&x.copy()).unwrap(),
    };
    logits.double_value(&[0, class])
}

pub(crate) fn classes(probe: &Probe<'_>) -> Vec<i64> {
    probe.classes().into_iter().map(Option::unwrap).collect()
}

/// `count` masks, one value each of `[M, …]` that `value` gives for the mask and the place.
pub(crate) fn each_place(shape: &[i64], value: impl Fn(i64, &[i64]) -> f32) -> Tensor {
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

/// A method at both layers of golden networks, its maps handed to `check`.
pub(crate) fn at_layers(
    goldens: impl IntoIterator<Item = Golden>,
    method: Method,
    check: impl Fn(&Golden, &str, &Maps),
) {
    for golden in goldens {
        let (stages, images) = (golden.stages(), golden.images());
        let capture = stages.capture(&images, &golden.layers).unwrap();
        let probe = Probe::from_capture(&stages, &images, &capture, &golden.targets()).unwrap();
        for layer in golden.layers {
            check(&golden, layer, &method(&probe, layer).unwrap());
        }
    }
}

/// A method against the files' `maps`.
pub(crate) fn agrees(name: &str, method: Method) {
    at_layers(Golden::all(), method, |golden, layer, maps| {
        golden.check(name, layer, maps)
    });
}

/// A method against the files' `graded`.
pub(crate) fn agrees_graded(name: &str, method: Method) {
    at_layers(Golden::all(), method, |golden, layer, maps| {
        golden.check_graded(&format!("{name}.{layer}"), maps);
    });
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

#[test]
fn a_layer_that_is_not_there_is_refused_by_name() {
    let net = SmallNet::images(13);
    let stages = net.stages();
    let probe = Probe::new(&stages, &net.input(1, 17), &[Target::Predicted]).unwrap();
    for (name, method) in METHODS {
        let found = method(&probe, "nowhere");
        assert!(
            matches!(&found, Err(CamError::UnknownLayer { layer, .. }) if layer == "nowhere")
                || found.is_ok() && ["rise", "occlusion_sensitivity"].contains(&name),
            "{name}"
        );
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
