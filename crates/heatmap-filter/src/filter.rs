use std::fmt;
use std::str::FromStr;

use ndarray::{Array2, Array3, ArrayView2, ArrayView3, ArrayView4, ArrayViewMut4, Axis, Zip};
use rayon::prelude::*;

use crate::error::FilterError;
use crate::region::{hottest, random_like};
use crate::seed::mix;

/// Which pixels of an image stay.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Filter {
    /// The hottest stay, the rest is filled.
    KeepHottest,
    /// The hottest are filled, the rest stays: the heatmap's dark regions.
    RemoveHottest,
    /// A random region of the area and shape of the hottest stays: the control of `KeepHottest`.
    KeepRandom,
    /// A random region of the area and shape of the hottest is filled: the control of
    /// `RemoveHottest`.
    RemoveRandom,
}

impl Filter {
    /// Every filter.
    pub const ALL: [Self; 4] = [
        Self::KeepHottest,
        Self::RemoveHottest,
        Self::KeepRandom,
        Self::RemoveRandom,
    ];

    /// The name, such as `keep-hottest`.
    pub fn name(self) -> &'static str {
        match self {
            Self::KeepHottest => "keep-hottest",
            Self::RemoveHottest => "remove-hottest",
            Self::KeepRandom => "keep-random",
            Self::RemoveRandom => "remove-random",
        }
    }
}

impl fmt::Display for Filter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Filter {
    type Err = FilterError;

    fn from_str(name: &str) -> Result<Self, FilterError> {
        Self::ALL
            .into_iter()
            .find(|filter| filter.name() == name)
            .ok_or_else(|| FilterError::UnknownFilter { name: name.to_owned() })
    }
}

/// What takes the place of the pixels that do not stay.
#[derive(Debug, Clone, PartialEq)]
pub enum Fill {
    /// One value for every channel.
    Value(f32),
    /// One value for each channel, such as the training images' means.
    Channels(Vec<f32>),
    /// The mean of the image's own channel.
    ImageMean,
}

/// Filters images by their heatmaps.
#[derive(Debug, Clone, PartialEq)]
pub struct Masking {
    filter: Filter,
    fraction: f64,
    fill: Fill,
}

impl Masking {
    /// `filter` the hottest `fraction` of pixels, with `fill` in place of what goes.
    pub fn new(filter: Filter, fraction: f64, fill: Fill) -> Self {
        Self { filter, fraction, fill }
    }

    /// Which pixels of an image stay, `[H, W]`. Image `index` draws from a stream of its own of
    /// `seed`, so its pixels are the same in every batch.
    ///
    /// # Errors
    /// As [`hottest`].
    pub fn kept(&self, heatmap: ArrayView2<'_, f32>, seed: u64, index: u64) -> Result<Array2<bool>, FilterError> {
        let seed = mix(seed, index);
        let region = hottest(heatmap, self.fraction, seed)?;
        Ok(match self.filter {
            Filter::KeepHottest => region,
            Filter::RemoveHottest => !region,
            Filter::KeepRandom => random_like(region.view(), seed),
            Filter::RemoveRandom => !random_like(region.view(), seed),
        })
    }

    /// The filtered image, which is number `index` of those drawn from `seed`.
    ///
    /// # Shapes
    /// `image` and result `[C, H, W]`, `heatmap` `[H, W]`.
    ///
    /// # Errors
    /// As [`hottest`]; [`FilterError::Shape`] when image and heatmap differ in size,
    /// [`FilterError::FillChannels`] when [`Fill::Channels`] has another number of channels.
    pub fn apply(
        &self,
        image: ArrayView3<'_, f32>,
        heatmap: ArrayView2<'_, f32>,
        seed: u64,
        index: u64,
    ) -> Result<Array3<f32>, FilterError> {
        let mut filtered = image.to_owned();
        self.apply_in_place(&mut filtered, heatmap, seed, index)?;
        Ok(filtered)
    }

    /// Filters a batch in place, images side by side on all cores: image `i` as
    /// [`Masking::apply`] does with index `i`.
    ///
    /// # Shapes
    /// `images` `[N, C, H, W]`, `heatmaps` `[N, 1, H, W]`.
    ///
    /// # Errors
    /// As [`Masking::apply`]; the images may then be filtered in part.
    pub fn apply_batch(
        &self,
        mut images: ArrayViewMut4<'_, f32>,
        heatmaps: ArrayView4<'_, f32>,
        seed: u64,
    ) -> Result<(), FilterError> {
        let (n, _, h, w) = images.dim();
        if heatmaps.dim() != (n, 1, h, w) {
            return Err(FilterError::Shape {
                image: images.shape().to_vec(),
                heatmap: heatmaps.shape().to_vec(),
            });
        }
        let heatmaps: Vec<_> = heatmaps.axis_iter(Axis(0)).collect();
        images
            .axis_iter_mut(Axis(0))
            .into_par_iter()
            .zip(heatmaps)
            .enumerate()
            .try_for_each(|(i, (mut image, heatmap))| {
                let heatmap = heatmap.index_axis(Axis(0), 0);
                self.apply_in_place(&mut image, heatmap, seed, i as u64)
            })
    }

    fn apply_in_place<S: ndarray::DataMut<Elem = f32>>(
        &self,
        image: &mut ndarray::ArrayBase<S, ndarray::Ix3>,
        heatmap: ArrayView2<'_, f32>,
        seed: u64,
        index: u64,
    ) -> Result<(), FilterError> {
        let (channels, h, w) = image.dim();
        if heatmap.dim() != (h, w) {
            return Err(FilterError::Shape {
                image: image.shape().to_vec(),
                heatmap: heatmap.shape().to_vec(),
            });
        }
        if let Fill::Channels(values) = &self.fill
            && values.len() != channels
        {
            return Err(FilterError::FillChannels {
                fill: values.len(),
                image: channels,
            });
        }
        let kept = self.kept(heatmap, seed, index)?;
        for (channel, mut plane) in image.axis_iter_mut(Axis(0)).enumerate() {
            let fill = match &self.fill {
                Fill::Value(value) => *value,
                Fill::Channels(values) => values[channel],
                Fill::ImageMean => plane.mean().unwrap_or_default(),
            };
            Zip::from(&mut plane).and(&kept).for_each(|pixel, &kept| {
                if !kept {
                    *pixel = fill;
                }
            });
        }
        Ok(())
    }
}
