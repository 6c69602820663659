use ndarray::{Array, ArrayView, Dimension};
use serde::{Deserialize, Serialize};

use crate::image::{check, in_f64, shaped};
use crate::lanes::{ABREAST, add_weighted, pass_along};
use crate::{Image, SegError};

/// The guided filter: a heatmap that follows the edges of its image.
///
/// In each window `w` of `2r + 1` pixels a side the result is linear in the image, `q = a I + b` with
/// `a = cov(I, p) / (var(I) + ε)` and `b = mean(p) − a mean(I)`, and a pixel takes the mean over the windows
/// that hold it: `q = mean(a) I + mean(b)`. With several channels `a` and `I` are vectors, and
/// `a = (Σ + ε U)⁻¹ cov(I, p)` with `Σ` the channels' covariances in the window and `U` the identity (eq. 19 of the
/// paper). Windows are cut off at the border. Values outside 0..=1, which the
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
    /// Any heatmap, one pixel or more, and an [`Image`] of its shape; the result has it too.
    ///
    /// # Errors
    /// [`SegError::Epsilon`]; [`SegError::Shapes`]; [`SegError::Empty`]; [`SegError::Value`];
    /// [`SegError::Image`].
    ///
    /// # Cost
    /// Six running means along every axis, in parallel and in f64, whatever the radius; for `c` channels
    /// `2 + 3 c + c (c + 1) / 2` of them, and a system of `c` equations a pixel.
    pub fn apply<'a, D: Dimension>(
        self,
        heatmap: ArrayView<'_, f32, D>,
        image: impl Into<Image<'a, D>>,
    ) -> Result<Array<f32, D>, SegError> {
        if !(self.epsilon > 0.0 && self.epsilon.is_finite()) {
            return Err(SegError::Epsilon { epsilon: self.epsilon });
        }
        let image = image.into();
        check(&heatmap, &image)?;
        let mut planes = image.planes();
        for plane in &mut planes {
            // Variances do not depend on where 0 is, but their rounding does.
            let mean = plane.iter().sum::<f64>() / plane.len() as f64;
            plane.iter_mut().for_each(|value| *value -= mean);
        }
        let shape = heatmap.shape().to_vec();
        let means = |values| means(values, &shape, self.radius);
        let heat = in_f64(&heatmap);
        let channels = planes.len();
        // The means of each channel's product with the heatmap, and with the channels up to it.
        let with_heat: Vec<_> = planes.iter().map(|plane| means(product(plane, &heat))).collect();
        let mut squares = Vec::new();
        for (channel, plane) in planes.iter().enumerate() {
            squares.extend(planes[..=channel].iter().map(|other| means(product(plane, other))));
        }
        let mut offsets = means(heat);
        let mut slopes: Vec<_> = planes.iter().map(|plane| means(plane.clone())).collect();
        let mut grey = vec![0.0; channels];
        let mut slope = vec![0.0; channels];
        let mut matrix = vec![0.0; channels * (channels + 1) / 2];
        for (at, offset) in offsets.iter_mut().enumerate() {
            for channel in 0..channels {
                grey[channel] = slopes[channel][at];
                slope[channel] = with_heat[channel][at] - *offset * grey[channel];
                for other in 0..=channel {
                    let entry = channel * (channel + 1) / 2 + other;
                    matrix[entry] = squares[entry][at] - grey[channel] * grey[other];
                    if other == channel {
                        matrix[entry] = matrix[entry].max(0.0) + self.epsilon;
                    }
                }
            }
            solve(&mut matrix, &mut slope);
            for channel in 0..channels {
                *offset -= slope[channel] * grey[channel];
                slopes[channel][at] = slope[channel];
            }
        }
        let mut guided = means(offsets);
        for (slopes, plane) in slopes.into_iter().zip(&planes) {
            let slopes = means(slopes);
            for ((guided, slope), value) in guided.iter_mut().zip(slopes).zip(plane) {
                *guided += slope * value;
            }
        }
        let guided = guided.into_iter().map(|value| value.clamp(0.0, 1.0) as f32);
        Ok(shaped(guided, heatmap.raw_dim(), 0.0))
    }
}

fn product(left: &[f64], right: &[f64]) -> Vec<f64> {
    left.iter().zip(right).map(|(left, right)| left * right).collect()
}

/// `x` of `A x = b` in place of `b`, by Cholesky's factor in place of a positive definite `A`, of which the rows up to the
/// diagonal are given.
fn solve(matrix: &mut [f64], x: &mut [f64]) {
    let at = |row: usize, column: usize| row * (row + 1) / 2 + column;
    for row in 0..x.len() {
        for column in 0..=row {
            let known: f64 = (0..column).map(|k| matrix[at(row, k)] * matrix[at(column, k)]).sum();
            let rest = matrix[at(row, column)] - known;
            matrix[at(row, column)] = if column < row {
                rest / matrix[at(column, column)]
            } else {
                rest.max(f64::MIN_POSITIVE).sqrt()
            };
        }
        let known: f64 = (0..row).map(|k| matrix[at(row, k)] * x[k]).sum();
        x[row] = (x[row] - known) / matrix[at(row, row)];
    }
    for row in (0..x.len()).rev() {
        let known: f64 = (row + 1..x.len()).map(|k| matrix[at(k, row)] * x[k]).sum();
        x[row] = (x[row] - known) / matrix[at(row, row)];
    }
}

/// The mean around each pixel, over what of the window lies inside an array in C order.
fn means(mut values: Vec<f64>, shape: &[usize], radius: usize) -> Vec<f64> {
    for axis in 0..shape.len() {
        pass_along(&mut values, shape, axis, |lanes, means| {
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
                let count = lanes.len().min(at.saturating_add(radius).saturating_add(1)) - first;
                *mean = sums.map(|sum| sum / count as f64);
                if at >= radius {
                    add_weighted(&mut sums, -1.0, &lanes[first]);
                }
            }
        });
    }
    values
}
