use tch::{TchError, Tensor};

use super::{Layer, Pass};

/// A function of each number by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Activation {
    /// max(x, 0).
    Relu,
    /// min(max(x, 0), 6).
    Relu6,
    /// x · sigmoid(x), also called swish; [arXiv:1702.03118](https://arxiv.org/abs/1702.03118).
    Silu,
    /// x · min(max(x + 3, 0), 6) / 6; [arXiv:1905.02244](https://arxiv.org/abs/1905.02244).
    HardSwish,
    /// min(max(x + 3, 0), 6) / 6.
    HardSigmoid,
    /// 1 / (1 + e⁻ˣ).
    Sigmoid,
    /// x · Φ(x), by the error function; [arXiv:1606.08415](https://arxiv.org/abs/1606.08415).
    Gelu,
}

impl Activation {
    /// Of `x` in its own memory.
    pub(crate) fn apply_(self, mut x: Tensor) -> Result<Tensor, TchError> {
        match self {
            Self::Relu => x.f_relu_(),
            Self::Relu6 => x.f_relu6_(),
            Self::Silu => x.f_silu_(),
            Self::HardSwish => x.f_hardswish_(),
            Self::HardSigmoid => x.f_hardsigmoid_(),
            Self::Sigmoid => x.f_sigmoid_(),
            Self::Gelu => x.f_gelu_("none"),
        }
    }
}

impl Layer for Activation {
    fn forward(&self, x: &Tensor, _: Pass<'_>) -> Result<Tensor, TchError> {
        match self {
            Self::Relu => x.f_relu(),
            Self::Relu6 => x.f_relu6(),
            Self::Silu => x.f_silu(),
            Self::HardSwish => x.f_hardswish(),
            Self::HardSigmoid => x.f_hardsigmoid(),
            Self::Sigmoid => x.f_sigmoid(),
            Self::Gelu => x.f_gelu("none"),
        }
    }

    // Only what autograd can undo from the output, or with a copy of its own.
    fn forward_owned(&self, x: Tensor, _: Pass<'_>) -> Result<Tensor, TchError> {
        self.apply_(x)
    }

    fn as_activation(&self) -> Option<Activation> {
        Some(*self)
    }
}
