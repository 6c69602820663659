//! Smooth Grad-CAM++.

use tch::{Kind, Tensor};

use crate::capture::Capture;
use crate::error::CamError;
use crate::gaussian_noise::gaussian_noise;
use crate::heatmap::Maps;
use crate::planes::sum_over_space;
use crate::stage::Stages;
use crate::target::{Resolved, Target};

/// Settings of [`smooth_grad_cam_plus_plus`].
///
/// ```
/// use gradcam_core::SmoothGradCamPlusPlus;
///
/// let settings = SmoothGradCamPlusPlus::default().with_copies(8).with_deviation(0.15).with_seed(1);
/// assert_ne!(settings, SmoothGradCamPlusPlus::default());
/// ```
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SmoothGradCamPlusPlus {
    copies: usize,
    deviation: f64,
    seed: u64,
}

impl Default for SmoothGradCamPlusPlus {
    /// Four copies with noise of standard deviation 0.3, as torch-cam has it; seed 0.
    fn default() -> Self {
        Self {
            copies: 4,
            deviation: 0.3,
            seed: 0,
        }
    }
}

impl SmoothGradCamPlusPlus {
    /// How many noisy copies of the input the derivatives are averaged over.
    #[must_use]
    pub fn with_copies(self, copies: usize) -> Self {
        Self { copies, ..self }
    }

    /// The standard deviation of the noise, in the units of the input as the network takes it.
    #[must_use]
    pub fn with_deviation(self, deviation: f64) -> Self {
        Self { deviation, ..self }
    }

    /// The seed that the noise comes from. libtorch's own generator is left alone.
    #[must_use]
    pub fn with_seed(self, seed: u64) -> Self {
        Self { seed, ..self }
    }

    fn check(&self) -> Result<(), CamError> {
        if self.copies == 0 {
            return Err(CamError::Draws { draws: 0 });
        }
        if !(self.deviation.is_finite() && self.deviation > 0.0) {
            return Err(CamError::Deviation {
                deviation: self.deviation,
            });
        }
        Ok(())
    }

    /// Noise for one copy, the same for each sample of a batch: `[1, C, H, W]`.
    fn noise(&self, input: &Tensor, copy: usize) -> Result<Tensor, CamError> {
        let mut shape = vec![1];
        shape.extend(input.size().iter().skip(1));
        let mut values = vec![0f32; shape.iter().product::<i64>() as usize];
        let stream = [copy as u32, (copy as u64 >> 32) as u32];
        gaussian_noise(self.seed, stream, self.deviation, &mut values);
        Ok(Tensor::f_from_slice(&values)?
            .f_view(shape.as_slice())?
            .f_to_device(input.device())?)
    }
}

/// Smooth Grad-CAM++: Grad-CAM++ with derivatives averaged over noisy copies of the input.
///
/// ```text
/// D1, D2, D3   = means over the copies of G, G², G³          G: gradients of a copy
/// alpha[n,k,s] = D2 / (2 D2 + D3 sum over t of A[n,k,t])     at n, k, s; 0 where the denominator is
/// w[n,k]       = sum over s of alpha[n,k,s] max(0, D1[n,k,s])
/// map[n,s]     = max(0, sum over k of w[n,k] A[n,k,s])       A: activations of the clean input
/// ```
///
/// The paper prints D1 in alpha's numerator; the second derivative belongs there, as in Grad-CAM++
/// and in torch-cam. (torch-cam takes D1 of the last copy alone.)
///
/// Every sample of a batch gets the same noise, so that it gets the map that it would get alone.
/// What a target names, such as the predicted class, is looked up in the clean input's output.
///
/// Omeiza et al., "Smooth Grad-CAM++: An Enhanced Inference Level Visualization Technique for Deep
/// Convolutional Neural Network Models", 2019,
/// [arXiv:1908.01224](https://arxiv.org/abs/1908.01224).
///
/// # Shapes
/// `input` `[N, C, H, W]` with a layer of `[N, K, h, w]` gives `[N, h, w]`; volumes alike. One
/// target for each sample.
///
/// # Errors
/// [`CamError::Draws`], [`CamError::Deviation`], [`CamError::NotSpatial`], and those of
/// [`Stages::capture`] and [`Capture::gradients`].
///
/// # Cost
/// One forward pass of the clean input, also where there is a capture of it already, and for each copy a forward pass and a
/// backward pass that ends at the layer. Memory as for one of them, whose noise is there for its turn only, and three arrays
/// of the activations' size in double precision.
///
/// ```
/// use gradcam_core::{SmoothGradCamPlusPlus, Stage, Stages, Target, smooth_grad_cam_plus_plus};
/// use tch::Tensor;
///
/// // The logit is the first place: its gradient is 1 there whatever the noise, so alpha is 1 / (2 + 4).
/// let network = Stages::new(vec![
///     Stage::new("image", |x| x.f_relu()),
///     Stage::new("logit", |x| x.f_narrow(3, 0, 1)?.f_flatten(1, -1)),
/// ])?;
/// let image = Tensor::from_slice(&[1f32, 3.]).view([1, 1, 1, 2]);
/// let settings = SmoothGradCamPlusPlus::default();
/// let maps = smooth_grad_cam_plus_plus(&network, &image, "image", &[Target::Class(0)], &settings)?;
/// assert_eq!(Vec::<f32>::try_from(maps.tensor().view(-1))?, [1. / 6., 3. / 6.]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn smooth_grad_cam_plus_plus(
    stages: &Stages<'_>,
    input: &Tensor,
    layer: &str,
    targets: &[Target],
    settings: &SmoothGradCamPlusPlus,
) -> Result<Maps, CamError> {
    settings.check()?;
    averaged(stages, input, layer, targets, settings.copies, |copy| {
        settings.noise(input, copy)
    })
}

