//! Methods that look at activations only, on tensors and on arrays.

use gradcam_core::kernel::{self, KpcaKernel};
use gradcam_core::{CamError, Content, Maps, Parallelism, eigen_cam, fem, kpca_cam, weighted_cam};
use ndarray::{ArrayD, Axis};
use tch::{Device, Kind, Tensor};

use crate::goldens::Golden;
use crate::small_net::{array, largest_difference, normal};

fn close(a: &ArrayD<f32>, b: &ArrayD<f32>) -> bool {
    let size = a.iter().fold(1e-6f32, |size, value| size.max(value.abs()));
    a.shape() == b.shape() && a.iter().zip(b).all(|(a, b)| (a - b).abs() <= 1e-5 * size)
}

type Kernel = fn(&ArrayD<f32>, Parallelism) -> ArrayD<f32>;

const GAUSSIAN: KpcaKernel = KpcaKernel::Gaussian { gamma: Some(0.3) };

/// Feature maps of awkward sizes, images and volumes.
fn features() -> Vec<Tensor> {
    let shapes: [&[i64]; 7] = [
        &[1, 1, 1, 2],
        &[2, 1, 3, 3],
        &[3, 7, 5, 2],
        &[2, 31, 7, 7],
        &[1, 240, 4, 3],
        &[2, 5, 3, 4, 2],
        &[1, 3, 20, 30],
    ];
    (1..)
        .zip(shapes)
        .map(|(seed, shape)| normal(shape, seed).relu())
        .collect()
}

#[test]
fn tensors_and_arrays_agree() {
    for features in features() {
        let shape = features.size();
        let weights = normal(&shape[..2], 9);
        let (a, w) = (array(&features), array(&weights).into_dimensionality().unwrap());
        for parallelism in [Parallelism::Rayon, Parallelism::Serial] {
            let kernel = kernel::weighted_cam(a.view(), w.view(), parallelism).unwrap();
            assert!(close(
                &weighted_cam(&features, &weights).unwrap().to_array().unwrap(),
                &kernel
            ));
            for sigmas in [0.5, 2.0] {
                let kernel = kernel::fem(a.view(), sigmas, parallelism).unwrap();
                assert!(close(&fem(&features, sigmas).unwrap().to_array().unwrap(), &kernel));
            }
            let kernel = kernel::eigen_cam(a.view(), parallelism).unwrap();
            assert!(close(&eigen_cam(&features).unwrap().to_array().unwrap(), &kernel));
            for alike in [KpcaKernel::default(), GAUSSIAN] {
                let kernel = kernel::kpca_cam(a.view(), alike, parallelism).unwrap();
                assert!(close(&kpca_cam(&features, alike).unwrap().to_array().unwrap(), &kernel));
            }
        }
    }
}

#[test]
fn serial_equals_parallel_and_batch_equals_single() {
    for features in features() {
        let a = array(&features);
        let methods: [Kernel; 3] = [
            |a, parallelism| kernel::fem(a.view(), 2.0, parallelism).unwrap(),
            |a, parallelism| kernel::eigen_cam(a.view(), parallelism).unwrap(),
            |a, parallelism| kernel::kpca_cam(a.view(), GAUSSIAN, parallelism).unwrap(),
        ];
        for method in methods {
            let all = method(&a, Parallelism::Rayon);
            assert_eq!(all, method(&a, Parallelism::Serial));
            for (sample, map) in all.axis_iter(Axis(0)).enumerate() {
                let one = a.slice_axis(Axis(0), (sample..sample + 1).into()).to_owned();
                assert_eq!(method(&one, Parallelism::Rayon).index_axis(Axis(0), 0), map);
            }
        }
    }
}

#[test]
fn fem_agrees() {
    for golden in Golden::all() {
        let capture = golden.stages().capture(&golden.images(), &golden.layers).unwrap();
        for layer in golden.layers {
            golden.check("fem", layer, &fem(capture.activations(layer).unwrap(), 2.0).unwrap());
        }
    }
}

/// Whichever way the channels are numbered, and whichever way the image is turned.
#[test]
fn channels_permute_and_flips_commute() {
    type Method = fn(&Tensor) -> Result<Maps, CamError>;
    let methods: [(&str, Method); 4] = [
        ("eigen_cam", eigen_cam),
        ("kpca_cam", |features| kpca_cam(features, KpcaKernel::default())),
        ("kpca_cam, Gaussian", |features| kpca_cam(features, GAUSSIAN)),
        ("fem", |features| fem(features, 1.0)),
    ];
    for (seed, shape) in (0..).zip([&[2i64, 9, 5, 6][..], &[1, 31, 7, 4], &[2, 6, 3, 4, 5]]) {
        let features = normal(shape, 40 + seed).relu();
        let mut order: Vec<i64> = (0..shape[1]).collect();
        order.rotate_left(shape[1] as usize / 3);
        order.reverse();
        for (name, method) in methods {
            let maps = method(&features).unwrap();
            let size = maps.tensor().abs().max().double_value(&[]);
            let permuted = method(&features.index_select(1, &Tensor::from_slice(&order))).unwrap();
            let difference = largest_difference(maps.tensor(), permuted.tensor()) / size;
            assert!(difference < 1e-5, "{name}, permuted: {difference}");
            for axis in 2..shape.len() as i64 {
                let flipped = method(&features.flip([axis])).unwrap();
                let difference = largest_difference(&maps.tensor().flip([axis - 1]), flipped.tensor()) / size;
                assert!(difference < 1e-5, "{name}, flipped: {difference}");
            }
        }
    }
}

