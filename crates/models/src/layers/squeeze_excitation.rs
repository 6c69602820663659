use tch::{TchError, Tensor};

use super::{Activation, Conv2d, ConvConfig, GlobalAveragePool, Init, Layer, Pass};
use crate::scope::Scope;

/// Each channel scaled by a number in 0..=1 that the channels' means decide: x · σ(W₂ δ(W₁ mean(x))), with 1×1
/// convolutions `fc1` and `fc2`.
///
/// Hu et al., "Squeeze-and-Excitation Networks", 2018, [arXiv:1709.01507](https://arxiv.org/abs/1709.01507).
#[derive(Debug)]
pub(crate) struct SqueezeExcitation {
    fc1: Conv2d,
    fc2: Conv2d,
    activation: Activation,
    gate: Activation,
}

impl SqueezeExcitation {
    /// From `channels` to `squeezed` ones and back; `activation` between, `gate` behind.
    pub(crate) fn new(
        scope: &Scope<'_>,
        (channels, squeezed): (i64, i64),
        init: Init,
        bias: Init,
        activation: Activation,
        gate: Activation,
    ) -> Result<Self, TchError> {
        let conv = |name, inputs, outputs| {
            let config = ConvConfig::new(inputs, outputs, 1).with_init(init).with_bias(bias);
            Conv2d::new(&(scope / name), config)
        };
        Ok(Self {
            fc1: conv("fc1", channels, squeezed)?,
            fc2: conv("fc2", squeezed, channels)?,
            activation,
            gate,
        })
    }
}

impl Layer for SqueezeExcitation {
    fn forward(&self, x: &Tensor, pass: Pass<'_>) -> Result<Tensor, TchError> {
        let means = GlobalAveragePool.forward(x, pass)?;
        let squeezed = self.fc1.forward_activated(&means, self.activation, pass)?;
        let gate = self.fc2.forward_activated(&squeezed, self.gate, pass)?;
        x.f_mul(&gate)
    }
}
