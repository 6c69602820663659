//! The box around a mask, outside which there is nothing to look at.

use std::ops::Range;

use ndarray::parallel::prelude::*;
use ndarray::{ArrayView, ArrayView1, Axis, Dimension};

/// The box around a mask, a range for each axis; None if the mask is empty. Reads the mask once, on all threads.
pub(crate) fn bounding_box<D: Dimension>(mask: ArrayView<'_, bool, D>) -> Option<Vec<Range<usize>>> {
    let stride = |axis: &usize| mask.strides()[*axis].unsigned_abs();
    // Lanes as they lie in memory, cut across those that are furthest apart.
    let (Some(along), Some(across)) = (
        (0..mask.ndim()).rev().min_by_key(stride),
        (0..mask.ndim()).rev().max_by_key(stride),
    ) else {
        return mask.iter().any(|&inside| inside).then(Vec::new);
    };
    let piece = mask
        .len_of(Axis(across))
        .div_ceil(4 * rayon::current_num_threads())
        .max(1);
    mask.axis_chunks_iter(Axis(across), piece)
        .into_par_iter()
        .enumerate()
        .map(|(number, part)| {
            let mut around = around(part, along)?;
            around[across].start += number * piece;
            around[across].end += number * piece;
            Some(around)
        })
        .reduce(|| None, union)
}

/// The box around two boxes.
pub(crate) fn union(left: Option<Vec<Range<usize>>>, right: Option<Vec<Range<usize>>>) -> Option<Vec<Range<usize>>> {
    match (left, right) {
        (Some(left), Some(right)) => {
            let axes = left.into_iter().zip(right);
            Some(axes.map(|(l, r)| l.start.min(r.start)..l.end.max(r.end)).collect())
        }
        (left, right) => left.or(right),
    }
}

fn around<D: Dimension>(mask: ArrayView<'_, bool, D>, along: usize) -> Option<Vec<Range<usize>>> {
    let mut around: Option<Vec<Range<usize>>> = None;
    let mut index = vec![0; mask.ndim()];
    for lane in mask.lanes(Axis(along)) {
        if any(lane) {
            let around = around.get_or_insert_with(|| mask.shape().iter().map(|&length| length..0).collect());
            for (axis, range) in around.iter_mut().enumerate() {
                if axis == along {
                    widen(range, lane);
                } else {
                    *range = range.start.min(index[axis])..range.end.max(index[axis] + 1);
                }
            }
        }
        for axis in (0..mask.ndim()).rev().filter(|&axis| axis != along) {
            index[axis] += 1;
            if index[axis] < mask.len_of(Axis(axis)) {
                break;
            }
            index[axis] = 0;
        }
    }
    around
}

/// Widens a range to hold all that is inside along a lane.
fn widen(range: &mut Range<usize>, lane: ArrayView1<'_, bool>) {
    let (before, _) = lane.split_at(Axis(0), range.start);
    if any(before) {
        range.start = before.iter().position(|&inside| inside).unwrap_or(range.start);
    }
    let (_, after) = lane.split_at(Axis(0), range.end);
    if any(after) {
        let beyond = after.iter().rev().position(|&inside| inside);
        range.end = lane.len() - beyond.unwrap_or(after.len());
    }
}

fn any(lane: ArrayView1<'_, bool>) -> bool {
    match lane.as_slice() {
        // Without an early end many voxels are looked at together.
        Some(lane) => lane.iter().fold(false, |any, &inside| any | inside),
        None => lane.iter().any(|&inside| inside),
    }
}

#[cfg(test)]
mod tests {
    use std::ops::Range;

    use ndarray::{Array, Array3, Array4, ArrayD, ArrayViewD, Axis, Dimension, Slice, arr0};

    use super::bounding_box;

    fn plain<D: Dimension>(mask: &Array<bool, D>) -> Option<Vec<Range<usize>>> {
        let mask = mask.view().into_dyn();
        let inside: Vec<_> = mask
            .indexed_iter()
            .filter(|(_, inside)| **inside)
            .map(|(index, _)| index)
            .collect();
        (!inside.is_empty()).then(|| {
            (0..mask.ndim())
                .map(|axis| {
                    let along = || inside.iter().map(|index| index[axis]);
                    along().min().unwrap()..along().max().unwrap() + 1
                })
                .collect()
        })
    }

    #[test]
    fn boxes_are_those_of_the_plain_search() {
        for seed in 0..200_usize {
            let shape = [1 + seed % 4, 1 + seed / 4 % 5, 1 + seed % 70];
            let mask = Array3::from_shape_fn(shape, |(z, y, x)| {
                (z * 31 + y * 17 + x * 7 + seed * 13) % (29 + seed) == 3
            });
            assert_eq!(bounding_box(mask.view()), plain(&mask));
            let turned = mask.view().reversed_axes();
            assert_eq!(bounding_box(turned), plain(&turned.to_owned()));
            let mut back = mask.view();
            back.invert_axis(Axis(2));
            back.slice_axis_inplace(Axis(0), Slice::new(0, None, 2));
            assert_eq!(bounding_box(back), plain(&back.to_owned()));
        }
    }

    /// So that each piece along the longest axis holds several planes.
    #[test]
    fn boxes_along_a_long_axis_are_those_of_the_plain_search() {
        for (from, to) in [(0, 96), (3, 3), (40, 61), (95, 96)] {
            let mask = Array3::from_shape_fn([97, 3, 5], |(z, y, x)| (z == from || z == to) && y == z % 3 && x > 1);
            assert_eq!(bounding_box(mask.view()), plain(&mask));
            // In memory the axis lies furthest apart here and closest there.
            let turned = mask.t().as_standard_layout().into_owned();
            assert_eq!(bounding_box(turned.t()), plain(&mask));
        }
    }

    #[test]
    fn any_number_of_axes_will_do() {
        assert_eq!(bounding_box(arr0(true).view()), Some(vec![]));
        assert_eq!(bounding_box(arr0(false).view()), None);
        let mut mask = Array4::from_elem((3, 2, 5, 4), false);
        mask[(1, 0, 3, 2)] = true;
        mask[(2, 0, 1, 3)] = true;
        assert_eq!(bounding_box(mask.view()), Some(vec![1..3, 0..1, 1..4, 2..4]));
        assert_eq!(bounding_box(mask.view().into_dyn()), plain(&mask));
        let nothing = ArrayD::from_elem(vec![3, 0, 2], true);
        let view: ArrayViewD<'_, bool> = nothing.view();
        assert_eq!(bounding_box(view), None);
    }
}
