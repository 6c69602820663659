use ndarray::{Array, ArrayView, Dimension};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use crate::image::{check, likelier, shaped};
use crate::lanes::{ABREAST, Abreast, add_weighted, pass_along};
use crate::permutohedral::{Lattice, MOST_FEATURES};
use crate::{Image, SegError};

const MOST_AXES: usize = 3;
/// Pixels that one thread takes at a time.
const PART: usize = 1 << 12;

/// The dense conditional random field: every pixel agrees with all others, the more the nearer they are in place
/// and in grey value.
///
/// Mean field in `n` iterations from `q = p`, where `p` is the heatmap kept within `clip` and `1 − clip`:
///
/// `logit q_i ← logit p_i + Σ_m w_m Σ_j k̂_m(i, j) (2 q_j − 1)`
///
/// over two kernels, a Gaussian of the distance, `exp(−|x_i − x_j|² / 2σ²)`, and a bilateral one,
/// `exp(−|x_i − x_j|² / 2σ² − |I_i − I_j|² / 2τ²)`. Each is normalised on both sides,
/// `k̂(i, j) = k(i, j) / √(Σ_l k(i, l) · Σ_l k(l, j))`, and has `j = i` in the sum, as in pydensecrf. A pixel is
/// foreground where `q > 1/2`.
///
/// The Gaussian is exact to 5 σ; the bilateral kernel goes through the permutohedral lattice, which approximates it.
///
/// Krähenbühl and Koltun, "Efficient Inference in Fully Connected CRFs with Gaussian Edge Potentials", 2011,
/// [arXiv:1210.5644](https://arxiv.org/abs/1210.5644).
///
/// # Units
/// σ is in pixels, τ in the image's units.
///
/// ```
/// use heatmap_seg::DenseCrf;
/// use ndarray::array;
///
/// // The heatmap has missed the third pixel, which looks like those that it is sure of.
/// let heatmap = array![0.9_f32, 0.9, 0.45, 0.2, 0.1, 0.1];
/// let image = array![0.8_f32, 0.8, 0.8, 0.2, 0.2, 0.2];
/// let crf = DenseCrf::default().with_bilateral(3.0, 0.1, 3.0).with_gaussian(1.0, 0.0);
/// let mask = crf.apply(heatmap.view(), image.view())?;
/// assert_eq!(mask, array![true, true, true, false, false, false]);
/// # Ok::<(), heatmap_seg::SegError>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DenseCrf {
    iterations: usize,
    clip: f32,
    gaussian_sigma: f32,
    gaussian_weight: f32,
    bilateral_sigma: f32,
    bilateral_tau: f32,
    bilateral_weight: f32,
}

impl Default for DenseCrf {
    /// Five iterations, a clip of 0.01, a Gaussian of 3 pixels and weight 3, a bilateral kernel of 80 pixels, 0.05 and
    /// weight 10: those of pydensecrf's example, for images in 0..=1.
    fn default() -> DenseCrf {
        DenseCrf {
            iterations: 5,
            clip: 0.01,
            gaussian_sigma: 3.0,
            gaussian_weight: 3.0,
            bilateral_sigma: 80.0,
            bilateral_tau: 0.05,
            bilateral_weight: 10.0,
        }
    }
}

impl DenseCrf {
    /// How many rounds of the mean field are made.
    pub fn with_iterations(self, iterations: usize) -> DenseCrf {
        DenseCrf { iterations, ..self }
    }

    /// How near to 0 and 1 a heatmap's value can be believed, above 0 and below one half.
    pub fn with_clip(self, clip: f32) -> DenseCrf {
        DenseCrf { clip, ..self }
    }

    /// σ in pixels and the weight of the Gaussian kernel, up to 10⁶; a weight of 0 leaves it out.
    pub fn with_gaussian(self, sigma: f32, weight: f32) -> DenseCrf {
        DenseCrf {
            gaussian_sigma: sigma,
            gaussian_weight: weight,
            ..self
        }
    }

    /// σ in pixels, τ in the image's units and the weight of the bilateral kernel, up to 10⁶; a weight of 0 leaves it
    /// out.
    pub fn with_bilateral(self, sigma: f32, tau: f32, weight: f32) -> DenseCrf {
        DenseCrf {
            bilateral_sigma: sigma,
            bilateral_tau: tau,
            bilateral_weight: weight,
            ..self
        }
    }

