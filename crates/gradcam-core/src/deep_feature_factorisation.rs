//! Deep feature factorisation: what a layer sees, as a few concepts.

use ndarray::{Array1, Array2, ArrayD, ArrayView, ArrayView2, ArrayViewMut1, Axis, Dimension, IxDyn};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;

use crate::error::CamError;
use crate::parallelism::Parallelism;

/// Places worked on together. A fixed number, so that sums come out the same on any number of threads.
const ROWS: usize = 256;

/// What becomes of activations below zero, which cannot be factorised.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum Offset {
    /// They are an error: take a layer behind a ReLU.
    #[default]
    None,
    /// Each channel's smallest value is taken off first, as pytorch-grad-cam does it. The concepts
    /// are then of activations above that value.
    ChannelMinimum,
}

/// How to factorise. Without further settings: 5 concepts, seed 0, until an iteration lowers the
/// error by less than a millionth of it, 2000 iterations at most.
#[derive(Debug, Clone, PartialEq)]
pub struct DeepFeatureFactorisation {
    concepts: usize,
    offset: Offset,
    seed: u64,
    tolerance: f64,
    iterations: usize,
    parallelism: Parallelism,
}

impl Default for DeepFeatureFactorisation {
    fn default() -> Self {
        Self {
            concepts: 5,
            offset: Offset::None,
            seed: 0,
            tolerance: 1e-6,
            iterations: 2000,
            parallelism: Parallelism::Rayon,
        }
    }
}

impl DeepFeatureFactorisation {
    /// With this number of concepts.
    #[must_use]
    pub fn with_concepts(mut self, concepts: usize) -> Self {
        self.concepts = concepts;
        self
    }

    /// With a rule for activations below zero.
    #[must_use]
    pub fn with_offset(mut self, offset: Offset) -> Self {
        self.offset = offset;
        self
    }

    /// With another start. The problem has local minima, so another seed may end with another error.
    /// The start is some of the places themselves, drawn so that they differ.
    #[must_use]
    pub fn with_seed(mut self, seed: u64) -> Self {
        self.seed = seed;
        self
    }

    /// Until an iteration lowers the error by less than this share of it; 0 for all iterations.
    #[must_use]
    pub fn with_tolerance(mut self, tolerance: f64) -> Self {
        self.tolerance = tolerance;
        self
    }

    /// With this number of iterations at most.
    #[must_use]
    pub fn with_iterations(mut self, iterations: usize) -> Self {
        self.iterations = iterations;
        self
    }

    /// On one core or on all. The result is the same to the last bit.
    #[must_use]
    pub fn with_parallelism(mut self, parallelism: Parallelism) -> Self {
        self.parallelism = parallelism;
        self
    }

    fn check(&self) -> Result<(), CamError> {
        if !(self.tolerance.is_finite() && self.tolerance >= 0.0) {
            return Err(CamError::Tolerance {
                tolerance: self.tolerance,
            });
        }
        if self.iterations == 0 {
            return Err(CamError::Iterations {
                iterations: self.iterations,
            });
        }
        Ok(())
    }
}

/// A layer's activations as concepts, and where each of them is. Concepts are in the order of their
/// share in the activations, the largest first.
#[derive(Debug, Clone, PartialEq)]
pub struct Factorisation {
    /// How much of each concept there is at each place, 0 or more, `[N, k, …]`.
    pub maps: ArrayD<f32>,
    /// What each concept is made of, `[k, C]`, 0 or more, of length 1; zero for one that found
    /// nothing left to explain.
    ///
    /// A concept may be put into the rest of the network for what it is evidence of:
    /// `stages.forward_from(layer, …)` of the concepts as `[k, C, 1, 1]`, where the rest takes any size.
    pub concepts: Array2<f32>,
    /// What was taken off each channel, `[C]`.
    pub offsets: Array1<f32>,
    /// What the factors leave unexplained, `|A - H W| / |A|`, 0 to 1.
    pub error: f64,
    /// The iterations taken.
    pub iterations: usize,
    /// Whether the last of them lowered the error by less than the tolerance.
    pub converged: bool,
}

