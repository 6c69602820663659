//! A batch gives each sample what it would get alone: to the last bit where activations and gradients are the same, and
//! within 1e-6 of a map's largest value where libtorch's convolutions take the same way for one image as for several.

use gradcam_core::kernel::KpcaKernel;
use gradcam_core::{
    AtLayer, CamError, GradientMethod, Maps, Stage, Stages, Target, eigen_cam, eigen_smoothing, fem, kpca_cam,
    weighted_cam,
};
use tch::{Kind, Tensor};

use crate::small_net::{largest_difference, normal};

type Method = Box<dyn Fn(&AtLayer<'_>) -> Result<Maps, CamError>>;

fn gradient_methods() -> Vec<(String, Method)> {
    let mut methods: Vec<(String, Method)> = Vec::new();
    for method in GradientMethod::ALL {
        methods.push((method.to_string(), Box::new(move |at| method.maps(at))));
        let smooth: Method = Box::new(move |at| eigen_smoothing(method, at));
        methods.push((format!("{method}, smooth"), smooth));
    }
    methods
}

fn methods() -> Vec<(String, Method)> {
    let mut methods = gradient_methods();
    let mut push = |name: &str, method: Method| methods.push((name.to_owned(), method));
    push("eigen-cam", Box::new(|at| eigen_cam(at.activations())));
    push("fem", Box::new(|at| fem(at.activations(), 1.0)));
    push(
        "kpca-cam",
        Box::new(|at| kpca_cam(at.activations(), KpcaKernel::default())),
    );
    push(
        "weighted cam",
        Box::new(|at| {
            let weights = at.gradients().flatten(2, -1).amax([2i64].as_slice(), false);
            weighted_cam(at.activations(), &weights)
        }),
    );
    methods
}

/// The activations are what goes in, and the gradients of a class are its weights, to the last bit.
fn given(weights: Tensor) -> Stages<'static> {
    Stages::new(vec![
        Stage::new("given", |x| Ok(x.shallow_clone())),
        Stage::new("logits", move |x| {
            let axes: Vec<i64> = (2..=x.dim() as i64).collect();
            x.f_unsqueeze(1)?
                .f_mul(&weights)?
                .f_sum_dim_intlist(axes.as_slice(), false, None)
        }),
    ])
    .unwrap()
}

#[test]
fn methods_do_not_see_the_batch() {
    for shape in [
        &[5, 6, 5, 7][..],
        &[4, 31, 1, 2],
        &[3, 512, 7, 7],
        &[4, 64, 14, 14],
        &[2, 9, 20, 33],
        &[3, 17, 5, 10],
        &[2, 8, 13, 13],
        &[3, 5, 3, 6, 4],
    ] {
        for kind in [Kind::Float, Kind::Double, Kind::BFloat16] {
            let input = normal(shape, 1).to_kind(kind);
            let weights = normal(&[&[3], &shape[1..]].concat(), 2).to_kind(kind);
            let stages = given(weights.shallow_clone());
            let classes: Vec<i64> = (0..shape[0]).map(|sample| (2 * sample + 1) % 3).collect();
            let targets: Vec<Target> = classes.iter().copied().map(Target::Class).collect();
            let batch = stages.capture(&input, &["given"]).unwrap();
            let gradients = batch.gradients(&targets).unwrap();
            let of_batch = gradients.at("given").unwrap();
            let chosen = weights.index_select(0, &Tensor::from_slice(&classes));
            assert_eq!(*of_batch.activations(), input);
            assert_eq!(*of_batch.gradients(), chosen);
            for (name, method) in methods() {
                let maps = method(&of_batch).unwrap();
                let size: Vec<i64> = shape[2..].iter().map(|extent| 2 * extent + 1).collect();
                let heat = maps.heatmaps(&size).unwrap();
                for (sample, target) in (0i64..).zip(&targets) {
                    let capture = stages.capture(&input.narrow(0, sample, 1), &["given"]).unwrap();
                    let gradients = capture.gradients(std::slice::from_ref(target)).unwrap();
                    let alone = method(&gradients.at("given").unwrap()).unwrap();
                    let expected = maps.tensor().narrow(0, sample, 1);
                    let difference = largest_difference(alone.tensor(), &expected);
                    assert_eq!(difference, 0.0, "{name} {shape:?} {kind:?}");
                    let alone = alone.heatmaps(&size).unwrap();
                    assert_eq!(*alone.tensor(), heat.tensor().narrow(0, sample, 1), "{name} {shape:?}");
                }
            }
        }
    }
}