/// [`smooth_grad_cam_plus_plus`] with noise of one's own.
///
/// # Shapes
/// `noise` is `[copies, N, C, H, W]`, or `[copies, 1, C, H, W]` for the same in each sample;
/// volumes alike. It is rounded to the input's kind.
///
/// # Errors
/// [`CamError::Noise`] for noise of another shape, and those of [`smooth_grad_cam_plus_plus`].
///
/// ```
/// use gradcam_core::{Stage, Stages, Target, smooth_grad_cam_plus_plus_with_noise};
/// use tch::Tensor;
///
/// // The gradient is the noisy image itself: 1 ± 1 at the first place, 2 at the second.
/// let network = Stages::new(vec![
///     Stage::new("image", |x| x.f_mul_scalar(1.0)),
///     Stage::new("logit", |x| {
///         x.f_square()?.f_mul_scalar(0.5)?.f_sum_dim_intlist([2i64, 3].as_slice(), false, None)
///     }),
/// ])?;
/// let image = Tensor::from_slice(&[1f32, 2.]).view([1, 1, 1, 2]);
/// let noise = Tensor::from_slice(&[1f32, 0., -1., 0.]).view([2, 1, 1, 1, 2]);
/// let maps = smooth_grad_cam_plus_plus_with_noise(&network, &image, "image", &[Target::Class(0)], &noise)?;
/// // D1 = (1, 2), D2 = (2, 4), D3 = (4, 8) and A = (1, 2): w = 2 / (4 + 4 · 3) + 4 · 2 / (8 + 8 · 3).
/// assert_eq!(Vec::<f32>::try_from(maps.tensor().view(-1))?, [0.375, 0.75]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn smooth_grad_cam_plus_plus_with_noise(
    stages: &Stages<'_>,
    input: &Tensor,
    layer: &str,
    targets: &[Target],
    noise: &Tensor,
) -> Result<Maps, CamError> {
    let (shape, expected) = (noise.size(), input.size());
    let fits = match (shape.as_slice(), expected.as_slice()) {
        ([copies, samples, noise @ ..], [batch, input @ ..]) => {
            *copies > 0 && (*samples == 1 || samples == batch) && noise == input
        }
        _ => false,
    };
    if !fits {
        return Err(CamError::Noise {
            noise: shape,
            input: expected,
        });
    }
    averaged(stages, input, layer, targets, shape[0] as usize, |copy| {
        Ok(noise.f_get(copy as i64)?)
    })
}

/// With the noise of one copy after the other.
fn averaged(
    stages: &Stages<'_>,
    input: &Tensor,
    layer: &str,
    targets: &[Target],
    copies: usize,
    noise: impl Fn(usize) -> Result<Tensor, CamError>,
) -> Result<Maps, CamError> {
    let _no_grad = tch::no_grad_guard();
    let clean = stages.capture(input, &[layer])?;
    let targets = Resolved::new(targets, clean.logits())?;
    let planes = clean.at(layer, clean.activations(layer)?)?.planes()?;
    // In double precision, in which the cube of no gradient vanishes.
    let zeros = planes.activations.f_zeros_like()?.f_to_kind(Kind::Double)?;
    let (mut first, mut second, mut third) = (zeros.shallow_clone(), zeros.shallow_clone(), zeros);
    for copy in 0..copies {
        let noisy = input.f_add(&noise(copy)?.f_to_kind(input.kind())?)?;
        let gradients = flat_gradients(&stages.capture(&noisy, &[layer])?, layer, &targets)?;
        let squares = gradients.f_square()?;
        third = third.f_add(&squares.f_mul(&gradients)?)?;
        second = second.f_add(&squares)?;
        first = first.f_add(&gradients)?;
    }
    // All three are sums, not means, still: alpha is a quotient of two, so one division, at the end, will do.
    let sums = planes
        .activations
        .f_to_kind(Kind::Double)?
        .f_sum_dim_intlist([2i64].as_slice(), true, Kind::Double)?;
    let denominators = second.f_mul_scalar(2.0)?.f_add(&third.f_mul(&sums)?)?;
    let denominators = denominators.f_masked_fill(&denominators.f_eq(0.0)?, f64::INFINITY)?;
    let terms = second
        .f_div(&denominators)?
        .f_mul(&first.f_relu()?)?
        .f_div_scalar(copies as f64)?;
    planes.weighted_sum(&sum_over_space(&terms)?)
}

/// `[N, C, P]` in double precision.
fn flat_gradients(capture: &Capture, layer: &str, targets: &Resolved) -> Result<Tensor, CamError> {
    let gradients = capture.gradients_of(targets)?;
    let gradients = gradients.at(layer)?.gradients().f_flatten(2, -1)?;
    Ok(gradients.f_to_kind(Kind::Double)?)
}