/// The non-negative factorisation of a layer's activations into concepts that all samples share.
///
/// ```text
/// A[n,c,s] - offset[c] ≈ sum over k of H[n,k,s] W[k,c]      H, W ≥ 0, least squares
/// ```
///
/// Nothing is asked of classes or gradients. `H` says where concept `k` is in sample `n`, the same
/// concept in all samples of the batch: use one batch for what is to be compared. A sample's map
/// therefore depends on the others.
///
/// Collins, Achanta, Süsstrunk, "Deep Feature Factorization For Concept Discovery", 2018,
/// [arXiv:1806.10206](https://arxiv.org/abs/1806.10206). The factors are found by hierarchical
/// alternating least squares: Cichocki & Phan, "Fast local algorithms for large scale nonnegative
/// matrix and tensor factorizations", 2009,
/// [doi:10.1587/transfun.E92.A.708](https://doi.org/10.1587/transfun.E92.A.708).
///
/// # Shapes
/// `activations` are `[N, C, H, W]`, or with any number of axes of space, from any framework; of a
/// capture they are had by `Capture::activations` and tch's conversion to arrays.
///
/// # Errors
/// [`CamError::Shape`]; [`CamError::NonFiniteMap`] for a NaN or an infinity in a sample's activations, and for
/// activations whose length over the channels single precision does not hold;
/// [`CamError::NegativeActivation`] unless an [`Offset`] is named; [`CamError::Concepts`] for none, or more than there
/// are places in all samples; [`CamError::Tolerance`], [`CamError::Iterations`].
///
/// # Cost
/// An iteration is one pass over a copy of the activations in double precision, `4 k` operations for each
/// value; tens to hundreds of iterations are usual.
///
/// ```
/// use gradcam_core::{DeepFeatureFactorisation, deep_feature_factorisation};
/// use ndarray::Array4;
///
/// // Channels 0 and 1 always go together, 4 to 3, and channel 2 is on its own.
/// let activations = Array4::from_shape_vec(
///     (1, 3, 1, 3),
///     vec![8., 0., 4., 6., 0., 3., 0., 2., 0.],
/// )?;
/// let two = DeepFeatureFactorisation::default().with_concepts(2);
/// let found = deep_feature_factorisation(activations.view(), &two)?;
/// assert!(found.error < 1e-3);
/// for (found, expected) in found.concepts.iter().zip([0.8f32, 0.6, 0.0, 0.0, 0.0, 1.0]) {
///     assert!((found - expected).abs() < 1e-3);
/// }
/// for (found, expected) in found.maps.iter().zip([10f32, 0.0, 5.0, 0.0, 2.0, 0.0]) {
///     assert!((found - expected).abs() < 1e-2);
/// }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn deep_feature_factorisation<D: Dimension>(
    activations: ArrayView<'_, f32, D>,
    settings: &DeepFeatureFactorisation,
) -> Result<Factorisation, CamError> {
    settings.check()?;
    let shape = activations.shape().to_vec();
    if shape.len() < 3 || shape.contains(&0) {
        return Err(CamError::Shape {
            shape,
            expected: "[N, C, spatial axes]",
        });
    }
    // As many leave nothing unexplained: a concept for each place.
    let places = shape.iter().product::<usize>() / shape[1];
    // For which there are addresses, with room for what is worked out on the way.
    let most = places.min(isize::MAX as usize / 64 / shape[1].max(places));
    if !(1..=most).contains(&settings.concepts) {
        return Err(CamError::Concepts {
            concepts: settings.concepts,
            most,
        });
    }
    let (values, offsets) = matrix(activations.as_standard_layout().view(), settings.offset)?;
    let factors = Factors::find(values, settings);

    let (samples, concepts) = (shape[0], settings.concepts);
    let places = shape[2..].iter().product::<usize>();
    let order = factors.order();
    let mut maps = ArrayD::zeros(IxDyn(&[samples, concepts, places]));
    let mut rows = Array2::zeros((concepts, shape[1]));
    for (to, &(from, length)) in order.iter().enumerate() {
        if length == 0.0 {
            continue;
        }
        rows.row_mut(to)
            .assign(&factors.concepts.row(from).mapv(|value| (value / length) as f32));
        for ((sample, place), amount) in (0..samples)
            .flat_map(|sample| (0..places).map(move |place| (sample, place)))
            .zip(factors.amounts.column(from))
        {
            let value = (amount * length) as f32;
            // Of the largest numbers of single precision in several channels: their length is none.
            if !value.is_finite() {
                return Err(CamError::NonFiniteMap { sample });
            }
            maps[[sample, to, place]] = value;
        }
    }
    let mut grid = vec![samples, concepts];
    grid.extend(&shape[2..]);
    Ok(Factorisation {
        maps: maps.into_shape_with_order(IxDyn(&grid)).map_err(|_| CamError::Shape {
            shape: grid,
            expected: "one value for each place",
        })?,
        concepts: rows,
        offsets: offsets.mapv(|value| value as f32),
        error: factors.error,
        iterations: factors.iterations,
        converged: factors.converged,
    })
}

