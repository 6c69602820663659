//! A mask of two or three axes at one bit a voxel, so that surfaces are found 64 voxels at a time.

use ndarray::{ArrayView3, Axis};
use rayon::prelude::*;

use crate::Connectivity;

/// Rows that one task works on at least.
const ROWS: usize = 64;

/// Bits `z, y, x`; a mask of two axes has one `z`. Rows start at whole words, and unused bits are 0.
#[derive(Debug)]
pub(crate) struct BitMask {
    axes: usize,
    shape: [usize; 3],
    words: usize,
    bits: Vec<u64>,
}

impl BitMask {
    fn zeros(axes: usize, shape: [usize; 3]) -> Self {
        let words = shape[2].div_ceil(64);
        BitMask {
            axes,
            shape,
            words,
            bits: vec![0; shape[0] * shape[1] * words],
        }
    }

    /// Packs a mask of `axes` axes.
    pub(crate) fn pack(mask: ArrayView3<'_, bool>, axes: usize) -> Self {
        let (depth, height, width) = mask.dim();
        let mut packed = Self::zeros(axes, [depth, height, width]);
        if packed.words == 0 {
            return packed;
        }
        packed
            .bits
            .par_chunks_mut(packed.words)
            .with_min_len(ROWS)
            .enumerate()
            .for_each(|(row, words)| {
                let plane = mask.index_axis(Axis(0), row / height);
                let row = plane.index_axis_move(Axis(0), row % height);
                match row.as_slice() {
                    Some(row) => pack_row(row, words),
                    None => {
                        for (x, &inside) in row.iter().enumerate() {
                            words[x / 64] |= u64::from(inside) << (x % 64);
                        }
                    }
                }
            });
        packed
    }

    pub(crate) fn axes(&self) -> usize {
        self.axes
    }

    pub(crate) fn shape(&self) -> [usize; 3] {
        self.shape
    }

    /// Words per row.
    pub(crate) fn words(&self) -> usize {
        self.words
    }

    /// The number of voxels of the mask.
    pub(crate) fn count(&self) -> usize {
        self.bits.iter().map(|word| word.count_ones() as usize).sum()
    }

    pub(crate) fn row(&self, z: usize, y: usize) -> &[u64] {
        let start = (z * self.shape[1] + y) * self.words;
        &self.bits[start..start + self.words]
    }

    /// The row `z + dz − 1`, `y + dy − 1`, if there is one.
    fn row_near(&self, z: usize, y: usize, dz: usize, dy: usize) -> Option<&[u64]> {
        let (z, y) = ((z + dz).wrapping_sub(1), (y + dy).wrapping_sub(1));
        (z < self.shape[0] && y < self.shape[1]).then(|| self.row(z, y))
    }

    /// The voxels of the mask with a neighbour outside: the mask without its erosion. Beyond the image
    /// everything is outside.
    pub(crate) fn border(&self, connectivity: Connectivity) -> BitMask {
        let rank = connectivity.rank();
        let mut border = Self::zeros(self.axes, self.shape);
        if self.words == 0 {
            return border;
        }
        let steps_z = if self.axes == 3 { 0..3_usize } else { 1..2 };
        border
            .bits
            .par_chunks_mut(self.words)
            .with_min_len(ROWS)
            .enumerate()
            .for_each(|(row, out)| {
                let (z, y) = (row / self.shape[1], row % self.shape[1]);
                let own = self.row(z, y);
                if own.iter().all(|&word| word == 0) {
                    return;
                }
                // The erosion first.
                out.fill(u64::MAX);
                for dz in steps_z.clone() {
                    for dy in 0..3_usize {
                        let differ = dz.abs_diff(1) + dy.abs_diff(1);
                        if differ > rank {
                            continue;
                        }
                        let Some(near) = self.row_near(z, y, dz, dy) else {
                            out.fill(0);
                            continue;
                        };
                        for (at, out) in out.iter_mut().enumerate() {
                            *out &= near[at];
                            if differ < rank {
                                *out &= lower(near, at) & upper(near, at);
                            }
                        }
                    }
                }
                for (out, &own) in out.iter_mut().zip(own) {
                    *out = own & !*out;
                }
            });
        border
    }

    /// The corners of voxels that the surface passes: those of whose 4 (8) voxels some are inside and
    /// some are not. One longer than the mask along each axis; beyond the image everything is outside.
    pub(crate) fn surface_corners(&self) -> BitMask {
        let [depth, height, width] = self.shape;
        let deep = self.axes == 3;
        let mut corners = Self::zeros(self.axes, [depth + usize::from(deep), height + 1, width + 1]);
        let (words, rows) = (corners.words, corners.shape[1]);
        let steps_z = if deep { 0..2 } else { 1..2 };
        corners
            .bits
            .par_chunks_mut(words)
            .with_min_len(ROWS)
            .enumerate()
            .for_each(|(row, out)| {
                let (z, y) = (row / rows, row % rows);
                let near: Vec<Option<&[u64]>> = steps_z
                    .clone()
                    .flat_map(|dz| (0..2).map(move |dy| self.row_near(z, y, dz, dy)))
                    .collect();
                for (at, out) in out.iter_mut().enumerate() {
                    let (mut any, mut all) = (0, u64::MAX);
                    for row in &near {
                        let (own, lower) =
                            row.map_or((0, 0), |row| (row.get(at).copied().unwrap_or(0), lower(row, at)));
                        any |= own | lower;
                        all &= own & lower;
                    }
                    *out = any & !all;
                }
            });
        corners
    }

    /// Which of the voxels around a corner are inside: a bit each, the highest for the voxel at the lowest
    /// coordinates, the last axis fastest.
    pub(crate) fn corner_code(&self, [z, y, x]: [usize; 3]) -> u8 {
        let steps_z = if self.axes == 3 { 0..2 } else { 1..2 };
        let mut code = 0;
        for dz in steps_z {
            for dy in 0..2 {
                let pair = self.row_near(z, y, dz, dy).map_or(0, |row| {
                    let bit = |x: usize| row.get(x / 64).map_or(0, |word| (word >> (x % 64) & 1) as u8);
                    let before = if x > 0 { bit(x - 1) } else { 0 };
                    2 * before + bit(x)
                });
                code = 4 * code + pair;
            }
        }
        code
    }
}

/// For each bit of word `at`, the bit one below it.
fn lower(row: &[u64], at: usize) -> u64 {
    let own = row.get(at).map_or(0, |word| word << 1);
    let carry = if at > 0 { row[at - 1] >> 63 } else { 0 };
    own | carry
}

/// For each bit of word `at`, the bit one above it.
fn upper(row: &[u64], at: usize) -> u64 {
    (row[at] >> 1) | row.get(at + 1).map_or(0, |word| word << 63)
}

fn pack_row(row: &[bool], words: &mut [u64]) {
    for (word, row) in words.iter_mut().zip(row.chunks(64)) {
        let (eights, rest) = row.as_chunks::<8>();
        for (at, eight) in eights.iter().enumerate() {
            // Eight bytes of 0 or 1: the product brings byte i to bit 56 + i, and nothing else above 55.
            let bytes = u64::from_le_bytes(eight.map(u8::from));
            *word |= (bytes.wrapping_mul(0x0102_0408_1020_4080) >> 56) << (8 * at);
        }
        for (at, &inside) in rest.iter().enumerate() {
            *word |= u64::from(inside) << (8 * eights.len() + at);
        }
    }
}
