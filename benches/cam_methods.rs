//! Methods beside the forward pass that they need, on ResNet-18 with random weights at 224 pixels; and what one capture for
//! several methods, targets and layers saves.
//!
//! Left out are Score-CAM, SS-CAM, IS-CAM, Group-CAM, RISE and occlusion sensitivity, which are so many forward passes of the
//! network (`cargo xtask bench-peers gradcam` times Score-CAM); test-time augmentation, fusion and Refine-CAM, which are so many
//! runs of a method that is timed here; and deep feature factorisation, Guided Grad-CAM's product, channel weights of one's own
//! and random CAM, which ask nothing more of the network.
//!
//! `cargo bench --bench cam_methods`

use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use gradcam_core::kernel::KpcaKernel;
use gradcam_core::{
    CamError, Capture, FinerCam, GradientMethod, Maps, Probe, ReciproMask, Rescaling, SmoothGradCamPlusPlus, Stage,
    Stages, Target, ablation_cam, cam, eigen_cam, eigen_smoothing, fem, finer_cam, full_grad, guided_backpropagation,
    kpca_cam, recipro_cam, seg_eigen_cam, shapley_cam, smooth_grad_cam_plus_plus,
};
use models::{Architecture, Network, NetworkConfig};
use tch::{Device, Kind, Tensor};

const BATCH: i64 = 8;
const LAYERS: [&str; 2] = ["layer3.1", "layer4.1"];
const LAST: &str = LAYERS[1];

fn stages(network: &Network) -> Stages<'_> {
    let stages = network.stages().iter();
    let stages = stages.map(|stage| Stage::carrying(stage.name(), |x, carried| stage.forward_carrying(x, carried)));
    let stages = Stages::new(stages.collect()).expect("the names of a network's stages differ");
    stages.with_fused(|range, x, carried| network.forward_stages(range, x, carried))
}

fn targets(offset: i64) -> Vec<Target> {
    (0..BATCH).map(|sample| Target::Class(sample + offset)).collect()
}

/// Every one-pass method's maps at some layers.
fn every_map(capture: &Capture, layers: &[&str], offset: i64) -> Result<(), CamError> {
    let gradients = capture.gradients(&targets(offset))?;
    for layer in layers {
        for method in GradientMethod::ALL {
            black_box(method.maps(&gradients.at(layer)?)?);
        }
    }
    Ok(())
}

fn cam_methods(criterion: &mut Criterion) {
    models::keep_freed_memory();
    let network = NetworkConfig::new(Architecture::ResNet18)
        .build(Device::Cpu)
        .expect("ResNet-18");
    let stages = stages(&network);
    let images = Tensor::rand([BATCH, 3, 224, 224], (Kind::Float, Device::Cpu));
    let images = network.input().prepare(&images).expect("images of three channels");
    let size = format!("{BATCH}x3x224x224");

    let mut group = criterion.benchmark_group("cam_methods");
    group.sample_size(10);
    group.throughput(Throughput::Elements(BATCH as u64));
    group.bench_function(BenchmarkId::new("forward", &size), |bencher| {
        let _no_grad = tch::no_grad_guard();
        bencher.iter(|| stages.forward(&images).unwrap());
    });
    for method in GradientMethod::ALL {
        group.bench_function(BenchmarkId::new(method.name(), &size), |bencher| {
            bencher.iter(|| -> Result<_, CamError> {
                let capture = stages.capture(&images, &[LAST])?;
                method.maps(&capture.gradients(&targets(0))?.at(LAST)?)
            });
        });
    }

    // What comes on top of one capture.
    let capture = stages.capture(&images, &[LAST]).expect("a capture");
    let classes = targets(0);
    let probe = Probe::from_capture(&stages, &images, &capture, &classes).expect("a probe");
    let mut on_top = |name: &str, run: &dyn Fn() -> Result<Maps, CamError>| {
        group.bench_function(BenchmarkId::new(format!("after_capture/{name}"), &size), |bencher| {
            bencher.iter(|| run().unwrap());
        });
    };
    on_top("shapley_cam", &|| shapley_cam(&capture, LAST, &classes));
    on_top("finer_cam", &|| {
        finer_cam(&capture, LAST, &classes, &FinerCam::default())
    });
    for method in [GradientMethod::GradCam, GradientMethod::LayerCam] {
        on_top(&format!("eigen_smoothing/{method}"), &|| {
            eigen_smoothing(method, &capture.gradients(&classes)?.at(LAST)?)
        });
    }
    on_top("seg_eigen_cam", &|| {
        seg_eigen_cam(&capture.gradients(&classes)?.at(LAST)?)
    });
    on_top("eigen_cam", &|| eigen_cam(capture.activations(LAST)?));
    on_top("kpca_cam", &|| {
        kpca_cam(capture.activations(LAST)?, KpcaKernel::default())
    });
    on_top("fem", &|| fem(capture.activations(LAST)?, 2.0));
    on_top("ablation_cam", &|| ablation_cam(&probe, LAST));
    on_top("recipro_cam", &|| recipro_cam(&probe, LAST, ReciproMask::default()));
    on_top("cam", &|| cam(&probe, LAST));

    // What needs the network more than once.
    // ResNet's other ReLUs are inside its blocks.
    group.bench_function(BenchmarkId::new("guided_backpropagation", &size), |bencher| {
        bencher.iter(|| guided_backpropagation(&stages, &images, &["relu"], &classes).unwrap());
    });
    group.bench_function(BenchmarkId::new("smooth_grad_cam_plus_plus", &size), |bencher| {
        let settings = SmoothGradCamPlusPlus::default();
        bencher.iter(|| smooth_grad_cam_plus_plus(&stages, &images, LAST, &classes, &settings).unwrap());
    });
    group.bench_function(BenchmarkId::new("full_grad", &size), |bencher| {
        bencher.iter(|| full_grad(&stages, &images, &classes, Rescaling::Channel).unwrap());
    });

    // Two layers and three lists of targets.
    group.bench_function(BenchmarkId::new("shared/one_capture", &size), |bencher| {
        bencher.iter(|| -> Result<(), CamError> {
            let capture = stages.capture(&images, &LAYERS)?;
            for offset in 0..3 {
                every_map(&capture, &LAYERS, offset)?;
            }
            Ok(())
        });
    });
    group.bench_function(BenchmarkId::new("shared/a_capture_each", &size), |bencher| {
        bencher.iter(|| -> Result<(), CamError> {
            for offset in 0..3 {
                for layer in LAYERS {
                    every_map(&stages.capture(&images, &[layer])?, &[layer], offset)?;
                }
            }
            Ok(())
        });
    });
    group.finish();
}

criterion_group!(benches, cam_methods);
criterion_main!(benches);
