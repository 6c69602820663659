//! What every one-pass method has to do, and each method against its formula.

use gradcam_core::{
    AtLayer, CamError, Content, GradientMethod, Maps, Parallelism, Stage, Stages, Target, eigen_smoothing, kernel,
};
use ndarray::{ArrayD, Axis, IxDyn};
use proptest::prelude::*;
use tch::{Device, Kind, Tensor};

use crate::goldens::Golden;
use crate::small_net::{SmallNet, array, largest_difference, normal};

use GradientMethod::{EigenGradCam, ElementWiseGradCam, GradCam, GradCamPlusPlus, HiResCam, LayerCam, XGradCam};

fn on_arrays(method: GradientMethod, activations: &ArrayD<f32>, gradients: &ArrayD<f32>) -> ArrayD<f32> {
    let kernel = match method {
        GradCam => kernel::grad_cam,
        GradCamPlusPlus => kernel::grad_cam_plus_plus,
        XGradCam => kernel::x_grad_cam,
        HiResCam => kernel::hires_cam,
        ElementWiseGradCam => kernel::element_wise_grad_cam,
        LayerCam => kernel::layer_cam,
        EigenGradCam => kernel::eigen_grad_cam,
        other => panic!("no kernel is known of {other}"),
    };
    let parallel = kernel(activations.view(), gradients.view(), Parallelism::Rayon).unwrap();
    let serial = kernel(activations.view(), gradients.view(), Parallelism::Serial).unwrap();
    assert_eq!(serial, parallel, "{method}");
    parallel
}

/// What a method sums over the channels, as its formula says it, place by place and in double
/// precision.
fn plain_terms(method: GradientMethod, activations: &ArrayD<f32>, gradients: &ArrayD<f32>) -> ArrayD<f64> {
    let (a, g) = (activations.mapv(f64::from), gradients.mapv(f64::from));
    let planes = |array: &ArrayD<f64>| array.shape()[2..].iter().product::<usize>() as f64;
    let places = planes(&a);
    let mut terms = ArrayD::<f64>::zeros(a.raw_dim());
    for n in 0..a.shape()[0] {
        for k in 0..a.shape()[1] {
            let at = |array: &ArrayD<f64>| array.index_axis(Axis(0), n).index_axis(Axis(0), k).to_owned();
            let (a, g) = (at(&a), at(&g));
            let total = a.sum();
            let term = match method {
                GradCam => &a * (g.sum() / places),
                GradCamPlusPlus => {
                    let alpha = g.mapv(|g| {
                        if g == 0.0 {
                            0.0
                        } else {
                            g * g / (2.0 * g * g + total * g * g * g)
                        }
                    });
                    &a * (alpha * g.mapv(|g| g.max(0.0))).sum()
                }
                XGradCam if total == 0.0 => &a * 0.0,
                XGradCam => &a * ((&g * &a).sum() / total),
                HiResCam | EigenGradCam => &g * &a,
                ElementWiseGradCam => (&g * &a).mapv(|value| value.max(0.0)),
                LayerCam => g.mapv(|g| g.max(0.0)) * &a,
                other => panic!("no formula is known of {other}"),
            };
            terms
                .index_axis_mut(Axis(0), n)
                .index_axis_mut(Axis(0), k)
                .assign(&term);
        }
    }
    terms
}

/// The first principal component by libtorch's singular value decomposition, turned to go along
/// with the sum.
pub(crate) fn plain_component(terms: &ArrayD<f64>) -> ArrayD<f64> {
    let shape: Vec<i64> = terms.shape().iter().map(|&extent| extent as i64).collect();
    let tensor = Tensor::try_from(terms).unwrap().flatten(2, -1);
    let centred = &tensor - tensor.mean_dim([2i64].as_slice(), true, Kind::Double);
    let (_, values, vectors) = centred.svd(true, true);
    let map = vectors.select(2, 0) * values.narrow(1, 0, 1);
    let along = (&map * tensor.sum_dim_intlist([1i64].as_slice(), false, Kind::Double)).sum_dim_intlist(
        [1i64].as_slice(),
        true,
        Kind::Double,
    );
    let map = (map * along.sign()).view([&shape[..1], &shape[2..]].concat().as_slice());
    map.contiguous().as_ref().try_into().unwrap()
}