/// A row for each place of each sample, a column for each channel; and what was taken off the channels.
fn matrix<D: Dimension>(
    activations: ArrayView<'_, f32, D>,
    offset: Offset,
) -> Result<(Array2<f64>, Array1<f64>), CamError> {
    let shape = activations.shape();
    let (samples, channels) = (shape[0], shape[1]);
    let places = shape[2..].iter().product::<usize>();
    let mut values = Array2::zeros((samples * places, channels));
    for (index, &value) in activations.iter().enumerate() {
        let (sample, channel, place) = (index / (channels * places), index / places % channels, index % places);
        if !value.is_finite() {
            return Err(CamError::NonFiniteMap { sample });
        }
        if value < 0.0 && offset == Offset::None {
            return Err(CamError::NegativeActivation { sample, channel, value });
        }
        values[[sample * places + place, channel]] = f64::from(value);
    }
    let mut offsets = Array1::zeros(channels);
    if offset == Offset::ChannelMinimum {
        offsets = values.fold_axis(Axis(0), f64::INFINITY, |&least, &value| least.min(value));
        values -= &offsets;
    }
    Ok((values, offsets))
}

/// `A ≈ H W` as it is found.
struct Factors {
    /// `H`, a row for each place.
    amounts: Array2<f64>,
    /// `W`, a row for each concept.
    concepts: Array2<f64>,
    error: f64,
    iterations: usize,
    converged: bool,
}

impl Factors {
    fn find(values: Array2<f64>, settings: &DeepFeatureFactorisation) -> Self {
        let places = values.nrows();
        let squares: f64 = values.iter().map(|value| value * value).sum();
        let mut factors = Self {
            concepts: start(&values, settings),
            amounts: Array2::zeros((places, settings.concepts)),
            error: 0.0,
            iterations: 0,
            converged: true,
        };
        // Nothing to explain.
        if squares == 0.0 {
            return factors;
        }
        factors.error = f64::INFINITY;
        factors.converged = false;
        while factors.iterations < settings.iterations && !factors.converged {
            let previous = factors.error;
            let unexplained = factors.improve(&values, squares, settings.parallelism);
            let error = (unexplained.max(0.0) / squares).sqrt();
            // Below this the difference of squares holds rounding only.
            factors.converged = previous - error <= settings.tolerance * error || error < 1e-7;
            factors.error = error;
            factors.iterations += 1;
        }
        factors
    }

    /// One iteration; returns `|A - H W|²`.
    fn improve(&mut self, values: &Array2<f64>, squares: f64, parallelism: Parallelism) -> f64 {
        let (concepts, gram) = (&self.concepts, self.concepts.dot(&self.concepts.t()));
        // The rows of H do not depend on each other, so a block of them is brought up to date while its
        // part of A is at hand, and used for W right away.
        let block = |(values, mut amounts): (ArrayView2<'_, f64>, ndarray::ArrayViewMut2<'_, f64>)| {
            let products = values.dot(&concepts.t());
            for (mut row, products) in amounts.outer_iter_mut().zip(products.outer_iter()) {
                for concept in 0..row.len() {
                    let slope = products[concept] - row.dot(&gram.row(concept));
                    step(&mut row, concept, slope, gram[[concept, concept]]);
                }
            }
            (amounts.t().dot(&values), amounts.t().dot(&amounts))
        };
        let blocks = values.axis_chunks_iter(Axis(0), ROWS);
        let amounts = self.amounts.axis_chunks_iter_mut(Axis(0), ROWS);
        let parts: Vec<(Array2<f64>, Array2<f64>)> = match parallelism {
            Parallelism::Rayon => blocks.into_par_iter().zip(amounts.into_par_iter()).map(block).collect(),
            Parallelism::Serial => blocks.zip(amounts).map(block).collect(),
        };
        // In the order of the blocks, for the same sum on any number of threads.
        let mut products = Array2::<f64>::zeros(self.concepts.dim());
        let mut overlaps = Array2::<f64>::zeros(gram.dim());
        for (product, overlap) in &parts {
            products += product;
            overlaps += overlap;
        }
        for (mut column, products) in self.concepts.axis_iter_mut(Axis(1)).zip(products.axis_iter(Axis(1))) {
            for concept in 0..column.len() {
                let slope = products[concept] - column.dot(&overlaps.row(concept));
                step(&mut column, concept, slope, overlaps[[concept, concept]]);
            }
        }
        let gram = self.concepts.dot(&self.concepts.t());
        let unexplained = squares - 2.0 * (&products * &self.concepts).sum() + (&overlaps * &gram).sum();
        match overlaps.diag().iter().position(|&square| square == 0.0) {
            Some(unused) => unexplained - self.revive(unused, values),
            None => unexplained,
        }
    }

