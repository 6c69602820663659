//! The way from activations and gradients to heatmaps on plain arrays, without libtorch: for
//! candle, burn, ONNX Runtime or whatever else computed them.
//!
//! Each function equals its tensor twin to rounding: [`grad_cam`] that of the same name at the
//! crate's root, [`upsample`] and [`normalise`] the methods of `Maps`.
//!
//! ```
//! use gradcam_core::{Content, Parallelism, kernel};
//! use ndarray::{Array4, array};
//!
//! // One sample, two channels, 1×2 places. The class speaks for the first channel only.
//! let activations = Array4::from_shape_vec((1, 2, 1, 2), vec![1., 3., 9., 9.])?;
//! let gradients = Array4::from_shape_vec((1, 2, 1, 2), vec![1., 1., 0., 0.])?;
//! let maps = kernel::grad_cam(activations.view(), gradients.view(), Parallelism::Rayon)?;
//! assert_eq!(maps, array![[[1., 3.]]]);
//!
//! let heat = kernel::heatmaps(maps.view(), &[1, 4], Parallelism::Rayon)?;
//! assert_eq!(heat.maps, array![[[0., 0.25, 0.75, 1.]]]);
//! assert_eq!(heat.contents, [Content::Graded]);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

use ndarray::{Array, ArrayView, CowArray, Dimension, IxDyn, RemoveAxis};
use rayon::prelude::*;

use crate::content::Content;
use crate::error::CamError;
use crate::parallelism::Parallelism;

/// Values summed side by side. Four SSE registers, enough to hide an addition's latency.
const LANES: usize = 16;
/// Values summed in single precision before the sum is handed to a double.
const SUM_BLOCK: usize = 4096;
/// Places of a map worked on together: 8 KiB, which stay in the first-level cache.
const TILE: usize = 2048;
/// Channels added in one go, so that the map's tile is read and written once for all of them.
const CHANNELS: usize = 8;
/// Values that make a piece of work worth handing to another thread.
const GRAIN: usize = 1 << 14;

/// Grad-CAM on arrays: each channel counts by the mean of its gradient over space.
///
/// ```text
/// w[n,k]   = mean over s of G[n,k,s]          G = d logit / d A
/// map[n,s] = max(0, sum over k of w[n,k] A[n,k,s])
/// ```
///
/// Selvaraju et al., "Grad-CAM: Visual Explanations from Deep Networks via Gradient-based
/// Localization", 2017, [arXiv:1610.02391](https://arxiv.org/abs/1610.02391).
///
/// # Shapes
/// `[N, C, H, W]` gives `[N, H, W]`; any number of axes in place of `H, W` will do. Arrays in
/// another layout than row-major are copied first.
///
/// # Errors
/// [`CamError::GradientShape`], [`CamError::Shape`], and [`CamError::NonFiniteMap`] for a NaN or an
/// infinity in a sample's activations, gradients or map.
///
/// # Cost
/// One read of the gradients and one of the activations: as fast as memory.
pub fn grad_cam<D>(
    activations: ArrayView<'_, f32, D>,
    gradients: ArrayView<'_, f32, D>,
    parallelism: Parallelism,
) -> Result<Array<f32, D::Smaller>, CamError>
where
    D: Dimension + RemoveAxis,
{
    let shape = activations.shape().to_vec();
    if shape != gradients.shape() {
        return Err(CamError::GradientShape {
            activations: shape,
            gradients: gradients.shape().to_vec(),
        });
    }
    if shape.len() < 3 || shape.contains(&0) {
        return Err(CamError::Shape {
            shape,
            expected: "[N, C, spatial axes]",
        });
    }
    let (batch, channels) = (shape[0], shape[1]);
    let places = shape[2..].iter().product::<usize>();
    let activations = activations.as_standard_layout();
    let gradients = gradients.as_standard_layout();
    let activations = slice(&activations);
    let gradients = slice(&gradients);

    let weights = spatial_means(gradients, batch * channels, places, parallelism);

    // Tiles of equal size, each with the channels of its sample one after the other.
    let tiles = places.div_ceil(TILE);
    let tile = places.div_ceil(tiles);
    let mut maps = vec![0f32; batch * places];
    let mut jobs: Vec<(usize, usize, &mut [f32])> = maps
        .chunks_mut(places)
        .enumerate()
        .flat_map(|(sample, map)| {
            map.chunks_mut(tile)
                .enumerate()
                .map(move |(index, out)| (sample, index * tile, out))
        })
        .collect();
    let weigh = |(sample, start, out): &mut (usize, usize, &mut [f32])| {
        let planes = &activations[*sample * channels * places..][..channels * places];
        let weights = &weights[*sample * channels..][..channels];
        weighted_sum(planes, places, *start, weights, out);
    };
    match parallelism {
        Parallelism::Rayon => {
            let fewest = GRAIN.div_ceil(tile * channels);
            jobs.par_iter_mut().with_min_len(fewest).for_each(weigh);
        }
        Parallelism::Serial => jobs.iter_mut().for_each(weigh),
    }

    for (sample, map) in maps.chunks_mut(places).enumerate() {
        if !all_finite(map) {
            return Err(CamError::NonFiniteMap { sample });
        }
        map.iter_mut().for_each(|value| *value = value.max(0.0));
    }
    let mut grid = vec![batch];
    grid.extend(&shape[2..]);
    from_vec(&grid, maps)
}