fn plain(method: GradientMethod, activations: &ArrayD<f32>, gradients: &ArrayD<f32>) -> ArrayD<f32> {
    let terms = plain_terms(method, activations, gradients);
    let sums = match method {
        EigenGradCam => plain_component(&terms),
        _ => terms.sum_axis(Axis(1)),
    };
    sums.mapv(|value| value.max(0.0) as f32)
}

/// The largest difference in units of the expected map's largest value.
fn relative(found: &ArrayD<f32>, expected: &ArrayD<f32>) -> f32 {
    assert_eq!(found.shape(), expected.shape());
    let largest = expected
        .iter()
        .fold(f32::MIN_POSITIVE, |most, value| most.max(value.abs()));
    (found - expected)
        .iter()
        .fold(0f32, |most, value| most.max(value.abs()))
        / largest
}

fn at<R>(stages: &Stages<'_>, input: &Tensor, layer: &str, targets: &[Target], run: impl Fn(&AtLayer<'_>) -> R) -> R {
    let capture = stages.capture(input, &[layer]).unwrap();
    run(&capture.gradients(targets).unwrap().at(layer).unwrap())
}

#[test]
fn every_method_equals_its_formula_and_its_kernel() {
    let targets = [Target::Class(2), Target::Class(0), Target::Predicted];
    for net in [SmallNet::images(1), SmallNet::volumes(1)] {
        let capture = net.stages().capture(&net.input(3, 2), &["relu1", "relu2"]).unwrap();
        let gradients = capture.gradients(&targets).unwrap();
        let against = targets.clone().map(Target::counterfactual);
        let against = capture.gradients(&against).unwrap();
        for layer in ["relu1", "relu2"] {
            for method in GradientMethod::ALL {
                let at = gradients.at(layer).unwrap();
                let (a, g) = (array(at.activations()), array(at.gradients()));
                let expected = plain(method, &a, &g);
                assert!(expected.iter().any(|&value| value > 0.0));
                let torch = method.maps(&at).unwrap().to_array().unwrap();
                for found in [torch, on_arrays(method, &a, &g)] {
                    let difference = relative(&found, &expected);
                    assert!(difference < 1e-5, "{method} at {layer}: {difference}");
                }
                // What speaks against a class is what its gradients, turned round, speak for.
                let found = method.maps(&against.at(layer).unwrap()).unwrap().to_array().unwrap();
                let difference = relative(&found, &plain(method, &a, &-g));
                assert!(difference < 1e-5, "{method} against at {layer}: {difference}");
            }
        }
    }
}

#[test]
fn eigen_smoothing_equals_its_formula_and_the_kernel() {
    for net in [SmallNet::images(5), SmallNet::volumes(5)] {
        let capture = net.stages().capture(&net.input(3, 6), &["relu1", "relu2"]).unwrap();
        let gradients = capture.gradients(&[const { Target::Predicted }; 3]).unwrap();
        for layer in ["relu1", "relu2"] {
            let at = gradients.at(layer).unwrap();
            let (a, g) = (array(at.activations()), array(at.gradients()));
            for method in GradientMethod::ALL {
                let terms = plain_terms(method, &a, &g);
                let expected = plain_component(&terms).mapv(|value| value.max(0.0) as f32);
                let smooth = eigen_smoothing(method, &at).unwrap().to_array().unwrap();
                let terms = terms.mapv(|value| value as f32);
                let kernel = kernel::principal_component(terms.view(), Parallelism::Rayon).unwrap();
                for found in [smooth, kernel.mapv(|value| value.max(0.0))] {
                    let difference = relative(&found, &expected);
                    assert!(difference < 1e-5, "{method} at {layer}: {difference}");
                }
            }
        }
        let at = gradients.at("relu2").unwrap();
        let smooth = eigen_smoothing(EigenGradCam, &at).unwrap();
        assert_eq!(smooth.tensor(), EigenGradCam.maps(&at).unwrap().tensor());
    }
}