/// Channels last, libtorch's sums over them go by how the values lie in memory.
#[test]
fn methods_hardly_see_the_batch_channels_last() {
    let channels_last = |tensor: &Tensor| tensor.permute([0, 2, 3, 1]).contiguous().permute([0, 3, 1, 2]);
    let mut worst = 0f64;
    for shape in [[5, 6, 5, 7], [3, 512, 7, 7], [4, 31, 14, 13]] {
        let input = channels_last(&normal(&shape, 1).relu());
        let stages = given(normal(&[3, shape[1], shape[2], shape[3]], 2));
        let targets: Vec<Target> = (0..shape[0]).map(|sample| Target::Class(sample % 3)).collect();
        let batch = stages.capture(&input, &["given"]).unwrap();
        let gradients = batch.gradients(&targets).unwrap();
        for (name, method) in methods() {
            let maps = method(&gradients.at("given").unwrap()).unwrap();
            for (sample, target) in (0i64..).zip(&targets) {
                let capture = stages.capture(&input.narrow(0, sample, 1), &["given"]).unwrap();
                let gradients = capture.gradients(std::slice::from_ref(target)).unwrap();
                let alone = method(&gradients.at("given").unwrap()).unwrap();
                let expected = maps.tensor().narrow(0, sample, 1);
                let size = expected.max().double_value(&[]).max(1e-30);
                let difference = largest_difference(alone.tensor(), &expected) / size;
                worst = worst.max(difference);
                assert!(difference <= 1e-6, "{name} {shape:?}: {difference:e}");
            }
        }
    }
    eprintln!("{worst:.1e} of the largest value");
}

/// Of a single image with fewer than 20 480 values libtorch's convolutions round otherwise than of several. These have
/// more on the way through both. Of a linear layer the same holds at any size, which a probability's gradient has to do
/// with, but a logit's has not.
#[test]
fn images_of_a_usual_size_get_the_same_in_a_batch() {
    let conv = |weight: Tensor, stride: i64| {
        move |x: &Tensor| {
            x.f_conv2d(&weight, None::<&Tensor>, [stride; 2], [1, 1], [1, 1], 1)?
                .f_relu()
        }
    };
    let head = normal(&[4, 16], 5);
    let stages = Stages::new(vec![
        Stage::new("first", conv(normal(&[8, 3, 3, 3], 3) * 0.3, 1)),
        Stage::new("second", conv(normal(&[16, 8, 3, 3], 4) * 0.2, 2)),
        Stage::new("logits", move |x| {
            x.f_mean_dim([2i64, 3].as_slice(), false, None)?
                .f_linear(&head, None::<&Tensor>)
        }),
    ])
    .unwrap();
    let input = normal(&[3, 3, 96, 96], 6);
    let targets = [Target::Class(3), Target::Predicted, Target::Class(0).counterfactual()];
    let batch = stages.capture(&input, &["first", "second"]).unwrap();
    let gradients = batch.gradients(&targets).unwrap();
    let mut worst = 0f64;
    for (sample, target) in (0i64..).zip(&targets) {
        let capture = stages
            .capture(&input.narrow(0, sample, 1), &["first", "second"])
            .unwrap();
        let alone = capture.gradients(std::slice::from_ref(target)).unwrap();
        for layer in ["first", "second"] {
            for (name, method) in gradient_methods() {
                let expected = method(&gradients.at(layer).unwrap()).unwrap();
                let expected = expected.tensor().narrow(0, sample, 1);
                let found = method(&alone.at(layer).unwrap()).unwrap();
                let size = expected.max().double_value(&[]).max(1e-30);
                let difference = largest_difference(found.tensor(), &expected) / size;
                worst = worst.max(difference);
                assert!(difference <= 1e-6, "{name} at {layer}: {difference:e}");
            }
        }
    }
    eprintln!("{worst:.1e} of the largest value");
}
