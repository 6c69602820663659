//! Gaussian filtering of values at scattered places by the permutohedral lattice: values are splatted onto the
//! lattice's vertices around them, blurred along its axes and sliced back.
//!
//! Places are taken in parts. A part numbers its own simplices and vertices, so that only one vertex of a part, not one of
//! every place, is looked up among all.
//!
//! Adams, Baek and Davis, "Fast High-Dimensional Filtering Using the Permutohedral Lattice", 2010,
//! [10.1111/j.1467-8659.2009.01645.x](https://doi.org/10.1111/j.1467-8659.2009.01645.x).

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hash, Hasher};

use rayon::prelude::*;

/// The most features that a place may have.
pub(crate) const MOST_FEATURES: usize = 6;
const MOST_CORNERS: usize = MOST_FEATURES + 1;
/// Places or vertices that one thread takes at a time.
const PART: usize = 1 << 12;

/// The lattice around some places. Vertex 0 stands for those that no place touches.
#[derive(Debug)]
pub(crate) struct Lattice {
    /// [`Lattice::filter_with`] for as many corners as a simplex has.
    filter: fn(&Lattice, &[f32], &mut [f32]),
    parts: Vec<Part>,
    /// Where each vertex is among the parts' vertices, one part's after the other's, from `starts[vertex]` to
    /// `starts[vertex + 1]`.
    starts: Vec<u32>,
    positions: Vec<u32>,
    /// The two vertices beside each vertex, for each direction in turn.
    beside: Vec<Vec<[u32; 2]>>,
}

/// Some places, with simplices and vertices numbered for them alone.
#[derive(Debug)]
struct Part {
    /// The simplex that each place lies in, and the weights of its vertices, one after the other.
    simplices: Vec<u32>,
    weights: Vec<f32>,
    /// The vertices of each simplex, one after the other.
    corners: Vec<u32>,
    /// The lattice's vertex that each vertex is.
    vertices: Vec<u32>,
}

/// A simplex by its vertex of remainder 0 and the order of its coordinates; a vertex is one by an order of zeros.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Name<const FEATURES: usize> {
    coordinates: [i32; FEATURES],
    /// Three bits for each coordinate.
    order: u32,
}

impl<const FEATURES: usize> Hash for Name<FEATURES> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        let mixed = self
            .coordinates
            .iter()
            .fold(u64::from(self.order), |mixed, &coordinate| {
                (mixed ^ u64::from(coordinate as u32))
                    .wrapping_mul(0x9e37_79b9_7f4a_7c15)
                    .rotate_left(29)
            });
        state.write_u64(mixed);
    }
}

/// Takes what a [`Name`] has mixed already.
#[derive(Debug, Default)]
struct NameHasher(u64);

impl Hasher for NameHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            self.write_u64(self.0 ^ u64::from(byte));
        }
    }

    fn write_u64(&mut self, mixed: u64) {
        self.0 = (mixed ^ (mixed >> 32)).wrapping_mul(0xd6e8_feb8_6659_fd93);
    }
}

/// Numbers from a first one on, in the order in which names were first asked for.
#[derive(Debug)]
struct Numbers<const FEATURES: usize> {
    numbers: HashMap<Name<FEATURES>, u32, BuildHasherDefault<NameHasher>>,
    names: Vec<Name<FEATURES>>,
    first: u32,
}

impl<const FEATURES: usize> Numbers<FEATURES> {
    fn from(first: u32) -> Numbers<FEATURES> {
        Numbers {
            numbers: HashMap::default(),
            names: Vec::new(),
            first,
        }
    }

    fn number(&mut self, name: Name<FEATURES>) -> u32 {
        *self.numbers.entry(name).or_insert_with(|| {
            self.names.push(name);
            self.first + (self.names.len() - 1) as u32
        })
    }
}

impl Lattice {
    /// The lattice around places of `features` features each, up to [`MOST_FEATURES`], all divided by their standard
    /// deviation.
    pub(crate) fn new(places: &[f32], features: usize) -> Lattice {
        match features {
            0 | 1 => Lattice::around::<1, 2>(places),
            2 => Lattice::around::<2, 3>(places),
            3 => Lattice::around::<3, 4>(places),
            4 => Lattice::around::<4, 5>(places),
            5 => Lattice::around::<5, 6>(places),
            _ => Lattice::around::<MOST_FEATURES, MOST_CORNERS>(places),
        }
    }

