//! High is evidence for the target, in every method that looks at gradients, and in half precision as in single.

use gradcam_core::{
    CamError, FinerCam, GradientMethod, Maps, ReferenceWeights, Rescaling, SmoothGradCamPlusPlus, Stage, Stages,
    Target, eigen_smoothing, finer_cam, full_grad, shapley_cam, smooth_grad_cam_plus_plus,
};
use tch::{Device, Kind, Tensor};

use crate::small_net::{largest_difference, normal};

type Method = Box<dyn Fn(&Stages<'_>, &Tensor, &str, &[Target]) -> Result<Maps, CamError>>;

fn methods() -> Vec<(String, Method)> {
    let mut methods: Vec<(String, Method)> = Vec::new();
    for method in GradientMethod::ALL {
        methods.push((
            method.to_string(),
            Box::new(move |stages, input, layer, targets| {
                method.maps(&stages.capture(input, &[layer])?.gradients(targets)?.at(layer)?)
            }),
        ));
        methods.push((
            format!("{method}, smooth"),
            Box::new(move |stages, input, layer, targets| {
                eigen_smoothing(method, &stages.capture(input, &[layer])?.gradients(targets)?.at(layer)?)
            }),
        ));
        for weights in [ReferenceWeights::Equal, ReferenceWeights::Probability] {
            let settings = FinerCam::default().with_method(method).with_weights(weights);
            methods.push((
                format!("Finer-CAM with {method} and {weights:?}"),
                Box::new(move |stages, input, layer, targets| {
                    finer_cam(&stages.capture(input, &[layer])?, layer, targets, &settings)
                }),
            ));
        }
    }
    methods.push((
        "Shapley-CAM".to_owned(),
        Box::new(|stages, input, layer, targets| shapley_cam(&stages.capture(input, &[layer])?, layer, targets)),
    ));
    methods.push((
        "Smooth Grad-CAM++".to_owned(),
        Box::new(|stages, input, layer, targets| {
            smooth_grad_cam_plus_plus(stages, input, layer, targets, &SmoothGradCamPlusPlus::default())
        }),
    ));
    methods
}

/// Class 0 is for what the upper left quarter shows, class 1 is against it, class 2 indifferent. Nothing else is seen.
fn corner(kind: Kind) -> Stages<'static> {
    let mask = Tensor::zeros([1, 1, 8, 8], (Kind::Float, Device::Cpu));
    let _ = mask.narrow(2, 0, 4).narrow(3, 0, 4).fill_(1.0);
    Stages::new(vec![
        Stage::new("seen", move |x| x.f_mul(&mask)?.f_to_kind(kind)),
        Stage::new("bent", |x| x.f_mul(&x.f_mul_scalar(0.01)?.f_add_scalar(1.0)?)),
        Stage::new("logits", |x| {
            let mean = x.f_mean_dim([1i64, 2, 3].as_slice(), false, None)?.f_unsqueeze(1)?;
            Tensor::f_cat(&[&mean, &mean.f_neg()?, &mean.f_mul_scalar(0.0)?], 1)
        }),
    ])
    .unwrap()
}

fn image() -> Tensor {
    normal(&[1, 3, 8, 8], 1).abs() + 0.5
}

fn heat(method: &Method, stages: &Stages<'_>, target: Target) -> Tensor {
    let maps = method(stages, &image(), "seen", &[target]).unwrap();
    maps.normalise().unwrap().tensor().shallow_clone()
}

/// How much of the heat is in the corner; none at all is in no place.
fn share(heat: &Tensor) -> f64 {
    let corner = heat.narrow(1, 0, 4).narrow(2, 0, 4).sum(Kind::Float).double_value(&[]);
    corner / heat.sum(Kind::Float).double_value(&[]).max(1e-30)
}

#[test]
fn high_is_evidence_for_the_target() {
    let stages = corner(Kind::Float);
    for (name, method) in methods() {
        let seen = heat(&method, &stages, Target::Class(0));
        assert!(share(&seen) > 0.99, "{name}: {}", share(&seen));
        // Evidence against its opposite is evidence for it.
        let other = heat(&method, &stages, Target::Class(1).counterfactual());
        assert!(share(&other) > 0.99, "{name}: {}", share(&other));
        for against in [Target::Class(1), Target::Class(0).counterfactual()] {
            let against = heat(&method, &stages, against);
            assert!(share(&against) < 0.01, "{name}: {}", share(&against));
        }
    }
}

#[test]
fn half_precision_gives_what_single_precision_gives() {
    let single = corner(Kind::Float);
    for (kind, tolerance) in [(Kind::Half, 2e-2), (Kind::BFloat16, 1e-1)] {
        let half = corner(kind);
        for (name, method) in methods() {
            let difference = largest_difference(
                &heat(&method, &half, Target::Class(0)),
                &heat(&method, &single, Target::Class(0)),
            );
            assert!(difference < tolerance, "{name} in {kind:?}: {difference}");
        }
    }
    // In bfloat16 what is left of the bent stage's bias cannot be told from rounding.
    for rescaling in [Rescaling::Channel, Rescaling::Stage] {
        let map = |stages: &Stages<'_>| {
            let maps = full_grad(stages, &image(), &[Target::Class(0)], rescaling).unwrap();
            assert_eq!(maps.tensor().kind(), Kind::Float);
            maps.normalise().unwrap().tensor().shallow_clone()
        };
        let difference = largest_difference(&map(&corner(Kind::Half)), &map(&single));
        assert!(difference < 5e-2, "FullGrad: {difference}");
    }
}
