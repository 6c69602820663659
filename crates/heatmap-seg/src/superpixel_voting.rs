use ndarray::{Array, ArrayView, Dimension};
use serde::{Deserialize, Serialize};

use crate::image::check;
use crate::{Image, SegError, Slic, Threshold};

/// Superpixel voting: the pixels of a superpixel of the image are foreground together or not at all.
///
/// A superpixel is foreground where the mean of the heatmap in it is above the threshold. A [`Threshold`] that looks
/// at the map is found in the map of the means.
///
/// ```
/// use heatmap_seg::{Slic, SuperpixelVoting, Threshold};
/// use ndarray::array;
///
/// let heatmap = array![[0.1_f32, 0.2, 0.3, 0.6, 0.7, 0.9], [0.1, 0.2, 0.3, 0.4, 0.5, 0.9]];
/// let image = array![[0.0_f32, 0.1, 0.0, 0.0, 1.0, 0.9], [0.0, 0.0, 0.1, 0.0, 1.0, 1.0]];
/// let voting = SuperpixelVoting::default()
///     .with_slic(Slic::default().with_segments(2))
///     .with_threshold(Threshold::Fixed(0.5));
/// let mask = voting.apply(heatmap.view(), image.view())?;
/// assert_eq!(mask.row(0), array![false, false, false, false, true, true]);
/// assert_eq!(mask.row(0), mask.row(1));
/// # Ok::<(), heatmap_seg::SegError>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SuperpixelVoting {
    slic: Slic,
    threshold: Threshold,
}

impl Default for SuperpixelVoting {
    /// [`Slic::default`] and Otsu's threshold.
    fn default() -> SuperpixelVoting {
        SuperpixelVoting {
            slic: Slic::default(),
            threshold: Threshold::Otsu,
        }
    }
}

impl SuperpixelVoting {
    /// How the image is parted.
    pub fn with_slic(self, slic: Slic) -> SuperpixelVoting {
        SuperpixelVoting { slic, ..self }
    }

    /// Above which a superpixel's mean is foreground.
    pub fn with_threshold(self, threshold: Threshold) -> SuperpixelVoting {
        SuperpixelVoting { threshold, ..self }
    }

    /// The mask of the superpixels whose mean is above the threshold.
    ///
    /// # Shapes
    /// A heatmap of up to 3 axes, one pixel or more, and an [`Image`] of its shape; the mask has it too.
    ///
    /// # Errors
    /// As [`SuperpixelVoting::means`]; those of the threshold.
    ///
    /// # Cost
    /// That of [`Slic::superpixels`], two passes, and the threshold's.
    pub fn apply<'a, D: Dimension>(
        self,
        heatmap: ArrayView<'_, f32, D>,
        image: impl Into<Image<'a, D>>,
    ) -> Result<Array<bool, D>, SegError> {
        self.threshold.apply(self.means(heatmap, image)?.view())
    }

    /// The heatmap with each pixel's value replaced by the mean over its superpixel.
    ///
    /// # Shapes
    /// A heatmap of up to 3 axes, one pixel or more, and an [`Image`] of its shape; the result has it too.
    ///
    /// # Errors
    /// [`SegError::Shapes`]; [`SegError::Empty`]; [`SegError::Value`]; those of [`Slic::superpixels`].
    ///
    /// # Cost
    /// That of [`Slic::superpixels`] and two passes.
    pub fn means<'a, D: Dimension>(
        self,
        heatmap: ArrayView<'_, f32, D>,
        image: impl Into<Image<'a, D>>,
    ) -> Result<Array<f32, D>, SegError> {
        let image = image.into();
        check(&heatmap, &image)?;
        let superpixels = self.slic.superpixels(image)?;
        let mut sums: Vec<(f64, f64)> = Vec::new();
        for (&superpixel, &value) in superpixels.iter().zip(&heatmap) {
            if superpixel >= sums.len() {
                sums.resize(superpixel + 1, (0.0, 0.0));
            }
            sums[superpixel].0 += f64::from(value);
            sums[superpixel].1 += 1.0;
        }
        let means: Vec<f32> = sums.iter().map(|(sum, count)| (sum / count) as f32).collect();
        Ok(superpixels.mapv(|superpixel| means[superpixel]))
    }
}
