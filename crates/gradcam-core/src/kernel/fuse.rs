//! Maps of several layers as one.

use ndarray::{Array, ArrayView, Dimension};

use super::slices::{check_finite, check_maps, from_vec, slice};
use super::{normalise, upsample};
use crate::error::CamError;
use crate::fusion::Fusion;
use crate::parallelism::Parallelism;

/// The maps of several layers as one map for each sample, on the grid `size`: [`Fusion`] has the formulas.
///
/// A map that holds nothing counts as zero: it lowers a mean, leaves a maximum to the others and
/// makes a product zero.
///
/// # Shapes
/// Each of `layers` is `[N, …]` on a grid of its own; the result is `[N, *size]`.
///
/// # Errors
/// [`CamError::NoMaps`], [`CamError::Shape`], [`CamError::MapBatch`] for layers of different batches,
/// [`CamError::Size`], [`CamError::NonFiniteMap`] for a NaN or an infinity, and [`CamError::Gamma`] unless `gamma` is
/// finite and above 0.
///
/// # Cost
/// One upsampling for each layer.
///
/// ```
/// use gradcam_core::{Fusion, Parallelism, kernel};
/// use ndarray::array;
///
/// let (deep, shallow) = (array![[[0f32, 4.]]], array![[[0f32, 0., 1., 2.]]]);
/// let mean = kernel::fuse(&[deep.view(), shallow.view()], &[1, 4], Fusion::Mean, Parallelism::Serial)?;
/// assert_eq!(mean, array![[[0., 0.125, 0.625, 1.]]]);
/// # Ok::<(), gradcam_core::CamError>(())
/// ```
pub fn fuse<D: Dimension>(
    layers: &[ArrayView<'_, f32, D>],
    size: &[usize],
    fusion: Fusion,
    parallelism: Parallelism,
) -> Result<Array<f32, D>, CamError> {
    let first = layers.first().ok_or(CamError::NoMaps)?;
    for layer in layers {
        check_maps(layer.shape())?;
        let (found, expected) = (layer.shape()[0] as i64, first.shape()[0] as i64);
        if found != expected {
            return Err(CamError::MapBatch { found, expected });
        }
    }
    fusion.check()?;
    let scaled = |layer: &ArrayView<'_, f32, D>| {
        let maps = match fusion {
            Fusion::Scaled { gamma } => lifted(layer, gamma)?,
            Fusion::Mean | Fusion::Maximum | Fusion::Product => normalise(layer.view(), parallelism)?.maps,
        };
        upsample(maps.view(), size, parallelism)
    };
    let mut fused = scaled(first)?;
    for layer in &layers[1..] {
        let next = scaled(layer)?;
        match fusion {
            Fusion::Mean => fused += &next,
            Fusion::Product => fused *= &next,
            Fusion::Maximum | Fusion::Scaled { .. } => {
                fused.zip_mut_with(&next, |most, &value| *most = most.max(value))
            }
        }
    }
    if fusion == Fusion::Mean {
        fused /= layers.len() as f32;
    }
    Ok(fused)
}

/// `tanh(gamma max(0, M) / max M)`; zero where nothing is positive.
fn lifted<D: Dimension>(maps: &ArrayView<'_, f32, D>, gamma: f64) -> Result<Array<f32, D>, CamError> {
    let shape = maps.shape().to_vec();
    let mut values = slice(&maps.as_standard_layout()).to_vec();
    let places = values.len() / shape[0];
    check_finite(&values, places)?;
    for map in values.chunks_mut(places) {
        let most = f64::from(map.iter().fold(0f32, |most, &value| most.max(value)));
        for value in map {
            // In double precision, in which no quotient of two floats overflows.
            let share = if most > 0.0 {
                f64::from(value.max(0.0)) / most
            } else {
                0.0
            };
            *value = (gamma * share).tanh() as f32;
        }
    }
    from_vec(&shape, values)
}
