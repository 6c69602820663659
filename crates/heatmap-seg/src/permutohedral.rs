//! Gaussian filtering of values at scattered places by the permutohedral lattice: values are splatted onto the
//! lattice's vertices around them, blurred along its axes and sliced back.
//!
//! Adams, Baek and Davis, "Fast High-Dimensional Filtering Using the Permutohedral Lattice", 2010,
//! [10.1111/j.1467-8659.2009.01645.x](https://doi.org/10.1111/j.1467-8659.2009.01645.x).

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

use rayon::prelude::*;

/// The most features a place may have, for its vertices' names to fit into 128 bits.
pub(crate) const MOST_FEATURES: usize = 4;
/// Places or vertices that one thread takes at a time.
const PART: usize = 1 << 12;

/// The lattice around some places. Vertex 0 stands for those that no place touches.
#[derive(Debug)]
pub(crate) struct Lattice {
    corners: usize,
    /// The vertices around each place, and their weights, `corners` for each.
    vertices: Vec<u32>,
    weights: Vec<f32>,
    /// The places around each vertex with their weights, from `starts[vertex]` to `starts[vertex + 1]`.
    starts: Vec<u32>,
    splats: Vec<(u32, f32)>,
    /// The two vertices beside each vertex, for each direction in turn.
    beside: Vec<Vec<[u32; 2]>>,
}

/// Vertices by name. A name is `Σ c_k 2^{32k}` of a vertex's coordinates, so that a step adds a number to it.
type Numbers = HashMap<i128, u32, BuildHasherDefault<NameHasher>>;

#[derive(Debug, Default)]
struct NameHasher(u64);

impl Hasher for NameHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            self.0 = (self.0 ^ u64::from(byte)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        }
    }

    fn write_i128(&mut self, name: i128) {
        let mixed = (name as u64 ^ ((name >> 64) as u64).rotate_left(29)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        self.0 = (mixed ^ (mixed >> 32)).wrapping_mul(0xd6e8_feb8_6659_fd93);
    }
}

fn name(coordinates: impl Iterator<Item = i64>) -> i128 {
    coordinates
        .enumerate()
        .map(|(axis, coordinate)| i128::from(coordinate) << (32 * axis))
        .sum()
}

impl Lattice {
    /// The lattice around places of `features` features each, all divided by their standard deviation.
    pub(crate) fn new(places: &[f32], features: usize) -> Lattice {
        let corners = features + 1;
        let mut names = vec![0_i128; places.len() / features * corners];
        let mut weights = vec![0.0_f32; names.len()];
        names
            .par_chunks_mut(PART * corners)
            .zip(weights.par_chunks_mut(PART * corners))
            .zip(places.par_chunks(PART * features))
            .for_each(|((names, weights), places)| {
                let corners_of = names.chunks_exact_mut(corners).zip(weights.chunks_exact_mut(corners));
                for ((names, weights), place) in corners_of.zip(places.chunks_exact(features)) {
                    simplex(place, names, weights);
                }
            });
        let mut numbers = Numbers::default();
        numbers.reserve(names.len() / 4);
        let mut known = Vec::new();
        let vertices: Vec<u32> = names
            .iter()
            .map(|&name| {
                *numbers.entry(name).or_insert_with(|| {
                    known.push(name);
                    known.len() as u32
                })
            })
            .collect();
        let beside = (0..corners)
            .map(|direction| {
                let step = name((0..features).map(|axis| if axis == direction { features as i64 } else { -1 }));
                let find = |name| numbers.get(&name).copied().unwrap_or(0);
                let mut beside = vec![[0, 0]];
                beside.par_extend(known.par_iter().map(|name| [find(name + step), find(name - step)]));
                beside
            })
            .collect();
        let mut starts = vec![0_u32; known.len() + 2];
        for &vertex in &vertices {
            starts[vertex as usize + 1] += 1;
        }
        for vertex in 1..starts.len() {
            starts[vertex] += starts[vertex - 1];
        }
        let mut next = starts.clone();
        let mut splats = vec![(0, 0.0); vertices.len()];
        for (at, (&vertex, &weight)) in vertices.iter().zip(&weights).enumerate() {
            splats[next[vertex as usize] as usize] = ((at / corners) as u32, weight);
            next[vertex as usize] += 1;
        }
        Lattice {
            corners,
            vertices,
            weights,
            starts,
            splats,
            beside,
        }
    }

