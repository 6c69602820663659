//! Ablation-CAM against its formula in plain loops and against the goldens.

use gradcam_core::{
    AblationValue, CamError, Content, Probe, Stage, Stages, Target, ablation_cam, ablation_cam_with, weighted_cam,
};
use tch::{Kind, Tensor};

use crate::perturbation_methods::{TARGETS, agrees, classes, score};
use crate::small_net::{SmallNet, largest_difference};

#[test]
fn agrees_with_the_peers() {
    agrees("ablation_cam", ablation_cam);
}

/// At `conv1` and `conv2` the next stage works in place, on what would be the next chunk's copies.
#[test]
fn equals_its_formula_also_before_a_stage_that_works_in_place() {
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
fn takes_other_values() {
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
