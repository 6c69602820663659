//! Distances between surfaces: goldens of MedPy, MONAI, surface-distance and SciPy, and plain references.

use approx::assert_relative_eq;
use ndarray::{Array2, Array3, ArrayD, ArrayViewD, Axis, Dimension, s};
use proptest::prelude::*;
use seg_metrics::{
    Confusion, Connectivity, Direction, EmptyMasks, EmptySide, HausdorffPercentile, MetricError, SurfaceDice,
    SurfaceDistances, boundary_iou, components, distance_transform,
};
use serde_json::Value;

use crate::config;
use crate::pairs::{CASES, Pair, goldens, pair};

const CONNECTIVITIES: [Connectivity; 3] = [Connectivity::Faces, Connectivity::Edges, Connectivity::Corners];

fn distances(pair: &Pair, connectivity: Connectivity) -> SurfaceDistances {
    SurfaceDistances::new(pair.prediction.view(), pair.truth.view(), &pair.spacing, connectivity).unwrap()
}

/// All within 1e-9: the goldens are in f64 (MONAI's, in f32, were only held against them), to 12 digits.
#[test]
fn surface_measures_are_those_of_the_libraries() {
    let empty = EmptyMasks::error();
    let mut compared = 0;
    for (number, golden) in goldens().iter().enumerate() {
        let Value::Object(golden) = &golden["surface"] else {
            continue;
        };
        let pair = pair(number);
        let faces = distances(&pair, Connectivity::Faces);
        let tolerance = golden["tolerance"].as_f64().unwrap();
        let percentile = |percentile, definition| faces.hausdorff_percentile(percentile, definition, empty);
        let (there, back) = (Direction::PredictionToTruth, Direction::TruthToPrediction);
        for (name, value) in [
            ("hausdorff", faces.hausdorff(empty)),
            ("hd95_pooled", percentile(95.0, HausdorffPercentile::Pooled)),
            ("hd95_max", percentile(95.0, HausdorffPercentile::MaxOfDirected)),
            ("hd95_elements", percentile(95.0, HausdorffPercentile::SurfaceElements)),
            ("hd50_elements", percentile(50.0, HausdorffPercentile::SurfaceElements)),
            (
                "hd100_elements",
                percentile(100.0, HausdorffPercentile::SurfaceElements),
            ),
            ("hd75_directed", faces.directed_hausdorff(there, 75.0, empty)),
            ("masd", faces.masd(empty)),
            ("assd", faces.assd(empty)),
            ("asd", faces.mean_directed(there, empty)),
            ("asd_back", faces.mean_directed(back, empty)),
            ("mean_by_area", faces.mean_by_area(there, empty)),
            ("mean_by_area_back", faces.mean_by_area(back, empty)),
            (
                "nsd_voxels",
                faces.surface_dice(tolerance, SurfaceDice::BoundaryVoxels, empty),
            ),
            (
                "nsd_elements",
                faces.surface_dice(tolerance, SurfaceDice::SurfaceElements, empty),
            ),
            ("hd_edges", distances(&pair, Connectivity::Edges).hausdorff(empty)),
            ("assd_corners", distances(&pair, Connectivity::Corners).assd(empty)),
        ] {
            let (value, expected) = (value.unwrap(), golden[name].as_f64().unwrap());
            assert!(
                (value - expected).abs() <= 1e-9 * expected.max(1.0),
                "pair {number}, {name}: {value} instead of {expected}"
            );
            compared += 1;
        }
    }
    assert!(compared > 2000, "{compared}");
}

