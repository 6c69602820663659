use ndarray::{Array, ArrayView, Dimension};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use crate::image::{check, likelier, shaped};
use crate::multigrid::{Matrix, solve};
use crate::{Image, Seeds, SegError};

/// Steps of the solver after which it will not come nearer: it takes ten to thirty on scans.
const STEPS: usize = 1000;
/// Pixels that one thread takes at a time.
const PART: usize = 1 << 12;

/// The random walker: the probability that a walk from a pixel meets a seed of the foreground first.
///
/// A walk steps between pixels that share a face, by weights `w = exp(−β |I_i − I_j|² / (10 σ √c s²)) + 10⁻¹⁰` with
/// σ the standard deviation of the image, `c` its channels and `s` the spacing along the step, and so seldom crosses an
/// edge. The probabilities solve `L x = 0` with
/// `x` given at the [`Seeds`] and `L` the graph's Laplacian; a pixel is foreground above one half. It is
/// scikit-image 0.26's `random_walker` with two labels.
///
/// With seeds of one kind only, every walk ends there: a map without foreground has none in the mask. A
/// constant image has equal weights. (scikit-image gives NaN.)
///
/// Grady, "Random Walks for Image Segmentation", 2006,
/// [10.1109/TPAMI.2006.233](https://doi.org/10.1109/TPAMI.2006.233).
///
/// # Units
/// As in scikit-image, β goes with the image's units: the default is for images in 0..=1.
///
/// ```
/// use heatmap_seg::RandomWalker;
/// use ndarray::array;
///
/// // Open between the seeds at both ends; the image has its edge before the last but one.
/// let heatmap = array![0.1_f32, 0.3, 0.4, 0.5, 0.6, 0.9];
/// let image = array![0.0_f32, 0.0, 0.0, 0.0, 1.0, 1.0];
/// let mask = RandomWalker::default().apply(heatmap.view(), image.view())?;
/// assert_eq!(mask, array![false, false, false, false, true, true]);
/// # Ok::<(), heatmap_seg::SegError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RandomWalker {
    seeds: Seeds,
    beta: f64,
    tolerance: f64,
    spacing: Vec<f64>,
}

impl Default for RandomWalker {
    /// [`Seeds::default`], a β of 130, a tolerance of 10⁻⁴ and pixels as long as wide.
    fn default() -> RandomWalker {
        RandomWalker {
            seeds: Seeds::default(),
            beta: 130.0,
            tolerance: 1e-4,
            spacing: Vec::new(),
        }
    }
}

impl RandomWalker {
    /// Where the heatmap is sure.
    pub fn with_seeds(self, seeds: Seeds) -> RandomWalker {
        RandomWalker { seeds, ..self }
    }

    /// How much an edge hinders, 0 or more.
    pub fn with_beta(self, beta: f64) -> RandomWalker {
        RandomWalker { beta, ..self }
    }

    /// Where the solver stops, above 0 and below 1: the residual relative to the right-hand side, and the most by
    /// which a pixel's probability may differ from the weighted mean of those around it, which does not lose
    /// sight of pixels behind edges.
    pub fn with_tolerance(self, tolerance: f64) -> RandomWalker {
        RandomWalker { tolerance, ..self }
    }

    /// How far pixels are apart along each axis, one number for each, in any unit: a step of `s` divides the image's
    /// difference by `s`. None at all stand for 1 along each axis.
    pub fn with_spacing(self, spacing: &[f64]) -> RandomWalker {
        RandomWalker {
            spacing: spacing.to_vec(),
            ..self
        }
    }

