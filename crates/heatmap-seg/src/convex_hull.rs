//! The convex hull of an image's mask, in integers: coordinates are doubled, so that the middles of a pixel's sides
//! are whole numbers.

use ndarray::{Array, Array2, ArrayView, ArrayView2, Axis, Dimension, Ix1, Ix2, Ix3};

use crate::SegError;
use crate::convex_hull_3d::convex_hull_3d;
use crate::image::shaped;

pub(crate) fn convex_hull<D: Dimension>(mask: ArrayView<'_, bool, D>) -> Result<Array<bool, D>, SegError> {
    let axes = mask.ndim();
    let shape = mask.raw_dim();
    let hull = match axes {
        // A row is an image of one row.
        1 => convex_hull_2d(in_axes::<_, Ix1>(&mask)?.insert_axis(Axis(0))).into_dyn(),
        2 => convex_hull_2d(in_axes::<_, Ix2>(&mask)?).into_dyn(),
        3 => convex_hull_3d(in_axes::<_, Ix3>(&mask)?)?.into_dyn(),
        found => return Err(SegError::Axes { found, expected: 3 }),
    };
    Ok(shaped(hull, shape, false))
}

/// The same mask in so many axes, which it has.
fn in_axes<'a, D: Dimension, E: Dimension>(
    mask: &'a ArrayView<'_, bool, D>,
) -> Result<ArrayView<'a, bool, E>, SegError> {
    mask.view().into_dimensionality().map_err(|_| SegError::Axes {
        found: mask.ndim(),
        expected: 3,
    })
}

fn convex_hull_2d(plane: ArrayView2<'_, bool>) -> Array2<bool> {
    let mut points = Vec::new();
    for (row, pixels) in plane.rows().into_iter().enumerate() {
        let first = pixels.iter().position(|&on| on);
        let last = pixels.iter().rposition(|&on| on);
        for column in first.into_iter().chain(last) {
            let (y, x) = (2 * row as i64, 2 * column as i64);
            points.extend([(y - 1, x), (y, x - 1), (y, x + 1), (y + 1, x)]);
        }
    }
    let mut hull = Array2::from_elem(plane.raw_dim(), false);
    if points.is_empty() {
        return hull;
    }
    let corners = corners(points);
    let width = plane.ncols() as i64;
    let mut pixels = hull.iter_mut();
    for y in (0..plane.nrows() as i64).map(|row| 2 * row) {
        // The columns 2x on the inner side of every edge: those from `first` to `last`.
        let (mut first, mut last) = (0, width - 1);
        for (place, &from) in corners.iter().enumerate() {
            let to = corners[(place + 1) % corners.len()];
            // turn(from, to, (y, 2x)) = constant + 2x · slope ≥ 0
            let (constant, slope) = (turn(from, to, (y, 0)), to.0 - from.0);
            match slope.signum() {
                1 => first = first.max((-constant).div_euclid(2 * slope) + i64::from(-constant % (2 * slope) != 0)),
                -1 => last = last.min(constant.div_euclid(-2 * slope)),
                _ if constant < 0 => last = -1,
                _ => (),
            }
        }
        for (column, pixel) in (0..width).zip(&mut pixels) {
            *pixel = (first..=last).contains(&column);
        }
    }
    hull
}

/// The corners of the hull of two points or more, which may be the same.
pub(crate) fn corners(mut points: Vec<(i64, i64)>) -> Vec<(i64, i64)> {
    points.sort_unstable();
    [chain(points.iter().copied()), chain(points.iter().rev().copied())].concat()
}

/// Positive if the way from `a` over `b` to `c` turns left, x pointing left of y.
fn turn(a: (i64, i64), b: (i64, i64), c: (i64, i64)) -> i64 {
    (b.0 - a.0) * (c.1 - a.1) - (b.1 - a.1) * (c.0 - a.0)
}

/// One side of the hull of sorted points, without its last point.
fn chain(points: impl Iterator<Item = (i64, i64)>) -> Vec<(i64, i64)> {
    let mut chain: Vec<(i64, i64)> = Vec::new();
    for point in points {
        while let [.., a, b] = chain[..]
            && turn(a, b, point) <= 0
        {
            chain.pop();
        }
        chain.push(point);
    }
    chain.pop();
    chain
}