#[test]
fn transforms_and_components_are_those_of_scipy() {
    for (number, golden) in goldens().iter().enumerate() {
        let pair = pair(number);
        for (connectivity, count) in CONNECTIVITIES.into_iter().zip(golden["components"].as_array().unwrap()) {
            let found = components(pair.truth.view(), connectivity).unwrap();
            assert_eq!(found.count() as u64, count.as_u64().unwrap(), "pair {number}");
            assert_eq!(
                found.sizes().iter().sum::<usize>(),
                pair.truth.iter().filter(|&&inside| inside).count()
            );
        }
        if let Value::Array(golden) = &golden["transform"] {
            let transform = distance_transform(pair.truth.view(), &pair.spacing).unwrap();
            let (sum, highest) = transform.iter().fold((0.0, 0.0_f64), |(sum, highest), &d| {
                (sum + f64::from(d), highest.max(d.into()))
            });
            // Each distance is rounded to f32.
            assert_relative_eq!(sum, golden[0].as_f64().unwrap(), max_relative = 1e-7, epsilon = 1e-6);
            assert_relative_eq!(highest, golden[1].as_f64().unwrap(), max_relative = 2e-7);
        }
    }
}

/// Voxels of a mask with a neighbour outside, by looking at every neighbour.
fn plain_surface(mask: ArrayViewD<'_, bool>, connectivity: Connectivity) -> Vec<Vec<f64>> {
    let rank = match connectivity {
        Connectivity::Faces => 1,
        Connectivity::Edges => 2,
        Connectivity::Corners => 3,
    };
    let mut surface = Vec::new();
    for (index, _) in mask.indexed_iter().filter(|(_, inside)| **inside) {
        let outside = (0..3_usize.pow(mask.ndim() as u32)).any(|code| {
            let steps: Vec<isize> = (0..mask.ndim())
                .map(|axis| (code / 3_usize.pow(axis as u32) % 3) as isize - 1)
                .collect();
            let neighbour: Vec<usize> = (0..mask.ndim())
                .map(|axis| (index[axis] as isize + steps[axis]) as usize)
                .collect();
            steps.iter().filter(|&&step| step != 0).count() <= rank
                && !mask.get(neighbour.as_slice()).copied().unwrap_or(false)
        });
        if outside {
            surface.push((0..mask.ndim()).map(|axis| index[axis] as f64).collect());
        }
    }
    surface
}

/// Corners between voxels of a mask and others, numbered as the voxels behind them.
fn plain_corners(mask: ArrayViewD<'_, bool>) -> Vec<Vec<f64>> {
    let longer: Vec<usize> = mask.shape().iter().map(|length| length + 1).collect();
    let mut corners = Vec::new();
    for (index, _) in ArrayD::from_elem(longer, ()).indexed_iter() {
        let around = 1_usize << mask.ndim();
        let inside = (0..around)
            .filter(|code| {
                let voxel: Vec<usize> = (0..mask.ndim())
                    .map(|axis| index[axis].wrapping_sub(code >> axis & 1))
                    .collect();
                mask.get(voxel.as_slice()).copied().unwrap_or(false)
            })
            .count();
        if inside > 0 && inside < around {
            corners.push((0..mask.ndim()).map(|axis| index[axis] as f64).collect());
        }
    }
    corners
}

/// Both directions are those of the plain search.
fn assert_directed(fast: &SurfaceDistances, prediction: &[Vec<f64>], truth: &[Vec<f64>], spacing: &[f64]) {
    assert_eq!(
        fast.directed(Direction::PredictionToTruth),
        plain_distances(prediction, truth, spacing)
    );
    assert_eq!(
        fast.directed(Direction::TruthToPrediction),
        plain_distances(truth, prediction, spacing)
    );
}

/// Every point against every other.
fn plain_distances(from: &[Vec<f64>], to: &[Vec<f64>], spacing: &[f64]) -> Vec<f64> {
    let mut distances: Vec<f64> = from
        .iter()
        .map(|point| {
            to.iter()
                .map(|other| {
                    let steps = point.iter().zip(other).zip(spacing);
                    steps.map(|((p, q), step)| ((p - q) * step).powi(2)).sum::<f64>()
                })
                .fold(f64::INFINITY, f64::min)
                .sqrt()
        })
        .collect();
    distances.sort_unstable_by(f64::total_cmp);
    distances
}

