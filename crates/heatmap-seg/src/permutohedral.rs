//! Gaussian filtering of values at scattered places by the permutohedral lattice: values are splatted onto the
//! lattice's vertices around them, blurred along its axes and sliced back.
//!
//! Places that lie in one simplex have the same vertices around them. So places are gathered by simplices first, and only
//! simplices look their vertices up.
//!
//! Adams, Baek and Davis, "Fast High-Dimensional Filtering Using the Permutohedral Lattice", 2010,
//! [10.1111/j.1467-8659.2009.01645.x](https://doi.org/10.1111/j.1467-8659.2009.01645.x).

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hash, Hasher};

use rayon::prelude::*;

/// The most features that a place may have.
pub(crate) const MOST_FEATURES: usize = 6;
const MOST_CORNERS: usize = MOST_FEATURES + 1;
/// Places, simplices or vertices that one thread takes at a time.
const PART: usize = 1 << 12;

/// The lattice around some places. Vertex 0 stands for those that no place touches.
#[derive(Debug)]
pub(crate) struct Lattice {
    /// [`Lattice::filter_with`] for as many corners as a simplex has.
    filter: fn(&Lattice, &[f32], &mut [f32]),
    /// The simplex that each place lies in, and the weights of its vertices, one after the other.
    simplices: Vec<u32>,
    weights: Vec<f32>,
    /// The places in each simplex.
    places: Lists,
    /// The vertices of each simplex, one after the other.
    vertices: Vec<u32>,
    /// Where each vertex is among `vertices`.
    corners_at: Lists,
    /// The two vertices beside each vertex, for each direction in turn.
    beside: Vec<Vec<[u32; 2]>>,
}

/// Lists of positions, from `starts[list]` to `starts[list + 1]`.
#[derive(Debug)]
struct Lists {
    starts: Vec<u32>,
    positions: Vec<u32>,
}

impl Lists {
    /// The positions of each of the numbers 0 to `count` − 1.
    fn of(numbers: &[u32], count: usize) -> Lists {
        let mut starts = vec![0_u32; count + 1];
        for &number in numbers {
            starts[number as usize + 1] += 1;
        }
        for number in 0..count {
            starts[number + 1] += starts[number];
        }
        let mut next = starts.clone();
        let mut positions = vec![0; numbers.len()];
        for (position, &number) in (0..).zip(numbers) {
            let next = &mut next[number as usize];
            positions[*next as usize] = position;
            *next += 1;
        }
        Lists { starts, positions }
    }

    fn list(&self, number: usize) -> &[u32] {
        &self.positions[self.starts[number] as usize..self.starts[number + 1] as usize]
    }
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
        let (places, _) = places.as_chunks::<FEATURES>();
        let mut simplices = vec![0_u32; places.len()];
        let mut weights = vec![0.0_f32; places.len() * CORNERS];
        let scales = std::array::from_fn(|axis| {
            let deviation = (2.0_f64 / 3.0).sqrt() * CORNERS as f64;
            deviation / (((axis + 1) * (axis + 2)) as f64).sqrt()
        });
        // Each part numbers its own simplices, and then the parts are put together in their order.
        let names: Vec<Vec<Name<FEATURES>>> = simplices
            .par_chunks_mut(PART)
            .zip(weights.par_chunks_mut(PART * CORNERS))
            .zip(places.par_chunks(PART))
            .map(|((simplices, weights), places)| {
                let mut numbers = Numbers::from(0);
                let (weights, _) = weights.as_chunks_mut();
                for ((number, weights), place) in simplices.iter_mut().zip(weights).zip(places) {
                    let (name, parts) = simplex::<FEATURES, CORNERS>(place, &scales);
                    *number = numbers.number(name);
                    *weights = parts;
                }
                numbers.names
            })
            .collect();
        let mut all = Numbers::from(0);
        let parts: Vec<Vec<u32>> = (names.into_iter())
            .map(|names| names.into_iter().map(|name| all.number(name)).collect())
            .collect();
        (simplices.par_chunks_mut(PART).zip(parts)).for_each(|(simplices, numbers)| {
            for simplex in simplices {
                *simplex = numbers[*simplex as usize];
            }
        });
        let mut known = Numbers::from(1);
        let vertices: Vec<u32> = (all.names.iter())
            .flat_map(|name| (0..CORNERS).map(|remainder| vertex(name, remainder)))
            .map(|name| known.number(name))
            .collect();
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
            weights,
            places: Lists::of(&simplices, all.names.len()),
            simplices,
            corners_at: Lists::of(&vertices, known.names.len() + 1),
            vertices,
            beside,
        }
    }

    /// The values filtered by a Gaussian of standard deviation 1, up to a factor that is the same for all.
    pub(crate) fn filter(&self, values: &[f32], filtered: &mut [f32]) {
        (self.filter)(self, values, filtered);
    }

    fn filter_with<const CORNERS: usize>(&self, values: &[f32], filtered: &mut [f32]) {
        let (weights, _) = self.weights.as_chunks::<CORNERS>();
        let (vertices, _) = self.vertices.as_chunks::<CORNERS>();
        let mut splats = vec![0.0_f32; self.vertices.len()];
        let (splats_of, _) = splats.as_chunks_mut::<CORNERS>();
        splats_of.par_iter_mut().enumerate().for_each(|(simplex, splats)| {
            let mut sums = [0.0_f64; CORNERS];
            for &place in self.places.list(simplex) {
                let value = values[place as usize];
                for (sum, weight) in sums.iter_mut().zip(weights[place as usize]) {
                    *sum += f64::from(weight * value);
                }
            }
            *splats = sums.map(|sum| sum as f32);
        });
        let mut lattice = vec![0.0_f32; self.corners_at.starts.len() - 1];
        (lattice.par_iter_mut().enumerate().with_min_len(PART)).for_each(|(vertex, value)| {
            *value = self.corners_at.list(vertex).iter().map(|&at| splats[at as usize]).sum();
        });
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
        let around = self.simplices.par_iter().zip(weights);
        (filtered.par_iter_mut().zip(around).with_min_len(PART)).for_each(|(filtered, (&simplex, weights))| {
            let around = vertices[simplex as usize].iter().zip(weights);
            *filtered = around.map(|(&vertex, weight)| weight * lattice[vertex as usize]).sum();
        });
    }
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
