use ndarray::{Array, ArrayView, Dimension};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use crate::image::{check, in_f64};
use crate::multigrid::{Matrix, solve};
use crate::{Seeds, SegError};

/// Pixels that one thread takes at a time.
const PART: usize = 1 << 12;

/// The random walker: the probability that a walk from a pixel meets a seed of the foreground first.
///
/// A walk steps between pixels that share a face, by weights `w = exp(−β (I_i − I_j)² / (10 σ)) + 10⁻¹⁰` with
/// σ the standard deviation of the image, and so seldom crosses an edge. The probabilities solve `L x = 0` with
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
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RandomWalker {
    seeds: Seeds,
    beta: f64,
    tolerance: f64,
}

impl Default for RandomWalker {
    /// [`Seeds::default`], a β of 130 and a tolerance of 10⁻⁴.
    fn default() -> RandomWalker {
        RandomWalker {
            seeds: Seeds::default(),
            beta: 130.0,
            tolerance: 1e-4,
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

    /// The mask of the pixels whose walks meet the foreground first with a probability above one half.
    ///
    /// # Shapes
    /// Any heatmap, one pixel or more, and a grey image of its shape; the mask has it too.
    ///
    /// # Errors
    /// As [`RandomWalker::probabilities`].
    ///
    /// # Cost
    /// That of [`RandomWalker::probabilities`].
    pub fn apply<D: Dimension>(
        self,
        heatmap: ArrayView<'_, f32, D>,
        image: ArrayView<'_, f32, D>,
    ) -> Result<Array<bool, D>, SegError> {
        Ok(self
            .probabilities(heatmap, image)?
            .mapv(|probability| probability > 0.5))
    }

    /// The probability of the foreground at each pixel, 0 to 1.
    ///
    /// # Shapes
    /// Any heatmap, one pixel or more, and a grey image of its shape; the result has it too.
    ///
    /// # Errors
    /// [`SegError::Beta`]; [`SegError::Tolerance`]; [`SegError::Shapes`]; [`SegError::Empty`];
    /// [`SegError::Value`]; [`SegError::Image`]; those of the seeds' thresholds; [`SegError::NoSeeds`];
    /// [`SegError::NotConverged`] after as many steps as there are open pixels, ten at least.
    ///
    /// # Cost
    /// Conjugate gradients, preconditioned by algebraic multigrid, over the open pixels only: some ten to twenty steps,
    /// however many pixels there are, of about five passes each, in parallel and in f64.
    pub fn probabilities<D: Dimension>(
        self,
        heatmap: ArrayView<'_, f32, D>,
        image: ArrayView<'_, f32, D>,
    ) -> Result<Array<f32, D>, SegError> {
        if !(self.beta >= 0.0 && self.beta.is_finite()) {
            return Err(SegError::Beta { beta: self.beta });
        }
        if !(self.tolerance > 0.0 && self.tolerance < 1.0) {
            return Err(SegError::Tolerance {
                tolerance: self.tolerance,
            });
        }
        check(&heatmap, &image)?;
        let grey = in_f64(&image);
        let seeds = self.seeds.of(heatmap.view())?;
        let (matrix, right) = equations(&grey, &seeds, self.beta);
        let steps = right.len().max(10);
        let open = solve(matrix, &right, self.tolerance, steps).ok_or(SegError::NotConverged { steps })?;
        let mut open = open.into_iter();
        let mut seeds = seeds.into_iter();
        let mut probabilities = Array::zeros(heatmap.raw_dim());
        for probability in &mut probabilities {
            *probability = match seeds.next().flatten() {
                Some(foreground) => f32::from(u8::from(foreground)),
                None => open.next().unwrap_or(0.0).clamp(0.0, 1.0) as f32,
            };
        }
        Ok(probabilities)
    }
}

/// The equations of the open pixels: the matrix and the right-hand side.
fn equations(image: &Array<f64, impl Dimension>, seeds: &[Option<bool>], beta: f64) -> (Matrix, Vec<f64>) {
    let shape = image.shape();
    let strides = image.strides();
    let grey = image.as_slice().unwrap_or_default();
    let mean = grey.iter().sum::<f64>() / grey.len() as f64;
    let variance = grey.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / grey.len() as f64;
    let scale = if variance > 0.0 {
        -beta / (10.0 * variance.sqrt())
    } else {
        0.0
    };
    let along = |place: usize, axis: usize| place / strides[axis] as usize % shape[axis];
    let mut open = Vec::new();
    let mut numbers = vec![0_u32; seeds.len()];
    for (at, seed) in seeds.iter().enumerate() {
        if seed.is_none() {
            numbers[at] = open.len() as u32;
            open.push(at);
        }
    }
    // The weights of the steps from each pixel forwards along each axis.
    let mut weights = vec![0.0; grey.len() * shape.len()];
    weights
        .par_chunks_mut(PART * shape.len())
        .enumerate()
        .for_each(|(part, weights)| {
            for (place, weights) in (part * PART..).zip(weights.chunks_exact_mut(shape.len())) {
                for (axis, weight) in weights.iter_mut().enumerate() {
                    let other = place + strides[axis] as usize;
                    if along(place, axis) + 1 < shape[axis] && (seeds[place].is_none() || seeds[other].is_none()) {
                        let difference = grey[place] - grey[other];
                        *weight = (scale * difference * difference).exp() + 1e-10;
                    }
                }
            }
        });
    let mut matrix = Matrix::with_capacity(open.len(), open.len() * 2 * shape.len());
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
        for axis in (0..shape.len()).filter(|&axis| along(place, axis) > 0) {
            let other = place - strides[axis] as usize;
            look(other, weights[other * shape.len() + axis]);
        }
        for axis in (0..shape.len())
            .rev()
            .filter(|&axis| along(place, axis) + 1 < shape[axis])
        {
            let other = place + strides[axis] as usize;
            look(other, weights[place * shape.len() + axis]);
        }
        matrix.end_row(diagonal);
        right.push(to_foreground);
    }
    (matrix, right)
}
