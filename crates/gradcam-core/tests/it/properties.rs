//! What no heatmap may depend on, for every gradient method and whatever the other lists of methods leave out: on tensors, through a
//! network that is bent behind the layer, so that second derivatives count.

use gradcam_core::{
    CamError, Content, FinerCam, GradientMethod, Maps, Probe, ReferenceWeights, Rescaling, ScoreCam, ScoreWeights,
    Stage, Stages, Target, cam, eigen_smoothing, finer_cam, full_grad, score_cam, seg_eigen_cam, shapley_cam,
};
use tch::{Kind, Tensor};

use crate::small_net::{largest_difference, normal};

type Method = Box<dyn Fn(&Stages<'_>, &Tensor, &[Target]) -> Result<Maps, CamError>>;

const LAYER: &str = "features";

fn methods() -> Vec<(String, Method)> {
    let mut methods: Vec<(String, Method)> = Vec::new();
    let mut add = |name: &str, method: Method| methods.push((name.to_owned(), method));
    for method in GradientMethod::ALL {
        add(
            method.name(),
            Box::new(move |stages, input, targets| {
                method.maps(&stages.capture(input, &[LAYER])?.gradients(targets)?.at(LAYER)?)
            }),
        );
        add(
            &format!("{method}, smooth"),
            Box::new(move |stages, input, targets| {
                eigen_smoothing(method, &stages.capture(input, &[LAYER])?.gradients(targets)?.at(LAYER)?)
            }),
        );
    }
    add(
        "seg_eigen_cam",
        Box::new(|stages, input, targets| {
            seg_eigen_cam(&stages.capture(input, &[LAYER])?.gradients(targets)?.at(LAYER)?)
        }),
    );
    add(
        "shapley_cam",
        Box::new(|stages, input, targets| shapley_cam(&stages.capture(input, &[LAYER])?, LAYER, targets)),
    );
    for weights in [ReferenceWeights::Equal, ReferenceWeights::Probability] {
        let settings = FinerCam::default().with_references(1).with_weights(weights);
        add(
            &format!("finer_cam, {weights:?}"),
            Box::new(move |stages, input, targets| {
                finer_cam(&stages.capture(input, &[LAYER])?, LAYER, targets, &settings)
            }),
        );
    }
    for rescaling in [Rescaling::Channel, Rescaling::Stage] {
        add(
            &format!("full_grad, {rescaling:?}"),
            Box::new(move |stages, input, targets| full_grad(stages, input, targets, rescaling)),
        );
    }
    add(
        "score_cam, Increase",
        Box::new(|stages, input, targets| {
            let settings = ScoreCam::default().with_weights(ScoreWeights::Increase);
            score_cam(&Probe::new(stages, input, targets)?, LAYER, &settings)
        }),
    );
    // Its head must be a mean and a linear layer.
    add(
        "cam",
        Box::new(|stages, input, targets| cam(&Probe::new(stages, input, targets)?, "bent")),
    );
    methods
}

/// A convolution with the given weights, and a head.
struct Net {
    weight: Tensor,
    bias: Tensor,
    head: Tensor,
}

impl Net {
    fn new(seed: i64, channels: i64, width: i64) -> Self {
        Self {
            weight: normal(&[channels, 2, width, width], seed) * 0.5,
            bias: normal(&[channels], seed + 1) * 0.3,
            head: normal(&[3, channels], seed + 2),
        }
    }

    fn stages(&self) -> Stages<'static> {
        let [weight, bias, head] = [&self.weight, &self.bias, &self.head].map(Tensor::copy);
        let padding = weight.size()[3] / 2;
        Stages::new(vec![
            Stage::new(LAYER, move |x| {
                x.f_conv2d(&weight, Some(&bias), [1, 1], [padding; 2], [1, 1], 1)?
                    .f_relu()
            }),
            Stage::new("bent", |x| x.f_mul(&x.f_mul_scalar(0.2)?.f_add_scalar(1.0)?)),
            Stage::new("pool", |x| x.f_mean_dim([2i64, 3].as_slice(), false, None)),
            Stage::new("head", move |x| x.f_linear(&head, None::<&Tensor>)),
        ])
        .unwrap()
    }
}

