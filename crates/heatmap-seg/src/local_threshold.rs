use ndarray::{Array, ArrayView, Dimension, Zip};
use serde::{Deserialize, Serialize};

use crate::SegError;
use crate::image::{in_f64, shaped};
use crate::lanes::{ABREAST, Abreast, add_weighted, pass_along};
use crate::mirror::mirrored;
use crate::threshold::with_checked_values;

const MOST_SIDE: usize = 65_535;

/// A threshold of each pixel's own: the mean around it, less an offset.
///
/// `t(x) = Σ_k w(k) h(x + k) − offset`, foreground where `h(x) > t(x)`. Past the border the map is mirrored
/// with its edge pixels repeated. It is scikit-image 0.26's `threshold_local(heatmap, side, mode="reflect")`.
///
/// Gonzalez and Woods, "Digital Image Processing", 2nd edition, 2002, pages 600–612.
///
/// # Units
/// The side is in pixels, the same along every axis; the offset in the heatmap's units.
///
/// ```
/// use heatmap_seg::{LocalThreshold, LocalWindow};
/// use ndarray::array;
///
/// // Two peaks, one on a slope: no one threshold has both and nothing else.
/// let heatmap = array![0.0_f32, 0.3, 0.0, 0.2, 0.5, 0.9, 0.8];
/// let local = LocalThreshold::default().with_side(3).with_window(LocalWindow::Mean);
/// let mask = local.apply(heatmap.view())?;
/// assert_eq!(mask, array![false, true, false, false, false, true, false]);
/// # Ok::<(), heatmap_seg::SegError>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LocalThreshold {
    side: usize,
    window: LocalWindow,
    offset: f32,
}

/// The weights of the pixels around one, for [`LocalThreshold`].
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LocalWindow {
    /// All the same, within `side` pixels.
    Mean,
    /// A Gaussian of standard deviation `(side − 1) / 6`, cut off at four of them.
    #[default]
    Gaussian,
}

impl Default for LocalThreshold {
    /// 51 pixels, Gaussian, no offset.
    fn default() -> LocalThreshold {
        LocalThreshold {
            side: 51,
            window: LocalWindow::Gaussian,
            offset: 0.0,
        }
    }
}

impl LocalThreshold {
    /// The side of the window in pixels, odd, up to 65 535.
    pub fn with_side(self, side: usize) -> LocalThreshold {
        LocalThreshold { side, ..self }
    }

    /// The weights within the window.
    pub fn with_window(self, window: LocalWindow) -> LocalThreshold {
        LocalThreshold { window, ..self }
    }

    /// What is taken from the mean; a negative one asks of the foreground to stand out.
    pub fn with_offset(self, offset: f32) -> LocalThreshold {
        LocalThreshold { offset, ..self }
    }

    /// The mask of the pixels above their own thresholds.
    ///
    /// # Shapes
    /// Any heatmap, one pixel or more; the mask has its shape.
    ///
    /// # Errors
    /// As [`LocalThreshold::values`].
    ///
    /// # Cost
    /// That of [`LocalThreshold::values`], and one pass.
    pub fn apply<D: Dimension>(self, heatmap: ArrayView<'_, f32, D>) -> Result<Array<bool, D>, SegError> {
        let thresholds = self.values(heatmap.view())?;
        Ok(Zip::from(heatmap)
            .and(&thresholds)
            .map_collect(|value, threshold| value > threshold))
    }

    /// The threshold of each pixel.
    ///
    /// # Shapes
    /// Any heatmap, one pixel or more; the thresholds have its shape.
    ///
    /// # Errors
    /// [`SegError::Window`] if the side is even or above 65 535; [`SegError::Offset`]; [`SegError::Empty`];
    /// [`SegError::Value`].
    ///
    /// # Cost
    /// One pass along every axis, in parallel and in f64; for [`LocalWindow::Mean`] whatever the side, for
    /// [`LocalWindow::Gaussian`] `4/3 · side` steps a pixel.
    pub fn values<D: Dimension>(self, heatmap: ArrayView<'_, f32, D>) -> Result<Array<f32, D>, SegError> {
        if self.side.is_multiple_of(2) || self.side > MOST_SIDE {
            return Err(SegError::Window { side: self.side });
        }
        if !self.offset.is_finite() {
            return Err(SegError::Offset { offset: self.offset });
        }
        with_checked_values(&heatmap, |_, _, _| ())?;
        let mut means = in_f64(&heatmap);
        let shape = heatmap.shape();
        for axis in 0..shape.len() {
            match self.window {
                LocalWindow::Mean => pass_along(&mut means, shape, axis, |lanes, means| {
                    box_means(lanes, self.side / 2, means);
                }),
                LocalWindow::Gaussian => {
                    let kernel = gaussian((self.side - 1) as f64 / 6.0);
                    pass_along(&mut means, shape, axis, |lanes, means| {
                        weighted_means(lanes, &kernel, means)
                    });
                }
            }
        }
        let thresholds = means.into_iter().map(|mean| mean as f32 - self.offset);
        Ok(shaped(thresholds, heatmap.raw_dim(), 0.0))
    }
}

/// The weights of the middle pixel and of those to one side of it.
fn gaussian(deviation: f64) -> Vec<f64> {
    let reach = (4.0 * deviation + 0.5) as usize;
    let weight = |step: usize| {
        if step == 0 {
            1.0
        } else {
            (-0.5 * (step as f64 / deviation).powi(2)).exp()
        }
    };
    let sum: f64 = weight(0) + 2.0 * (1..=reach).map(weight).sum::<f64>();
    (0..=reach).map(|step| weight(step) / sum).collect()
}

fn box_means(lanes: &[Abreast<f64>], reach: usize, means: &mut [Abreast<f64>]) {
    let wide = mirrored(lanes, reach);
    let side = 2 * reach + 1;
    let mut sums = [0.0; ABREAST];
    for entering in &wide[..side - 1] {
        add_weighted(&mut sums, 1.0, entering);
    }
    for (at, mean) in means.iter_mut().enumerate() {
        add_weighted(&mut sums, 1.0, &wide[at + side - 1]);
        *mean = sums.map(|sum| sum / side as f64);
        add_weighted(&mut sums, -1.0, &wide[at]);
    }
}

fn weighted_means(lanes: &[Abreast<f64>], kernel: &[f64], means: &mut [Abreast<f64>]) {
    let reach = kernel.len() - 1;
    let wide = mirrored(lanes, reach);
    for (at, mean) in (reach..).zip(means) {
        let mut sum = wide[at].map(|value| kernel[0] * value);
        for step in 1..=reach {
            add_weighted(&mut sum, kernel[step], &wide[at - step]);
            add_weighted(&mut sum, kernel[step], &wide[at + step]);
        }
        *mean = sum;
    }
}
