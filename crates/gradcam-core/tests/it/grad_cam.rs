use std::collections::BTreeMap;
use std::path::Path;

use gradcam_core::{CamError, Content, Maps, Parallelism, Stage, Stages, Target, grad_cam, kernel};
use ndarray::ArrayD;
use proptest::prelude::*;
use tch::{Device, Kind, Tensor};

use crate::small_net::{SmallNet, array, largest_difference, normal};

fn maps(stages: &Stages<'_>, input: &Tensor, layer: &str, targets: &[Target]) -> Maps {
    let capture = stages.capture(input, &[layer]).unwrap();
    grad_cam(&capture.gradients(targets).unwrap().at(layer).unwrap()).unwrap()
}

/// The formula in four loops.
fn plain(activations: &ArrayD<f32>, gradients: &ArrayD<f32>) -> ArrayD<f32> {
    let shape = activations.shape().to_vec();
    let places: usize = shape[2..].iter().product();
    let (a, g) = (activations.as_slice().unwrap(), gradients.as_slice().unwrap());
    let mut out = vec![0f64; shape[0] * places];
    for n in 0..shape[0] {
        for k in 0..shape[1] {
            let start = (n * shape[1] + k) * places;
            let mut weight = 0f64;
            for s in 0..places {
                weight += f64::from(g[start + s]);
            }
            for s in 0..places {
                out[n * places + s] += weight / places as f64 * f64::from(a[start + s]);
            }
        }
    }
    let grid = [&shape[..1], &shape[2..]].concat();
    ArrayD::from_shape_vec(grid, out.iter().map(|&value| value.max(0.0) as f32).collect()).unwrap()
}

#[test]
fn equals_the_formula_and_the_kernel_on_images_and_volumes() {
    for net in [SmallNet::images(1), SmallNet::volumes(1)] {
        let capture = net
            .stages()
            .capture(&net.input(3, 2), &["conv1", "relu1", "relu2"])
            .unwrap();
        let gradients = capture
            .gradients(&[Target::Class(2), Target::Class(0), Target::Predicted])
            .unwrap();
        for layer in ["conv1", "relu1", "relu2"] {
            let at = gradients.at(layer).unwrap();
            let (a, g) = (array(at.activations()), array(at.gradients()));
            let expected = plain(&a, &g);
            let torch = grad_cam(&at).unwrap().to_array().unwrap();
            let kernel = kernel::grad_cam(a.view(), g.view(), Parallelism::Rayon).unwrap();
            for found in [torch, kernel] {
                assert_eq!(found.shape(), expected.shape());
                assert!((found - &expected).iter().all(|difference| difference.abs() < 1e-5));
            }
        }
    }
}

#[test]
fn a_batch_gives_each_sample_what_it_would_get_alone() {
    for net in [SmallNet::images(2), SmallNet::volumes(2)] {
        let (stages, input) = (net.stages(), net.input(4, 3));
        let targets = [Target::Class(3), Target::Predicted, Target::Class(0), Target::Class(1)];
        for layer in ["relu1", "relu2"] {
            let batch = maps(&stages, &input, layer, &targets);
            let size: Vec<i64> = input.size()[2..].to_vec();
            let heat = batch.heatmaps(&size).unwrap();
            for (sample, target) in (0i64..).zip(&targets) {
                let single = maps(
                    &stages,
                    &input.narrow(0, sample, 1),
                    layer,
                    std::slice::from_ref(target),
                );
                let difference = largest_difference(&batch.tensor().narrow(0, sample, 1), single.tensor());
                assert!(difference < 1e-5, "{layer} {sample}: {difference}");
                let single = single.heatmaps(&size).unwrap();
                assert!(largest_difference(&heat.tensor().narrow(0, sample, 1), single.tensor()) < 1e-5);
            }
        }
    }
}