    /// The mask of the pixels of a probability above one half.
    ///
    /// # Shapes
    /// A heatmap of one to three axes, one pixel or more, and an [`Image`] of its shape; the mask has it too.
    ///
    /// # Errors
    /// As [`DenseCrf::probabilities`].
    ///
    /// # Cost
    /// That of [`DenseCrf::probabilities`].
    pub fn apply<'a, D: Dimension>(
        self,
        heatmap: ArrayView<'_, f32, D>,
        image: impl Into<Image<'a, D>>,
    ) -> Result<Array<bool, D>, SegError> {
        self.probabilities(heatmap, image).map(likelier)
    }

    /// The probability of the foreground at each pixel.
    ///
    /// # Shapes
    /// A heatmap of one to three axes, one pixel or more, and an [`Image`] of its shape; the result has it too.
    ///
    /// # Errors
    /// [`SegError::Axes`] for more than three axes; [`SegError::Channels`] for more than six axes and channels;
    /// [`SegError::Crf`] for a setting out of its range, or a σ or τ of the bilateral kernel so small that the image spans
    /// more than 10⁶ of them; [`SegError::Shapes`]; [`SegError::Empty`]; [`SegError::Value`]; [`SegError::Image`].
    ///
    /// # Cost
    /// Linear in the pixels: the lattice once, and for each iteration a pass over it and `10 σ` steps a pixel and axis for
    /// the Gaussian, in parallel and in f32.
    pub fn probabilities<'a, D: Dimension>(
        self,
        heatmap: ArrayView<'_, f32, D>,
        image: impl Into<Image<'a, D>>,
    ) -> Result<Array<f32, D>, SegError> {
        let axes = heatmap.ndim();
        if axes > MOST_AXES {
            return Err(SegError::Axes {
                found: axes,
                expected: MOST_AXES,
            });
        }
        let image = image.into();
        check(&heatmap, &image)?;
        let channels = image.channels();
        if axes + channels > MOST_FEATURES {
            return Err(SegError::Channels {
                found: channels,
                most: MOST_FEATURES - axes,
            });
        }
        let planes = image.planes();
        let (least, greatest) = (planes.iter().flatten()).fold((f64::MAX, f64::MIN), |(least, greatest), &value| {
            (least.min(value), greatest.max(value))
        });
        let longest = heatmap.shape().iter().copied().max().unwrap_or(1) as f32;
        for (setting, value, valid) in [
            ("clip", self.clip, self.clip > 0.0 && self.clip < 0.5),
            (
                "gaussian_sigma",
                self.gaussian_sigma,
                self.gaussian_sigma > 0.0 && self.gaussian_sigma.is_finite(),
            ),
            (
                "gaussian_weight",
                self.gaussian_weight,
                (0.0..=1e6).contains(&self.gaussian_weight),
            ),
            (
                "bilateral_sigma",
                self.bilateral_sigma,
                longest / self.bilateral_sigma <= 1e6 && self.bilateral_sigma > 0.0 && self.bilateral_sigma.is_finite(),
            ),
            (
                "bilateral_tau",
                self.bilateral_tau,
                (greatest - least) / f64::from(self.bilateral_tau) <= 1e6
                    && self.bilateral_tau > 0.0
                    && self.bilateral_tau.is_finite(),
            ),
            (
                "bilateral_weight",
                self.bilateral_weight,
                (0.0..=1e6).contains(&self.bilateral_weight),
            ),
        ] {
            if !valid {
                return Err(SegError::Crf { setting, value });
            }
        }
        let mut kernels = Vec::new();
        if self.gaussian_weight > 0.0 {
            let filter = Filter::Gaussian {
                weights: gaussian(self.gaussian_sigma, longest as usize),
                shape: heatmap.shape().to_vec(),
            };
            kernels.push(Kernel::new(self.gaussian_weight, filter, heatmap.len()));
        }
        if self.bilateral_weight > 0.0 {
            // The last axis first: which feature is which does not matter but for the lattice's error.
            let mut places = Vec::with_capacity(heatmap.len() * (axes + channels));
            let mut index = vec![0_usize; axes];
            for pixel in 0..heatmap.len() {
                places.extend(index.iter().rev().map(|&at| at as f32 / self.bilateral_sigma));
                let values = planes
                    .iter()
                    .map(|plane| ((plane[pixel] - least) / f64::from(self.bilateral_tau)) as f32);
                places.extend(values);
                for (at, &length) in index.iter_mut().zip(heatmap.shape()).rev() {
                    *at += 1;
                    if *at < length {
                        break;
                    }
                    *at = 0;
                }
            }
            let filter = Filter::Lattice(Lattice::new(&places, axes + channels));
            kernels.push(Kernel::new(self.bilateral_weight, filter, heatmap.len()));
        }
        let heat: Vec<f32> = heatmap.iter().copied().collect();
        let unary = mapped(&heat, |value| {
            let value = value.clamp(self.clip, 1.0 - self.clip);
            (value / (1.0 - value)).ln()
        });
        let probability = |logit: f32| 1.0 / (1.0 + (-logit).exp());
        let mut logits = unary.clone();
        let mut filtered = vec![0.0; logits.len()];
        for _ in 0..self.iterations {
            let beliefs = mapped(&logits, |logit| 2.0 * probability(logit) - 1.0);
            logits.copy_from_slice(&unary);
            for kernel in &kernels {
                kernel.add(&beliefs, &mut filtered, &mut logits);
            }
        }
        Ok(shaped(mapped(&logits, probability), heatmap.raw_dim(), 0.0))
    }
}

