//! Sums over the channels of each sample, place by place.
//!
//! Memory bounds them, so what counts is to read it in the order in which it lies there. Small maps are worked on
//! whole, channel after channel. Larger ones, which leave the first-level cache, are worked on tile by tile.

use std::ops::Range;

use ndarray::{Dimension, RemoveAxis};
use rayon::prelude::*;

use super::channel_weights::channel_weights;
use super::feature_maps::{FeatureMaps, Planes};
use super::slices::GRAIN;
use crate::parallelism::Parallelism;

/// Places of the largest map that is worked on whole, and of a tile of a larger one: 16 KiB, which stay in the
/// first-level cache.
const TILE: usize = 4096;
/// Values of a sample's whole planes that make a piece of work.
const PART: usize = 1 << 17;
/// Planes that are added in one go if they have no more than so many places, so that the map is read and written once
/// for all of them. Together they are a few cache lines; of larger ones a core would no longer notice that they lie one
/// after the other.
const TINY_PLANES: usize = 4;
const TINY: usize = 64;
/// The same for the tiles of planes, which lie apart anyhow.
const TILES: usize = 8;
/// The same for the tiles of two arrays: no more streams than a core keeps track of.
const PAIRED_TILES: usize = 4;

/// One map for each sample, row after row: `sum over k of w[n,k] activations[n,k,s]`.
///
/// `weigh` gives the weight of a plane by its number, `n C + k`.
pub(super) fn weighted_sum<D: Dimension + RemoveAxis>(
    activations: &FeatureMaps<'_, D>,
    parallelism: Parallelism,
    weigh: impl Fn(usize) -> f32 + Sync,
) -> Vec<f32> {
    let planes = activations.planes();
    if activations.places > TILE {
        // A plane's weight may need all of it, of which a tile has a part.
        let weights = channel_weights(activations, parallelism, weigh);
        return by_tile(activations, parallelism, |numbers, start, out| {
            add_weighted::<TILES>(planes, numbers, start, out, |number| weights[number]);
        });
    }
    by_part(activations, parallelism, |numbers, out| {
        if out.len() <= TINY {
            add_weighted::<TINY_PLANES>(planes, numbers, 0, out, &weigh);
        } else {
            add_weighted::<1>(planes, numbers, 0, out, &weigh);
        }
    })
}

/// One map for each sample, row after row: `sum over k of term(activations[n,k,s], gradients[n,k,s])`.
pub(super) fn paired_channel_sum<D: Dimension + RemoveAxis>(
    activations: &FeatureMaps<'_, D>,
    gradients: &FeatureMaps<'_, D>,
    parallelism: Parallelism,
    term: impl Fn(f32, f32) -> f32 + Sync,
) -> Vec<f32> {
    let pair = [activations.planes(), gradients.planes()];
    if activations.places > TILE {
        return by_tile(activations, parallelism, |numbers, start, out| {
            add_terms::<PAIRED_TILES>(pair, numbers, start, out, &term);
        });
    }
    by_part(activations, parallelism, |numbers, out| {
        if out.len() <= TINY {
            add_terms::<TINY_PLANES>(pair, numbers, 0, out, &term);
        } else {
            add_terms::<1>(pair, numbers, 0, out, &term);
        }
    })
}

/// Adds the planes of these numbers, times their weights, to a map or to the tile of it that begins at `start`;
/// `TOGETHER` at a time.
#[inline]
fn add_weighted<const TOGETHER: usize>(
    planes: Planes<'_>,
    numbers: Range<usize>,
    start: usize,
    out: &mut [f32],
    weigh: impl Fn(usize) -> f32,
) {
    let tile = start..start + out.len();
    let grouped = numbers.end - numbers.len() % TOGETHER;
    for first in (numbers.start..grouped).step_by(TOGETHER) {
        let rows: [&[f32]; TOGETHER] = std::array::from_fn(|offset| &planes.get(first + offset)[tile.clone()]);
        let weights: [f32; TOGETHER] = std::array::from_fn(|offset| weigh(first + offset));
        for (place, sum) in out.iter_mut().enumerate() {
            let mut value = *sum;
            for (row, weight) in rows.iter().zip(weights) {
                value += weight * row[place];
            }
            *sum = value;
        }
    }
    for number in grouped..numbers.end {
        let weight = weigh(number);
        for (sum, value) in out.iter_mut().zip(&planes.get(number)[tile.clone()]) {
            *sum += weight * value;
        }
    }
}