/// Nothing speaks for the class: the map is zero, and is said to be.
#[test]
fn a_map_without_anything_positive_is_zero_and_flagged() {
    let net = Stages::new(vec![
        Stage::new("image", |x| x.f_relu()),
        Stage::new("against", |x| x.f_mean_dim([2i64, 3].as_slice(), false, None)?.f_neg()),
    ])
    .unwrap();
    let heat = maps(
        &net,
        &normal(&[2, 1, 4, 4], 1),
        "image",
        &[const { Target::Class(0) }; 2],
    )
    .heatmaps(&[8, 8])
    .unwrap();
    assert_eq!(heat.contents(), [Content::Zero; 2]);
    assert_eq!(heat.tensor().abs().max().double_value(&[]), 0.0);
}

/// Class 0 looks at the upper left quarter only; the activations are the same everywhere else.
#[test]
fn a_network_that_sees_one_corner_lights_that_corner() {
    let mask = Tensor::zeros([1, 1, 16, 16], (Kind::Float, Device::Cpu));
    let _ = mask.narrow(2, 0, 8).narrow(3, 0, 8).fill_(1.0);
    let net = Stages::new(vec![
        Stage::new("seen", move |x| x.f_mul(&mask)),
        Stage::new("pool", |x| x.f_avg_pool2d([4, 4], [4, 4], [0, 0], false, true, None)),
        Stage::new("logit", |x| x.f_mean_dim([2i64, 3].as_slice(), false, None)),
    ])
    .unwrap();
    let image = normal(&[1, 1, 16, 16], 2).abs();
    for layer in ["seen", "pool"] {
        let heat = maps(&net, &image, layer, &[Target::Class(0)])
            .heatmaps(&[16, 16])
            .unwrap();
        let corner = heat.tensor().narrow(1, 0, 8).narrow(2, 0, 8);
        let far = heat.tensor().narrow(1, 10, 6);
        assert_eq!(corner.max().double_value(&[]), 1.0);
        assert_eq!(far.max().double_value(&[]), 0.0);
        let share = corner.sum(Kind::Float) / heat.tensor().sum(Kind::Float);
        assert!(share.double_value(&[]) > 0.75, "{layer}");
    }
}

/// With 1×1 convolutions and a mean the network cannot tell left from right.
#[test]
fn flips_commute() {
    let weight = normal(&[5, 2, 1, 1], 3);
    let head = normal(&[3, 5], 4);
    let net = Stages::new(vec![
        Stage::new("conv", move |x| {
            x.f_conv2d(&weight, None::<&Tensor>, [1, 1], [0, 0], [1, 1], 1)?
                .f_relu()
        }),
        Stage::new("pool", |x| x.f_mean_dim([2i64, 3].as_slice(), false, None)),
        Stage::new("head", move |x| x.f_linear(&head, None::<&Tensor>)),
    ])
    .unwrap();
    let input = normal(&[2, 2, 6, 9], 5);
    let targets = [Target::Class(0), Target::Class(2)];
    let heat = maps(&net, &input, "conv", &targets).heatmaps(&[24, 36]).unwrap();
    for axis in [1i64, 2] {
        let flipped = maps(&net, &input.flip([axis + 1]), "conv", &targets)
            .heatmaps(&[24, 36])
            .unwrap();
        assert!(largest_difference(&heat.tensor().flip([axis]), flipped.tensor()) < 1e-5);
    }
}

/// Logits ten times or a billionth as large leave the heatmap as it was.
#[test]
fn scaling_the_head_leaves_the_heatmap() {
    let net = SmallNet::images(3);
    let input = net.input(2, 4);
    let heat = || {
        maps(&net.stages(), &input, "relu2", &[Target::Class(1), Target::Class(2)])
            .heatmaps(&[12, 17])
            .unwrap()
    };
    let plain = heat();
    assert_eq!(plain.contents(), [Content::Graded; 2]);
    for scale in [10.0, 1e-10] {
        tch::no_grad(|| {
            for name in ["fc.weight", "fc.bias"] {
                let _ = net.variable(name).g_mul_scalar_(scale);
            }
        });
        assert!(largest_difference(plain.tensor(), heat().tensor()) < 1e-5);
    }
}

