//! The box around a mask, outside which there is nothing to look at.

use std::ops::Range;

use ndarray::{ArrayView1, ArrayView3, Axis};
use rayon::prelude::*;

/// The box around a mask, a range for each axis; None if the mask is empty. Reads the mask once.
pub(crate) fn bounding_box(mut mask: ArrayView3<'_, bool>) -> Option<[Range<usize>; 3]> {
    // Rows as they lie in memory.
    let along = (0..3).min_by_key(|&axis| (mask.strides()[axis].unsigned_abs(), 3 - axis))?;
    mask.swap_axes(along, 2);
    let around_plane = |z: usize| {
        let mut around: Option<[Range<usize>; 3]> = None;
        for (y, row) in mask.index_axis(Axis(0), z).rows().into_iter().enumerate() {
            if !any(row) {
                continue;
            }
            let [_, ys, xs] = around.get_or_insert([z..z + 1, y..y + 1, row.len()..0]);
            ys.end = y + 1;
            let part = |range: Range<usize>| row.slice_axis_move(Axis(0), range.into());
            let (before, after) = (part(0..xs.start), part(xs.end..row.len()));
            if any(before) {
                xs.start = before.iter().position(|&inside| inside).unwrap_or(xs.start);
            }
            if any(after) {
                let beyond = after.iter().rev().position(|&inside| inside);
                xs.end = row.len() - beyond.unwrap_or(row.len() - xs.end);
            }
        }
        around
    };
    let mut around = (0..mask.dim().0)
        .into_par_iter()
        .map(around_plane)
        .reduce(|| None, union)?;
    around.swap(along, 2);
    Some(around)
}

/// The box around two boxes.
pub(crate) fn union(left: Option<[Range<usize>; 3]>, right: Option<[Range<usize>; 3]>) -> Option<[Range<usize>; 3]> {
    match (left, right) {
        (Some(left), Some(right)) => Some([0, 1, 2].map(|axis| {
            let (left, right) = (&left[axis], &right[axis]);
            left.start.min(right.start)..left.end.max(right.end)
        })),
        (left, right) => left.or(right),
    }
}

fn any(row: ArrayView1<'_, bool>) -> bool {
    match row.as_slice() {
        // Without an early end many voxels are looked at together.
        Some(row) => row.iter().fold(false, |any, &inside| any | inside),
        None => row.iter().any(|&inside| inside),
    }
}