/// Bit for bit: the bounds in f32 must never decide.
#[test]
fn distances_are_those_of_the_plain_search() {
    let mut compared = 0;
    for number in 0..CASES {
        let pair = pair(number);
        for connectivity in CONNECTIVITIES {
            let fast = distances(&pair, connectivity);
            let prediction = plain_surface(pair.prediction.view(), connectivity);
            let truth = plain_surface(pair.truth.view(), connectivity);
            if prediction.is_empty() || truth.is_empty() {
                assert!(fast.directed(Direction::PredictionToTruth).is_empty());
                continue;
            }
            eprintln!("pair {number}");
            assert_directed(&fast, &prediction, &truth, &pair.spacing);
            compared += 1;
        }
        if !fast_is_empty(&pair) {
            let (prediction, truth) = (plain_corners(pair.prediction.view()), plain_corners(pair.truth.view()));
            let plain = plain_distances(&prediction, &truth, &pair.spacing);
            let fast = distances(&pair, Connectivity::Faces);
            let elements: Vec<f64> = fast
                .elements(Direction::PredictionToTruth)
                .iter()
                .map(|element| element.0)
                .collect();
            assert_eq!(elements, plain, "pair {number}");
        }
    }
    assert!(compared > 400, "{compared}");
}

fn fast_is_empty(pair: &Pair) -> bool {
    !pair.prediction.iter().any(|&inside| inside) || !pair.truth.iter().any(|&inside| inside)
}

/// Large enough for several regions of 64 voxels, with parts far apart.
#[test]
fn distances_across_regions_are_those_of_the_plain_search() {
    let ball = |centre: [isize; 3], squared: isize| {
        Array3::from_shape_fn((20, 150, 210), |(z, y, x)| {
            let way = |at: usize, axis: usize| (at as isize - centre[axis]).pow(2);
            way(z, 0) * 9 + way(y, 1) + way(x, 2) <= squared
        })
    };
    let prediction = &ball([10, 30, 20], 300) | &ball([5, 120, 200], 80) | &ball([19, 75, 100], 4);
    let truth = &ball([9, 40, 60], 400) | &ball([0, 149, 0], 50);
    let spacing = [2.5, 0.8, 1.1];
    let fast = SurfaceDistances::new(prediction.view(), truth.view(), &spacing, Connectivity::Faces).unwrap();
    let from = plain_surface(prediction.view().into_dyn(), Connectivity::Faces);
    let to = plain_surface(truth.view().into_dyn(), Connectivity::Faces);
    assert_directed(&fast, &from, &to, &spacing);
}

/// The same in a plane, whose regions are 128 pixels wide, with specks that are all surface.
#[test]
fn distances_across_regions_of_a_plane_are_those_of_the_plain_search() {
    let disk = |centre: [isize; 2], squared: isize| {
        Array2::from_shape_fn((300, 410), |(y, x)| {
            (y as isize - centre[0]).pow(2) + (x as isize - centre[1]).pow(2) <= squared
        })
    };
    let specks = Array2::from_shape_fn((300, 410), |(y, x)| (y * 7919 + x * 104_729) % 3001 < 2);
    let prediction = &disk([40, 50], 900) | &disk([250, 390], 300) | &disk([150, 210], 40);
    let truth = &disk([60, 120], 1200) | &disk([299, 0], 200) | &specks;
    let spacing = [0.8, 1.3];
    for connectivity in CONNECTIVITIES {
        let fast = SurfaceDistances::new(prediction.view(), truth.view(), &spacing, connectivity).unwrap();
        let [from, to] = [&prediction, &truth].map(|mask| plain_surface(mask.view().into_dyn(), connectivity));
        assert_directed(&fast, &from, &to, &spacing);
    }
    let fast = SurfaceDistances::new(prediction.view(), truth.view(), &spacing, Connectivity::Faces).unwrap();
    let [from, to] = [&prediction, &truth].map(|mask| plain_corners(mask.view().into_dyn()));
    for (direction, plain) in [
        (Direction::PredictionToTruth, plain_distances(&from, &to, &spacing)),
        (Direction::TruthToPrediction, plain_distances(&to, &from, &spacing)),
    ] {
        let elements: Vec<f64> = fast.elements(direction).iter().map(|element| element.0).collect();
        assert_eq!(elements, plain);
    }
}

