//! What the measures take of memory beyond their inputs: less than 6 bytes for each voxel of the box around the masks,
//! of masks whose surface is thin in the box (under about a voxel in ten); otherwise about 35 bytes for each voxel and
//! element of the surfaces.
//!
//! A test program of its own with a single test, since an allocator counts what all threads do.

use ndarray::Array3;
use peak_alloc::PeakAlloc;
use seg_metrics::{
    Confusion, Connectivity, Direction, EmptyMasks, HausdorffPercentile, MetricError, SurfaceDice, SurfaceDistances,
    boundary_iou, cl_dice, distance_transform,
};

#[global_allocator]
static ALLOCATED: PeakAlloc = PeakAlloc;

/// The image, and the box in it that the masks fill: 4.5 of 12.8 million voxels.
const SHAPE: [usize; 3] = [200, 260, 246];
const LOW: [usize; 3] = [15, 40, 60];
const HIGH: [usize; 3] = [165, 220, 226];
const SPACING: [f64; 3] = [1.5, 1.0, 1.0];

/// The most bytes allocated at once by `run`, its result among them.
fn peak<T>(run: impl FnOnce() -> T) -> usize {
    let before = ALLOCATED.current_usage();
    ALLOCATED.reset_peak_usage();
    let result = run();
    let peak = ALLOCATED.peak_usage();
    drop(result);
    peak - before
}

/// An ellipsoid that touches the sides of the box, moved by some voxels and as much smaller.
fn ellipsoid(less: [f64; 3]) -> Array3<bool> {
    Array3::from_shape_fn(SHAPE, |(z, y, x)| {
        let way = |at: usize, axis: usize| {
            let (low, high) = (LOW[axis] as f64 + 2.0 * less[axis], HIGH[axis] as f64 - 1.0);
            ((at as f64 - (low + high) / 2.0) / ((high - low) / 2.0)).powi(2)
        };
        way(z, 0) + way(y, 1) + way(x, 2) <= 1.0
    })
}

/// Bars along the three axes from side to side of the box, thin and long as vessels are.
fn bars(thickness: usize) -> Array3<bool> {
    Array3::from_shape_fn(SHAPE, |(z, y, x)| {
        let at = [z, y, x];
        let within = (0..3).all(|axis| (LOW[axis]..HIGH[axis]).contains(&at[axis]));
        within && at.iter().filter(|&&at| at % 41 < thickness).count() >= 2
    })
}

#[test]
fn measures_take_less_than_six_bytes_a_voxel() {
    // The threads are there before anything is counted.
    rayon::broadcast(|_| ());
    let empty = EmptyMasks::error();
    let box_of = |axis: usize| HIGH[axis] - LOW[axis];
    let voxels = (box_of(0) * box_of(1) * box_of(2)) as f64;
    let (prediction, truth) = (ellipsoid([0.0; 3]), ellipsoid([6.0, 3.0, 8.0]));
    let (prediction, truth) = (prediction.view(), truth.view());
    let (thick, thin) = (bars(5), bars(3));

    let overlap = peak(|| Confusion::from_masks(prediction, truth)?.dice(empty));
    let surfaces = peak(|| {
        let distances = SurfaceDistances::new(prediction, truth, &SPACING, Connectivity::Faces)?;
        for definition in [
            HausdorffPercentile::Pooled,
            HausdorffPercentile::MaxOfDirected,
            HausdorffPercentile::SurfaceElements,
        ] {
            assert!(distances.hausdorff_percentile(95.0, definition, empty)? > 3.0);
        }
        for direction in [Direction::PredictionToTruth, Direction::TruthToPrediction] {
            assert!(distances.mean_by_area(direction, empty)? > 1.0);
        }
        assert!(distances.hausdorff(empty)? > distances.assd(empty)?.max(distances.masd(empty)?));
        for counts in [SurfaceDice::BoundaryVoxels, SurfaceDice::SurfaceElements] {
            assert!(distances.surface_dice(3.0, counts, empty)? < 1.0);
        }
        Ok::<_, MetricError>(distances)
    });
    let rims = peak(|| boundary_iou(prediction, truth, 4.0, &SPACING, empty));
    let lines = peak(|| cl_dice(thick.view(), thin.view(), empty));
    let found = [
        ("overlap", overlap),
        ("surfaces", surfaces),
        ("boundary IoU", rims),
        ("clDice", lines),
    ];
    for (name, bytes) in found {
        let per_voxel = bytes as f64 / voxels;
        println!("{name}: {per_voxel:.2} bytes a voxel");
        assert!(per_voxel < 6.0, "{name}: {per_voxel} bytes for each voxel of the box");
    }
    // Noise is all surface.
    let mut state = 1_u32;
    let mut noise = || {
        Array3::from_shape_simple_fn((60, 90, 100), || {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            state >> 31 == 1
        })
    };
    let (prediction, other) = (noise(), noise());
    let mut parts = 0;
    let bytes = peak(|| {
        let distances = SurfaceDistances::new(prediction.view(), other.view(), &SPACING, Connectivity::Faces)?;
        assert!(distances.assd(empty)? > 0.0);
        for direction in [Direction::PredictionToTruth, Direction::TruthToPrediction] {
            parts += distances.directed(direction).len() + distances.elements(direction).len();
        }
        Ok::<_, MetricError>(distances)
    });
    let per_part = bytes as f64 / parts as f64;
    println!("noise: {per_part:.1} bytes for each of {parts} voxels and elements");
    assert!(
        parts > 2 * prediction.len() && per_part < 40.0,
        "{per_part} bytes for each of {parts}"
    );
    // The squares in f32 are the result, of the image and not of the box.
    let transform = peak(|| distance_transform(truth, &SPACING)) as f64 / truth.len() as f64;
    println!("distance transform: {transform:.2} bytes a voxel of the image");
    assert!(transform < 4.1, "{transform} bytes for each voxel of the image");
}