    /// The mask of the pixels whose walks meet the foreground first with a probability above one half.
    ///
    /// # Shapes
    /// Any heatmap, one pixel or more, and an [`Image`] of its shape; the mask has it too.
    ///
    /// # Errors
    /// As [`RandomWalker::probabilities`].
    ///
    /// # Cost
    /// That of [`RandomWalker::probabilities`].
    pub fn apply<'a, D: Dimension>(
        &self,
        heatmap: ArrayView<'_, f32, D>,
        image: impl Into<Image<'a, D>>,
    ) -> Result<Array<bool, D>, SegError> {
        self.probabilities(heatmap, image).map(likelier)
    }

    /// The probability of the foreground at each pixel, 0 to 1.
    ///
    /// # Shapes
    /// Any heatmap, one pixel or more, and an [`Image`] of its shape; the result has it too.
    ///
    /// # Errors
    /// [`SegError::Beta`]; [`SegError::Tolerance`]; [`SegError::Spacing`]; [`SegError::Shapes`]; [`SegError::Empty`];
    /// [`SegError::Value`]; [`SegError::Image`]; those of the seeds' thresholds; [`SegError::NoSeeds`];
    /// [`SegError::NotConverged`] after 1000 steps.
    ///
    /// # Cost
    /// Conjugate gradients, preconditioned by algebraic multigrid, over the open pixels only: ten to thirty steps on
    /// scans, up to a hundred on noise, however many pixels there are, of about five passes each, in parallel and in f64.
    pub fn probabilities<'a, D: Dimension>(
        &self,
        heatmap: ArrayView<'_, f32, D>,
        image: impl Into<Image<'a, D>>,
    ) -> Result<Array<f32, D>, SegError> {
        if !(self.beta >= 0.0 && self.beta.is_finite()) {
            return Err(SegError::Beta { beta: self.beta });
        }
        if !(self.tolerance > 0.0 && self.tolerance < 1.0) {
            return Err(SegError::Tolerance {
                tolerance: self.tolerance,
            });
        }
        let axes = heatmap.ndim();
        let right = |&step: &f64| step > 0.0 && step.is_finite();
        if !(self.spacing.is_empty() || self.spacing.len() == axes) || !self.spacing.iter().all(right) {
            return Err(SegError::Spacing {
                spacing: self.spacing.clone(),
                axes,
            });
        }
        let image = image.into();
        check(&heatmap, &image)?;
        let seeds = self.seeds.of(heatmap.view())?;
        let (matrix, right) = self.equations(&image, &seeds);
        let open = solve(matrix, &right, self.tolerance, STEPS).ok_or(SegError::NotConverged { steps: STEPS })?;
        let mut open = open.into_iter();
        let probabilities = seeds.into_iter().map(|seed| match seed {
            Some(foreground) => f32::from(u8::from(foreground)),
            None => open.next().unwrap_or(0.0).clamp(0.0, 1.0) as f32,
        });
        Ok(shaped(probabilities, heatmap.raw_dim(), 0.0))
    }

    /// The equations of the open pixels: the matrix and the right-hand side.
    fn equations<D: Dimension>(&self, image: &Image<'_, D>, seeds: &[Option<bool>]) -> (Matrix, Vec<f64>) {
        let shape = image.pixels();
        let axes = shape.len();
        let mut strides = vec![1; axes];
        for axis in (1..axes).rev() {
            strides[axis - 1] = strides[axis] * shape[axis];
        }
        let planes = image.planes();
        let scale = -self.beta / (10.0 * (planes.len() as f64).sqrt() * deviation(&planes));
        let along = |place: usize, axis: usize| place / strides[axis] % shape[axis];
        // The weights of the steps from each pixel forwards along each axis, 0 out of the image and between seeds.
        let mut weights = vec![0.0; seeds.len() * axes];
        weights
            .par_chunks_mut(PART * axes.max(1))
            .enumerate()
            .for_each(|(part, weights)| {
                for (place, weights) in (part * PART..).zip(weights.chunks_exact_mut(axes)) {
                    for (axis, weight) in weights.iter_mut().enumerate() {
                        let other = place + strides[axis];
                        if along(place, axis) + 1 < shape[axis] && (seeds[place].is_none() || seeds[other].is_none()) {
                            let step = self.spacing.get(axis).copied().unwrap_or(1.0);
                            let differences = planes.iter().map(|plane| (plane[place] - plane[other]) / step);
                            let square: f64 = differences.map(|difference| difference * difference).sum();
                            // No number in a constant image, whose scale is infinite: nothing hinders there.
                            let exponent = scale * square;
                            *weight = if exponent.is_nan() { 1.0 } else { exponent.exp() } + 1e-10;
                        }
                    }
                }
            });
        let open: Vec<usize> = (0..seeds.len()).filter(|&place| seeds[place].is_none()).collect();
        let mut numbers = vec![0_u32; seeds.len()];
        for (number, &place) in (0..).zip(&open) {
            numbers[place] = number;
        }
        let mut matrix = Matrix::with_capacity(open.len(), open.len() * 2 * axes);
        let mut right = Vec::with_capacity(open.len());
        for &place in &open {
            let (mut diagonal, mut to_foreground) = (0.0, 0.0);
            let mut look = |other: usize, weight: f64| {
                diagonal += weight;
                match seeds[other] {
                    Some(true) => to_foreground += weight,
                    Some(false) => (),
                    None => matrix.push_edge(numbers[other], weight),
                }
            };
            for axis in (0..axes).filter(|&axis| along(place, axis) > 0) {
                let other = place - strides[axis];
                look(other, weights[other * axes + axis]);
            }
            for axis in (0..axes).rev().filter(|&axis| along(place, axis) + 1 < shape[axis]) {
                look(place + strides[axis], weights[place * axes + axis]);
            }
            matrix.end_row(diagonal);
            right.push(to_foreground);
        }
        (matrix, right)
    }
}

/// The standard deviation of all values.
fn deviation(planes: &[Vec<f64>]) -> f64 {
    let count = planes.iter().map(Vec::len).sum::<usize>() as f64;
    let mean = planes.iter().flatten().sum::<f64>() / count;
    let squares: f64 = planes.iter().flatten().map(|value| (value - mean).powi(2)).sum();
    (squares / count).sqrt()
}

#[cfg(test)]
mod tests {
    use ndarray::Array2;

    use super::{RandomWalker, solve};
    use crate::Image;

    /// A disk under speckle, whose seeds leave a wide ring open.
    #[test]
    fn steps_do_not_grow_with_the_image() {
        for side in [100, 320] {
            let middle = side as f32 / 2.0;
            let way = |(y, x): (usize, usize)| (y as f32 - middle).hypot(x as f32 - middle) / middle;
            let mut state = 1_u32;
            let image = Array2::from_shape_fn((side, side), |at| {
                state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                let speckle = 0.7 + 0.6 * (state >> 8) as f32 / (1 << 24) as f32;
                speckle * if way(at) < 0.5 { 0.7 } else { 0.3 }
            });
            let heatmap = Array2::from_shape_fn((side, side), |at| (1.0 - way(at)).clamp(0.0, 1.0));
            let walker = RandomWalker::default();
            let seeds = walker.seeds.of(heatmap.view()).unwrap();
            let (matrix, right) = walker.equations(&Image::Grey(image.view()), &seeds);
            assert!(right.len() > side * side / 3);
            assert!(solve(matrix, &right, 1e-4, 40).is_some(), "{side}");
        }
    }
}