fn masks(shape: (usize, usize, usize)) -> impl Strategy<Value = (Array3<bool>, Array3<bool>)> {
    let count = shape.0 * shape.1 * shape.2;
    let mask = move || {
        (0.01_f64..0.9).prop_flat_map(move |share| {
            prop::collection::vec(prop::bool::weighted(share), count)
                .prop_map(move |mask| Array3::from_shape_vec(shape, mask).unwrap())
        })
    };
    (mask(), mask())
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn distances_scale_with_the_spacing_and_are_symmetric((prediction, truth) in masks((4, 5, 7))) {
        let measure = |a: &Array3<bool>, b: &Array3<bool>, spacing: &[f64]| {
            SurfaceDistances::new(a.view(), b.view(), spacing, Connectivity::Faces).unwrap()
        };
        let one = measure(&prediction, &truth, &[1.0, 0.5, 3.0]);
        let twice = measure(&prediction, &truth, &[2.0, 1.0, 6.0]);
        let turned = measure(&truth, &prediction, &[1.0, 0.5, 3.0]);
        prop_assert_eq!(one.directed(Direction::PredictionToTruth), turned.directed(Direction::TruthToPrediction));
        prop_assert_eq!(one.elements(Direction::TruthToPrediction), turned.elements(Direction::PredictionToTruth));
        let policy = EmptyMasks::medpy();
        prop_assert_eq!(2.0 * one.hausdorff(policy).unwrap(), twice.hausdorff(policy).unwrap());
        prop_assert_eq!(2.0 * one.assd(policy).unwrap(), twice.assd(policy).unwrap());
        for definition in [
            HausdorffPercentile::Pooled,
            HausdorffPercentile::MaxOfDirected,
            HausdorffPercentile::SurfaceElements,
        ] {
            let percentile = |percent| one.hausdorff_percentile(percent, definition, policy).unwrap();
            prop_assert_eq!(percentile(90.0), turned.hausdorff_percentile(90.0, definition, policy).unwrap());
            prop_assert!(percentile(50.0) <= percentile(95.0) && percentile(95.0) <= percentile(100.0));
            if definition != HausdorffPercentile::SurfaceElements {
                prop_assert_eq!(percentile(100.0), one.hausdorff(policy).unwrap());
            }
        }
        for counts in [SurfaceDice::BoundaryVoxels, SurfaceDice::SurfaceElements] {
            let dice = |tolerance| one.surface_dice(tolerance, counts, policy).unwrap();
            prop_assert!(dice(0.0) <= dice(1.0) && dice(1.0) <= dice(30.0));
            if prediction.iter().any(|&inside| inside) == truth.iter().any(|&inside| inside) {
                prop_assert_eq!(dice(30.0), 1.0);
            }
        }
    }

    #[test]
    fn layout_does_not_matter((prediction, truth) in masks((5, 6, 9))) {
        let part = s![..;2, 1.., ..;-2];
        let copies = [&prediction, &truth].map(|mask| {
            let part = mask.slice(part);
            Array3::from_shape_vec(part.dim(), part.iter().copied().collect()).unwrap()
        });
        let turned = truth.t().as_standard_layout().into_owned();
        let measure = |prediction, truth| {
            SurfaceDistances::new(prediction, truth, &[1.0, 2.0, 0.3], Connectivity::Edges).unwrap()
        };
        let plain = measure(copies[0].view(), copies[1].view());
        prop_assert_eq!(&measure(prediction.slice(part), truth.slice(part)), &plain);
        prop_assert_eq!(&measure(prediction.slice(part), turned.t().slice_move(part)), &plain);
    }

    /// Labels and their order by filling from voxel to voxel.
    #[test]
    fn components_are_those_of_the_plain_filling((mask, other) in masks((3, 5, 8))) {
        let turned = other.t().as_standard_layout().into_owned();
        for mask in [mask.view(), mask.slice(s![..;-1, .., ..;2]), turned.t()] {
            for (rank, connectivity) in (1..).zip(CONNECTIVITIES) {
                let mut labels = Array3::<u32>::zeros(mask.dim());
                let mut count = 0;
                for (start, _) in mask.indexed_iter().filter(|(_, inside)| **inside) {
                    if labels[start] > 0 {
                        continue;
                    }
                    count += 1;
                    let mut reached = vec![start];
                    while let Some((z, y, x)) = reached.pop() {
                        labels[(z, y, x)] = count;
                        for (next, _) in mask.indexed_iter().filter(|(_, inside)| **inside) {
                            let steps = [next.0.abs_diff(z), next.1.abs_diff(y), next.2.abs_diff(x)];
                            let near = steps.iter().all(|&step| step <= 1) && steps.iter().sum::<usize>() <= rank;
                            if near && labels[next] == 0 {
                                reached.push(next);
                            }
                        }
                    }
                }
                let found = components(mask, connectivity).unwrap();
                prop_assert_eq!(found.labels(), labels);
            }
        }
    }

    /// A plane of a volume alone, and the same as a picture.
    #[test]
    fn a_transform_is_that_of_the_plain_search((mask, _) in masks((3, 4, 40)), squash in 0_usize..3) {
        let spacing = [[1.0, 1.0, 1.0], [1.7, 0.4, 2.2], [0.1, 3.0, 0.7]][squash];
        let transform = distance_transform(mask.view(), &spacing).unwrap();
        let inside: Vec<_> = mask.indexed_iter().filter(|(_, inside)| **inside).map(|(index, _)| index).collect();
        for ((z, y, x), &distance) in transform.indexed_iter() {
            let plain = inside
                .iter()
                .map(|&(oz, oy, ox)| {
                    let step = |a: usize, b: usize, axis: usize| (a.abs_diff(b) as f64 * spacing[axis]).powi(2);
                    step(z, oz, 0) + step(y, oy, 1) + step(x, ox, 2)
                })
                .fold(f64::INFINITY, f64::min)
                .sqrt();
            assert_relative_eq!(f64::from(distance), plain, max_relative = 1.5e-7);
        }
        let plane = mask.index_axis(Axis(0), 0);
        let flat = distance_transform(plane, &spacing[1..]).unwrap();
        let thick = distance_transform(plane.insert_axis(Axis(0)), &spacing).unwrap();
        prop_assert_eq!(flat.view(), thick.index_axis(Axis(0), 0));
    }
}