/// Against pytorch-grad-cam up to the sign, which is arbitrary there.
#[test]
fn eigen_cam_and_kpca_cam_agree() {
    for golden in Golden::all() {
        let capture = golden.stages().capture(&golden.images(), &golden.layers).unwrap();
        for layer in golden.layers {
            let activations = capture.activations(layer).unwrap();
            golden.check_up_to_sign("eigen_cam", layer, &eigen_cam(activations).unwrap());
            for (name, kernel) in [
                ("kpca_cam_sigmoid", KpcaKernel::default()),
                ("kpca_cam_rbf", KpcaKernel::Gaussian { gamma: None }),
            ] {
                golden.check_up_to_sign(name, layer, &kpca_cam(activations, kernel).unwrap());
            }
        }
    }
}

/// Where the channels are active together the map is high, whichever way the singular vector points.
#[test]
fn components_go_along_with_the_activations() {
    for seed in 0..20 {
        let spot = normal(&[1, 6, 5, 5], seed) * 0.1;
        let _ = spot.narrow(2, 1, 2).narrow(3, 2, 2).g_add_scalar_(3.0);
        for maps in [
            eigen_cam(&spot),
            kpca_cam(&spot, KpcaKernel::default()),
            kpca_cam(&spot, GAUSSIAN),
        ] {
            let heat = maps.unwrap().normalise().unwrap();
            let inside = heat.tensor().narrow(1, 1, 2).narrow(2, 2, 2).min().double_value(&[]);
            assert!(inside > 0.7, "{seed}: {inside}");
            assert!(heat.tensor().narrow(1, 3, 2).max().double_value(&[]) < 0.3);
        }
    }
}

/// Scikit-learn's kernel is that of the products when the Gaussian is wide: Eigen-CAM again.
#[test]
fn a_wide_gaussian_gives_eigen_cam() {
    let features = normal(&[2, 9, 5, 6], 3).relu();
    let wide = kpca_cam(&features, KpcaKernel::Gaussian { gamma: Some(1e-7) })
        .unwrap()
        .normalise()
        .unwrap();
    let plain = eigen_cam(&features).unwrap().normalise().unwrap();
    assert!((wide.tensor() - plain.tensor()).abs().max().double_value(&[]) < 1e-4);
}

#[test]
fn maps_with_nothing_in_them_are_flagged() {
    for value in [0.0, 0.7, -3.1] {
        let even = Tensor::full([2, 3, 5, 7], value, (Kind::Float, Device::Cpu));
        assert_eq!(fem(&even, 2.0).unwrap().contents(), [Content::Zero; 2]);
        assert_eq!(eigen_cam(&even).unwrap().contents(), [Content::Zero; 2]);
        for kernel in [KpcaKernel::default(), GAUSSIAN] {
            assert_eq!(kpca_cam(&even, kernel).unwrap().contents(), [Content::Zero; 2]);
        }
        let even = array(&even);
        for maps in [
            kernel::fem(even.view(), 2.0, Parallelism::Rayon),
            kernel::eigen_cam(even.view(), Parallelism::Rayon),
            kernel::kpca_cam(even.view(), KpcaKernel::default(), Parallelism::Rayon),
        ] {
            assert!(maps.unwrap().iter().all(|&value| value == 0.0));
        }
    }
}

#[test]
fn faults_are_errors() {
    let features = normal(&[2, 3, 4, 4], 1);
    let a = array(&features);
    assert!(matches!(fem(&features, f64::NAN), Err(CamError::Sigmas { .. })));
    assert!(matches!(
        kernel::fem(a.view(), f64::INFINITY, Parallelism::Rayon),
        Err(CamError::Sigmas { .. })
    ));
    assert!(matches!(
        fem(&features.flatten(1, -1), 2.0),
        Err(CamError::Shape { .. })
    ));
    let weights = normal(&[2, 4], 1);
    assert!(matches!(
        weighted_cam(&features, &weights),
        Err(CamError::WeightShape { .. })
    ));
    let weights = array(&weights).into_dimensionality().unwrap();
    assert!(matches!(
        kernel::weighted_cam(a.view(), weights.view(), Parallelism::Rayon),
        Err(CamError::WeightShape { .. })
    ));
    let bad = features.copy();
    let _ = bad.get(1).get(0).get(0).get(0).fill_(f64::NAN);
    for maps in [fem(&bad, 2.0), eigen_cam(&bad), kpca_cam(&bad, GAUSSIAN)] {
        assert!(matches!(maps, Err(CamError::NonFiniteMap { sample: 1 })));
    }
    let arrays = array(&bad);
    assert!(matches!(
        kernel::kpca_cam(arrays.view(), GAUSSIAN, Parallelism::Rayon),
        Err(CamError::NonFiniteMap { sample: 1 })
    ));
    let large = Tensor::zeros([1, 1, 182, 182], (Kind::Float, tch::Device::Cpu));
    assert!(matches!(
        kpca_cam(&large, GAUSSIAN),
        Err(CamError::TooManyPlaces {
            places: 33124,
            most: 32768
        })
    ));
    for gamma in [0.0, -1.0, f64::NAN] {
        let kernel = KpcaKernel::Gaussian { gamma: Some(gamma) };
        assert!(matches!(
            kpca_cam(&features, kernel),
            Err(CamError::KernelSettings { .. })
        ));
    }
    assert!(matches!(
        kernel::fem(array(&bad).view(), 2.0, Parallelism::Rayon),
        Err(CamError::NonFiniteMap { sample: 1 })
    ));
}