/// With the sign that ours has: the peer's is arbitrary.
#[test]
fn eigen_smoothing_agrees_with_pytorch_grad_cam() {
    for golden in Golden::all() {
        for (name, method) in [
            ("grad_cam", GradCam),
            ("grad_cam_plus_plus", GradCamPlusPlus),
            ("x_grad_cam", XGradCam),
            ("hires_cam", HiResCam),
            ("element_wise_grad_cam", ElementWiseGradCam),
            ("layer_cam", LayerCam),
        ] {
            golden.check_gradient_method(&format!("eigen_smoothing_{name}"), |at| eigen_smoothing(method, at));
        }
    }
}

#[test]
fn a_batch_gives_each_sample_what_it_would_get_alone() {
    let targets = [
        Target::Class(3),
        Target::Predicted,
        Target::Class(0).probability(),
        Target::Class(1),
    ];
    for (mut net, kind) in [
        (SmallNet::images(2), Kind::Float),
        (SmallNet::volumes(2), Kind::Float),
        (SmallNet::images(2), Kind::Double),
        (SmallNet::volumes(2), Kind::Double),
    ] {
        net.variables.set_kind(kind);
        let (stages, input) = (net.stages(), net.input(4, 3).to_kind(kind));
        for layer in ["relu1", "relu2"] {
            for method in GradientMethod::ALL {
                for smooth in [false, true] {
                    let maps = |input: &Tensor, targets: &[Target]| {
                        at(&stages, input, layer, targets, |at| match smooth {
                            true => eigen_smoothing(method, at),
                            false => method.maps(at),
                        })
                        .unwrap()
                    };
                    let batch = maps(&input, &targets);
                    for (sample, target) in targets.iter().enumerate() {
                        let alone = maps(&input.narrow(0, sample as i64, 1), std::slice::from_ref(target));
                        let expected = batch.tensor().narrow(0, sample as i64, 1);
                        let scale = expected.max().double_value(&[]).max(1e-30);
                        let difference = largest_difference(alone.tensor(), &expected) / scale;
                        // For one image as small as these libtorch's convolutions round otherwise than for several, in
                        // single precision at the seventh figure of their largest values, and terms that cancel make more
                        // of that. `batch_equals_single.rs` holds the methods themselves to the last bit.
                        let tolerance = if kind == Kind::Double { 1e-6 } else { 1e-5 };
                        assert!(
                            difference < tolerance,
                            "{method}, smooth: {smooth}, at {layer}: {difference}"
                        );
                    }
                }
            }
        }
    }
}

/// Each activation is worth less than nothing to the class. A principal component is about
/// differences, and stays out.
#[test]
fn a_map_without_anything_positive_is_zero_and_flagged() {
    let net = Stages::new(vec![
        Stage::new("image", |x| x.f_relu()),
        Stage::new("against", |x| x.f_mean_dim([2i64, 3].as_slice(), false, None)?.f_neg()),
    ])
    .unwrap();
    let input = normal(&[2, 1, 4, 4], 1);
    for method in GradientMethod::ALL.into_iter().filter(|method| *method != EigenGradCam) {
        let maps = at(&net, &input, "image", &[const { Target::Class(0) }; 2], |at| {
            method.maps(at)
        })
        .unwrap();
        assert_eq!(maps.contents(), [Content::Zero; 2], "{method}");
    }
}