/// A distance that is off by more than the rounding of one square and its root.
#[test]
fn a_transform_is_as_near_as_its_roundings() {
    let mask = Array3::from_shape_fn((34, 31, 33), |at| at == (0, 0, 0));
    let spacing = [0.3, 0.7, 1.9];
    let transform = distance_transform(mask.view(), &spacing).unwrap();
    for ((z, y, x), &distance) in transform.indexed_iter() {
        let way = [z, y, x].into_iter().zip(spacing);
        let plain = way.map(|(at, step)| (at as f64 * step).powi(2)).sum::<f64>().sqrt();
        assert_relative_eq!(f64::from(distance), plain, max_relative = 2.5 * 2_f64.powi(-24));
        if (z, y, x) == (33, 30, 32) {
            assert!((f64::from(distance) / plain - 1.0).abs() > 1.2e-7);
        }
    }
    // 4096² is 2²⁴.
    let line = Array2::from_shape_fn((1, 4097), |(_, x)| x == 0);
    let transform = distance_transform(line.view(), &[1.0, 1.0]).unwrap();
    assert!(
        transform
            .iter()
            .enumerate()
            .all(|(at, &distance)| distance == at as f32)
    );
}

#[test]
fn one_thread_finds_what_many_find() {
    let pair = pair(3);
    let measure = || {
        let transform = distance_transform(pair.truth.view(), &pair.spacing).unwrap();
        (distances(&pair, Connectivity::Faces), transform)
    };
    let on = |threads| {
        rayon::ThreadPoolBuilder::new()
            .num_threads(threads)
            .build()
            .unwrap()
            .install(measure)
    };
    assert_eq!(on(1), on(5));
}

