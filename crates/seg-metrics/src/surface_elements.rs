//! The area of the piece of surface around a corner of voxels, as in DeepMind's `surface-distance`.
//!
//! Around a corner where voxels meet, each of the 4 (8) voxels is inside or not. The surface between
//! them passes the middles of the edges that join an inside centre with an outside one (marching squares,
//! marching cubes). Its length (area) depends on the pattern and the spacing alone.
//!
//! Nikolov et al., "Clinically Applicable Segmentation of Head and Neck Anatomy for Radiotherapy", 2021,
//! [10.2196/26151](https://doi.org/10.2196/26151); Lorensen & Cline, "Marching Cubes", 1987,
//! [10.1145/37401.37422](https://doi.org/10.1145/37401.37422).

/// Normals of triangles in eighths, by absolute value: the length of a normal is its triangle's area.
type Triangles = &'static [[u8; 3]];

/// Up to turning, mirroring and swapping inside with outside there are 14 patterns of 8 voxels. Each with
/// its code (see `BitMask::corner_code`) and the triangles that `surface-distance` 0.1 cuts it into.
const PATTERNS: [(usize, Triangles); 14] = [
    (0, &[]),
    (1, &[[1, 1, 1]]),
    (3, &[[2, 2, 0], [2, 2, 0]]),
    (6, &[[1, 1, 1], [1, 1, 1]]),
    (7, &[[1, 1, 1], [2, 2, 2], [4, 0, 0]]),
    (15, &[[4, 0, 0], [4, 0, 0]]),
    (22, &[[1, 1, 1], [1, 1, 1], [1, 1, 1]]),
    (23, &[[1, 1, 1], [1, 1, 1], [2, 2, 2], [2, 2, 2]]),
    (24, &[[1, 1, 1], [1, 1, 1]]),
    (25, &[[0, 2, 2], [0, 2, 2], [1, 1, 1]]),
    (27, &[[0, 2, 2], [1, 1, 1], [2, 0, 2], [3, 3, 3]]),
    (30, &[[1, 1, 1], [1, 1, 1], [2, 2, 2], [4, 0, 0]]),
    (60, &[[2, 2, 0], [2, 2, 0], [2, 2, 0], [2, 2, 0]]),
    (105, &[[1, 1, 1], [1, 1, 1], [1, 1, 1], [1, 1, 1]]),
];

const PERMUTATIONS: [[usize; 3]; 6] = [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]];

/// The area for each of the 256 codes, in squared units of the spacing.
pub(crate) fn areas([sz, sy, sx]: [f64; 3]) -> Vec<f64> {
    let faces = [sy * sx, sz * sx, sz * sy];
    let mut areas = vec![0.0; 256];
    for (code, triangles) in PATTERNS {
        for axes in PERMUTATIONS {
            let area: f64 = triangles
                .iter()
                .map(|normal| {
                    let squares = (0..3).map(|axis| (f64::from(normal[axes[axis]]) / 8.0 * faces[axis]).powi(2));
                    squares.sum::<f64>().sqrt()
                })
                .sum();
            for mirror in 0..8 {
                let turned = turned(code, axes, mirror);
                areas[turned] = area;
                areas[255 - turned] = area;
            }
        }
    }
    areas
}

/// The code of the pattern with its axes permuted and some of them mirrored.
fn turned(code: usize, axes: [usize; 3], mirror: usize) -> usize {
    (0..8)
        .filter(|corner| code >> (7 - corner) & 1 == 1)
        .map(|corner| {
            let at = (0..3).fold(0, |at, axis| 2 * at + (corner >> (2 - axes[axis]) & 1));
            1 << (7 - (at ^ mirror))
        })
        .sum()
}

/// The length for each of the 16 codes, in units of the spacing.
pub(crate) fn lengths([sy, sx]: [f64; 2]) -> Vec<f64> {
    let diagonal = (sy * sy + sx * sx).sqrt() / 2.0;
    (0..16_usize)
        .map(|code| match code {
            0b0000 | 0b1111 => 0.0,
            0b0011 | 0b1100 => sx,
            0b0101 | 0b1010 => sy,
            0b0110 | 0b1001 => 2.0 * diagonal,
            _ => diagonal,
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use approx::assert_relative_eq;

    use super::{areas, lengths};

    /// Every code has its area: none but that of all inside and all outside is 0.
    #[test]
    fn every_pattern_is_reached() {
        let areas = areas([1.5, 1.0, 0.7]);
        assert_eq!(areas.iter().filter(|&&area| area == 0.0).count(), 2);
        assert_eq!(lengths([1.5, 1.0]).iter().filter(|&&length| length == 0.0).count(), 2);
    }

    /// `create_table_neighbour_code_to_surface_area([1.5, 1.1, 0.7])` of surface-distance 0.1.
    #[test]
    fn flat_surfaces_have_the_area_of_a_face() {
        let areas = areas([1.5, 1.1, 0.7]);
        for (code, area) in [
            (0b1111_0000, 1.1 * 0.7),
            (0b1100_1100, 1.5 * 0.7),
            (0b1010_1010, 1.5 * 1.1),
        ] {
            assert_relative_eq!(areas[code], area, max_relative = 1e-15);
        }
    }
}
