//! Grad-CAM's weighting on arrays beside what bounds it: copying activations and gradients once.
//!
//! `cargo bench --bench cam_kernel`

use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use gradcam_core::{Parallelism, kernel};
use ndarray::Array4;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;

/// The last stage of ResNet-50, VGG's last feature maps, and the first stage of ResNet-50, at 224 pixels.
const SHAPES: [(usize, usize, usize, usize); 3] = [(32, 2048, 7, 7), (32, 512, 14, 14), (8, 256, 56, 56)];

fn random(shape: (usize, usize, usize, usize), seed: u64) -> Array4<f32> {
    let mut generator = ChaCha8Rng::seed_from_u64(seed);
    Array4::from_shape_simple_fn(shape, || generator.random_range(-1.0..1.0))
}

/// Copies into memory that is there already, on all of rayon's threads.
fn copy(from: &[f32], to: &mut [f32]) {
    let piece = from.len().div_ceil(4 * rayon::current_num_threads());
    from.par_chunks(piece)
        .zip(to.par_chunks_mut(piece))
        .for_each(|(from, to)| to.copy_from_slice(from));
}

fn cam_kernel(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("cam_kernel");
    for shape in SHAPES {
        let (activations, gradients) = (random(shape, 1), random(shape, 2));
        let size = format!("{}x{}x{}x{}", shape.0, shape.1, shape.2, shape.3);
        group.throughput(Throughput::Bytes(2 * 4 * activations.len() as u64));

        for (name, parallelism) in [
            ("grad_cam", Parallelism::Rayon),
            ("grad_cam_serial", Parallelism::Serial),
        ] {
            group.bench_function(BenchmarkId::new(name, &size), |bencher| {
                bencher.iter(|| kernel::grad_cam(activations.view(), gradients.view(), parallelism).unwrap());
            });
        }

        let mut to = (vec![0f32; activations.len()], vec![0f32; gradients.len()]);
        let from = (activations.as_slice().unwrap(), gradients.as_slice().unwrap());
        group.bench_function(BenchmarkId::new("copy", &size), |bencher| {
            bencher.iter(|| {
                copy(black_box(from.0), &mut to.0);
                copy(black_box(from.1), &mut to.1);
                black_box(&mut to);
            });
        });
        group.bench_function(BenchmarkId::new("copy_serial", &size), |bencher| {
            bencher.iter(|| {
                to.0.copy_from_slice(black_box(from.0));
                to.1.copy_from_slice(black_box(from.1));
                black_box(&mut to);
            });
        });
    }
    group.finish();
}

criterion_group!(benches, cam_kernel);
criterion_main!(benches);
