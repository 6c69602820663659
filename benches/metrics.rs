//! Scores of masks beside what bounds them: reading both masks once.
//!
//! `cargo bench --bench metrics`

use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use ndarray::{Array2, Array3, ArrayView, Dimension};
use rayon::prelude::*;
use seg_metrics::{Confusion, Connectivity, Lesions, SurfaceDistances, components, distance_transform};

/// An ellipsoid in a volume of a shape, by its centre and half axes in shares of the sides.
fn ellipsoid(shape: [usize; 3], centre: [f64; 3], half: [f64; 3]) -> Array3<bool> {
    Array3::from_shape_fn(shape, |(z, y, x)| {
        let way = |at: usize, axis: usize| {
            let side = shape[axis] as f64;
            ((at as f64 - centre[axis] * side) / (half[axis] * side)).powi(2)
        };
        way(z, 0) + way(y, 1) + way(x, 2) <= 1.0
    })
}

/// Two that overlap, as a brain tumour and a guess at it might.
fn volumes(shape: [usize; 3]) -> (Array3<bool>, Array3<bool>) {
    (
        ellipsoid(shape, [0.5, 0.5, 0.5], [0.19, 0.19, 0.17]),
        ellipsoid(shape, [0.53, 0.53, 0.47], [0.21, 0.17, 0.19]),
    )
}

fn disks(side: usize) -> (Array2<bool>, Array2<bool>) {
    let disk = |centre: f64, half: f64| {
        Array2::from_shape_fn((side, side), |(y, x)| {
            let way = |at: usize| (at as f64 / side as f64 - centre).powi(2);
            way(y) + way(x) <= half * half
        })
    };
    (disk(0.48, 0.2), disk(0.51, 0.22))
}

/// Looks whether a voxel of either mask is inside, with no early end: what no count of their overlap can be faster than.
fn read(prediction: &[bool], truth: &[bool]) -> bool {
    let any = |mask: &[bool]| mask.iter().fold(false, |any, &inside| any | inside);
    let piece = prediction.len().div_ceil(4 * rayon::current_num_threads());
    let pieces = prediction.par_chunks(piece).zip(truth.par_chunks(piece));
    pieces
        .map(|(prediction, truth)| any(prediction) | any(truth))
        .reduce(|| false, |left, right| left | right)
}

fn overlap(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("overlap");
    for shape in [[155, 240, 240], [512, 512, 512]] {
        let (prediction, truth) = volumes(shape);
        let size = shape.map(|side| side.to_string()).join("x");
        group.throughput(Throughput::Bytes(2 * prediction.len() as u64));
        group.bench_function(BenchmarkId::new("confusion", &size), |bencher| {
            bencher.iter(|| Confusion::from_masks(black_box(prediction.view()), truth.view()).unwrap());
        });
        let slices = (prediction.as_slice().unwrap(), truth.as_slice().unwrap());
        group.bench_function(BenchmarkId::new("read", &size), |bencher| {
            bencher.iter(|| read(black_box(slices.0), slices.1));
        });
    }
    group.finish();
}

fn surfaces(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("surface");
    group.sample_size(20);
    for side in [512, 2048] {
        let (prediction, truth) = disks(side);
        measure(&mut group, prediction.view(), truth.view(), &[1.0, 1.0]);
    }
    // Elements per second are about the same where time is linear in the voxels.
    for shape in [[155, 240, 240], [128, 128, 128], [256, 256, 256], [512, 512, 512]] {
        let (prediction, truth) = volumes(shape);
        measure(&mut group, prediction.view(), truth.view(), &[1.5, 1.0, 1.0]);
    }
    group.finish();
}

fn measure<D: Dimension>(
    group: &mut criterion::BenchmarkGroup<'_, criterion::measurement::WallTime>,
    prediction: ArrayView<'_, bool, D>,
    truth: ArrayView<'_, bool, D>,
    spacing: &[f64],
) {
    let sides: Vec<String> = truth.shape().iter().map(usize::to_string).collect();
    let size = sides.join("x");
    group.throughput(Throughput::Elements(truth.len() as u64));
    group.bench_function(BenchmarkId::new("distances", &size), |bencher| {
        bencher.iter(|| SurfaceDistances::new(prediction.view(), truth.view(), spacing, Connectivity::Faces).unwrap());
    });
    group.bench_function(BenchmarkId::new("distance_transform", &size), |bencher| {
        bencher.iter(|| distance_transform(truth.view(), spacing).unwrap());
    });
}

fn lesions(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("lesions");
    let (prediction, truth) = volumes([155, 240, 240]);
    group.throughput(Throughput::Elements(truth.len() as u64));
    group.bench_function("components/155x240x240", |bencher| {
        bencher.iter(|| components(truth.view(), Connectivity::Faces).unwrap());
    });
    group.bench_function("lesions/155x240x240", |bencher| {
        bencher.iter(|| Lesions::new(prediction.view(), truth.view(), Connectivity::Faces).unwrap());
    });
    group.finish();
}

criterion_group!(benches, overlap, surfaces, lesions);
criterion_main!(benches);