/// A function of each value.
fn mapped(values: &[f32], function: impl Fn(f32) -> f32 + Sync) -> Vec<f32> {
    let values = values.par_iter().with_min_len(PART);
    values.map(|&value| function(value)).collect()
}

/// A kernel, normalised on both sides.
#[derive(Debug)]
struct Kernel {
    weight: f32,
    filter: Filter,
    /// `1 / √(Σ_j k(i, j))` of each pixel.
    norms: Vec<f32>,
}

#[derive(Debug)]
enum Filter {
    Gaussian { weights: Vec<f32>, shape: Vec<usize> },
    Lattice(Lattice),
}

impl Kernel {
    fn new(weight: f32, filter: Filter, pixels: usize) -> Kernel {
        let mut sums = vec![0.0; pixels];
        filter.apply(&vec![1.0; pixels], &mut sums);
        Kernel {
            weight,
            filter,
            norms: mapped(&sums, |sum| 1.0 / (sum + 1e-20).sqrt()),
        }
    }

    /// Adds what the kernel makes of the beliefs, with room to filter in.
    fn add(&self, beliefs: &[f32], filtered: &mut [f32], logits: &mut [f32]) {
        let mut scaled = vec![0.0; beliefs.len()];
        (scaled.par_iter_mut().zip(beliefs).zip(&self.norms).with_min_len(PART))
            .for_each(|((scaled, belief), norm)| *scaled = belief * norm);
        self.filter.apply(&scaled, filtered);
        (logits.par_iter_mut().zip(filtered).zip(&self.norms).with_min_len(PART))
            .for_each(|((logit, value), norm)| *logit += self.weight * norm * *value);
    }
}

impl Filter {
    fn apply(&self, values: &[f32], filtered: &mut [f32]) {
        match self {
            Filter::Lattice(lattice) => lattice.filter(values, filtered),
            Filter::Gaussian { weights, shape } => {
                filtered.copy_from_slice(values);
                for axis in 0..shape.len() {
                    pass_along(filtered, shape, axis, |lanes, smooth| convolve(lanes, weights, smooth));
                }
            }
        }
    }
}

/// The weights of a pixel and of those to one side of it, no farther than a lane is long.
fn gaussian(sigma: f32, longest: usize) -> Vec<f32> {
    let reach = longest.min((5.0 * sigma).ceil() as usize);
    (0..=reach)
        .map(|step| (-0.5 * (step as f32 / sigma).powi(2)).exp())
        .collect()
}

/// Lanes convolved, with nothing past their ends.
fn convolve(lanes: &[Abreast<f32>], weights: &[f32], smooth: &mut [Abreast<f32>]) {
    let reach = weights.len() - 1;
    for (at, smooth) in smooth.iter_mut().enumerate() {
        let (first, end) = (at.saturating_sub(reach), lanes.len().min(at + reach + 1));
        let mut sum = [0.0; ABREAST];
        for (place, values) in (first..end).zip(&lanes[first..end]) {
            add_weighted(&mut sum, weights[place.abs_diff(at)], values);
        }
        *smooth = sum;
    }
}