    /// A concept that is nowhere would stay so: it becomes the mean of what the others leave, everywhere.
    /// Returns by how much `|A - H W|²` falls.
    fn revive(&mut self, unused: usize, values: &Array2<f64>) -> f64 {
        let places = values.nrows() as f64;
        let explained = self.amounts.sum_axis(Axis(0)).dot(&self.concepts);
        let left = ((values.sum_axis(Axis(0)) - explained) / places).mapv(|value| value.max(0.0));
        let gain = places * left.dot(&left);
        if gain > 0.0 {
            self.concepts.row_mut(unused).assign(&left);
            self.amounts.column_mut(unused).fill(1.0);
        }
        gain
    }

    /// The concepts by their share of `|H W|²`, the largest first, and the length of each.
    fn order(&self) -> Vec<(usize, f64)> {
        let length = |row: ndarray::ArrayView1<'_, f64>| row.dot(&row).sqrt();
        let mut order: Vec<(usize, f64, f64)> = (0..self.concepts.nrows())
            .map(|concept| {
                let own = length(self.concepts.row(concept));
                (concept, own, own * length(self.amounts.column(concept)))
            })
            .collect();
        order.sort_by(|a, b| b.2.total_cmp(&a.2).then(a.0.cmp(&b.0)));
        order.into_iter().map(|(concept, own, _)| (concept, own)).collect()
    }
}

/// Places to start from, one for each concept, what they hold as the first concepts. Each is drawn by the
/// square of what those before it cannot make up, so that no two are alike. Starts of noise end at
/// saddles, where two concepts are one and a third thing is nowhere.
fn start(values: &Array2<f64>, settings: &DeepFeatureFactorisation) -> Array2<f64> {
    let mut generator = ChaCha8Rng::seed_from_u64(settings.seed);
    let mut concepts = Array2::zeros((settings.concepts, values.ncols()));
    let mut left: Array1<f64> = values.outer_iter().map(|row| row.dot(&row)).collect();
    let rounding = 1e-12 * left.sum();
    let mut basis: Vec<Array1<f64>> = Vec::new();
    for mut concept in concepts.outer_iter_mut() {
        let total = left.sum();
        // All is made up already; what is left for further concepts shows as they are needed.
        if total <= rounding {
            break;
        }
        let mut mark = total * generator.random::<f64>();
        let drawn = left.iter().position(|&square| {
            mark -= square;
            mark < 0.0
        });
        let row = values.row(drawn.unwrap_or_else(|| largest(&left)));
        concept.assign(&row);
        let mut direction = row.to_owned();
        for earlier in &basis {
            let along = direction.dot(earlier);
            direction.scaled_add(-along, earlier);
        }
        let length = direction.dot(&direction).sqrt();
        if length > 0.0 {
            direction /= length;
            for (left, along) in left.iter_mut().zip(values.dot(&direction)) {
                *left = (*left - along * along).max(0.0);
            }
            basis.push(direction);
        }
    }
    concepts
}

fn largest(values: &Array1<f64>) -> usize {
    let place = values.iter().enumerate().max_by(|a, b| a.1.total_cmp(b.1));
    place.map_or(0, |(index, _)| index)
}

/// The best value of one factor when all others stay.
fn step(row: &mut ArrayViewMut1<'_, f64>, concept: usize, slope: f64, curvature: f64) {
    if curvature > 0.0 {
        row[concept] = (row[concept] + slope / curvature).max(0.0);
    }
}