#[test]
fn half_precision_gives_single_precision_maps() {
    let net = Stages::new(vec![
        Stage::new("image", |x| x.f_to_kind(Kind::BFloat16)),
        Stage::new("pool", |x| x.f_mean_dim([2i64, 3].as_slice(), false, None)),
    ])
    .unwrap();
    let image = normal(&[1, 1, 4, 4], 6);
    let found = maps(&net, &image, "image", &[Target::Class(0)]);
    assert_eq!(found.tensor().kind(), Kind::Float);
    assert!(largest_difference(found.tensor(), &(image.squeeze_dim(1).relu() / 16.0)) < 1e-2);
}

#[test]
fn a_layer_that_is_no_feature_map_is_refused_by_name() {
    let net = SmallNet::images(4);
    let capture = net.stages().capture(&net.input(1, 1), &["pool"]).unwrap();
    let gradients = capture.gradients(&[Target::Predicted]).unwrap();
    let error = grad_cam(&gradients.at("pool").unwrap()).unwrap_err();
    assert!(matches!(error, CamError::NotSpatial { layer, shape, batch: 1 } if layer == "pool" && shape == [1, 8]));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, rng_seed: proptest::test_runner::RngSeed::Fixed(7), ..ProptestConfig::default() })]

    /// The map is a sum over the channels, whichever way they are numbered.
    #[test]
    fn permuting_channels_leaves_the_map(seed in 0i64..1000, channels in 1usize..40) {
        use rand::{SeedableRng, seq::SliceRandom};
        let shape = [2, channels as i64, 3, 5];
        let (activations, gradients) = (normal(&shape, seed), normal(&shape, seed + 1));
        let mut order: Vec<i64> = (0..channels as i64).collect();
        order.shuffle(&mut rand_chacha::ChaCha8Rng::seed_from_u64(seed as u64));
        let order = Tensor::from_slice(&order);
        let of = |a: &Tensor, g: &Tensor| {
            kernel::grad_cam(array(a).view(), array(g).view(), Parallelism::Rayon).unwrap()
        };
        let one = of(&activations, &gradients);
        let other = of(&activations.index_select(1, &order), &gradients.index_select(1, &order));
        prop_assert!((one - other).iter().all(|difference| difference.abs() < 1e-5));
    }
}

/// pytorch-grad-cam 1.5.7 on the same weights; see `tests/goldens/make.py`. It resizes with OpenCV
/// in single precision and adds 1e-7 to the range: 1e-4 leaves room for both.
#[test]
fn agrees_with_pytorch_grad_cam() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/goldens/grad_cam_two_layers.safetensors");
    let golden: BTreeMap<String, Tensor> = Tensor::read_safetensors(path).unwrap().into_iter().collect();
    let get = |name: &str| golden[name].shallow_clone();
    let conv = |name: &'static str, stride: i64, padding: i64| {
        let (weight, bias) = (get(&format!("{name}.weight")), get(&format!("{name}.bias")));
        Stage::new(name, move |x| {
            x.f_conv2d(&weight, Some(&bias), [stride; 2], [padding; 2], [1, 1], 1)
        })
    };
    let (weight, bias) = (get("fc.weight"), get("fc.bias"));
    let net = Stages::new(vec![
        conv("conv1", 1, 1),
        Stage::new("relu1", |x| x.f_relu()),
        conv("conv2", 2, 0),
        Stage::new("relu2", |x| x.f_relu()),
        Stage::new("pool", |x| x.f_mean_dim([2i64, 3].as_slice(), false, None)),
        Stage::new("fc", move |x| x.f_linear(&weight, Some(&bias))),
    ])
    .unwrap();
    let targets: Vec<Target> = Vec::<i64>::try_from(get("targets"))
        .unwrap()
        .into_iter()
        .map(Target::Class)
        .collect();
    let capture = net.capture(&get("images"), &["relu1", "relu2"]).unwrap();
    assert!(largest_difference(capture.logits(), &get("logits")) < 1e-6);
    let gradients = capture.gradients(&targets).unwrap();
    for layer in ["relu1", "relu2"] {
        let heat = grad_cam(&gradients.at(layer).unwrap())
            .unwrap()
            .heatmaps(&[12, 17])
            .unwrap();
        let difference = largest_difference(heat.tensor(), &get(&format!("maps.{layer}")));
        assert!(difference < 1e-4, "{layer}: {difference}");
    }
}