    /// The values filtered by a Gaussian of standard deviation 1, up to a factor that is the same for all.
    pub(crate) fn filter(&self, values: &[f32]) -> Vec<f32> {
        let mut lattice: Vec<f32> = self
            .starts
            .par_windows(2)
            .with_min_len(PART)
            .map(|around| {
                let splats = &self.splats[around[0] as usize..around[1] as usize];
                splats
                    .iter()
                    .map(|&(place, weight)| weight * values[place as usize])
                    .sum()
            })
            .collect();
        let mut blurred = vec![0.0; lattice.len()];
        for beside in &self.beside {
            blurred
                .par_iter_mut()
                .zip(beside)
                .enumerate()
                .with_min_len(PART)
                .for_each(|(vertex, (blurred, &[before, after]))| {
                    *blurred = lattice[vertex] + 0.5 * (lattice[before as usize] + lattice[after as usize]);
                });
            std::mem::swap(&mut lattice, &mut blurred);
            // What flows onto vertices that no place touches is lost.
            lattice[0] = 0.0;
        }
        self.vertices
            .par_chunks_exact(self.corners)
            .zip(self.weights.par_chunks_exact(self.corners))
            .with_min_len(PART)
            .map(|(vertices, weights)| {
                let around = vertices.iter().zip(weights);
                around.map(|(&vertex, weight)| weight * lattice[vertex as usize]).sum()
            })
            .collect()
    }
}

/// The names of the vertices around a place, and their weights.
fn simplex(place: &[f32], names: &mut [i128], weights: &mut [f32]) {
    const MOST: usize = MOST_FEATURES + 1;
    let features = place.len();
    let corners = features + 1;
    // The place in the plane whose coordinates sum up to 0.
    let mut elevated = [0.0_f64; MOST];
    let deviation = (2.0_f64 / 3.0).sqrt() * corners as f64;
    let mut sum = 0.0;
    for axis in (1..corners).rev() {
        let value = f64::from(place[axis - 1]) * deviation / ((axis * (axis + 1)) as f64).sqrt();
        elevated[axis] = sum - axis as f64 * value;
        sum += value;
    }
    elevated[0] = sum;
    // The nearest vertex of remainder 0, and the order of the distances from it.
    let mut nearest = [0_i64; MOST];
    let mut excess = 0;
    for axis in 0..corners {
        let multiple = (elevated[axis] / corners as f64).round() as i64;
        nearest[axis] = multiple * corners as i64;
        excess += multiple;
    }
    let mut rank = [0_i64; MOST];
    for axis in 0..corners {
        for other in axis + 1..corners {
            if elevated[axis] - (nearest[axis] as f64) < elevated[other] - nearest[other] as f64 {
                rank[axis] += 1;
            } else {
                rank[other] += 1;
            }
        }
    }
    for axis in 0..corners {
        rank[axis] += excess;
        if rank[axis] < 0 {
            rank[axis] += corners as i64;
            nearest[axis] += corners as i64;
        } else if rank[axis] >= corners as i64 {
            rank[axis] -= corners as i64;
            nearest[axis] -= corners as i64;
        }
    }
    let mut barycentric = [0.0_f64; MOST + 1];
    for axis in 0..corners {
        let far = (elevated[axis] - nearest[axis] as f64) / corners as f64;
        let at = features - rank[axis] as usize;
        barycentric[at] += far;
        barycentric[at + 1] -= far;
    }
    barycentric[0] += 1.0 + barycentric[corners];
    for (remainder, (vertex, weight)) in names.iter_mut().zip(weights).enumerate() {
        let over = |axis: usize| {
            if rank[axis] as usize > features - remainder {
                corners as i64
            } else {
                0
            }
        };
        *vertex = name((0..features).map(|axis| nearest[axis] + remainder as i64 - over(axis)));
        *weight = barycentric[remainder] as f32;
    }
}