/// Each preset answers what its library answers where a mask is empty.
#[test]
fn presets_are_those_of_the_libraries() {
    let mut compared = 0;
    for (number, golden) in goldens().iter().enumerate() {
        let Value::Object(golden) = &golden["empty"] else {
            continue;
        };
        let pair = pair(number);
        let confusion = Confusion::from_masks(pair.prediction.view(), pair.truth.view()).unwrap();
        let surfaces = distances(&pair, Connectivity::Faces);
        let hd95 = |definition, empty| surfaces.hausdorff_percentile(95.0, definition, empty);
        let surface_dice = |counts| surfaces.surface_dice(1.0, counts, EmptyMasks::default());
        for (name, value) in [
            ("monai_dice", confusion.dice(EmptyMasks::monai())),
            ("monai_dice_all", confusion.dice(EmptyMasks::medpy())),
            ("monai_hausdorff", surfaces.hausdorff(EmptyMasks::default())),
            (
                "monai_hd95",
                hd95(HausdorffPercentile::MaxOfDirected, EmptyMasks::nan()),
            ),
            ("monai_surface_dice", surface_dice(SurfaceDice::BoundaryVoxels)),
            ("medpy_iou", confusion.iou(EmptyMasks::medpy())),
            ("medpy_hausdorff", surfaces.hausdorff(EmptyMasks::error())),
            ("surface_distance_dice", confusion.dice(EmptyMasks::default())),
            (
                "surface_distance_hausdorff",
                hd95(HausdorffPercentile::SurfaceElements, EmptyMasks::surface_distance()),
            ),
            (
                "surface_distance_surface_dice",
                surface_dice(SurfaceDice::SurfaceElements),
            ),
        ] {
            let same = match (&golden[name], value) {
                (Value::String(answer), Ok(value)) => *answer == value.to_string().to_lowercase(),
                (Value::String(answer), Err(_)) => answer == "error",
                (answer, value) => answer.as_f64() == value.ok(),
            };
            assert!(!golden[name].is_null(), "pair {number}: no {name}");
            assert!(same, "pair {number}, {name}: not {}", golden[name]);
            compared += 1;
        }
    }
    assert!(compared > 500, "{compared}");
}

#[test]
fn one_policy_serves_overlaps_and_distances() {
    let (none, some) = (Array2::from_elem((3, 4), false), Array2::from_elem((3, 4), true));
    let measure = |prediction: &Array2<bool>, truth: &Array2<bool>| {
        SurfaceDistances::new(prediction.view(), truth.view(), &[1.0, 1.0], Connectivity::Faces).unwrap()
    };
    let pairs = [measure(&none, &none), measure(&some, &none), measure(&none, &some)];
    let (nan, inf) = (f64::NAN, f64::INFINITY);
    for (policy, hausdorff, dice) in [
        (EmptyMasks::default(), [nan, inf, inf], [nan, 0.0, 0.0]),
        (EmptyMasks::surface_distance(), [inf, inf, inf], [0.0, 0.0, 0.0]),
        (EmptyMasks::nan(), [nan, nan, nan], [nan, nan, nan]),
        (EmptyMasks::medpy(), [0.0, inf, inf], [1.0, 0.0, 0.0]),
    ] {
        for (at, pair) in pairs.iter().enumerate() {
            assert_eq!(pair.hausdorff(policy).unwrap().to_bits(), hausdorff[at].to_bits());
            assert_eq!(pair.assd(policy).unwrap().to_bits(), hausdorff[at].to_bits());
            let score = pair.surface_dice(1.0, SurfaceDice::SurfaceElements, policy).unwrap();
            assert_eq!(score.to_bits(), dice[at].to_bits());
        }
    }
    let error = pairs[1].masd(EmptyMasks::error());
    assert_eq!(
        error,
        Err(MetricError::EmptyMask {
            empty: EmptySide::Truth
        })
    );
}

