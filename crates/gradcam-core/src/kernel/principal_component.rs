//! The first principal component of feature maps.

use std::borrow::Cow;

use ndarray::{Array, ArrayView, Dimension, RemoveAxis};

use super::feature_maps::FeatureMaps;
use super::first_eigenvector::{first_eigenvector, mixed_dot};
use crate::error::CamError;
use crate::parallelism::Parallelism;

/// Planes read in one go, so that the map's image is read and written once for all of them.
const ROWS: usize = 4;

/// The first principal component of each sample's feature maps: the one map that, given to every
/// channel at a strength of its own, leaves the least of them unexplained.
///
/// ```text
/// Y[k,s] = X[k,s] - mean over s of X[k,s]
/// map[s] = sum over k of v[k] Y[k,s]         v: unit vector with the largest sum over s of map[s]²
/// ```
///
/// Such a `v` is the first left singular vector of `Y`; its sign is nobody's choice in the algebra,
/// and numpy's is arbitrary. Here the map goes along with the plain sum of the channels:
///
/// ```text
/// sum over s of map[s] sum over k of X[k,s] ≥ 0
/// ```
///
/// so that of activations weighed by gradients high is evidence for the target. Where the two have
/// nothing in common, the value farthest from zero is positive.
///
/// Weighted activations in, this is what pytorch-grad-cam calls eigen smoothing; activations in,
/// what it calls Eigen-CAM. It cuts negative values off, as `mapv(|value| value.max(0.))` does.
///
/// # Shapes
/// `[N, C, H, W]` gives `[N, H, W]`; any number of axes in place of `H, W` will do.
///
/// # Errors
/// [`CamError::Shape`], and [`CamError::NonFiniteMap`] for a NaN or an infinity.
///
/// # Cost
/// Some dozens of reads of the maps, sample by sample, so mostly from cache: Lanczos iteration
/// needs neither the products of channels with one another nor a singular value decomposition.
///
/// ```
/// use gradcam_core::{Parallelism, kernel};
/// use ndarray::Array4;
///
/// let maps = Array4::from_shape_vec((1, 2, 1, 2), vec![0., 2., 1., 1.])?;
/// let component = kernel::principal_component(maps.view(), Parallelism::Serial)?;
/// assert!((component[[0, 0, 0]] + 1.0).abs() < 1e-6 && (component[[0, 0, 1]] - 1.0).abs() < 1e-6);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn principal_component<D>(
    features: ArrayView<'_, f32, D>,
    parallelism: Parallelism,
) -> Result<Array<f32, D::Smaller>, CamError>
where
    D: Dimension + RemoveAxis,
{
    let features = FeatureMaps::new(features)?;
    let maps = components(&features, parallelism, |sample| Cow::Borrowed(features.sample(sample)))?;
    features.maps(maps)
}

/// The first principal component of what `terms` makes of each sample: its channels, plane after
/// plane.
pub(super) fn components<'t, D: Dimension + RemoveAxis>(
    maps: &FeatureMaps<'_, D>,
    parallelism: Parallelism,
    terms: impl Fn(usize) -> Cow<'t, [f32]> + Sync,
) -> Result<Vec<f32>, CamError> {
    maps.by_sample(parallelism, |sample| {
        component(&terms(sample), maps.places).ok_or(CamError::NonFiniteMap { sample })
    })
}

/// That of one sample; `None` if a term is not finite.
pub(crate) fn component(terms: &[f32], places: usize) -> Option<Vec<f32>> {
    let mut sum = vec![0f64; places];
    let mut squares = 0f64;
    for plane in terms.chunks_exact(places) {
        for (sum, &term) in sum.iter_mut().zip(plane) {
            let term = f64::from(term);
            *sum += term;
            squares += term * term;
        }
    }
    if !squares.is_finite() {
        return None;
    }
    // With Y the planes less their means and u a map: Yᵀ Y u. Since u less its mean is at right angles to whatever is
    // even, the planes can stay as they are, and the means are taken from what comes of them.
    let (eigenvalue, mut map) = first_eigenvector(places, |map| {
        let mean = map.iter().sum::<f64>() / places as f64;
        let map: Vec<f64> = map.iter().map(|value| value - mean).collect();
        let mut image = vec![0f64; places];
        let mut groups = terms.chunks_exact(ROWS * places);
        for group in &mut groups {
            let rows: [&[f32]; ROWS] = std::array::from_fn(|row| &group[row * places..][..places]);
            let along = rows.map(|row| mixed_dot(row, &map));
            for (place, value) in image.iter_mut().enumerate() {
                let mut sum = *value;
                for (row, along) in rows.iter().zip(along) {
                    sum += along * f64::from(row[place]);
                }
                *value = sum;
            }
        }
        for row in groups.remainder().chunks_exact(places) {
            let along = mixed_dot(row, &map);
            for (value, &term) in image.iter_mut().zip(row) {
                *value += along * f64::from(term);
            }
        }
        let mean = image.iter().sum::<f64>() / places as f64;
        image.iter_mut().for_each(|value| *value -= mean);
        image
    });
    let length = eigenvalue.max(0.0).sqrt();
    map.iter_mut().for_each(|value| *value *= length);
    orient(&mut map, &sum, squares);
    Some(map.into_iter().map(|value| value as f32).collect())
}

/// Gives a component its sign, and makes it zero where only rounding is left of it.
///
/// `sum` is that of the channels, `squares` that of all their values, both before the means were
/// taken away.
pub(crate) fn orient(map: &mut [f64], sum: &[f64], squares: f64) {
    let length = map.iter().map(|value| value * value).sum::<f64>();
    // Taking a mean away leaves about 1e-16 of what was even.
    if length <= 1e-24 * squares {
        map.fill(0.0);
        return;
    }
    let along: f64 = map.iter().zip(sum).map(|(value, sum)| value * sum).sum();
    let even = 1e-12 * (length * sum.iter().map(|sum| sum * sum).sum::<f64>()).sqrt();
    let negative = if along.abs() > even {
        along < 0.0
    } else {
        map.iter()
            .copied()
            .fold(0f64, |far, value| if value.abs() > far.abs() { value } else { far })
            < 0.0
    };
    if negative {
        map.iter_mut().for_each(|value| *value = -*value);
    }
}
