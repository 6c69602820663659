use tch::nn;

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
    /// Uniform with variance 2 / fan, torch's `kaiming_uniform_`.
    HeUniform(Fan),
    /// Uniform in ±√(6 / (fan in + fan out)), Keras's own; Glorot & Bengio, AISTATS 2010.
    GlorotUniform,
    /// Uniform in ±1/√(fan in of the weight): what torch's layers begin with.
    TorchDefault,
}

impl Init {
    /// The distribution for a variable of a layer whose weight has the shape `[out, in, …]`.
    pub(crate) fn for_weight(self, shape: &[i64]) -> nn::Init {
        let uniform = |bound: f64| nn::Init::Uniform { lo: -bound, up: bound };
        let normal = |stdev| nn::Init::Randn { mean: 0.0, stdev };
        match self {
            Self::Constant(value) => nn::Init::Const(value),
            Self::Normal(stdev) => normal(stdev),
            Self::Uniform(bound) => uniform(bound),
            Self::HeNormal(fan) => normal((2.0 / fan.of(shape)).sqrt()),
            Self::HeUniform(fan) => uniform((6.0 / fan.of(shape)).sqrt()),
            Self::GlorotUniform => uniform((6.0 / (Fan::In.of(shape) + Fan::Out.of(shape))).sqrt()),
            Self::TorchDefault => uniform(1.0 / Fan::In.of(shape).sqrt()),
        }
    }
}