    fn around<const FEATURES: usize, const CORNERS: usize>(places: &[f32]) -> Lattice {
        let scales = std::array::from_fn(|axis| {
            let deviation = (2.0_f64 / 3.0).sqrt() * CORNERS as f64;
            deviation / (((axis + 1) * (axis + 2)) as f64).sqrt()
        });
        let (places, _) = places.as_chunks::<FEATURES>();
        let parts: Vec<(Part, Vec<Name<FEATURES>>)> = (places.par_chunks(PART))
            .map(|places| part::<FEATURES, CORNERS>(places, &scales))
            .collect();
        let mut known = Numbers::from(1);
        let parts: Vec<Part> = (parts.into_iter())
            .map(|(part, names)| Part {
                vertices: names.into_iter().map(|name| known.number(name)).collect(),
                ..part
            })
            .collect();
        let mut starts = vec![0_u32; known.names.len() + 2];
        for &vertex in parts.iter().flat_map(|part| &part.vertices) {
            starts[vertex as usize + 1] += 1;
        }
        for vertex in 1..starts.len() {
            starts[vertex] += starts[vertex - 1];
        }
        let mut next = starts.clone();
        let mut positions = vec![0; starts[starts.len() - 1] as usize];
        for (position, &vertex) in (0..).zip(parts.iter().flat_map(|part| &part.vertices)) {
            let next = &mut next[vertex as usize];
            positions[*next as usize] = position;
            *next += 1;
        }
        let beside = (0..CORNERS)
            .map(|direction| {
                let find = |name: &Name<FEATURES>, sign: i32| {
                    let mut other = *name;
                    for (axis, coordinate) in other.coordinates.iter_mut().enumerate() {
                        *coordinate += sign * if axis == direction { FEATURES as i32 } else { -1 };
                    }
                    known.numbers.get(&other).copied().unwrap_or(0)
                };
                let mut beside = vec![[0, 0]];
                beside.par_extend(
                    (known.names.par_iter().with_min_len(PART)).map(|name| [find(name, 1), find(name, -1)]),
                );
                beside
            })
            .collect();
        Lattice {
            filter: Lattice::filter_with::<CORNERS>,
            parts,
            starts,
            positions,
            beside,
        }
    }

    /// The values filtered by a Gaussian of standard deviation 1, up to a factor that is the same for all.
    pub(crate) fn filter(&self, values: &[f32], filtered: &mut [f32]) {
        (self.filter)(self, values, filtered);
    }

