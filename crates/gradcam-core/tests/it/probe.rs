//! A probe: what it is made of, and how altered copies go through the network.

use std::cell::RefCell;

use gradcam_core::{
    CamError, OcclusionSensitivity, Probe, ReciproMask, ScoreCam, ScoreWeights, Stage, Stages, Target, Values,
    ablation_cam, occlusion_sensitivity, recipro_cam, score_cam,
};
use tch::{Kind, Tensor};

use crate::perturbation_methods::{METHODS, TARGETS};
use crate::small_net::{SmallNet, largest_difference, normal};

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
        Err(CamError::CaptureInput { captured, input }) if captured == [3, 2, 12, 17] && input == [2, 2, 12, 17]
    ));
    // As many samples of another size, and a network of other stages that takes the same.
    let narrow = input.narrow(3, 0, 16);
    assert!(matches!(
        Probe::from_capture(&stages, &narrow, &capture, &TARGETS),
        Err(CamError::CaptureInput { input, .. }) if input == [3, 2, 12, 16]
    ));
    let other = Stages::new(vec![
        Stage::new("conv1", |x| x.f_relu()),
        Stage::new("logits", |x| x.f_mean_dim([2i64, 3].as_slice(), false, None)),
    ])
    .unwrap();
    assert!(matches!(
        Probe::from_capture(&other, &input, &capture, &TARGETS),
        Err(CamError::CaptureStages { captured, stages }) if captured.len() == 6 && stages == ["conv1", "logits"]
    ));
}

#[test]
fn targets_must_fit_the_batch() {
    let net = SmallNet::images(14);
    let stages = net.stages();
    assert!(matches!(
        Probe::new(&stages, &net.input(2, 1), &[Target::Class(0)]),
        Err(CamError::TargetCount { targets: 1, batch: 2 })
    ));
    assert!(matches!(
        Probe::new(&stages, &net.input(1, 1).narrow(0, 0, 0), &[]),
        Err(CamError::EmptyBatch { .. })
    ));
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
    let expected = image.narrow(1, 1, 1).squeeze_dim(1) * 6.0;
    for kind in [Kind::Float, Kind::Double] {
        let probe = Probe::new(&stages, &image.to_kind(kind), &[Target::Class(5)]).unwrap();
        assert_eq!(*ablation_cam(&probe, "image").unwrap().tensor(), expected);
        let maps = recipro_cam(&probe, "image", ReciproMask::Single).unwrap();
        assert_eq!(Vec::<f32>::try_from(maps.tensor().view(-1)).unwrap(), [0., 6., 0., 0.]);
    }
}

/// A network whose first stage works in place does not get the caller's images.
#[test]
fn the_callers_images_stay_the_callers() {
    let input = normal(&[2, 2, 12, 17], 17);
    let before = input.copy();
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
