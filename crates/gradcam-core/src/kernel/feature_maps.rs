//! What a layer puts out, or the gradients there: planes of channels of samples.

use ndarray::{Array, ArrayView, CowArray, Dimension, RemoveAxis};
use rayon::prelude::*;

use super::slices;
use crate::error::CamError;
use crate::parallelism::Parallelism;

/// An array `[N, C, spatial axes]` in row-major layout.
pub(super) struct FeatureMaps<'a, D: Dimension> {
    values: CowArray<'a, f32, D>,
    pub(super) batch: usize,
    pub(super) channels: usize,
    /// The places of one channel's plane.
    pub(super) places: usize,
}

/// The planes of every sample, one after the other.
#[derive(Clone, Copy)]
pub(super) struct Planes<'a> {
    values: &'a [f32],
    places: usize,
}

impl<'a> Planes<'a> {
    /// The plane of a channel `k` of a sample `n` by its number, `n C + k`.
    #[inline]
    pub(super) fn get(self, number: usize) -> &'a [f32] {
        &self.values[number * self.places..][..self.places]
    }
}

impl<'a, D: Dimension + RemoveAxis> FeatureMaps<'a, D> {
    /// Another layout than row-major is copied.
    pub(super) fn new(array: ArrayView<'a, f32, D>) -> Result<Self, CamError> {
        let shape = array.shape();
        if shape.len() < 3 || shape.contains(&0) {
            return Err(CamError::Shape {
                shape: shape.to_vec(),
                expected: "[N, C, spatial axes]",
            });
        }
        let (batch, channels) = (shape[0], shape[1]);
        let places = shape[2..].iter().product();
        Ok(Self {
            // From the view itself, not from a borrow of it.
            values: if array.is_standard_layout() {
                CowArray::from(array)
            } else {
                CowArray::from(array.as_standard_layout().into_owned())
            },
            batch,
            channels,
            places,
        })
    }

    /// Activations and their gradients, of one shape.
    pub(super) fn pair<'g>(
        activations: ArrayView<'a, f32, D>,
        gradients: ArrayView<'g, f32, D>,
    ) -> Result<(Self, FeatureMaps<'g, D>), CamError> {
        if activations.shape() != gradients.shape() {
            return Err(CamError::GradientShape {
                activations: activations.shape().to_vec(),
                gradients: gradients.shape().to_vec(),
            });
        }
        Ok((Self::new(activations)?, FeatureMaps::new(gradients)?))
    }

    /// Every value: sample by sample, channel by channel.
    pub(super) fn as_slice(&self) -> &[f32] {
        slices::slice(&self.values)
    }

    /// The planes of every sample.
    pub(super) fn planes(&self) -> Planes<'_> {
        Planes {
            values: self.as_slice(),
            places: self.places,
        }
    }

    /// The planes of one sample, one after the other.
    pub(super) fn sample(&self, sample: usize) -> &[f32] {
        let values = self.channels * self.places;
        &self.as_slice()[sample * values..][..values]
    }

    /// What `one` makes of each sample, one after the other.
    pub(super) fn by_sample(
        &self,
        parallelism: Parallelism,
        one: impl Fn(usize) -> Result<Vec<f32>, CamError> + Sync + Send,
    ) -> Result<Vec<f32>, CamError> {
        let maps: Vec<Result<Vec<f32>, CamError>> = match parallelism {
            Parallelism::Rayon => (0..self.batch).into_par_iter().map(one).collect(),
            Parallelism::Serial => (0..self.batch).map(one).collect(),
        };
        // The first sample's error, whichever thread came first.
        Ok(maps.into_iter().collect::<Result<Vec<_>, _>>()?.concat())
    }

    /// One map for each sample as an array, as it is.
    pub(super) fn maps(&self, values: Vec<f32>) -> Result<Array<f32, D::Smaller>, CamError> {
        slices::check_finite(&values, self.places)?;
        let mut grid = vec![self.batch];
        grid.extend(&self.values.shape()[2..]);
        slices::from_vec(&grid, values)
    }

    /// One map for each sample as an array: what speaks for the target, zero where nothing does.
    pub(super) fn rectified_maps(&self, values: Vec<f32>) -> Result<Array<f32, D::Smaller>, CamError> {
        let mut maps = self.maps(values)?;
        maps.mapv_inplace(|value| value.max(0.0));
        Ok(maps)
    }
}
