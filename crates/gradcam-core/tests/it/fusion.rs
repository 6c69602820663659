use gradcam_core::{AtLayer, CamError, Content, Fusion, Maps, Parallelism, fuse, grad_cam, kernel, layer_cam};
use tch::{Device, Kind, Tensor};

use crate::goldens::{Golden, MAPS};
use crate::small_net::{largest_difference, normal};

const ALL: [Fusion; 4] = [Fusion::Mean, Fusion::Maximum, Fusion::Product, Fusion::LAYER_CAM];

fn maps(shape: &[i64], seed: i64) -> Maps {
    Maps::new(&normal(shape, seed)).unwrap()
}

/// pytorch-grad-cam 1.5.7 with two target layers, torch-cam 0.5.0's Grad-CAM, Refine-CAM and LayerCAM; see
/// `tests/goldens/composition.py`.
#[test]
fn agrees_with_pytorch_grad_cam_and_torch_cam() {
    for golden in Golden::all() {
        let (capture, layers) = (
            golden.stages().capture(&golden.images(), &golden.layers).unwrap(),
            golden.layers,
        );
        let gradients = capture.gradients(&golden.targets()).unwrap();
        let size = &golden.images().size()[2..];
        let of = |method: fn(&AtLayer<'_>) -> Result<Maps, CamError>, fusion| {
            let [first, second] = layers.map(|layer| method(&gradients.at(layer).unwrap()).unwrap());
            fuse(&[&first, &second], size, fusion).unwrap()
        };
        for (key, fusion) in [
            ("fused.mean", Fusion::Mean),
            ("fused.maximum", Fusion::Maximum),
            ("fused.product", Fusion::Product),
        ] {
            golden.check_values(key, of(grad_cam, fusion).normalise().unwrap().tensor(), MAPS);
        }
        golden.check_values("fused.layer_cam", of(layer_cam, Fusion::LAYER_CAM).tensor(), MAPS);
    }
}

/// Each formula in the words of its documentation, on images and volumes.
#[test]
fn each_fusion_is_its_formula() {
    for (grids, size) in [
        ([vec![3i64, 4, 5], vec![3, 2, 3], vec![3, 7, 1]], vec![9i64, 11]),
        ([vec![2, 2, 3, 2], vec![2, 4, 4, 4], vec![2, 1, 1, 5]], vec![4, 6, 5]),
    ] {
        let layers = [0, 1, 2].map(|index| maps(&grids[index], index as i64));
        let scaled: Vec<Tensor> = layers
            .iter()
            .map(|layer| {
                let heat = layer.normalise().unwrap();
                let up = Maps::new(heat.tensor()).unwrap().upsample(&size).unwrap();
                up.tensor().shallow_clone()
            })
            .collect();
        let lifted: Vec<Tensor> = layers
            .iter()
            .map(|layer| {
                let positive = layer.tensor().clamp_min(0.0);
                let axes: Vec<i64> = (1..positive.dim() as i64).collect();
                let up = Maps::new(&(&positive / positive.amax(axes.as_slice(), true) * 2.0).tanh()).unwrap();
                up.upsample(&size).unwrap().tensor().shallow_clone()
            })
            .collect();
        let references = layers.each_ref();
        let of = |fusion| fuse(&references, &size, fusion).unwrap().tensor().shallow_clone();
        let stack = Tensor::stack(&scaled, 0);
        for (found, expected) in [
            (of(Fusion::Mean), stack.mean_dim([0i64].as_slice(), false, Kind::Float)),
            (of(Fusion::Maximum), stack.amax([0i64].as_slice(), false)),
            (of(Fusion::Product), &scaled[0] * &scaled[1] * &scaled[2]),
            (
                of(Fusion::LAYER_CAM),
                Tensor::stack(&lifted, 0).amax([0i64].as_slice(), false),
            ),
        ] {
            assert!(largest_difference(&found, &expected) < 1e-6);
        }
    }
}

#[test]
fn the_order_of_layers_and_the_scale_of_a_layer_do_not_count() {
    let (a, b) = (maps(&[2, 5, 5], 1), maps(&[2, 3, 4], 2));
    let faint = Maps::new(&(b.tensor() * 1e-20)).unwrap();
    for fusion in ALL {
        let one = fuse(&[&a, &b], &[10, 12], fusion).unwrap();
        for other in [[&b, &a], [&a, &faint]] {
            let other = fuse(&other, &[10, 12], fusion).unwrap();
            assert!(largest_difference(one.tensor(), other.tensor()) < 1e-6, "{fusion:?}");
        }
    }
}

#[test]
fn a_batch_gives_each_sample_what_it_would_get_alone() {
    let (a, b) = (maps(&[3, 5, 5], 1), maps(&[3, 3, 4], 2));
    for fusion in ALL {
        let batch = fuse(&[&a, &b], &[10, 12], fusion).unwrap();
        for sample in 0..3 {
            let [one, two] = [&a, &b].map(|maps| Maps::new(&maps.tensor().narrow(0, sample, 1)).unwrap());
            let alone = fuse(&[&one, &two], &[10, 12], fusion).unwrap();
            let difference = largest_difference(&batch.tensor().narrow(0, sample, 1), alone.tensor());
            assert_eq!(difference, 0.0, "{fusion:?}");
        }
    }
}

