use ndarray::{Array, ArrayView, Dimension, Zip};
use serde::{Deserialize, Serialize};

use crate::SegError;
use crate::image::{check, in_f64};
use crate::lanes::{ABREAST, add_weighted, pass_along};

/// The guided filter: a heatmap that follows the edges of its image.
///
/// In each window `w` of `2r + 1` pixels a side the result is linear in the image, `q = a I + b` with
/// `a = cov(I, p) / (var(I) + ε)` and `b = mean(p) − a mean(I)`, and a pixel takes the mean over the windows
/// that hold it: `q = mean(a) I + mean(b)`. Windows are cut off at the border. Values outside 0..=1, which the
/// linear model can give, are clamped.
///
/// He, Sun and Tang, "Guided Image Filtering", 2010,
/// [10.1007/978-3-642-15549-9_1](https://doi.org/10.1007/978-3-642-15549-9_1).
///
/// # Units
/// The radius is in pixels, ε in the image's units squared: for images in 0..=1, edges of less than `√ε` are
/// smoothed over.
///
/// ```
/// use heatmap_seg::GuidedFilter;
/// use ndarray::array;
///
/// // The heatmap is a ramp, the image has an edge.
/// let heatmap = array![0.0_f32, 0.2, 0.4, 0.6, 0.8, 1.0];
/// let image = array![0.0_f32, 0.0, 0.0, 1.0, 1.0, 1.0];
/// let guided = GuidedFilter::default().with_radius(5).apply(heatmap.view(), image.view())?;
/// assert!(guided[3] - guided[2] > 0.55);
/// # Ok::<(), heatmap_seg::SegError>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct GuidedFilter {
    radius: usize,
    epsilon: f64,
}

impl Default for GuidedFilter {
    /// A radius of 8 pixels and an ε of 0.001.
    fn default() -> GuidedFilter {
        GuidedFilter {
            radius: 8,
            epsilon: 1e-3,
        }
    }
}

impl GuidedFilter {
    /// How far the windows reach from their middle, in pixels.
    pub fn with_radius(self, radius: usize) -> GuidedFilter {
        GuidedFilter { radius, ..self }
    }

    /// The variance of the image below which windows are smoothed over, above 0.
    pub fn with_epsilon(self, epsilon: f64) -> GuidedFilter {
        GuidedFilter { epsilon, ..self }
    }

    /// The heatmap after the filter.
    ///
    /// # Shapes
    /// Any heatmap, one pixel or more, and a grey image of its shape; the result has it too.
    ///
    /// # Errors
    /// [`SegError::Epsilon`]; [`SegError::Shapes`]; [`SegError::Empty`]; [`SegError::Value`];
    /// [`SegError::Image`].
    ///
    /// # Cost
    /// Six running means along every axis, in parallel and in f64, whatever the radius.
    pub fn apply<D: Dimension>(
        self,
        heatmap: ArrayView<'_, f32, D>,
        image: ArrayView<'_, f32, D>,
    ) -> Result<Array<f32, D>, SegError> {
        if !(self.epsilon > 0.0 && self.epsilon.is_finite()) {
            return Err(SegError::Epsilon { epsilon: self.epsilon });
        }
        check(&heatmap, &image)?;
        let (heatmap, mut image) = (in_f64(&heatmap), in_f64(&image));
        // Variances do not depend on where 0 is, but their rounding does.
        image -= image.mean().unwrap_or(0.0);
        let means = |array| means(array, self.radius);
        let products = means(&image * &heatmap);
        let squares = means(&image * &image);
        let (heat, grey) = (means(heatmap), means(image.clone()));
        let mut slopes = products;
        Zip::from(&mut slopes)
            .and(&squares)
            .and(&heat)
            .and(&grey)
            .for_each(|slope, square, heat, grey| {
                *slope = (*slope - heat * grey) / ((square - grey * grey).max(0.0) + self.epsilon);
            });
        let offsets = means(heat - &slopes * &grey);
        let slopes = means(slopes);
        let mut guided = Array::zeros(image.raw_dim());
        Zip::from(&mut guided)
            .and(&slopes)
            .and(&image)
            .and(&offsets)
            .for_each(|guided, slope, grey, offset| *guided = (slope * grey + offset).clamp(0.0, 1.0) as f32);
        Ok(guided)
    }
}

/// The mean around each pixel, over what of the window lies inside an array in C order.
fn means<D: Dimension>(mut array: Array<f64, D>, radius: usize) -> Array<f64, D> {
    let shape = array.shape().to_vec();
    let values = array.as_slice_mut().unwrap_or_default();
    for axis in 0..shape.len() {
        pass_along(values, &shape, axis, |lanes, means| {
            let mut sums = [0.0; ABREAST];
            let mut entering = lanes.iter();
            entering
                .by_ref()
                .take(radius)
                .for_each(|values| add_weighted(&mut sums, 1.0, values));
            for (at, mean) in means.iter_mut().enumerate() {
                if let Some(values) = entering.next() {
                    add_weighted(&mut sums, 1.0, values);
                }
                let first = at.saturating_sub(radius);
                let count = lanes.len().min(at.saturating_add(radius + 1)) - first;
                *mean = sums.map(|sum| sum / count as f64);
                if at >= radius {
                    add_weighted(&mut sums, -1.0, &lanes[first]);
                }
            }
        });
    }
    array
}