/// The maps at another size: linear along every axis of space, at half-pixel centres, values at
/// the edge held (torch's `align_corners = false`, OpenCV's `INTER_LINEAR`).
///
/// # Shapes
/// `[N, H, W]` with a `size` of `[H, W]`; any number of axes in place of `H, W` will do.
///
/// # Errors
/// [`CamError::Shape`] and [`CamError::Size`].
///
/// # Cost
/// One pass for each axis, the last first, since then the arrays are still small.
pub fn upsample<D: Dimension>(
    maps: ArrayView<'_, f32, D>,
    size: &[usize],
    parallelism: Parallelism,
) -> Result<Array<f32, D>, CamError> {
    let mut shape = maps.shape().to_vec();
    check_maps(&shape)?;
    if size.len() != shape.len() - 1 || size.contains(&0) {
        return Err(CamError::Size {
            size: size.iter().map(|&extent| extent as i64).collect(),
            grid: shape[1..].iter().map(|&extent| extent as i64).collect(),
        });
    }
    let mut values = slice(&maps.as_standard_layout()).to_vec();
    for axis in (1..shape.len()).rev() {
        let length = size[axis - 1];
        if length != shape[axis] {
            let inner = shape[axis + 1..].iter().product();
            values = resize_axis(&values, shape[axis], length, inner, parallelism);
            shape[axis] = length;
        }
    }
    from_vec(&shape, values)
}

/// Maps in 0..=1 and what they were before.
#[derive(Debug, Clone, PartialEq)]
pub struct Normalised<D: Dimension> {
    /// The heatmaps.
    pub maps: Array<f32, D>,
    /// What there was in each sample's map before it was normalised.
    pub contents: Vec<Content>,
}

/// Each map brought to 0..=1 by its own smallest and largest value.
///
/// ```text
/// heat[s] = (map[s] - min) / (max - min)
/// ```
///
/// There is no constant in the denominator, so maps of tiny values keep their full range. A
/// constant map has no range: it becomes zero and is reported, as is a map that was zero already.
///
/// # Shapes
/// `[N, …]` to the same.
///
/// # Errors
/// [`CamError::Shape`], and [`CamError::NonFiniteMap`] for a NaN or an infinity.
pub fn normalise<D: Dimension>(
    maps: ArrayView<'_, f32, D>,
    parallelism: Parallelism,
) -> Result<Normalised<D>, CamError> {
    let shape = maps.shape().to_vec();
    check_maps(&shape)?;
    let places = shape[1..].iter().product::<usize>();
    let mut values = slice(&maps.as_standard_layout()).to_vec();
    let each = |(sample, map): (usize, &mut [f32])| {
        if !all_finite(map) {
            return Err(CamError::NonFiniteMap { sample });
        }
        let (min, max) = map
            .iter()
            .fold((f32::INFINITY, f32::NEG_INFINITY), |(min, max), &value| {
                (min.min(value), max.max(value))
            });
        let content = Content::of(min, max);
        if content == Content::Graded {
            // In double precision no range underflows or overflows.
            let min = f64::from(min);
            let range = f64::from(max) - min;
            for value in map {
                *value = ((f64::from(*value) - min) / range) as f32;
            }
        } else {
            map.fill(0.0);
        }
        Ok(content)
    };
    let contents: Vec<Result<Content, CamError>> = match parallelism {
        Parallelism::Rayon => values
            .par_chunks_mut(places)
            .enumerate()
            .with_min_len(GRAIN.div_ceil(places))
            .map(each)
            .collect(),
        Parallelism::Serial => values.chunks_mut(places).enumerate().map(each).collect(),
    };
    Ok(Normalised {
        maps: from_vec(&shape, values)?,
        // The first sample's error, whichever thread came first.
        contents: contents.into_iter().collect::<Result<_, _>>()?,
    })
}

