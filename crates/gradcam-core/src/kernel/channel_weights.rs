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

/// What `weigh` makes of the plane of each channel, sample by sample.
pub(super) fn channel_weights<D: Dimension + RemoveAxis>(
    gradients: &FeatureMaps<'_, D>,
    parallelism: Parallelism,
    weigh: impl Fn(&[f32]) -> f32 + Sync,
) -> Vec<f32> {
    let (places, values) = (gradients.places, gradients.as_slice());
    match parallelism {
        Parallelism::Rayon => {
            let mut weights = vec![0f32; gradients.batch * gradients.channels];
            let together = GRAIN.div_ceil(places);
            weights
                .par_chunks_mut(together)
                .zip(values.par_chunks(together * places))
                .for_each(|(weights, values)| {
                    for (weight, plane) in weights.iter_mut().zip(values.chunks_exact(places)) {
                        *weight = weigh(plane);
                    }
                });
            weights
        }
        Parallelism::Serial => values.chunks_exact(places).map(weigh).collect(),
    }
}

/// The mean of some values, summed as [`sum`] does.
pub(super) fn mean(values: &[f32]) -> f32 {
    (sum(values) / values.len() as f64) as f32
}

/// The sum of some values.
pub(super) fn sum(values: &[f32]) -> f64 {
    let block_sum = |block: &[f32]| {
        let mut lanes = [0f32; LANES];
        let mut chunks = block.chunks_exact(LANES);
        for chunk in &mut chunks {
            for (lane, value) in lanes.iter_mut().zip(chunk) {
                *lane += value;
            }
        }
        let rest: f32 = chunks.remainder().iter().sum();
        f64::from(lanes.iter().sum::<f32>() + rest)
    };
    values.chunks(SUM_BLOCK).map(block_sum).sum()
}