/// Nothing is seen in the first sample, and the same everywhere in the second.
#[test]
fn nothing_comes_of_nothing() {
    let net = Stages::new(vec![
        Stage::new("image", |x| x.f_relu()),
        Stage::new("mean", |x| x.f_mean_dim([2i64, 3].as_slice(), false, None)),
    ])
    .unwrap();
    let input = Tensor::zeros([2, 3, 5, 7], (Kind::Float, Device::Cpu));
    let _ = input.narrow(0, 1, 1).fill_(0.1);
    for method in GradientMethod::ALL {
        for smooth in [false, true] {
            let maps = at(
                &net,
                &input,
                "image",
                &[const { Target::Class(1) }; 2],
                |at| match smooth {
                    true => eigen_smoothing(method, at),
                    false => method.maps(at),
                },
            );
            let heat = maps.unwrap().heatmaps(&[20, 28]).unwrap();
            let second = match method {
                EigenGradCam => Content::Zero,
                _ if smooth => Content::Zero,
                _ => Content::Constant,
            };
            assert_eq!(heat.contents(), [Content::Zero, second], "{method}, smooth: {smooth}");
            assert_eq!(heat.tensor().abs().max().double_value(&[]), 0.0);
        }
    }
    let zeros = ArrayD::<f32>::zeros(IxDyn(&[2, 3, 5, 7]));
    for method in GradientMethod::ALL {
        assert!(
            on_arrays(method, &zeros, &zeros).iter().all(|&value| value == 0.0),
            "{method}"
        );
    }
}

/// Class 0 looks at the upper left quarter, and only there is anything to be seen; class 1 is
/// against it.
#[test]
fn a_network_that_sees_one_corner_lights_that_corner() {
    let mask = Tensor::zeros([1, 1, 16, 16], (Kind::Float, Device::Cpu));
    let _ = mask.narrow(2, 0, 8).narrow(3, 0, 8).fill_(1.0);
    let net = Stages::new(vec![
        Stage::new("seen", move |x| x.f_mul(&mask)),
        Stage::new("pool", |x| x.f_avg_pool2d([4, 4], [4, 4], [0, 0], false, true, None)),
        Stage::new("logits", |x| {
            let mean = x.f_mean_dim([1i64, 2, 3].as_slice(), false, None)?.f_unsqueeze(1)?;
            Tensor::f_cat(&[mean.shallow_clone(), mean.f_neg()?], 1)
        }),
    ])
    .unwrap();
    let image = normal(&[1, 2, 16, 16], 2).abs() + 0.5;
    for layer in ["seen", "pool"] {
        for method in GradientMethod::ALL {
            for smooth in [false, true] {
                let heat = |target: Target| {
                    let maps = at(&net, &image, layer, std::slice::from_ref(&target), |at| match smooth {
                        true => eigen_smoothing(method, at),
                        false => method.maps(at),
                    });
                    maps.unwrap().heatmaps(&[16, 16]).unwrap().tensor().shallow_clone()
                };
                let share = |heat: &Tensor| {
                    let corner = heat.narrow(1, 0, 8).narrow(2, 0, 8).sum(Kind::Float);
                    (corner / heat.sum(Kind::Float)).double_value(&[])
                };
                let what = format!("{method}, smooth: {smooth}, at {layer}");
                let seen = heat(Target::Class(0));
                assert!(share(&seen) > 0.75, "{what}: {}", share(&seen));
                assert_eq!(seen.narrow(1, 10, 6).max().double_value(&[]), 0.0, "{what}");
                // Against the other class it is the same evidence, and for it there is none in that corner.
                let difference = largest_difference(&heat(Target::Class(1).counterfactual()), &seen);
                assert!(difference < 1e-6, "{what}: {difference}");
                let other = heat(Target::Class(1));
                assert!(
                    other.sum(Kind::Float).double_value(&[]) == 0.0 || share(&other) < 0.25,
                    "{what}"
                );
            }
        }
    }
}

