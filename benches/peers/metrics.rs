//! This workspace's side of `metrics.py`.
//!
//! `cargo xtask bench-peers metrics`

mod answer;

use std::hint::black_box;
use std::sync::LazyLock;

use anyhow::{Context as _, Result};
use ndarray::{Array2, Array3};
use rayon::prelude::*;
use seg_metrics::{
    Confusion, Connectivity, Direction, EmptyMasks, HausdorffPercentile, SurfaceDice, SurfaceDistances, components,
    distance_transform,
};

use crate::answer::{Cases, answer};

const SPACING: [f64; 3] = [1.5, 1.0, 1.0];

fn main() -> Result<()> {
    answer(cases, &[])
}

/// The same masks as in `metrics.py`.
fn ellipsoid(shape: [usize; 3], centre: [f64; 3], half: [f64; 3]) -> Array3<bool> {
    Array3::from_shape_fn(shape, |(z, y, x)| {
        let way = |at: usize, axis: usize| ((at as f64 - centre[axis]) / half[axis]).powi(2);
        way(z, 0) + way(y, 1) + way(x, 2) <= 1.0
    })
}

/// Two ellipsoids in a cube, of the same shares of it whatever its side.
fn cube(side: usize) -> (Array3<bool>, Array3<bool>) {
    let of = |shares: [f64; 3]| shares.map(|share| share * side as f64);
    (
        ellipsoid([side; 3], of([0.5; 3]), of([0.3, 0.35, 0.25])),
        ellipsoid([side; 3], of([0.53, 0.53, 0.47]), of([0.28, 0.3, 0.3])),
    )
}

fn disk(centre: [f64; 2], radius: f64) -> Array2<bool> {
    Array2::from_shape_fn((512, 512), |(y, x)| {
        (y as f64 - centre[0]).powi(2) + (x as f64 - centre[1]).powi(2) <= radius * radius
    })
}

fn cases() -> Result<Cases> {
    let shape = [155, 240, 240];
    let (prediction, truth): (&'static Array3<bool>, &'static Array3<bool>) = (
        Box::leak(Box::new(ellipsoid(shape, [77.0, 120.0, 120.0], [30.0, 45.0, 40.0]))),
        Box::leak(Box::new(ellipsoid(shape, [82.0, 128.0, 112.0], [32.0, 40.0, 45.0]))),
    );
    let flat = (disk([250.0, 250.0], 100.0), disk([265.0, 270.0], 110.0));
    let empty = EmptyMasks::default();
    let mut cases = Cases::new();
    cases.insert(
        "surface".into(),
        Box::new(move || all_surface_measures(prediction, truth)),
    );
    for (side, surface, transform) in [
        (128, "surface-128", None),
        (256, "surface-256", Some("transform-256")),
        (512, "surface-512", Some("transform-512")),
    ] {
        // Made when first asked for, by the round that warms up.
        let masks: &'static LazyLock<_, _> = Box::leak(Box::new(LazyLock::new(move || cube(side))));
        cases.insert(surface.into(), Box::new(|| all_surface_measures(&masks.0, &masks.1)));
        if let Some(transform) = transform {
            cases.insert(
                transform.into(),
                Box::new(|| {
                    black_box(distance_transform(masks.1.view(), &SPACING)?);
                    Ok(())
                }),
            );
        }
    }
    cases.insert(
        "flat".into(),
        Box::new(move || {
            let (prediction, truth) = (flat.0.view(), flat.1.view());
            let distances = SurfaceDistances::new(prediction, truth, &[1.0, 1.0], Connectivity::Faces)?;
            black_box(distances.hausdorff_percentile(95.0, HausdorffPercentile::Pooled, empty)?);
            Ok(())
        }),
    );
    cases.insert(
        "dice".into(),
        Box::new(move || {
            black_box(Confusion::from_masks(prediction.view(), truth.view())?.dice(empty)?);
            Ok(())
        }),
    );
    cases.insert(
        "read".into(),
        Box::new(move || {
            for mask in [prediction, truth] {
                let mask = mask.as_slice().context("contiguous")?;
                let piece = mask.len().div_ceil(4 * rayon::current_num_threads());
                let any = |piece: &[bool]| piece.iter().fold(false, |any, &inside| any | inside);
                black_box(
                    mask.par_chunks(piece)
                        .map(any)
                        .reduce(|| false, |left, right| left | right),
                );
            }
            Ok(())
        }),
    );
    cases.insert(
        "transform".into(),
        Box::new(move || {
            black_box(distance_transform(truth.view(), &SPACING)?);
            Ok(())
        }),
    );
    cases.insert(
        "components".into(),
        Box::new(move || {
            black_box(components(truth.view(), Connectivity::Faces)?);
            Ok(())
        }),
    );
    Ok(cases)
}

fn all_surface_measures(prediction: &Array3<bool>, truth: &Array3<bool>) -> Result<()> {
    let empty = EmptyMasks::default();
    let distances = SurfaceDistances::new(prediction.view(), truth.view(), &SPACING, Connectivity::Faces)?;
    black_box(distances.hausdorff(empty)?);
    for definition in [
        HausdorffPercentile::Pooled,
        HausdorffPercentile::MaxOfDirected,
        HausdorffPercentile::SurfaceElements,
    ] {
        black_box(distances.hausdorff_percentile(95.0, definition, empty)?);
    }
    for direction in [Direction::PredictionToTruth, Direction::TruthToPrediction] {
        black_box(distances.mean_directed(direction, empty)?);
        black_box(distances.mean_by_area(direction, empty)?);
    }
    black_box((distances.assd(empty)?, distances.masd(empty)?));
    for counts in [SurfaceDice::BoundaryVoxels, SurfaceDice::SurfaceElements] {
        black_box(distances.surface_dice(2.0, counts, empty)?);
    }
    Ok(())
}
