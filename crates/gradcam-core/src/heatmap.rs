//! From a method's raw maps to heatmaps on the image.

use ndarray::{Array3, ArrayD, Ix3, IxDyn};
use tch::{Kind, Tensor};

use crate::content::Content;
use crate::error::CamError;

/// A method's maps on the layer's grid, one for each sample, f32, in no fixed range.
#[derive(Debug)]
pub struct Maps {
    maps: Tensor,
    /// Smallest and largest value of each sample.
    ranges: Vec<(f32, f32)>,
}

/// Heatmaps: values in 0..=1, one map for each sample, f32.
#[derive(Debug)]
pub struct Heatmaps {
    maps: Tensor,
    contents: Vec<Content>,
}

impl Maps {
    /// Maps of one's own making, for the rest of the way to heatmaps.
    ///
    /// # Shapes
    /// `[N, H, W]` or `[N, D, H, W]`, of any floating-point kind, on any device.
    ///
    /// # Errors
    /// [`CamError::Shape`], [`CamError::ComplexMaps`], and [`CamError::NonFiniteMap`] for a NaN or an infinity.
    pub fn new(maps: &Tensor) -> Result<Self, CamError> {
        let shape = maps.size();
        if !matches!(shape.len(), 3 | 4) || shape.contains(&0) {
            return Err(CamError::Shape {
                shape: shape.iter().map(|&extent| extent as usize).collect(),
                expected: "[N, H, W] or [N, D, H, W]",
            });
        }
        let kind = maps.kind();
        if matches!(kind, Kind::ComplexHalf | Kind::ComplexFloat | Kind::ComplexDouble) {
            return Err(CamError::ComplexMaps { kind });
        }
        let _no_grad = tch::no_grad_guard();
        let maps = maps.f_detach()?.f_to_kind(Kind::Float)?;
        let flat = maps.f_flatten(1, -1)?;
        // Both carry a NaN on, so they tell about every value.
        let least: Vec<f32> = flat.f_amin([1i64].as_slice(), false)?.try_into()?;
        let most: Vec<f32> = flat.f_amax([1i64].as_slice(), false)?.try_into()?;
        let ranges: Vec<(f32, f32)> = least.into_iter().zip(most).collect();
        if let Some(sample) = ranges
            .iter()
            .position(|(min, max)| !min.is_finite() || !max.is_finite())
        {
            return Err(CamError::NonFiniteMap { sample });
        }
        Ok(Self { maps, ranges })
    }

    /// The maps, `[N, H, W]` or `[N, D, H, W]`.
    pub fn tensor(&self) -> &Tensor {
        &self.maps
    }

    /// Smallest and largest value of each sample.
    pub(crate) fn ranges(&self) -> &[(f32, f32)] {
        &self.ranges
    }

    /// Fails unless there is a map for each of `batch` samples.
    pub(crate) fn check_batch(&self, batch: i64) -> Result<(), CamError> {
        let found = self.maps.size()[0];
        if found == batch {
            Ok(())
        } else {
            Err(CamError::MapBatch { found, expected: batch })
        }
    }

    /// What is in each sample's map.
    pub fn contents(&self) -> Vec<Content> {
        self.ranges.iter().map(|&(min, max)| Content::of(min, max)).collect()
    }

    /// The maps at another size: bilinear, for volumes trilinear, at half-pixel centres, values at
    /// the edge held (torch's `align_corners = false`, OpenCV's `INTER_LINEAR`).
    ///
    /// # Shapes
    /// `size` is `[H, W]` or `[D, H, W]`, such as `&image.size()[2..]`.
    ///
    /// # Errors
    /// [`CamError::Size`].
    pub fn upsample(&self, size: &[i64]) -> Result<Self, CamError> {
        let shape = self.maps.size();
        if size.len() != shape.len() - 1 || size.iter().any(|&extent| extent < 1) {
            return Err(CamError::Size {
                size: size.to_vec(),
                grid: shape[1..].to_vec(),
            });
        }
        let _no_grad = tch::no_grad_guard();
        // In double precision a constant map stays constant; in single, rounding would make it
        // uneven and normalising would blow the unevenness up.
        let maps = self.maps.f_to_kind(Kind::Double)?.f_unsqueeze(1)?;
        let maps = if size.len() == 2 {
            maps.f_upsample_bilinear2d(size, false, None, None)?
        } else {
            maps.f_upsample_trilinear3d(size, false, None, None, None)?
        };
        Self::new(&maps.f_squeeze_dim(1)?)
    }

