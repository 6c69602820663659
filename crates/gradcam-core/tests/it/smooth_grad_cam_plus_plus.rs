use gradcam_core::{
    CamError, Content, SmoothGradCamPlusPlus, Stage, Stages, Target, grad_cam_plus_plus, smooth_grad_cam_plus_plus,
    smooth_grad_cam_plus_plus_with_noise,
};
use tch::{Kind, Tensor};

use crate::goldens::Golden;
use crate::small_net::{SmallNet, largest_difference, normal};

/// The formula in double precision with the same noise; torch-cam's own maps differ from the
/// paper's.
#[test]
fn agrees_with_the_formula() {
    for golden in Golden::all() {
        let (stages, images) = (golden.stages(), golden.images());
        let noise = golden.get("noise.smooth_grad_cam_plus_plus");
        for layer in golden.layers {
            let maps =
                smooth_grad_cam_plus_plus_with_noise(&stages, &images, layer, &golden.targets(), &noise).unwrap();
            golden.check("smooth_grad_cam_plus_plus", layer, &maps);
        }
    }
}

#[test]
fn without_noise_it_is_grad_cam_plus_plus() {
    for net in [SmallNet::images(1), SmallNet::volumes(1)] {
        let (stages, input) = (net.stages(), net.input(2, 2));
        let targets = [Target::Class(1), Target::Predicted];
        let capture = stages.capture(&input, &["relu2"]).unwrap();
        let plain = grad_cam_plus_plus(&capture.gradients(&targets).unwrap().at("relu2").unwrap()).unwrap();
        let noise = input
            .zeros_like()
            .unsqueeze(0)
            .repeat([&[3], vec![1; input.dim()].as_slice()].concat());
        let smooth = smooth_grad_cam_plus_plus_with_noise(&stages, &input, "relu2", &targets, &noise).unwrap();
        let scale = plain.tensor().max().double_value(&[]);
        assert!(largest_difference(smooth.tensor(), plain.tensor()) < 1e-5 * scale);
    }
}

#[test]
fn a_batch_gives_each_sample_what_it_would_get_alone() {
    for mut net in [SmallNet::images(2), SmallNet::volumes(2)] {
        // In double precision, in which it does not show that convolutions round otherwise in a batch.
        net.variables.set_kind(Kind::Double);
        let (stages, input) = (net.stages(), net.input(3, 3).to_kind(Kind::Double));
        let targets = [Target::Class(3), Target::Predicted, Target::Class(0).counterfactual()];
        let run = |input: &Tensor, targets: &[Target], settings: &SmoothGradCamPlusPlus| {
            smooth_grad_cam_plus_plus(&stages, input, "relu1", targets, settings).unwrap()
        };
        let settings = SmoothGradCamPlusPlus::default().with_deviation(1.0);
        let batch = run(&input, &targets, &settings);
        let scale = batch.tensor().max().double_value(&[]);
        for (sample, target) in (0i64..).zip(&targets) {
            let alone = run(&input.narrow(0, sample, 1), std::slice::from_ref(target), &settings);
            let expected = batch.tensor().narrow(0, sample, 1);
            assert!(largest_difference(alone.tensor(), &expected) < 1e-6 * scale);
        }
        // The seed says which noise; other noise, other maps.
        assert_eq!(run(&input, &targets, &settings).tensor(), batch.tensor());
        let other = run(&input, &targets, &settings.with_seed(1));
        assert!(largest_difference(other.tensor(), batch.tensor()) > 1e-4 * scale);
    }
}

/// A network that passes its noise on: the mean over many copies is as far from the clean input's
/// as the deviation says.
#[test]
fn noise_has_the_deviation_asked_for() {
    let net = Stages::new(vec![
        Stage::new("image", |x| x.f_mul_scalar(1.0)),
        // The gradient is the noisy image itself.
        Stage::new("logit", |x| {
            x.f_square()?
                .f_mul_scalar(0.5)?
                .f_sum_dim_intlist([2i64, 3].as_slice(), false, None)
        }),
    ])
    .unwrap();
    let image = Tensor::ones([1, 1, 40, 50], (Kind::Float, tch::Device::Cpu)) * 5.0;
    let settings = SmoothGradCamPlusPlus::default()
        .with_deviation(0.5)
        .with_copies(20)
        .with_seed(3);
    let maps = smooth_grad_cam_plus_plus(&net, &image, "image", &[Target::Class(0)], &settings).unwrap();
    // All gradients positive, the activations even: w = sum of D1 D2 / (2 D2 + D3 sum A), here close to places / sum A
    // · D1 D2 / D3 with the moments 5, 25 + s² and 125 + 15 s².
    let places = 2000.0;
    let moments = (5.0, 25.0 + 0.25, 125.0 + 15.0 * 0.25);
    let weight = places * moments.0 * moments.1 / (2.0 * moments.1 + moments.2 * 5.0 * places);
    let found = maps.tensor().double_value(&[0, 0, 0]) / 5.0;
    approx::assert_relative_eq!(found, weight, max_relative = 2e-3);
    // Without noise it would be another number by more than that.
    let clean = places * 5.0 * 25.0 / (50.0 + 125.0 * 5.0 * places);
    assert!((weight / clean - 1.0).abs() > 1e-2);
}

