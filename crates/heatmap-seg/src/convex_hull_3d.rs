//! The convex hull of a volume's mask, in integers: coordinates are doubled, so that the middles of a voxel's faces are
//! whole numbers.
//!
//! Points are added one by one: the faces that a point sees give way to faces from their rim to the point. Arithmetic is
//! exact, so a point in a face's plane does not see it, and no face is flat.

use std::collections::{BTreeSet, HashSet};

use ndarray::{Array3, ArrayView3, Axis};
use rayon::prelude::*;

use crate::SegError;
use crate::convex_hull::corners;

type Point = [i64; 3];

/// The half-space `normal · p ≤ offset`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Plane {
    normal: Point,
    offset: i64,
}

/// A triangle, seen from outside counter-clockwise.
#[derive(Debug)]
struct Face {
    points: [Point; 3],
    plane: Plane,
}

impl Face {
    fn new(points: [Point; 3]) -> Face {
        let normal = cross(minus(points[1], points[0]), minus(points[2], points[0]));
        let offset = dot(normal, points[0]);
        Face {
            points,
            plane: Plane { normal, offset },
        }
    }

    fn sees(&self, point: Point) -> bool {
        dot(self.plane.normal, point) > self.plane.offset
    }

    fn edges(&self) -> [(Point, Point); 3] {
        let [a, b, c] = self.points;
        [(a, b), (b, c), (c, a)]
    }
}

/// The most voxels along an axis, for products of three coordinates to fit into 64 bits.
const MOST: usize = 1 << 19;

pub(crate) fn convex_hull_3d(mask: ArrayView3<'_, bool>) -> Result<Array3<bool>, SegError> {
    if let Some(&found) = mask.shape().iter().find(|&&length| length > MOST) {
        return Err(SegError::Extent { found, most: MOST });
    }
    let mut hull = Array3::from_elem(mask.raw_dim(), false);
    let planes = planes(&points(mask));
    if planes.is_empty() {
        return Ok(hull);
    }
    let slices = hull.axis_iter_mut(Axis(0)).enumerate().collect::<Vec<_>>();
    slices.into_par_iter().for_each(|(z, mut slice)| {
        for (y, mut row) in slice.rows_mut().into_iter().enumerate() {
            let width = row.len() as i64;
            // The voxels 2x on the inner side of every plane: those from `first` to `last`.
            let (mut first, mut last) = (0, width - 1);
            for Plane { normal, offset } in &planes {
                let room = offset - normal[0] * 2 * z as i64 - normal[1] * 2 * y as i64;
                let slope = 2 * normal[2];
                match slope.signum() {
                    1 => last = last.min(room.div_euclid(slope)),
                    // x ≥ room / slope, rounded up.
                    -1 => first = first.max(-room.div_euclid(-slope)),
                    _ if room < 0 => last = -1,
                    _ => (),
                }
                if first > last {
                    break;
                }
            }
            for x in first..=last {
                row[x as usize] = true;
            }
        }
    });
    Ok(hull)
}

/// The middles of the faces of the voxels that are corners of their slice's hull, in no order.
fn points(mask: ArrayView3<'_, bool>) -> Vec<Point> {
    let mut points = BTreeSet::new();
    for (z, slice) in mask.outer_iter().enumerate() {
        let mut centres = Vec::new();
        for (y, row) in slice.rows().into_iter().enumerate() {
            let first = row.iter().position(|&on| on);
            let last = row.iter().rposition(|&on| on);
            for x in first.into_iter().chain(last) {
                centres.push((2 * y as i64, 2 * x as i64));
            }
        }
        for (y, x) in corners(centres) {
            let z = 2 * z as i64;
            points.extend([[z - 1, y, x], [z, y - 1, x], [z, y, x - 1]]);
            points.extend([[z + 1, y, x], [z, y + 1, x], [z, y, x + 1]]);
        }
    }
    let mut points: Vec<(u64, Point)> = (points.into_iter().zip(0_u64..))
        .map(|(point, number)| (number.wrapping_mul(0x9e37_79b9_7f4a_7c15), point))
        .collect();
    points.sort_unstable();
    points.into_iter().map(|(_, point)| point).collect()
}

/// The planes of the faces of the hull of some points that are not all in one plane; none without points.
fn planes(points: &[Point]) -> Vec<Plane> {
    let Some(mut faces) = tetrahedron(points) else {
        return Vec::new();
    };
    for &point in points {
        if !faces.iter().any(|face| face.sees(point)) {
            continue;
        }
        let (seen, kept): (Vec<Face>, Vec<Face>) = faces.into_iter().partition(|face| face.sees(point));
        faces = kept;
        let edges: HashSet<(Point, Point)> = seen.iter().flat_map(Face::edges).collect();
        // An edge whose other side is not seen.
        let rim = seen
            .iter()
            .flat_map(Face::edges)
            .filter(|&(from, to)| !edges.contains(&(to, from)));
        faces.extend(rim.map(|(from, to)| Face::new([from, to, point])));
    }
    let planes: BTreeSet<Plane> = faces
        .into_iter()
        .map(|Face { plane, .. }| {
            let part = plane.normal.iter().fold(0, |part, &number| gcd(part, number.abs()));
            Plane {
                normal: plane.normal.map(|number| number / part),
                offset: plane.offset / part,
            }
        })
        .collect();
    planes.into_iter().collect()
}

/// The faces of a first tetrahedron.
fn tetrahedron(points: &[Point]) -> Option<Vec<Face>> {
    let a = *points.first()?;
    let b = *points.iter().find(|&&point| point != a)?;
    let c = *points
        .iter()
        .find(|&&point| cross(minus(b, a), minus(point, a)) != [0; 3])?;
    let base = Face::new([a, b, c]);
    let d = *points
        .iter()
        .find(|&&point| dot(base.plane.normal, point) != base.plane.offset)?;
    let [a, b] = if base.sees(d) { [b, a] } else { [a, b] };
    Some([[a, b, c], [a, d, b], [b, d, c], [c, d, a]].map(Face::new).into())
}

fn minus(a: Point, b: Point) -> Point {
    [a[0] - b[0], a[1] - b[1], a[2] - b[2]]
}

fn cross(a: Point, b: Point) -> Point {
    [
        a[1] * b[2] - a[2] * b[1],
        a[2] * b[0] - a[0] * b[2],
        a[0] * b[1] - a[1] * b[0],
    ]
}

fn dot(a: Point, b: Point) -> i64 {
    a[0] * b[0] + a[1] * b[1] + a[2] * b[2]
}

fn gcd(a: i64, b: i64) -> i64 {
    if b == 0 { a } else { gcd(b, a % b) }
}
