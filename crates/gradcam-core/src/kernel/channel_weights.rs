//! One number for each channel of each sample.

use ndarray::{Dimension, RemoveAxis};
use rayon::prelude::*;

use super::feature_maps::FeatureMaps;
use super::slices::GRAIN;
use crate::parallelism::Parallelism;

/// Values summed side by side. Four SSE registers, enough to hide an addition's latency.
const LANES: usize = 16;
/// Values summed in single precision before the sum is handed to a double.
const SUM_BLOCK: usize = 4096;

/// What `weigh` makes of each plane, by its number `n C + k`.
pub(super) fn channel_weights<D: Dimension + RemoveAxis>(
    maps: &FeatureMaps<'_, D>,
    parallelism: Parallelism,
    weigh: impl Fn(usize) -> f32 + Sync,
) -> Vec<f32> {
    let numbers = 0..maps.batch * maps.channels;
    match parallelism {
        Parallelism::Rayon => {
            let fewest = GRAIN.div_ceil(maps.places);
            numbers.into_par_iter().with_min_len(fewest).map(&weigh).collect()
        }
        Parallelism::Serial => numbers.map(weigh).collect(),
    }
}

/// The mean of some values, summed as [`sum`] does.
#[inline]
pub(super) fn mean(values: &[f32]) -> f32 {
    (sum(values) / values.len() as f64) as f32
}

/// The sum of some values.
#[inline]
pub(super) fn sum(values: &[f32]) -> f64 {
    sum_of(values, |value| value)
}

/// The sum of what `term` makes of some values.
#[inline]
pub(super) fn sum_of(values: &[f32], term: impl Fn(f32) -> f32) -> f64 {
    let block_sum = |block: &[f32]| {
        let mut lanes = [0f32; LANES];
        let mut chunks = block.chunks_exact(LANES);
        for chunk in &mut chunks {
            for (lane, &value) in lanes.iter_mut().zip(chunk) {
                *lane += term(value);
            }
        }
        let rest: f32 = chunks.remainder().iter().map(|&value| term(value)).sum();
        f64::from(lane_sum(lanes) + rest)
    };
    values.chunks(SUM_BLOCK).map(block_sum).sum()
}

/// The sum over places of `term` of the activation and the gradient there.
#[inline]
pub(super) fn paired_sum(activations: &[f32], gradients: &[f32], term: impl Fn(f32, f32) -> f32) -> f64 {
    let block_sum = |(activations, gradients): (&[f32], &[f32])| {
        let mut lanes = [0f32; LANES];
        let (mut a, mut g) = (activations.chunks_exact(LANES), gradients.chunks_exact(LANES));
        for (a, g) in (&mut a).zip(&mut g) {
            for (lane, (&a, &g)) in lanes.iter_mut().zip(a.iter().zip(g)) {
                *lane += term(a, g);
            }
        }
        let rest = a.remainder().iter().zip(g.remainder());
        let rest: f32 = rest.map(|(&a, &g)| term(a, g)).sum();
        f64::from(lane_sum(lanes) + rest)
    };
    let blocks = activations.chunks(SUM_BLOCK).zip(gradients.chunks(SUM_BLOCK));
    blocks.map(block_sum).sum()
}

/// Half of the lanes onto the other half, until one is left: four additions after each other
/// instead of fifteen, which small planes would spend most of their time on.
#[inline]
fn lane_sum(mut lanes: [f32; LANES]) -> f32 {
    let mut width = LANES;
    while width > 1 {
        width /= 2;
        for lane in 0..width {
            lanes[lane] += lanes[lane + width];
        }
    }
    lanes[0]
}
