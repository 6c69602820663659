//! Eigen smoothing, of every method that has channel weights, and against pytorch-grad-cam.

use gradcam_core::{
    AblationValue, CamError, FinerCam, GradientMethod, Probe, ReferenceWeights, ScoreCam, ScoreChannels, ScoreMask,
    Target, ablation_cam, ablation_cam_weights, eigen_smoothing, eigen_smoothing_with_weights, grad_cam, score_cam,
    score_cam_weights, shapley_cam, shapley_cam_weights, weighted_cam,
};
use tch::{Kind, Tensor};

use crate::goldens::Golden;
use crate::small_net::{SmallNet, largest_difference, normal};

/// Against `eigen_smooth=True`, up to the sign, which is arbitrary there.
#[test]
fn pytorch_grad_cam_agrees() {
    for golden in Golden::all().map(|golden| golden.and("eigen")) {
        let (stages, images, targets) = (golden.stages(), golden.images(), golden.targets());
        let capture = stages.capture(&images, &golden.layers).unwrap();
        let probe = Probe::from_capture(&stages, &images, &capture, &targets).unwrap();
        let probabilities: Vec<Target> = targets.iter().cloned().map(Target::probability).collect();
        let finer = FinerCam::default()
            .with_strength(1.0)
            .with_weights(ReferenceWeights::Probability);
        let contrasts = capture
            .gradients(&finer.contrasts(&capture, &targets).unwrap())
            .unwrap();
        for layer in golden.layers {
            let activations = capture.activations(layer).unwrap();
            let of_weights = |weights: Result<Tensor, CamError>| {
                eigen_smoothing_with_weights(activations, &weights.unwrap()).unwrap()
            };
            let maps = eigen_smoothing(GradientMethod::GradCam, &contrasts.at(layer).unwrap()).unwrap();
            golden.check_up_to_sign("finer_cam_weighted_smooth", layer, &maps);
            let maps = of_weights(shapley_cam_weights(&capture, layer, &probabilities));
            golden.check_up_to_sign("shapley_cam_smooth", layer, &maps);
            if images.dim() == 4 {
                let maps = of_weights(ablation_cam_weights(&probe, layer, AblationValue::Zero));
                golden.check_up_to_sign("ablation_cam_smooth", layer, &maps);
                let settings = ScoreCam::default().with_mask(ScoreMask::AlignedCorners);
                let maps = of_weights(score_cam_weights(&probe, layer, &settings));
                golden.check_up_to_sign("score_cam_aligned_corners_smooth", layer, &maps);
            }
        }
    }
}

/// The plain sum under the weights is the method, and its component that of the weighted channels.
#[test]
fn weights_are_those_of_the_method() {
    for net in [SmallNet::images(6), SmallNet::volumes(6)] {
        let (stages, input) = (net.stages(), net.input(2, 7));
        let targets = [Target::Class(1), Target::Predicted.probability()];
        let capture = stages.capture(&input, &["relu1", "relu2"]).unwrap();
        let probe = Probe::from_capture(&stages, &input, &capture, &targets).unwrap();
        let varied = ScoreCam::default().with_channels(ScoreChannels::MostVaried(3));
        for layer in ["relu1", "relu2"] {
            let activations = capture.activations(layer).unwrap();
            let score = score_cam_weights(&probe, layer, &varied).unwrap();
            let counted = score.gt(0.0).sum_dim_intlist([1i64].as_slice(), false, Kind::Int64);
            assert_eq!(Vec::<i64>::try_from(counted).unwrap(), [3, 3]);
            for (weights, maps) in [
                (
                    ablation_cam_weights(&probe, layer, AblationValue::Zero),
                    ablation_cam(&probe, layer),
                ),
                (Ok(score), score_cam(&probe, layer, &varied)),
                (
                    shapley_cam_weights(&capture, layer, &targets),
                    shapley_cam(&capture, layer, &targets),
                ),
            ] {
                let (weights, maps) = (weights.unwrap(), maps.unwrap());
                assert_eq!(weights.size(), activations.size()[..2]);
                assert_eq!(weights.kind(), Kind::Float);
                let sum = weighted_cam(activations, &weights).unwrap();
                let size = maps.tensor().abs().max().double_value(&[]).max(1e-6);
                assert!(largest_difference(sum.tensor(), maps.tensor()) < 1e-6 * size);
            }
            // Of weights that are Grad-CAM's it is Grad-CAM smoothed.
            let gradients = capture.gradients(&targets).unwrap();
            let at = gradients.at(layer).unwrap();
            let weights = at
                .gradients()
                .flatten(2, -1)
                .mean_dim([2i64].as_slice(), false, Kind::Float);
            let plain = weighted_cam(activations, &weights).unwrap();
            let size = plain.tensor().abs().max().double_value(&[]);
            assert!(largest_difference(plain.tensor(), grad_cam(&at).unwrap().tensor()) < 1e-6 * size);
            let smooth = eigen_smoothing_with_weights(activations, &weights).unwrap();
            let expected = eigen_smoothing(GradientMethod::GradCam, &at).unwrap();
            let size = expected.tensor().abs().max().double_value(&[]);
            assert!(largest_difference(smooth.tensor(), expected.tensor()) < 1e-5 * size);
        }
    }
}

#[test]
fn faults_are_errors() {
    let activations = normal(&[2, 3, 4, 4], 1);
    for (weights, activations) in [
        (normal(&[2, 4], 2), activations.shallow_clone()),
        (normal(&[1, 3], 2), activations.shallow_clone()),
    ] {
        assert!(matches!(
            eigen_smoothing_with_weights(&activations, &weights),
            Err(CamError::WeightShape { .. })
        ));
    }
    assert!(matches!(
        eigen_smoothing_with_weights(&activations.flatten(1, -1), &normal(&[2, 3], 2)),
        Err(CamError::Shape { .. })
    ));
    let spoilt = normal(&[2, 3], 2);
    let _ = spoilt.get(1).get(0).fill_(f64::NAN);
    assert!(matches!(
        eigen_smoothing_with_weights(&activations, &spoilt),
        Err(CamError::NonFiniteMap { sample: 1 })
    ));
}