/// Adds what `term` makes of the planes of these numbers, as [`add_weighted`] does.
#[inline]
fn add_terms<const TOGETHER: usize>(
    [activations, gradients]: [Planes<'_>; 2],
    numbers: Range<usize>,
    start: usize,
    out: &mut [f32],
    term: impl Fn(f32, f32) -> f32,
) {
    let tile = start..start + out.len();
    let grouped = numbers.end - numbers.len() % TOGETHER;
    for first in (numbers.start..grouped).step_by(TOGETHER) {
        let a: [&[f32]; TOGETHER] = std::array::from_fn(|offset| &activations.get(first + offset)[tile.clone()]);
        let g: [&[f32]; TOGETHER] = std::array::from_fn(|offset| &gradients.get(first + offset)[tile.clone()]);
        for (place, sum) in out.iter_mut().enumerate() {
            let mut value = *sum;
            for (a, g) in a.iter().zip(&g) {
                value += term(a[place], g[place]);
            }
            *sum = value;
        }
    }
    for number in grouped..numbers.end {
        let (a, g) = (
            &activations.get(number)[tile.clone()],
            &gradients.get(number)[tile.clone()],
        );
        for (sum, (&a, &g)) in out.iter_mut().zip(a.iter().zip(g)) {
            *sum += term(a, g);
        }
    }
}

/// Has `add` work out the maps from some of a sample's planes at a time: it gets their numbers and where to add them.
fn by_part<D: Dimension + RemoveAxis>(
    maps: &FeatureMaps<'_, D>,
    parallelism: Parallelism,
    add: impl Fn(Range<usize>, &mut [f32]) + Sync,
) -> Vec<f32> {
    let (channels, places) = (maps.channels, maps.places);
    // Whatever the number of threads, so that it does not show in the rounding.
    let parts = (channels * places).div_ceil(PART).min(channels);
    let part = channels.div_ceil(parts);
    let parts = channels.div_ceil(part);
    let mut values = vec![0f32; maps.batch * parts * places];
    let one = |(index, out): (usize, &mut [f32])| {
        let (sample, first) = (index / parts, index % parts * part);
        let numbers = first..(first + part).min(channels);
        add(sample * channels + numbers.start..sample * channels + numbers.end, out);
    };
    match parallelism {
        Parallelism::Rayon => {
            let fewest = GRAIN.div_ceil(part * places);
            let pieces = values.par_chunks_mut(places).enumerate();
            pieces.with_min_len(fewest).for_each(one);
        }
        Parallelism::Serial => values.chunks_mut(places).enumerate().for_each(one),
    }
    if parts == 1 {
        return values;
    }
    let mut sums = vec![0f32; maps.batch * places];
    for (sums, parts) in sums.chunks_mut(places).zip(values.chunks(parts * places)) {
        for part in parts.chunks(places) {
            for (sum, value) in sums.iter_mut().zip(part) {
                *sum += value;
            }
        }
    }
    sums
}

/// Has `add` work out the maps tile by tile: it gets the numbers of the sample's planes, the tile's first place, and
/// where to add them.
fn by_tile<D: Dimension + RemoveAxis>(
    maps: &FeatureMaps<'_, D>,
    parallelism: Parallelism,
    add: impl Fn(Range<usize>, usize, &mut [f32]) + Sync,
) -> Vec<f32> {
    // Tiles of equal size.
    let tiles = maps.places.div_ceil(TILE);
    let tile = maps.places.div_ceil(tiles);
    let mut values = vec![0f32; maps.batch * maps.places];
    let mut jobs: Vec<(usize, usize, &mut [f32])> = values
        .chunks_mut(maps.places)
        .enumerate()
        .flat_map(|(sample, map)| {
            map.chunks_mut(tile)
                .enumerate()
                .map(move |(index, out)| (sample, index * tile, out))
        })
        .collect();
    let run = |(sample, start, out): &mut (usize, usize, &mut [f32])| {
        add(*sample * maps.channels..(*sample + 1) * maps.channels, *start, out);
    };
    match parallelism {
        Parallelism::Rayon => {
            let fewest = GRAIN.div_ceil(tile * maps.channels);
            jobs.par_iter_mut().with_min_len(fewest).for_each(run);
        }
        Parallelism::Serial => jobs.iter_mut().for_each(run),
    }
    values
}
