use std::f64::consts::SQRT_2;

use tch::{Device, Kind, TchError, Tensor, nn};

/// Which side of a weight `[out, in, …]` an initialisation keeps the variance of.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Fan {
    /// Inputs times kernel places: the forward pass.
    In,
    /// Outputs times kernel places: the backward pass.
    Out,
}

impl Fan {
    // As torch counts: a weight of a grouped convolution holds its own group's inputs only.
    fn of(self, shape: &[i64]) -> f64 {
        let places: i64 = shape.iter().skip(2).product();
        let side = match self {
            Self::In => shape.get(1),
            Self::Out => shape.first(),
        };
        (side.copied().unwrap_or(1) * places) as f64
    }
}

/// What variables hold at the start.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Init {
    /// The same number everywhere.
    Constant(f64),
    /// Normal with mean 0 and this standard deviation.
    Normal(f64),
    /// Uniform in ± this bound.
    Uniform(f64),
    /// Normal with variance 2 / fan, torch's `kaiming_normal_`;
    /// He et al., [arXiv:1502.01852](https://arxiv.org/abs/1502.01852).
    HeNormal(Fan),
    /// The same without what lies beyond two standard deviations, widened to keep its variance: Keras's `he_normal`.
    HeTruncatedNormal(Fan),
    /// Uniform with variance 2 / fan, torch's `kaiming_uniform_`.
    HeUniform(Fan),
    /// Uniform in ±√(6 / (fan in + fan out)), Keras's own; Glorot & Bengio, "Understanding the difficulty of training deep
    /// feedforward neural networks", AISTATS 2010, <https://proceedings.mlr.press/v9/glorot10a.html>.
    GlorotUniform,
    /// Uniform in ±1/√(fan in of the weight): what torch's layers begin with.
    TorchDefault,
}

impl Init {
    /// The distribution for a variable of a layer whose weight has the shape `[out, in, …]`.
    pub(crate) fn for_weight(self, shape: &[i64]) -> Distribution {
        use Distribution::{Constant, Normal, TruncatedNormal, Uniform};
        match self {
            Self::Constant(value) => Constant(value),
            Self::Normal(deviation) => Normal(deviation),
            Self::Uniform(bound) => Uniform(bound),
            Self::HeNormal(fan) => Normal((2.0 / fan.of(shape)).sqrt()),
            Self::HeTruncatedNormal(fan) => TruncatedNormal((2.0 / fan.of(shape)).sqrt()),
            Self::HeUniform(fan) => Uniform((6.0 / fan.of(shape)).sqrt()),
            Self::GlorotUniform => Uniform((6.0 / (Fan::In.of(shape) + Fan::Out.of(shape))).sqrt()),
            Self::TorchDefault => Uniform(1.0 / Fan::In.of(shape).sqrt()),
        }
    }
}

/// What numbers are drawn from, all with mean 0.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Distribution {
    /// The same number everywhere.
    Constant(f64),
    /// Normal with this standard deviation.
    Normal(f64),
    /// Normal, cut off at two standard deviations, such that what is left has this one.
    TruncatedNormal(f64),
    /// Uniform in ± this bound.
    Uniform(f64),
}

impl Distribution {
    /// Fresh numbers from libtorch's generator.
    pub(crate) fn draw(self, shape: &[i64], device: Device) -> Result<Tensor, TchError> {
        /// How probable it is that a normal number lies within two standard deviations: erf(√2).
        const WITHIN_TWO: f64 = 0.954_499_736_103_641_6;
        /// The standard deviation of a standard normal distribution cut off at two.
        const CUT_DEVIATION: f64 = 0.879_625_661_034_239_8;
        let draw = |init| nn::f_init(init, shape, device, Kind::Float);
        let uniform = |bound: f64| draw(nn::Init::Uniform { lo: -bound, up: bound });
        match self {
            Self::Constant(value) => draw(nn::Init::Const(value)),
            Self::Normal(stdev) => draw(nn::Init::Randn { mean: 0.0, stdev }),
            Self::Uniform(bound) => uniform(bound),
            // √2 · erf⁻¹ of a uniform number is a normal one.
            Self::TruncatedNormal(deviation) => uniform(WITHIN_TWO)?
                .f_erfinv()?
                .f_mul_scalar(SQRT_2 * deviation / CUT_DEVIATION),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_truncated_normal_ends_at_two_standard_deviations_of_the_whole() {
        let values = Distribution::TruncatedNormal(0.5)
            .draw(&[100, 1000], Device::Cpu)
            .unwrap();
        let deviation = values.std(true).double_value(&[]);
        assert!((deviation - 0.5).abs() < 6.0 * 0.5 / 100_000_f64.sqrt(), "{deviation}");
        let largest = values.abs().max().double_value(&[]);
        let end = 2.0 * 0.5 / 0.879_625_661;
        assert!((0.999 * end..1.000_001 * end).contains(&largest), "{largest}");
        // As many within one standard deviation of the whole as the normal distribution has, of those within two.
        let within = values
            .abs()
            .le(end / 2.0)
            .to_kind(Kind::Double)
            .mean(None)
            .double_value(&[]);
        assert!((within - 0.682_689_5 / 0.954_499_7).abs() < 0.01, "{within}");
    }
}