#[test]
fn tensors_and_arrays_agree() {
    let empty = Maps::new(&Tensor::zeros([2, 2, 2], (Kind::Float, Device::Cpu))).unwrap();
    let faint = Maps::new(&(normal(&[2, 3, 4], 5) * 1e-30)).unwrap();
    for (layers, size) in [
        (vec![maps(&[2, 5, 5], 1), maps(&[2, 3, 4], 2), faint], vec![10, 12]),
        (vec![maps(&[2, 5, 5], 3), empty], vec![9, 5]),
        (vec![maps(&[3, 2, 3, 4], 4), maps(&[3, 4, 1, 2], 5)], vec![4, 6, 7]),
        (vec![maps(&[1, 1, 1], 6)], vec![3, 3]),
    ] {
        let arrays: Vec<_> = layers.iter().map(|layer| layer.to_array().unwrap()).collect();
        let views: Vec<_> = arrays.iter().map(|array| array.view()).collect();
        let (on_tensors, on_arrays) = (layers.iter().collect::<Vec<_>>(), &views);
        let grid: Vec<usize> = size.iter().map(|&extent| extent as usize).collect();
        for fusion in ALL {
            let expected = fuse(&on_tensors, &size, fusion).unwrap().to_array().unwrap();
            for parallelism in [Parallelism::Rayon, Parallelism::Serial] {
                let found = kernel::fuse(on_arrays, &grid, fusion, parallelism).unwrap();
                assert_eq!(found.shape(), expected.shape());
                let difference = (&found - &expected)
                    .iter()
                    .fold(0f32, |most, value| most.max(value.abs()));
                assert!(difference < 1e-5, "{fusion:?}: {difference}");
            }
        }
    }
}

#[test]
fn arrays_that_cannot_be_fused_are_refused() {
    let run = |layers: &[ndarray::ArrayView3<'_, f32>], size: &[usize], fusion| {
        kernel::fuse(layers, size, fusion, Parallelism::Serial)
    };
    let (a, b) = (
        ndarray::Array3::<f32>::ones((2, 5, 5)),
        ndarray::Array3::<f32>::ones((3, 5, 5)),
    );
    assert!(matches!(run(&[], &[5, 5], Fusion::Mean), Err(CamError::NoMaps)));
    let empty = ndarray::Array3::<f32>::ones((0, 5, 5));
    assert!(matches!(
        run(&[empty.view()], &[5, 5], Fusion::Mean),
        Err(CamError::Shape { .. })
    ));
    let mixed = run(&[a.view(), b.view()], &[5, 5], Fusion::Mean);
    assert!(matches!(mixed, Err(CamError::MapBatch { found: 3, expected: 2 })));
    for fusion in ALL {
        assert!(matches!(run(&[a.view()], &[5], fusion), Err(CamError::Size { .. })));
        let mut spoilt = b.clone();
        spoilt[[2, 0, 4]] = f32::NAN;
        let found = run(&[b.view(), spoilt.view()], &[5, 5], fusion);
        assert!(matches!(found, Err(CamError::NonFiniteMap { sample: 2 })), "{fusion:?}");
    }
    let gamma = f64::NAN;
    let found = run(&[a.view()], &[5, 5], Fusion::Scaled { gamma });
    assert!(matches!(found, Err(CamError::Gamma { .. })));
}

/// A layer without a map is zero: it takes part, and never turns anything into NaN.
#[test]
fn an_empty_layer_counts_as_zero() {
    let full = maps(&[1, 4, 4], 3);
    let empty = Maps::new(&Tensor::zeros([1, 2, 2], (Kind::Float, Device::Cpu))).unwrap();
    let of = |fusion| fuse(&[&full, &empty], &[4, 4], fusion).unwrap();
    let alone = |fusion| fuse(&[&full], &[4, 4], fusion).unwrap();
    let halved = alone(Fusion::Mean).tensor() / 2.0;
    assert!(largest_difference(of(Fusion::Mean).tensor(), &halved) < 1e-7);
    for fusion in [Fusion::Maximum, Fusion::LAYER_CAM] {
        assert_eq!(largest_difference(of(fusion).tensor(), alone(fusion).tensor()), 0.0);
    }
    assert_eq!(of(Fusion::Product).contents(), [Content::Zero]);
    for fusion in ALL {
        let nothing = fuse(&[&empty, &empty], &[4, 4], fusion).unwrap();
        assert_eq!(nothing.contents(), [Content::Zero]);
    }
}

#[test]
fn layers_that_cannot_be_fused_are_refused() {
    let (a, b) = (maps(&[2, 5, 5], 1), maps(&[3, 5, 5], 2));
    assert!(matches!(fuse(&[], &[5, 5], Fusion::Mean), Err(CamError::NoMaps)));
    assert!(matches!(
        fuse(&[&a, &b], &[5, 5], Fusion::Mean),
        Err(CamError::MapBatch { found: 3, expected: 2 })
    ));
    assert!(matches!(fuse(&[&a], &[5], Fusion::Mean), Err(CamError::Size { .. })));
    for gamma in [0.0, -1.0, f64::NAN, f64::INFINITY] {
        let result = fuse(&[&a], &[5, 5], Fusion::Scaled { gamma });
        assert!(matches!(result, Err(CamError::Gamma { .. })));
    }
}
