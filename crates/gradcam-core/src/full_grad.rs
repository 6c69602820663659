//! FullGrad.

use tch::{Kind, Tensor};

use crate::error::CamError;
use crate::full_gradient::full_gradient;
use crate::heatmap::Maps;
use crate::stage::Stages;
use crate::target::Target;

/// What FullGrad brings to 0..=1 by its own smallest and largest absolute value before it is added
/// up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum Rescaling {
    /// Each channel: the paper's formula, and pytorch-grad-cam's. A channel that hardly matters
    /// counts as much as any.
    #[default]
    Channel,
    /// All channels of a stage together: the authors' code. The channels of a stage keep their
    /// proportions.
    Stage,
}

/// FullGrad: what the input and the biases of all stages with space in them add to the score, place
/// by place.
///
/// ```text
/// map = sum over c of rescale(|G0 x0|[c]) + sum over stages l and channels c of upsample(rescale(|G[l] b[l]|[c]))
/// ```
///
/// with `G`, `x0` and the implicit biases `b` of [`full_gradient`](crate::full_gradient()), whose
/// docs say what coarse stages mean: in a network given as whole blocks, the map is about the
/// blocks' biases as their outputs show them, and differs from the published one, which looks at
/// each convolution and norm. Biases of stages without space, such as a linear layer's, have no
/// place and are left out. Since absolute values are added, the map shows where the score comes
/// from, for or against: that of a target and of its counterfactual are the same.
///
/// A bias is a small difference, what a stage puts out less what is linear in its input, and in single precision little is
/// left of some. The gradients are not the cause: with biases in double precision and gradients in single the map is the same
/// to 1e-7. On the trained SqueezeNet with its modules as stages, of which one has biases of less than a millionth of its
/// activations in more than half of its channels, the map in single precision is off by 4 % of its range at most and 0.7 % in
/// the mean with [`Rescaling::Channel`], which brings every channel to its own range however small that is, and by 0.2 % and
/// 0.02 % with [`Rescaling::Stage`]. Where that is too much, give the network and the input in double precision: the map is
/// then exact to 1e-6.
///
/// Upsampling is linear at half-pixel centres, as pytorch-grad-cam does it. Where a channel is the
/// same everywhere, up to rounding, it says nothing about places and is left out.
///
/// Srinivas and Fleuret, "Full-Gradient Representation for Neural Network Visualization", 2019,
/// [arXiv:1905.00780](https://arxiv.org/abs/1905.00780).
///
/// # Shapes
/// `[N, C, H, W]` gives maps at the input's size, `[N, H, W]`; `[N, C, D, H, W]` gives `[N, D, H,
/// W]`. One target for each sample.
///
/// # Errors
/// [`CamError::Shape`] for an input that is neither, and those of
/// [`full_gradient`](crate::full_gradient()).
///
/// # Cost
/// That of [`full_gradient`](crate::full_gradient()), and one upsampled map for each stage.
///
/// ```
/// use gradcam_core::{Rescaling, Stage, Stages, Target, full_grad};
/// use tch::Tensor;
///
/// let network = Stages::new(vec![
///     Stage::new("shift", |x| x.f_sub_scalar(1.0)?.f_relu()),
///     Stage::new("logit", |x| x.f_sum_dim_intlist([2i64, 3].as_slice(), false, None)),
/// ])?;
/// // Below 1 nothing gets through. Above, the input adds 2 and 3, and the shift -1 at both places.
/// let image = Tensor::from_slice(&[0f32, 2., 3.]).view([1, 1, 1, 3]);
/// let maps = full_grad(&network, &image, &[Target::Class(0)], Rescaling::Channel)?;
/// let values = Vec::<f32>::try_from(maps.tensor().view(-1))?;
/// assert!(values.iter().zip([0., 2. / 3. + 1., 2.]).all(|(found, expected)| (found - expected).abs() < 1e-6));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn full_grad(
    stages: &Stages<'_>,
    input: &Tensor,
    targets: &[Target],
    rescaling: Rescaling,
) -> Result<Maps, CamError> {
    let shape = input.size();
    if !matches!(shape.len(), 4 | 5) || shape.contains(&0) {
        return Err(CamError::Shape {
            shape: shape.iter().map(|&extent| extent as usize).collect(),
            expected: "[N, C, H, W] or [N, C, D, H, W]",
        });
    }
    let parts = full_gradient(stages, input, targets)?;
    let _no_grad = tch::no_grad_guard();
    let mut map = rescaling.map(parts.input())?.tensor().shallow_clone();
    for (_, bias) in parts.biases() {
        let spatial = bias.dim() == shape.len() && bias.size()[2..].iter().any(|&extent| extent > 1);
        if spatial {
            map = map.f_add(rescaling.map(bias)?.upsample(&shape[2..])?.tensor())?;
        }
    }
    Maps::new(&map)
}

impl Rescaling {
    /// Absolute values brought to 0..=1, and summed over the channels: `[N, C, spatial axes]` to
    /// `[N, spatial axes]`. Upsampling is linear, so the sum may come first.
    fn map(self, values: &Tensor) -> Result<Maps, CamError> {
        let values = values.f_abs()?;
        let first = match self {
            Self::Channel => 2,
            Self::Stage => 1,
        };
        let axes: Vec<i64> = (first..values.dim() as i64).collect();
        let least = values.f_amin(axes.as_slice(), true)?;
        let most = values.f_amax(axes.as_slice(), true)?;
        let range = most.f_sub(&least)?;
        let even = range.f_le_tensor(&most.f_mul_scalar(1e-5)?)?;
        let range = range.f_masked_fill(&even, f64::INFINITY)?;
        let scaled = values.f_sub(&least)?.f_div(&range)?;
        Maps::new(&scaled.f_sum_dim_intlist([1i64].as_slice(), false, Kind::Float)?)
    }
}