#[test]
fn faults_are_errors() {
    let net = SmallNet::images(4);
    let (stages, input) = (net.stages(), net.input(2, 1));
    let targets = [Target::Predicted, Target::Predicted];
    let run = |settings: SmoothGradCamPlusPlus| {
        smooth_grad_cam_plus_plus(&stages, &input, "relu2", &targets, &settings).unwrap_err()
    };
    let default = SmoothGradCamPlusPlus::default();
    assert!(matches!(run(default.with_copies(0)), CamError::Draws { draws: 0 }));
    for deviation in [0.0, -1.0, f64::NAN, f64::INFINITY] {
        assert!(matches!(
            run(default.with_deviation(deviation)),
            CamError::Deviation { .. }
        ));
    }
    // Faults come before the copies, however many there would be.
    let result = smooth_grad_cam_plus_plus(&stages, &input, "pool", &targets, &default.with_copies(usize::MAX));
    assert!(matches!(result, Err(CamError::NotSpatial { .. })));
    for shape in [
        &[3i64, 2, 2, 12, 16][..],
        &[2, 2, 12, 17],
        &[0, 2, 2, 12, 17],
        &[1, 3, 2, 12, 17],
    ] {
        let noise = Tensor::zeros(shape, (Kind::Float, tch::Device::Cpu));
        let result = smooth_grad_cam_plus_plus_with_noise(&stages, &input, "relu2", &targets, &noise);
        assert!(matches!(result, Err(CamError::Noise { .. })), "{shape:?}");
    }
    let scalar = Tensor::from(1f32);
    let result = smooth_grad_cam_plus_plus(&stages, &scalar, "relu2", &targets, &default);
    assert!(matches!(result, Err(CamError::EmptyBatch { .. })));
    let result = smooth_grad_cam_plus_plus(&stages, &input, "pool", &targets, &default);
    assert!(matches!(result, Err(CamError::NotSpatial { .. })));
}

#[test]
fn nothing_comes_of_nothing() {
    let net = Stages::new(vec![
        Stage::new("image", |x| x.f_relu()),
        Stage::new("logit", |x| x.f_mean_dim([2i64, 3].as_slice(), false, None)),
    ])
    .unwrap();
    let image = normal(&[1, 1, 4, 4], 1).abs() * -100.0;
    let settings = SmoothGradCamPlusPlus::default();
    let maps = smooth_grad_cam_plus_plus(&net, &image, "image", &[Target::Class(0)], &settings).unwrap();
    assert_eq!(maps.contents(), [Content::Zero]);
}

/// A convolution takes images of its weights' kind only, so the noise has to be of that kind too.
#[test]
fn noisy_copies_keep_the_inputs_kind() {
    let maps = |kind: Kind| {
        let mut net = SmallNet::images(4);
        net.variables.set_kind(kind);
        let (stages, input) = (net.stages(), net.input(2, 5).to_kind(kind));
        let targets = [Target::Class(0), Target::Class(3)];
        let settings = SmoothGradCamPlusPlus::default();
        let maps = smooth_grad_cam_plus_plus(&stages, &input, "relu2", &targets, &settings).unwrap();
        maps.normalise().unwrap().tensor().shallow_clone()
    };
    let expected = maps(Kind::Float);
    for (kind, tolerance) in [(Kind::Double, 1e-4), (Kind::Half, 1e-2), (Kind::BFloat16, 8e-2)] {
        let difference = largest_difference(&maps(kind), &expected);
        assert!(difference < tolerance, "{kind:?}: {difference}");
    }
}