/// Logits ten times or a millionth as large leave the heatmap as it was, except that of Grad-CAM++,
/// whose formula holds the gradient against 2.
#[test]
fn scaling_the_head_leaves_the_heatmap() {
    let net = SmallNet::images(3);
    let input = net.input(2, 4);
    let heat = |method: GradientMethod, smooth: bool| {
        let maps = at(
            &net.stages(),
            &input,
            "relu2",
            &[Target::Class(1), Target::Class(2)],
            |at| match smooth {
                true => eigen_smoothing(method, at),
                false => method.maps(at),
            },
        );
        maps.unwrap().heatmaps(&[12, 17]).unwrap()
    };
    let all = || {
        let methods = GradientMethod::ALL
            .into_iter()
            .filter(|method| *method != GradCamPlusPlus);
        methods.flat_map(|method| [(method, false), (method, true)])
    };
    let before: Vec<_> = all().map(|(method, smooth)| heat(method, smooth)).collect();
    for scale in [10.0, 1e-7] {
        tch::no_grad(|| {
            for name in ["fc.weight", "fc.bias"] {
                let _ = net.variable(name).g_mul_scalar_(scale);
            }
        });
        for ((method, smooth), before) in all().zip(&before) {
            assert_eq!(before.contents(), [Content::Graded; 2]);
            let difference = largest_difference(before.tensor(), heat(method, smooth).tensor());
            assert!(difference < 1e-5, "{method}, smooth: {smooth}: {difference}");
        }
    }
}

/// With 1×1 convolutions and a mean the network cannot tell left from right.
#[test]
fn flips_commute() {
    let (weight, head) = (normal(&[5, 2, 1, 1], 3), normal(&[3, 5], 4));
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
    for method in GradientMethod::ALL {
        let heat = |input: &Tensor| {
            let maps = at(&net, input, "conv", &targets, |at| method.maps(at)).unwrap();
            maps.heatmaps(&[24, 36]).unwrap()
        };
        let straight = heat(&input);
        for axis in [1i64, 2] {
            let difference =
                largest_difference(&straight.tensor().flip([axis]), heat(&input.flip([axis + 1])).tensor());
            assert!(difference < 1e-5, "{method}: {difference}");
        }
    }
}

/// Half precision holds no number above 65504, which these sums pass by far: they are made in
/// single precision.
#[test]
fn half_precision_is_summed_in_single_precision() {
    let net = |kind: Kind| {
        Stages::new(vec![
            Stage::new("image", move |x| x.f_relu()?.f_to_kind(kind)),
            Stage::new("logit", |x| {
                let weights = Tensor::f_linspace(-1.0, 2.0, 300, (Kind::Float, Device::Cpu))?;
                let weighted = x.f_mul(&weights.f_view([1, 300, 1, 1])?.f_to_kind(x.kind())?)?;
                weighted
                    .f_sum_dim_intlist([1i64, 2, 3].as_slice(), false, Kind::Float)?
                    .f_unsqueeze(1)
            }),
        ])
        .unwrap()
    };
    let image = normal(&[1, 300, 4, 5], 6) * 3000.0;
    let target = [Target::Class(0)];
    for method in GradientMethod::ALL {
        let maps = |kind| at(&net(kind), &image, "image", &target, |at| method.maps(at)).unwrap();
        let expected = maps(Kind::Float).normalise().unwrap();
        for (kind, tolerance) in [(Kind::Half, 5e-3), (Kind::BFloat16, 4e-2)] {
            let found = maps(kind);
            assert_eq!(found.tensor().kind(), Kind::Float);
            let difference = largest_difference(found.normalise().unwrap().tensor(), expected.tensor());
            assert!(difference < tolerance, "{method} in {kind:?}: {difference}");
        }
        if ![GradCamPlusPlus, EigenGradCam].contains(&method) {
            assert!(maps(Kind::Half).tensor().max().double_value(&[]) > 65504.0, "{method}");
        }
    }
}

#[test]
fn what_is_no_feature_map_is_refused_by_name() {
    let net = SmallNet::images(4);
    let capture = net.stages().capture(&net.input(1, 1), &["pool"]).unwrap();
    let gradients = capture.gradients(&[Target::Predicted]).unwrap();
    let at = gradients.at("pool").unwrap();
    for method in GradientMethod::ALL {
        for result in [method.maps(&at), eigen_smoothing(method, &at)] {
            assert!(matches!(result, Err(CamError::NotSpatial { layer, .. }) if layer == "pool"));
        }
    }
}

