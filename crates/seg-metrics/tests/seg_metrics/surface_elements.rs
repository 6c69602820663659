//! Surface elements against a plain way: every corner between voxels looked at, its area from surface-distance's table.

use approx::assert_relative_eq;
use ndarray::ArrayD;
use seg_metrics::{Connectivity, Direction, SurfaceDistances};
use serde_json::Value;

use crate::pairs::{CASES, pair};
use crate::scores::numbers;

/// A corner of voxels by its coordinates, with the area around it.
type Element = (Vec<f64>, f64);

fn plain_elements(mask: &ArrayD<bool>, areas: &[f64]) -> Vec<Element> {
    let axes = mask.ndim();
    let longer: Vec<usize> = mask.shape().iter().map(|length| length + 1).collect();
    let mut elements = Vec::new();
    for (corner, _) in ArrayD::from_elem(longer, ()).indexed_iter() {
        // A bit for each voxel around it, the highest for that at the lowest coordinates.
        let code = (0..1_usize << axes).fold(0, |code, around| {
            let voxel: Vec<usize> = (0..axes)
                .map(|axis| (corner[axis] + (around >> (axes - 1 - axis) & 1)).wrapping_sub(1))
                .collect();
            2 * code + usize::from(mask.get(voxel.as_slice()).copied().unwrap_or(false))
        });
        if code > 0 && code < areas.len() - 1 {
            elements.push(((0..axes).map(|axis| corner[axis] as f64).collect(), areas[code]));
        }
    }
    elements
}

/// Areas within 1e-12, as sums of other roundings; distances bit for bit.
#[test]
fn elements_are_those_of_the_plain_way() {
    let golden: Value = serde_json::from_str(include_str!("../goldens/surface_elements.json")).unwrap();
    let spacing = numbers(&golden["spacing"]);
    let (lengths, areas) = (numbers(&golden["lengths"]), numbers(&golden["areas"]));
    assert_eq!((lengths.len(), areas.len()), (16, 256));
    let mut compared = 0;
    for number in 0..CASES {
        let pair = pair(number);
        let axes = pair.truth.ndim();
        let (spacing, table) = (&spacing[3 - axes..], if axes == 3 { &areas } else { &lengths });
        let [from, to] = [&pair.prediction, &pair.truth].map(|mask| plain_elements(mask, table));
        let fast =
            SurfaceDistances::new(pair.prediction.view(), pair.truth.view(), spacing, Connectivity::Faces).unwrap();
        let fast = fast.elements(Direction::PredictionToTruth);
        if from.is_empty() || to.is_empty() {
            assert!(fast.is_empty());
            continue;
        }
        let way = |p: &[f64], q: &[f64]| -> f64 {
            let steps = p.iter().zip(q).zip(spacing);
            steps.map(|((p, q), step)| ((p - q) * step).powi(2)).sum()
        };
        let mut plain: Vec<(f64, f64)> = from
            .iter()
            .map(|(corner, area)| {
                let nearest = to
                    .iter()
                    .map(|(other, _)| way(corner, other))
                    .fold(f64::INFINITY, f64::min);
                (nearest.sqrt(), *area)
            })
            .collect();
        plain.sort_unstable_by(|left, right| left.0.total_cmp(&right.0).then(left.1.total_cmp(&right.1)));
        assert_eq!(fast.len(), plain.len(), "pair {number}");
        // Of the same distance, areas that differ by a rounding may be in another order.
        for (fast, plain) in fast.chunk_by(|l, r| l.0 == r.0).zip(plain.chunk_by(|l, r| l.0 == r.0)) {
            assert_eq!((fast[0].0, fast.len()), (plain[0].0, plain.len()), "pair {number}");
            for (fast, plain) in fast.iter().zip(plain) {
                assert_relative_eq!(fast.1, plain.1, max_relative = 1e-12);
            }
        }
        compared += 1;
    }
    assert!(compared > 140, "{compared}");
}