    /// Each map brought to 0..=1 by its own smallest and largest value.
    ///
    /// ```text
    /// heat[s] = (map[s] - min) / (max - min)
    /// ```
    ///
    /// This is pytorch-grad-cam's rule without its constant 1e-7 in the denominator, so that maps
    /// of tiny values keep their full range. A constant map has no range: it becomes zero and
    /// [`Heatmaps::contents`] says so, as it does of a map that was zero already.
    ///
    /// # Errors
    /// libtorch's own only.
    pub fn normalise(&self) -> Result<Heatmaps, CamError> {
        let _no_grad = tch::no_grad_guard();
        let contents = self.contents();
        let axes = vec![1; self.maps.dim() - 1];
        let column = |values: Vec<f64>| {
            let mut shape = vec![values.len() as i64];
            shape.extend(&axes);
            Tensor::f_from_slice(&values)?
                .f_view(shape.as_slice())?
                .f_to_device(self.maps.device())
        };
        // In double precision no range underflows or overflows.
        let min = column(self.ranges.iter().map(|&(min, _)| f64::from(min)).collect())?;
        let range = column(
            self.ranges
                .iter()
                .map(|&(min, max)| {
                    if min < max {
                        f64::from(max) - f64::from(min)
                    } else {
                        1.0
                    }
                })
                .collect(),
        )?;
        let maps = self.maps.f_to_kind(Kind::Double)?.f_sub(&min)?.f_div(&range)?;
        Ok(Heatmaps {
            maps: maps.f_to_kind(Kind::Float)?,
            contents,
        })
    }

    /// Upsampled to `size`, then normalised: the usual way.
    ///
    /// # Errors
    /// Those of [`Maps::upsample`].
    pub fn heatmaps(&self, size: &[i64]) -> Result<Heatmaps, CamError> {
        self.upsample(size)?.normalise()
    }

    /// The maps as an array.
    ///
    /// # Errors
    /// libtorch's own only.
    pub fn to_array(&self) -> Result<ArrayD<f32>, CamError> {
        to_array(&self.maps)
    }
}

impl Heatmaps {
    /// The heatmaps, `[N, H, W]` or `[N, D, H, W]`.
    pub fn tensor(&self) -> &Tensor {
        &self.maps
    }

    /// What there was in each sample's map before it was normalised.
    pub fn contents(&self) -> &[Content] {
        &self.contents
    }

    /// The heatmaps as an array.
    ///
    /// # Errors
    /// libtorch's own only.
    pub fn to_array(&self) -> Result<ArrayD<f32>, CamError> {
        to_array(&self.maps)
    }

    /// The heatmaps of images as an array `[N, H, W]`.
    ///
    /// # Errors
    /// [`CamError::Shape`] for heatmaps of volumes.
    pub fn to_array3(&self) -> Result<Array3<f32>, CamError> {
        let array = self.to_array()?;
        let shape = array.shape().to_vec();
        array.into_dimensionality::<Ix3>().map_err(|_| CamError::Shape {
            shape,
            expected: "[N, H, W]",
        })
    }
}

/// The one way from tensors to arrays.
fn to_array(tensor: &Tensor) -> Result<ArrayD<f32>, CamError> {
    let shape: Vec<usize> = tensor.size().iter().map(|&extent| extent as usize).collect();
    let values: Vec<f32> = tensor.f_contiguous()?.f_view([-1])?.try_into()?;
    ArrayD::from_shape_vec(IxDyn(&shape), values).map_err(|error| CamError::Torch(error.into()))
}
