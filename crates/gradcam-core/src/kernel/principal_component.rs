//! The first principal component of feature maps.

use ndarray::{Array, ArrayView, ArrayView2, Dimension, RemoveAxis};
use rayon::prelude::*;

use super::feature_maps::FeatureMaps;
use super::first_eigenvector::first_eigenvector;
use crate::error::CamError;
use crate::parallelism::Parallelism;

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
/// The products of all channels with one another, or of all places if there are fewer of them, in
/// double precision: `C P min(C, P)` multiplications for each sample. The eigenvector is found by Lanczos
/// iteration, never by a full decomposition.
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
    let maps = components(&features, parallelism, |sample| {
        features.sample(sample).iter().map(|&value| f64::from(value)).collect()
    })?;
    features.maps(maps)
}

/// The first principal component of what `terms` makes of each sample: its channels, plane after plane.
pub(super) fn components<D: Dimension + RemoveAxis>(
    maps: &FeatureMaps<'_, D>,
    parallelism: Parallelism,
    terms: impl Fn(usize) -> Vec<f64> + Sync,
) -> Result<Vec<f32>, CamError> {
    let one =
        |sample: usize| component(terms(sample), maps.channels, maps.places).ok_or(CamError::NonFiniteMap { sample });
    let maps: Vec<Result<Vec<f32>, CamError>> = match parallelism {
        Parallelism::Rayon => (0..maps.batch).into_par_iter().map(one).collect(),
        Parallelism::Serial => (0..maps.batch).map(one).collect(),
    };
    // The first sample's error, whichever thread came first.
    Ok(maps.into_iter().collect::<Result<Vec<_>, _>>()?.concat())
}

/// That of one sample; `None` if a term is not finite.
fn component(mut terms: Vec<f64>, channels: usize, places: usize) -> Option<Vec<f32>> {
    let mut sum = vec![0f64; places];
    let mut squares = 0f64;
    for plane in terms.chunks_exact_mut(places) {
        for (sum, &term) in sum.iter_mut().zip(&*plane) {
            *sum += term;
        }
        squares += plane.iter().map(|term| term * term).sum::<f64>();
        let mean = plane.iter().sum::<f64>() / places as f64;
        plane.iter_mut().for_each(|term| *term -= mean);
    }
    if !squares.is_finite() {
        return None;
    }
    let terms = ArrayView2::from_shape((channels, places), &terms).expect("as many values as channels have places");
    let mut map = if places <= channels {
        let (eigenvalue, vector) = first_eigenvector(&gram(terms.t()), places);
        let length = eigenvalue.max(0.0).sqrt();
        vector.iter().map(|value| value * length).collect()
    } else {
        let (_, vector) = first_eigenvector(&gram(terms), channels);
        let vector = ArrayView2::from_shape((1, channels), &vector).expect("one value for each channel");
        vector.dot(&terms).into_raw_vec_and_offset().0
    };
    orient(&mut map, &sum, squares);
    Some(map.into_iter().map(|value| value as f32).collect())
}

/// The products of every row with every other.
fn gram(rows: ArrayView2<'_, f64>) -> Vec<f64> {
    let products = rows.dot(&rows.t());
    products.as_standard_layout().iter().copied().collect()
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
