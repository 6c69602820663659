//! Heatmaps to masks.
//!
//! `cargo bench --bench segmentation`

use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use heatmap_seg::{
    CleanUp, Connectivity, DenseCrf, GuidedFilter, LocalThreshold, RandomWalker, SuperpixelVoting, Threshold, Watershed,
};
use ndarray::Array2;

/// A heatmap around a lesion, and its speckled image in 0..=1.
fn pair(side: usize) -> (Array2<f32>, Array2<f32>) {
    let from = |y: usize, x: usize, centre: [f32; 2]| {
        let way = |at: usize, axis: usize| (at as f32 / side as f32 - centre[axis]).powi(2);
        way(y, 0) + way(x, 1)
    };
    let heatmap = Array2::from_shape_fn((side, side), |(y, x)| (-18.0 * from(y, x, [0.45, 0.55])).exp());
    let image = Array2::from_shape_fn((side, side), |(y, x)| {
        let speckle = (((y * 8191 + x * 131 + 7).wrapping_mul(2_654_435_761) >> 7) % 1009) as f32 / 1009.0;
        let tissue = if from(y, x, [0.5, 0.5]) < 0.05 { 0.55 } else { 0.3 };
        tissue + 0.15 * (speckle - 0.5)
    });
    (heatmap, image)
}

fn thresholds(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("threshold");
    let (heatmap, _) = pair(512);
    group.throughput(Throughput::Elements(heatmap.len() as u64));
    for (name, rule) in [
        ("fixed", Threshold::Fixed(0.5)),
        ("percentile", Threshold::Percentile(95.0)),
        ("otsu", Threshold::Otsu),
        ("multi_otsu_4", Threshold::MultiOtsu { classes: 4 }),
        ("yen", Threshold::Yen),
        ("li", Threshold::Li),
        ("triangle", Threshold::Triangle),
        ("maximum_entropy", Threshold::MaximumEntropy),
    ] {
        group.bench_function(BenchmarkId::new(name, "512x512"), |bencher| {
            bencher.iter(|| rule.apply(black_box(heatmap.view())).unwrap());
        });
    }
    group.bench_function(BenchmarkId::new("local", "512x512"), |bencher| {
        bencher.iter(|| LocalThreshold::default().apply(black_box(heatmap.view())).unwrap());
    });
    group.finish();
}

fn clean_up(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("clean_up");
    let (heatmap, image) = pair(512);
    // Speckled, so that there are many components and holes.
    let mask = (heatmap + image).mapv(|value| value > 0.8);
    group.throughput(Throughput::Elements(mask.len() as u64));
    let connectivity = Connectivity::Faces;
    for (name, step) in [
        ("largest", CleanUp::Largest { connectivity }),
        ("fill_holes", CleanUp::FillHoles { connectivity }),
        ("open_3", CleanUp::Open { radius: 3 }),
        ("convex_hull", CleanUp::ConvexHull),
    ] {
        group.bench_function(BenchmarkId::new(name, "512x512"), |bencher| {
            bencher.iter(|| step.apply(black_box(mask.view())).unwrap());
        });
    }
    group.finish();
}

fn refinement(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("refinement");
    group.sample_size(20);
    let (heatmap, image) = pair(320);
    group.throughput(Throughput::Elements(heatmap.len() as u64));
    group.bench_function("guided_filter/320x320", |bencher| {
        bencher.iter(|| {
            GuidedFilter::default()
                .apply(black_box(heatmap.view()), image.view())
                .unwrap()
        });
    });
    group.bench_function("random_walker/320x320", |bencher| {
        bencher.iter(|| {
            RandomWalker::default()
                .apply(black_box(heatmap.view()), image.view())
                .unwrap()
        });
    });
    group.bench_function("watershed/320x320", |bencher| {
        bencher.iter(|| {
            Watershed::default()
                .apply(black_box(heatmap.view()), image.view())
                .unwrap()
        });
    });
    group.bench_function("superpixel_voting/320x320", |bencher| {
        bencher.iter(|| {
            SuperpixelVoting::default()
                .apply(black_box(heatmap.view()), image.view())
                .unwrap()
        });
    });
    group.bench_function("dense_crf/320x320", |bencher| {
        bencher.iter(|| {
            DenseCrf::default()
                .apply(black_box(heatmap.view()), image.view())
                .unwrap()
        });
    });
    group.finish();
}

criterion_group!(benches, thresholds, clean_up, refinement);
criterion_main!(benches);
