//! Sums over the channels of each sample, place by place.

use ndarray::{Dimension, RemoveAxis};
use rayon::prelude::*;

use super::feature_maps::FeatureMaps;
use super::slices::GRAIN;
use crate::parallelism::Parallelism;

/// Places of a map worked on together: 8 KiB, which stay in the first-level cache.
const TILE: usize = 2048;
/// Channels added in one go, so that the map's tile is read and written once for all of them.
const CHANNELS: usize = 8;
/// The same where two arrays are read: no more streams than a core keeps track of.
const PAIRED_CHANNELS: usize = 4;

/// One map for each sample, row after row: `sum over k of weights[n,k] activations[n,k,s]`.
pub(super) fn weighted_sum<D: Dimension + RemoveAxis>(
    activations: &FeatureMaps<'_, D>,
    weights: &[f32],
    parallelism: Parallelism,
) -> Vec<f32> {
    let (channels, places) = (activations.channels, activations.places);
    by_tile(activations, parallelism, |sample, start, out| {
        let planes = activations.sample(sample);
        let weights = &weights[sample * channels..][..channels];
        let tile = |channel: usize| &planes[channel * places + start..][..out.len()];
        let grouped = channels / CHANNELS * CHANNELS;
        let mut sums = vec![0f32; out.len()];
        for channel in (0..grouped).step_by(CHANNELS) {
            let rows: [&[f32]; CHANNELS] = std::array::from_fn(|offset| tile(channel + offset));
            let weights: [f32; CHANNELS] = std::array::from_fn(|offset| weights[channel + offset]);
            for (place, sum) in sums.iter_mut().enumerate() {
                let mut value = *sum;
                for (row, weight) in rows.iter().zip(weights) {
                    value += weight * row[place];
                }
                *sum = value;
            }
        }
        for (channel, &weight) in weights.iter().enumerate().skip(grouped) {
            for (sum, value) in sums.iter_mut().zip(tile(channel)) {
                *sum += weight * value;
            }
        }
        out.copy_from_slice(&sums);
    })
}

/// One map for each sample, row after row: `sum over k of term(activations[n,k,s],
/// gradients[n,k,s])`.
pub(super) fn paired_channel_sum<D: Dimension + RemoveAxis>(
    activations: &FeatureMaps<'_, D>,
    gradients: &FeatureMaps<'_, D>,
    parallelism: Parallelism,
    term: impl Fn(f32, f32) -> f32 + Sync,
) -> Vec<f32> {
    let (channels, places) = (activations.channels, activations.places);
    by_tile(activations, parallelism, |sample, start, out| {
        let (activations, gradients) = (activations.sample(sample), gradients.sample(sample));
        let length = out.len();
        let tile = |channel: usize| channel * places + start..channel * places + start + length;
        let grouped = channels / PAIRED_CHANNELS * PAIRED_CHANNELS;
        let mut sums = vec![0f32; length];
        for channel in (0..grouped).step_by(PAIRED_CHANNELS) {
            let a: [&[f32]; PAIRED_CHANNELS] = std::array::from_fn(|offset| &activations[tile(channel + offset)]);
            let g: [&[f32]; PAIRED_CHANNELS] = std::array::from_fn(|offset| &gradients[tile(channel + offset)]);
            for (place, sum) in sums.iter_mut().enumerate() {
                let mut value = *sum;
                for (a, g) in a.iter().zip(&g) {
                    value += term(a[place], g[place]);
                }
                *sum = value;
            }
        }
        for channel in grouped..channels {
            let (a, g) = (&activations[tile(channel)], &gradients[tile(channel)]);
            for (sum, (&a, &g)) in sums.iter_mut().zip(a.iter().zip(g)) {
                *sum += term(a, g);
            }
        }
        out.copy_from_slice(&sums);
    })
}

/// Has `fill` work out the maps tile by tile: it gets the sample, the tile's first place, and where
/// to write.
fn by_tile<D: Dimension + RemoveAxis>(
    maps: &FeatureMaps<'_, D>,
    parallelism: Parallelism,
    fill: impl Fn(usize, usize, &mut [f32]) + Sync,
) -> Vec<f32> {
    // Tiles of equal size, each with the channels of its sample one after the other.
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
    let run = |(sample, start, out): &mut (usize, usize, &mut [f32])| fill(*sample, *start, out);
    match parallelism {
        Parallelism::Rayon => {
            let fewest = GRAIN.div_ceil(tile * maps.channels);
            jobs.par_iter_mut().with_min_len(fewest).for_each(run);
        }
        Parallelism::Serial => jobs.iter_mut().for_each(run),
    }
    values
}