#[test]
fn wrong_settings_are_named() {
    let mask = Array2::from_elem((3, 4), true);
    let new = |spacing: &[f64]| SurfaceDistances::new(mask.view(), mask.view(), spacing, Connectivity::Faces);
    for value in [0.0, -1.0, 1e-13, 1e13, f64::INFINITY, f64::NAN] {
        assert!(matches!(new(&[1.0, value]), Err(MetricError::Spacing { axis: 1, .. })));
        assert!(matches!(
            distance_transform(mask.view(), &[value, 1.0]),
            Err(MetricError::Spacing { axis: 0, .. })
        ));
    }
    assert!(matches!(new(&[1.0]), Err(MetricError::Length { second_len: 1, .. })));
    let line = mask.row(0);
    let error = SurfaceDistances::new(line, line, &[1.0], Connectivity::Faces);
    assert_eq!(error, Err(MetricError::Axes { found: 1 }));
    let error = SurfaceDistances::new(mask.view(), mask.t(), &[1.0, 1.0], Connectivity::Faces);
    assert!(matches!(error, Err(MetricError::Shape { .. })));
    let distances = new(&[1.0, 1.0]).unwrap();
    let empty = EmptyMasks::default();
    for value in [-1.0, 100.5, f64::NAN] {
        assert!(matches!(
            distances.hausdorff_percentile(value, HausdorffPercentile::Pooled, empty),
            Err(MetricError::Percentile { .. })
        ));
    }
    for value in [-0.1, f64::NAN] {
        assert!(matches!(
            distances.surface_dice(value, SurfaceDice::BoundaryVoxels, empty),
            Err(MetricError::Tolerance { .. })
        ));
        assert!(matches!(
            boundary_iou(mask.view(), mask.view(), value, &[1.0, 1.0], empty),
            Err(MetricError::Width { .. })
        ));
    }
}

/// The rim by looking at every voxel within the width, of which those beyond the image are outside.
#[test]
fn boundary_iou_is_that_of_the_plain_rims() {
    let mut volumes = 0;
    for number in 0..CASES {
        let pair = pair(number);
        for width in [0.9, 1.5, 3.1] {
            let reach: Vec<usize> = pair.spacing.iter().map(|step| (width / step) as usize + 1).collect();
            let around: Vec<usize> = reach.iter().map(|reach| 2 * reach + 1).collect();
            let steps: Vec<Vec<isize>> = ArrayD::from_elem(around, ())
                .indexed_iter()
                .map(|(at, ())| {
                    (0..reach.len())
                        .map(|axis| at[axis] as isize - reach[axis] as isize)
                        .collect()
                })
                .filter(|steps: &Vec<isize>| {
                    let way = steps.iter().zip(&pair.spacing);
                    let square: f64 = way.map(|(&step, length)| (step as f64 * length).powi(2)).sum();
                    square.sqrt() <= width * (1.0 + 1e-9)
                })
                .collect();
            let rim = |mask: &ArrayD<bool>| {
                ArrayD::from_shape_fn(mask.raw_dim(), |at| {
                    mask[&at]
                        && steps.iter().any(|steps| {
                            let to: Vec<usize> = (at.slice().iter().zip(steps))
                                .map(|(&at, &step)| at.wrapping_add_signed(step))
                                .collect();
                            !mask.get(to.as_slice()).copied().unwrap_or(false)
                        })
                })
            };
            let (prediction, truth) = (rim(&pair.prediction), rim(&pair.truth));
            let both = prediction.iter().zip(&truth).filter(|(p, t)| **p && **t).count();
            let any = prediction.iter().zip(&truth).filter(|(p, t)| **p || **t).count();
            let expected = if any == 0 { 1.0 } else { both as f64 / any as f64 };
            let (prediction, truth) = (pair.prediction.view(), pair.truth.view());
            let score = boundary_iou(prediction, truth, width, &pair.spacing, EmptyMasks::medpy());
            let least = pair.spacing.iter().copied().fold(f64::INFINITY, f64::min);
            if width < least {
                assert_eq!(score, Err(MetricError::Width { value: width, least }));
                continue;
            }
            // Where one mask is empty and the other is not, both say 0; where both are, medpy's 1.
            assert_eq!(score, Ok(expected), "pair {number}, width {width}");
            volumes += usize::from(pair.spacing.len() == 3);
        }
    }
    assert!(volumes > 250, "{volumes}");
}