/// Products beyond the largest number are no map.
#[test]
fn an_overflow_is_an_error() {
    let net = Stages::new(vec![
        Stage::new("image", |x| x.f_mul_scalar(1e30)),
        Stage::new("logit", |x| {
            let sum = x.f_sum_dim_intlist([1i64, 2, 3].as_slice(), false, Kind::Double)?;
            sum.f_mul_scalar(1e15)?.f_unsqueeze(1)
        }),
    ])
    .unwrap();
    let input = normal(&[2, 2, 3, 3], 7).abs();
    for method in GradientMethod::ALL
        .into_iter()
        .filter(|method| *method != GradCamPlusPlus)
    {
        let maps: Result<Maps, CamError> = at(&net, &input, "image", &[const { Target::Class(0) }; 2], |at| {
            method.maps(at)
        });
        assert!(
            matches!(maps, Err(CamError::NonFiniteMap { sample: 0 })),
            "{method}: {maps:?}"
        );
    }
}

#[test]
fn names_are_read_back() {
    for method in GradientMethod::ALL {
        assert_eq!(method.to_string(), method.name());
        for name in [
            method.name().to_owned(),
            method.name().to_uppercase(),
            method.name().replace('-', "_"),
        ] {
            assert_eq!(name.parse::<GradientMethod>().unwrap(), method);
        }
    }
    let error = "grad".parse::<GradientMethod>().unwrap_err();
    assert!(
        error
            .to_string()
            .starts_with("there is no method `grad`; there are: grad-cam, grad-cam++,")
    );
}

#[test]
fn the_peers_agree() {
    for golden in Golden::all() {
        for (method, name) in [
            (GradCamPlusPlus, "grad_cam_plus_plus"),
            (XGradCam, "x_grad_cam"),
            (HiResCam, "hires_cam"),
            (ElementWiseGradCam, "element_wise_grad_cam"),
            (LayerCam, "layer_cam"),
        ] {
            golden.check_gradient_method(name, |at| method.maps(at));
        }
        let capture = golden.stages().capture(&golden.images(), &golden.layers).unwrap();
        let gradients = capture.gradients(&golden.targets()).unwrap();
        for layer in golden.layers {
            let maps = EigenGradCam.maps(&gradients.at(layer).unwrap()).unwrap();
            golden.check_up_to_sign("eigen_grad_cam", layer, &maps);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, rng_seed: proptest::test_runner::RngSeed::Fixed(7), ..ProptestConfig::default() })]

    /// The map is about all channels together, whichever way they are numbered.
    #[test]
    fn permuting_channels_leaves_the_map(seed in 0i64..1000, channels in 1usize..40) {
        use rand::{SeedableRng, seq::SliceRandom};
        let shape = [2, channels as i64, 3, 5];
        let (activations, gradients) = (normal(&shape, seed).abs(), normal(&shape, seed + 1));
        let mut order: Vec<i64> = (0..channels as i64).collect();
        order.shuffle(&mut rand_chacha::ChaCha8Rng::seed_from_u64(seed as u64));
        let order = Tensor::from_slice(&order);
        for method in GradientMethod::ALL {
            let of = |a: &Tensor, g: &Tensor| on_arrays(method, &array(a), &array(g));
            let one = of(&activations, &gradients);
            let other = of(&activations.index_select(1, &order), &gradients.index_select(1, &order));
            prop_assert!(relative(&other, &one) < 1e-5, "{}", method);
        }
    }

    /// Kernels on awkward shapes against the formulas.
    #[test]
    fn kernels_equal_the_formulas(seed in 0i64..1000, n in 1i64..4, c in 1i64..20, h in 1i64..9, w in 2i64..50) {
        let shape = [n, c, h, w];
        let (activations, gradients) = (array(&normal(&shape, seed).relu()), array(&normal(&shape, seed + 1)));
        for method in GradientMethod::ALL {
            let found = on_arrays(method, &activations, &gradients);
            let expected = plain(method, &activations, &gradients);
            prop_assert!(relative(&found, &expected) < 2e-5, "{} {}", method, relative(&found, &expected));
        }
    }
}
