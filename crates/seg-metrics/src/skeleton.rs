use ndarray::{Array, Array3, ArrayView, AxisDescription, Dimension, Slice};

use crate::MetricError;
use crate::bounding_box::bounding_box;
use crate::shape::volume;

/// The neighbourhood of a voxel: `9·z + 3·y + x`, itself in the middle.
type Neighbourhood = [bool; 27];
const MIDDLE: usize = 13;

/// The skeleton of a mask: a line one voxel thick along its middle, by Lee's thinning.
///
/// Border voxels are peeled off from one side after the other as long as they are no end of a line and
/// nothing changes in which parts hang together, enclose a hole or a cavity. Foreground hangs together by
/// corners, background by faces. The same voxels as scikit-image's `skeletonize(mask, method="lee")`. Lee, Kashyap &
/// Chu, "Building Skeleton Models via 3-D Medial Surface/Axis Thinning Algorithms", 1994,
/// [10.1006/cgip.1994.1042](https://doi.org/10.1006/cgip.1994.1042).
///
/// # Shapes
/// 2-D or 3-D; the skeleton has the mask's shape.
///
/// # Errors
/// [`MetricError::Axes`] unless there are 2 or 3.
///
/// # Cost
/// A pass over the border voxels for each layer peeled off and each side. Beyond the skeleton, a byte for each voxel
/// of the box around the mask and 24 for each border voxel.
///
/// ```
/// use ndarray::Array2;
/// use seg_metrics::skeleton;
///
/// let bar = Array2::from_shape_fn((5, 9), |(y, x)| (1..4).contains(&y) && (1..8).contains(&x));
/// let line = skeleton(bar.view())?;
/// assert!(line.indexed_iter().all(|((y, _), &on)| !on || y == 2));
/// assert!(line[(2, 4)]);
/// # Ok::<(), seg_metrics::MetricError>(())
/// ```
pub fn skeleton<D: Dimension>(mask: ArrayView<'_, bool, D>) -> Result<Array<bool, D>, MetricError> {
    let flat = volume(mask.view())?.ndim() > mask.ndim();
    let Some(bounds) = bounding_box(mask.view()) else {
        return Ok(Array::from_elem(mask.raw_dim(), false));
    };
    let within = |axis: AxisDescription| Slice::from(bounds[axis.axis.index()].clone());
    // One voxel of background all round.
    let boxed = volume(mask.slice_each_axis(within))?;
    let (depth, height, width) = boxed.dim();
    let mut padded = Array3::from_elem((depth + 2, height + 2, width + 2), false);
    let inner = |_: AxisDescription| Slice::new(1, Some(-1), 1);
    padded.slice_each_axis_mut(inner).assign(&boxed);
    thin(&mut padded, flat);
    let mut skeleton = Array::from_elem(mask.raw_dim(), false);
    let thinned = padded.slice_each_axis(inner);
    for (inside, &thinned) in skeleton.slice_each_axis_mut(within).iter_mut().zip(&thinned) {
        *inside = thinned;
    }
    Ok(skeleton)
}

/// A voxel by its coordinates.
type Voxel = (usize, usize, usize);

fn thin(mask: &mut Array3<bool>, flat: bool) {
    // From which side the background is: y below and above, x above and below, z above and below.
    let sides = [(0, -1, 0), (0, 1, 0), (0, 0, 1), (0, 0, -1), (1, 0, 0), (-1, 0, 0)];
    let sides = if flat { &sides[..4] } else { &sides[..] };
    let beside = |(z, y, x): Voxel, &(dz, dy, dx): &(isize, isize, isize)| {
        let step = |at: usize, step: isize| at.wrapping_add_signed(step);
        (step(z, dz), step(y, dy), step(x, dx))
    };
    let open_sides = |mask: &Array3<bool>, voxel| sides.iter().filter(|side| !mask[beside(voxel, side)]).count();
    // Only what lies at the background can go, and it is few.
    let mut border: Vec<Voxel> = mask
        .indexed_iter()
        .filter(|&(voxel, &inside)| inside && open_sides(mask, voxel) > 0)
        .map(|(voxel, _)| voxel)
        .collect();
    loop {
        let mut changed = false;
        for side in sides {
            let mut candidates: Vec<Voxel> = border
                .iter()
                .copied()
                .filter(|&voxel| {
                    !mask[beside(voxel, side)] && {
                        let around = neighbourhood(mask, voxel);
                        !is_end(&around) && keeps_euler(&around) && is_simple(&around)
                    }
                })
                .collect();
            candidates.sort_unstable();
            // One after the other, since the first may make the second one needed.
            for voxel in candidates {
                if is_simple(&neighbourhood(mask, voxel)) {
                    mask[voxel] = false;
                    changed = true;
                    let bared = sides.iter().map(|side| beside(voxel, side));
                    border.extend(bared.filter(|&other| mask[other] && open_sides(mask, other) == 1));
                }
            }
            border.retain(|&voxel| mask[voxel]);
        }
        if !changed {
            return;
        }
    }
}

fn neighbourhood(mask: &Array3<bool>, (z, y, x): Voxel) -> Neighbourhood {
    std::array::from_fn(|at| mask[(z + at / 9 - 1, y + at / 3 % 3 - 1, x + at % 3 - 1)])
}

/// Whether the voxel has one neighbour only.
fn is_end(around: &Neighbourhood) -> bool {
    around.iter().filter(|&&inside| inside).count() == 2
}

/// Whether the Euler characteristic of the voxels as closed cubes stays the same without the one in the middle.
///
/// Without it, its inside goes, and those of its faces, edges and corners that no other cube has:
/// `corners − edges + faces − 1` must be 0.
fn keeps_euler(around: &Neighbourhood) -> bool {
    let mut change = -1;
    // A part of the cube lies towards −1, 0 or 1 along each axis; at 0 it spans the cube.
    for part in (0..27).filter(|&part| part != MIDDLE) {
        let towards = [part / 9, part / 3 % 3, part % 3];
        let spans = towards.iter().filter(|&&step| step == 1).count();
        let shared = (0..27).any(|other| {
            let steps = [other / 9, other / 3 % 3, other % 3];
            other != MIDDLE
                && around[other]
                && steps
                    .iter()
                    .zip(&towards)
                    .all(|(&step, &towards)| step == 1 || step == towards)
        });
        if !shared {
            change += if spans % 2 == 0 { 1 } else { -1 };
        }
    }
    change == 0
}

/// Whether the neighbours hang together without the voxel itself.
fn is_simple(around: &Neighbourhood) -> bool {
    let mut left: Vec<usize> = (0..27).filter(|&at| at != MIDDLE && around[at]).collect();
    let Some(first) = left.pop() else {
        return false;
    };
    let mut reached = vec![first];
    while let Some(from) = reached.pop() {
        let near = |a: usize, b: usize| {
            (a / 9).abs_diff(b / 9) <= 1 && (a / 3 % 3).abs_diff(b / 3 % 3) <= 1 && (a % 3).abs_diff(b % 3) <= 1
        };
        left.retain(|&other| {
            let near = near(from, other);
            if near {
                reached.push(other);
            }
            !near
        });
    }
    left.is_empty()
}
