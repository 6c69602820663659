use ndarray::{Array, ArrayView, Dimension};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use crate::components::Bordered;
use crate::image::{check, in_f64};
use crate::{Connectivity, Seeds, SegError};

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
    /// Conjugate gradients, preconditioned by the diagonal, over the open pixels only: some `√n` to `10 √n` steps of
    /// one pass each, in parallel and in f64.
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
        let system = System::new(&grey, &seeds, self.beta);
        let mut open = system.solve(self.tolerance)?.into_iter();
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

/// The equations of the open pixels.
#[derive(Debug)]
struct System {
    /// Neighbours of each open pixel, and the weights of the steps to them, `width` for each; a neighbour that
    /// is a seed or outside is the pixel itself, with weight 0.
    neighbours: Vec<u32>,
    weights: Vec<f64>,
    width: usize,
    diagonal: Vec<f64>,
    right: Vec<f64>,
}

impl System {
    fn new<D: Dimension>(image: &Array<f64, D>, seeds: &[Option<bool>], beta: f64) -> System {
        let deviation = image.std(0.0);
        let scale = if deviation > 0.0 {
            -beta / (10.0 * deviation)
        } else {
            0.0
        };
        let grid = Bordered::new(image.shape());
        let steps = grid.steps(Connectivity::Faces);
        let grey = grid.surround(image.iter().copied(), f64::NAN);
        let seeds_around = grid.surround(seeds.iter().copied(), None);
        let mut numbers = grid.surround(seeds.iter().map(|_| 0_u32), 0);
        let open: Vec<usize> = (grid.places().zip(seeds))
            .filter_map(|(place, seed)| seed.is_none().then_some(place))
            .collect();
        for (number, &place) in (0_u32..).zip(&open) {
            numbers[place] = number;
        }
        let mut system = System {
            neighbours: Vec::with_capacity(open.len() * steps.len()),
            weights: Vec::with_capacity(open.len() * steps.len()),
            width: steps.len(),
            diagonal: Vec::with_capacity(open.len()),
            right: Vec::with_capacity(open.len()),
        };
        for &place in &open {
            let (mut diagonal, mut right) = (0.0, 0.0);
            for &step in &steps {
                let other = place.wrapping_add_signed(step);
                let difference = grey[place] - grey[other];
                // NaN beside the border.
                let inside = !difference.is_nan();
                let weight = if inside {
                    (scale * difference * difference).exp() + 1e-10
                } else {
                    0.0
                };
                diagonal += weight;
                if seeds_around[other] == Some(true) {
                    right += weight;
                }
                let open = inside && seeds_around[other].is_none();
                system.neighbours.push(numbers[if open { other } else { place }]);
                system.weights.push(if open { weight } else { 0.0 });
            }
            system.diagonal.push(diagonal);
            system.right.push(right);
        }
        system
    }

    /// The Laplacian times `x`, and `x` times that.
    fn times(&self, x: &[f64], product: &mut [f64]) -> f64 {
        let row = |at: usize, product: &mut f64| {
            let around = at * self.width..(at + 1) * self.width;
            let sum: f64 = self.neighbours[around.clone()]
                .iter()
                .zip(&self.weights[around])
                .map(|(&other, weight)| weight * x[other as usize])
                .sum();
            *product = self.diagonal[at] * x[at] - sum;
            *product * x[at]
        };
        // The parts are the same on any number of threads, and so are the sums.
        const PART: usize = 1 << 14;
        let sums: Vec<f64> = product
            .par_chunks_mut(PART)
            .enumerate()
            .map(|(part, products)| {
                let rows = products.iter_mut().enumerate();
                rows.map(|(at, product)| row(part * PART + at, product)).sum()
            })
            .collect();
        sums.iter().sum()
    }

    fn solve(&self, tolerance: f64) -> Result<Vec<f64>, SegError> {
        let norm = |vector: &[f64]| vector.iter().map(|value| value * value).sum::<f64>().sqrt();
        let mut solution = vec![0.0; self.right.len()];
        let goal = tolerance * norm(&self.right);
        if goal == 0.0 {
            // No walk can meet the foreground.
            return Ok(solution);
        }
        let mut residual = self.right.clone();
        let mut direction: Vec<f64> = residual.iter().zip(&self.diagonal).map(|(r, d)| r / d).collect();
        let mut product = vec![0.0; residual.len()];
        let mut worth: f64 = residual.iter().zip(&direction).map(|(r, z)| r * z).sum();
        let steps = residual.len().max(10);
        for _ in 0..steps {
            let length = worth / self.times(&direction, &mut product);
            let (mut square, mut next, mut most) = (0.0, 0.0, 0.0_f64);
            for at in 0..residual.len() {
                solution[at] += length * direction[at];
                residual[at] -= length * product[at];
                square += residual[at] * residual[at];
                let local = residual[at] / self.diagonal[at];
                next += residual[at] * local;
                most = most.max(local.abs());
            }
            if square.sqrt() <= goal && most <= tolerance {
                return Ok(solution);
            }
            let turn = next / worth;
            worth = next;
            for at in 0..residual.len() {
                direction[at] = residual[at] / self.diagonal[at] + turn * direction[at];
            }
        }
        Err(SegError::NotConverged { steps })
    }
}