const TARGETS: [Target; 2] = [Target::Class(2), Target::Class(0)];

/// Each method's heatmaps.
fn heat(net: &Net, input: &Tensor) -> Vec<(String, Tensor)> {
    let stages = net.stages();
    let heat = methods().into_iter().map(|(name, method)| {
        let maps = method(&stages, input, &TARGETS).unwrap();
        assert!(maps.contents().contains(&Content::Graded), "{name}");
        let heat = maps.normalise().unwrap().tensor().shallow_clone();
        (name, heat)
    });
    heat.collect()
}

/// Logits 16 times or 2⁻²⁴ times as large, but for Grad-CAM++, whose formula holds the gradient against 2, and where classes are
/// weighed by their probabilities.
#[test]
fn scaling_the_head_leaves_the_heatmap() {
    let mut net = Net::new(10, 12, 3);
    let input = normal(&[2, 2, 7, 9], 11);
    let plain = heat(&net, &input);
    for scale in [16.0, 2f64.powi(-24)] {
        net.head = &Net::new(10, 12, 3).head * scale;
        for ((name, found), (_, expected)) in heat(&net, &input).iter().zip(&plain) {
            if !name.starts_with("grad-cam++") && name != "finer_cam, Probability" {
                let difference = largest_difference(found, expected);
                assert!(difference < 1e-5, "{name} times {scale}: {difference}");
            }
        }
    }
}

#[test]
fn permuting_channels_leaves_the_heatmap() {
    for (seed, channels) in [(20, 3i64), (30, 12), (40, 37)] {
        let net = Net::new(seed, channels, 3);
        let input = normal(&[2, 2, 7, 9], seed + 5);
        let mut order: Vec<i64> = (0..channels).collect();
        order.rotate_left(channels as usize / 3);
        order.reverse();
        let order = Tensor::from_slice(&order);
        let permuted = Net {
            weight: net.weight.index_select(0, &order),
            bias: net.bias.index_select(0, &order),
            head: net.head.index_select(1, &order),
        };
        for ((name, found), (_, expected)) in heat(&permuted, &input).iter().zip(&heat(&net, &input)) {
            let difference = largest_difference(found, expected);
            assert!(difference < 2e-5, "{name}, {channels} channels: {difference}");
        }
    }
}

/// With 1×1 convolutions and a mean the network cannot tell left from right.
#[test]
fn flips_commute() {
    let net = Net::new(50, 12, 1);
    let input = normal(&[2, 2, 6, 9], 51);
    let straight = heat(&net, &input);
    for axis in [1i64, 2] {
        for ((name, found), (_, expected)) in heat(&net, &input.flip([axis + 1])).iter().zip(&straight) {
            let difference = largest_difference(found, &expected.flip([axis]));
            assert!(difference < 1e-5, "{name}: {difference}");
        }
    }
}

/// CAM beside the other methods that take a probe.
#[test]
fn cam_gives_each_sample_what_it_would_get_alone() {
    let net = Net::new(60, 9, 3);
    let (stages, input) = (net.stages(), normal(&[3, 2, 7, 9], 61));
    let targets = [Target::Class(1), Target::Predicted, Target::Class(2).counterfactual()];
    let maps = |input: &Tensor, targets: &[Target]| cam(&Probe::new(&stages, input, targets).unwrap(), "bent").unwrap();
    let batch = maps(&input, &targets);
    let size = batch.tensor().abs().max().double_value(&[]);
    for (sample, target) in (0i64..).zip(&targets) {
        let alone = maps(&input.narrow(0, sample, 1), std::slice::from_ref(target));
        let difference = largest_difference(&batch.tensor().narrow(0, sample, 1), alone.tensor());
        assert!(difference < 1e-6 * size, "{sample}: {difference}");
    }
    // What speaks against a class is what speaks for it, turned round.
    let against = maps(&input, &targets.map(Target::counterfactual));
    assert!(largest_difference(&-against.tensor(), batch.tensor()) < 1e-5 * size);
    assert_eq!(batch.tensor().kind(), Kind::Float);
}
