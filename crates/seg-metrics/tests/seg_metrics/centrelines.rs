//! Thinning and centreline Dice against a plain way: every voxel looked at in every pass, each condition by its
//! definition.

use approx::assert_relative_eq;
use ndarray::{Array3, ArrayD, ArrayView3, Axis, AxisDescription, Ix3, Slice, s};
use seg_metrics::{Connectivity, EmptyMasks, cl_dice, components, skeleton};

use crate::pairs::{CASES, pair};

/// A mask of two or three axes as a volume in one voxel of background all round.
fn padded(mask: &ArrayD<bool>) -> Array3<bool> {
    let mut mask = mask.view();
    if mask.ndim() == 2 {
        mask.insert_axis_inplace(Axis(0));
    }
    let mask = mask.into_dimensionality::<Ix3>().unwrap();
    let (depth, height, width) = mask.dim();
    let mut padded = Array3::from_elem((depth + 2, height + 2, width + 2), false);
    padded.slice_each_axis_mut(inner).assign(&mask);
    padded
}

fn inner(_: AxisDescription) -> Slice {
    Slice::new(1, Some(-1), 1)
}

/// The Euler characteristic of voxels as closed cubes: corners less edges plus faces less cubes.
fn euler(voxels: ArrayView3<'_, bool>) -> i32 {
    let mut parts = Array3::from_elem((7, 7, 7), false);
    for ((z, y, x), _) in voxels.indexed_iter().filter(|(_, inside)| **inside) {
        parts
            .slice_mut(s![2 * z..2 * z + 3, 2 * y..2 * y + 3, 2 * x..2 * x + 3])
            .fill(true);
    }
    let extended = |at: usize| i32::from(at % 2 == 1);
    parts
        .indexed_iter()
        .filter(|(_, there)| **there)
        .map(|((z, y, x), _)| 1 - 2 * ((extended(z) + extended(y) + extended(x)) % 2))
        .sum()
}

fn plain_skeleton(mask: &ArrayD<bool>) -> ArrayD<bool> {
    let mut thin = padded(mask);
    let sides = [(1, 0, 1), (1, 2, 1), (1, 1, 2), (1, 1, 0), (2, 1, 1), (0, 1, 1)];
    let sides = if mask.ndim() == 2 { &sides[..4] } else { &sides[..] };
    let around = |thin: &Array3<bool>, (z, y, x): (usize, usize, usize)| {
        thin.slice(s![z - 1..z + 2, y - 1..y + 2, x - 1..x + 2]).to_owned()
    };
    let is_simple = |thin: &Array3<bool>, voxel| {
        let mut around = around(thin, voxel);
        around[(1, 1, 1)] = false;
        components(around.view(), Connectivity::Corners).unwrap().count() == 1
    };
    loop {
        let mut changed = false;
        for &side in sides {
            let goes = |thin: &Array3<bool>, voxel| {
                let around = around(thin, voxel);
                let mut without = around.clone();
                without[(1, 1, 1)] = false;
                let is_end = around.iter().filter(|&&inside| inside).count() == 2;
                !around[side] && !is_end && euler(around.view()) == euler(without.view()) && is_simple(thin, voxel)
            };
            let candidates: Vec<_> = thin
                .indexed_iter()
                .filter(|&(voxel, &inside)| inside && goes(&thin, voxel))
                .map(|(voxel, _)| voxel)
                .collect();
            for voxel in candidates {
                if is_simple(&thin, voxel) {
                    thin[voxel] = false;
                    changed = true;
                }
            }
        }
        if !changed {
            let voxels = thin.slice_each_axis(inner).iter().copied().collect();
            return ArrayD::from_shape_vec(mask.raw_dim(), voxels).unwrap();
        }
    }
}

#[test]
fn skeletons_and_their_dice_are_those_of_the_plain_way() {
    let (mut volumes, mut compared) = (0, 0);
    for number in (0..CASES).step_by(3) {
        let pair = pair(number);
        let lines = [&pair.prediction, &pair.truth].map(plain_skeleton);
        assert_eq!(skeleton(pair.prediction.view()).unwrap(), lines[0], "pair {number}");
        assert_eq!(skeleton(pair.truth.view()).unwrap(), lines[1], "pair {number}");
        volumes += usize::from(pair.truth.ndim() == 3);

        let share = |line: &ArrayD<bool>, mask: &ArrayD<bool>| {
            let inside: Vec<bool> = line
                .iter()
                .zip(mask)
                .filter(|(on, _)| **on)
                .map(|(_, inside)| *inside)
                .collect();
            (!inside.is_empty()).then(|| inside.iter().filter(|&&inside| inside).count() as f64 / inside.len() as f64)
        };
        let score = cl_dice(pair.prediction.view(), pair.truth.view(), EmptyMasks::medpy()).unwrap();
        let expected = match (share(&lines[0], &pair.truth), share(&lines[1], &pair.prediction)) {
            (Some(precision), Some(sensitivity)) if precision + sensitivity > 0.0 => {
                compared += 1;
                2.0 / (1.0 / precision + 1.0 / sensitivity)
            }
            (None, None) => 1.0,
            _ => 0.0,
        };
        assert_relative_eq!(score, expected, max_relative = 1e-14);
    }
    assert!(volumes > 20 && compared > 30, "{volumes}, {compared}");
}

/// Layer after layer goes off a block with a tunnel, as far as from every side.
#[test]
fn thick_bodies_are_peeled_as_in_the_plain_way() {
    let body = ArrayD::from_shape_fn(vec![9, 11, 14], |at| {
        let hole = at[1].abs_diff(5) <= 1 && at[2].abs_diff(6) <= 1;
        !hole && (at[0] + at[1] * at[2]) % 23 > 0
    });
    assert_eq!(skeleton(body.view()).unwrap(), plain_skeleton(&body));
}