    fn filter_with<const CORNERS: usize>(&self, values: &[f32], filtered: &mut [f32]) {
        let parts = self.parts.par_iter();
        let splats: Vec<Vec<f64>> = (parts.zip(values.par_chunks(PART)))
            .map(|(part, values)| part.splat::<CORNERS>(values))
            .collect();
        let splats = splats.concat();
        let mut lattice: Vec<f32> = (self.starts.par_windows(2).with_min_len(PART))
            .map(|around| {
                let positions = &self.positions[around[0] as usize..around[1] as usize];
                positions.iter().map(|&at| splats[at as usize]).sum::<f64>() as f32
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
        let parts = self.parts.par_iter().zip(filtered.par_chunks_mut(PART));
        parts.for_each(|(part, filtered)| part.slice::<CORNERS>(&lattice, filtered));
    }
}

impl Part {
    /// The values that flow to each of the part's vertices.
    fn splat<const CORNERS: usize>(&self, values: &[f32]) -> Vec<f64> {
        let (corners, _) = self.corners.as_chunks::<CORNERS>();
        let (weights, _) = self.weights.as_chunks::<CORNERS>();
        let mut sums = vec![0.0; self.vertices.len()];
        for ((&simplex, weights), value) in self.simplices.iter().zip(weights).zip(values) {
            for (&vertex, weight) in corners[simplex as usize].iter().zip(weights) {
                sums[vertex as usize] += f64::from(weight * value);
            }
        }
        sums
    }

    /// The values at each place of the part.
    fn slice<const CORNERS: usize>(&self, lattice: &[f32], filtered: &mut [f32]) {
        let (corners, _) = self.corners.as_chunks::<CORNERS>();
        let (weights, _) = self.weights.as_chunks::<CORNERS>();
        let vertices: Vec<f32> = self.vertices.iter().map(|&vertex| lattice[vertex as usize]).collect();
        for ((&simplex, weights), filtered) in self.simplices.iter().zip(weights).zip(filtered) {
            let around = corners[simplex as usize].iter().zip(weights);
            *filtered = around.map(|(&vertex, weight)| weight * vertices[vertex as usize]).sum();
        }
    }
}

/// A part of the places, its vertices not yet looked up, and their names.
fn part<const FEATURES: usize, const CORNERS: usize>(
    places: &[[f32; FEATURES]],
    scales: &[f64; FEATURES],
) -> (Part, Vec<Name<FEATURES>>) {
    let mut weights = Vec::with_capacity(places.len() * CORNERS);
    let (mut simplices, mut vertices) = (Numbers::from(0), Numbers::from(0));
    let numbers = (places.iter())
        .map(|place| {
            let (name, parts) = simplex::<FEATURES, CORNERS>(place, scales);
            weights.extend(parts);
            simplices.number(name)
        })
        .collect();
    let corners = (simplices.names.iter())
        .flat_map(|name| (0..CORNERS).map(|remainder| vertex(name, remainder)))
        .map(|name| vertices.number(name))
        .collect();
    let part = Part {
        simplices: numbers,
        weights,
        corners,
        vertices: Vec::new(),
    };
    (part, vertices.names)
}

/// The vertex of a simplex that has this remainder.
fn vertex<const FEATURES: usize>(simplex: &Name<FEATURES>, remainder: usize) -> Name<FEATURES> {
    let mut coordinates = simplex.coordinates;
    for (axis, coordinate) in coordinates.iter_mut().enumerate() {
        let rank = (simplex.order >> (3 * axis)) as usize & 7;
        *coordinate += remainder as i32;
        if rank > FEATURES - remainder {
            *coordinate -= (FEATURES + 1) as i32;
        }
    }
    Name { coordinates, order: 0 }
}

/// The simplex that a place lies in, and the weights of its vertices.
fn simplex<const FEATURES: usize, const CORNERS: usize>(
    place: &[f32; FEATURES],
    scales: &[f64; FEATURES],
) -> (Name<FEATURES>, [f32; CORNERS]) {
    const { assert!(CORNERS == FEATURES + 1) };
    // The place in the plane whose coordinates sum up to 0.
    let mut elevated = [0.0_f64; CORNERS];
    let mut sum = 0.0;
    for axis in (1..CORNERS).rev() {
        let value = f64::from(place[axis - 1]) * scales[axis - 1];
        elevated[axis] = sum - axis as f64 * value;
        sum += value;
    }
    elevated[0] = sum;
    // The nearest vertex of remainder 0, and the order of the distances from it.
    let mut nearest = [0_i32; CORNERS];
    let mut far = [0.0_f64; CORNERS];
    let mut excess = 0;
    for axis in 0..CORNERS {
        let multiple = rounded(elevated[axis] * (1.0 / CORNERS as f64));
        nearest[axis] = multiple * CORNERS as i32;
        far[axis] = elevated[axis] - f64::from(nearest[axis]);
        excess += multiple;
    }
    let mut rank = [excess; CORNERS];
    for axis in 0..CORNERS {
        for other in axis + 1..CORNERS {
            let less = i32::from(far[axis] < far[other]);
            rank[axis] += less;
            rank[other] += 1 - less;
        }
    }
    let mut barycentric = [0.0_f64; CORNERS];
    let mut name = Name {
        coordinates: [0; FEATURES],
        order: 0,
    };
    for axis in 0..CORNERS {
        let turns = i32::from(rank[axis] >= CORNERS as i32) - i32::from(rank[axis] < 0);
        let rank = (rank[axis] - turns * CORNERS as i32) as usize;
        let nearest = nearest[axis] - turns * CORNERS as i32;
        let far = (far[axis] + f64::from(turns * CORNERS as i32)) * (1.0 / CORNERS as f64);
        let at = FEATURES - rank.min(FEATURES);
        barycentric[at] += far;
        if at < FEATURES {
            barycentric[at + 1] -= far;
        } else {
            barycentric[0] += 1.0 - far;
        }
        if axis < FEATURES {
            name.coordinates[axis] = nearest;
            name.order |= (rank as u32) << (3 * axis);
        }
    }
    (name, barycentric.map(|part| part as f32))
}

/// The nearest whole number of one far below 2⁵¹, without a call.
fn rounded(value: f64) -> i32 {
    const SHIFT: f64 = (3_u64 << 51) as f64;
    (value + SHIFT - SHIFT) as i32
}