/// The longest axis that there may be, and one voxel more.
#[test]
fn axes_are_as_long_as_can_be_numbered() {
    let longest = (1 << 23) - 1;
    for (length, fits) in [(longest, true), (longest + 1, false)] {
        let ends = Array2::from_shape_fn((1, length), |(_, x)| x == 0 || x == length - 1);
        let start = Array2::from_shape_fn((1, length), |(_, x)| x == 0);
        let found = SurfaceDistances::new(ends.view(), start.view(), &[1.0, 1.0], Connectivity::Faces);
        if fits {
            let found = found.unwrap();
            assert_eq!(found.directed(Direction::PredictionToTruth), [0.0, (length - 1) as f64]);
            assert_eq!(found.elements(Direction::PredictionToTruth).len(), 8);
        } else {
            let most = longest;
            assert_eq!(found, Err(MetricError::AxisLength { axis: 1, length, most }));
        }
    }
}

/// At both ends of the spacings allowed, distances are those on unit spacing times the spacing.
#[test]
fn small_and_large_spacings_lose_nothing() {
    let mask = Array2::from_shape_fn((40, 70), |(y, x)| (y * 7 + x * 3) % 101 == 0);
    let other = Array2::from_shape_fn((40, 70), |(y, x)| (y * 5 + x) % 89 == 0);
    let transform = distance_transform(mask.view(), &[1.0, 1.0]).unwrap();
    let measure = |spacing: f64| {
        let pair = SurfaceDistances::new(mask.view(), other.view(), &[spacing; 2], Connectivity::Faces).unwrap();
        (
            pair.assd(EmptyMasks::error()).unwrap(),
            pair.surface_dice(2.1 * spacing, SurfaceDice::SurfaceElements, EmptyMasks::error())
                .unwrap(),
        )
    };
    let (assd, dice) = measure(1.0);
    for spacing in [1e-12, 1e12] {
        let scaled = distance_transform(mask.view(), &[spacing; 2]).unwrap();
        for (&one, &scaled) in transform.iter().zip(&scaled) {
            // Rounded to f32, squared and not.
            assert_relative_eq!(f64::from(scaled), f64::from(one) * spacing, max_relative = 2e-7);
        }
        let scaled = measure(spacing);
        assert_relative_eq!(scaled.0, assd * spacing, max_relative = 1e-12);
        assert_relative_eq!(scaled.1, dice, max_relative = 1e-12);
    }
}

/// Spacings of two axes so far apart that f32 holds the square of neither in units of the other.
#[test]
fn spacings_far_apart_lose_nothing() {
    let mask = Array2::from_shape_fn((24, 31), |(y, x)| (y * 7 + x * 3) % 61 == 0);
    let other = Array2::from_shape_fn((24, 31), |(y, x)| y > 3 && (y * 5 + x) % 47 == 0);
    for spacing in [[1e12, 1e-12], [1e-12, 1e12], [1e8, 1e-12], [1e-10, 1e10]] {
        let fast = SurfaceDistances::new(mask.view(), other.view(), &spacing, Connectivity::Faces).unwrap();
        let [from, to] = [&mask, &other].map(|mask| plain_surface(mask.view().into_dyn(), Connectivity::Faces));
        assert_directed(&fast, &from, &to, &spacing);
    }
}