/// Upsampled to `size`, then normalised: the usual way from a method's maps to heatmaps.
///
/// # Errors
/// Those of [`upsample`] and [`normalise`].
pub fn heatmaps<D: Dimension>(
    maps: ArrayView<'_, f32, D>,
    size: &[usize],
    parallelism: Parallelism,
) -> Result<Normalised<D>, CamError> {
    normalise(upsample(maps, size, parallelism)?.view(), parallelism)
}

/// The mean of each of `rows` rows of `places` values.
fn spatial_means(gradients: &[f32], rows: usize, places: usize, parallelism: Parallelism) -> Vec<f32> {
    let mean = |row: &[f32]| (sum(row) / places as f64) as f32;
    match parallelism {
        Parallelism::Rayon => {
            let mut means = vec![0f32; rows];
            let together = GRAIN.div_ceil(places);
            means
                .par_chunks_mut(together)
                .zip(gradients.par_chunks(together * places))
                .for_each(|(means, gradients)| {
                    for (out, row) in means.iter_mut().zip(gradients.chunks_exact(places)) {
                        *out = mean(row);
                    }
                });
            means
        }
        Parallelism::Serial => gradients.chunks_exact(places).map(mean).collect(),
    }
}

fn sum(values: &[f32]) -> f64 {
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

/// Adds to `out` the places from `start` on of every plane times its weight.
fn weighted_sum(planes: &[f32], places: usize, start: usize, weights: &[f32], out: &mut [f32]) {
    let tile = |channel: usize| &planes[channel * places + start..][..out.len()];
    let grouped = weights.len() / CHANNELS * CHANNELS;
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
}

/// Linear interpolation along one axis: `[outer, from, inner]` to `[outer, to, inner]`.
fn resize_axis(values: &[f32], from: usize, to: usize, inner: usize, parallelism: Parallelism) -> Vec<f32> {
    // For each new place the old one before it, the one after it, and how far it is between them.
    let scale = from as f64 / to as f64;
    let sources: Vec<(usize, usize, f32)> = (0..to)
        .map(|place| {
            let source = ((place as f64 + 0.5) * scale - 0.5).max(0.0);
            let before = (source as usize).min(from - 1);
            (before, (before + 1).min(from - 1), (source - before as f64) as f32)
        })
        .collect();
    // Written so that equal neighbours give that value exactly.
    let between = |a: f32, b: f32, t: f32| a + (b - a) * t;
    let block = |(values, out): (&[f32], &mut [f32])| {
        if inner == 1 {
            for (out, &(before, after, t)) in out.iter_mut().zip(&sources) {
                *out = between(values[before], values[after], t);
            }
        } else {
            for (out, &(before, after, t)) in out.chunks_exact_mut(inner).zip(&sources) {
                let before = &values[before * inner..][..inner];
                let after = &values[after * inner..][..inner];
                for ((out, &a), &b) in out.iter_mut().zip(before).zip(after) {
                    *out = between(a, b, t);
                }
            }
        }
    };
    let mut out = vec![0f32; values.len() / from * to];
    match parallelism {
        Parallelism::Rayon => values
            .par_chunks(from * inner)
            .zip(out.par_chunks_mut(to * inner))
            .with_min_len(GRAIN.div_ceil(to * inner))
            .for_each(block),
        Parallelism::Serial => values
            .chunks(from * inner)
            .zip(out.chunks_mut(to * inner))
            .for_each(block),
    }
    out
}

fn all_finite(values: &[f32]) -> bool {
    values.iter().fold(true, |finite, value| finite & value.is_finite())
}

fn check_maps(shape: &[usize]) -> Result<(), CamError> {
    if shape.len() < 2 || shape.contains(&0) {
        return Err(CamError::Shape {
            shape: shape.to_vec(),
            expected: "[N, spatial axes]",
        });
    }
    Ok(())
}

/// The values of an array in row-major layout.
fn slice<'v, D: Dimension>(array: &'v CowArray<'_, f32, D>) -> &'v [f32] {
    array.as_slice().expect("an array in standard layout is one slice")
}

fn from_vec<D: Dimension>(shape: &[usize], values: Vec<f32>) -> Result<Array<f32, D>, CamError> {
    let wrong = |_| CamError::Shape {
        shape: shape.to_vec(),
        expected: "one value for each place",
    };
    Array::from_shape_vec(IxDyn(shape), values)
        .map_err(wrong)?
        .into_dimensionality()
        .map_err(wrong)
}
