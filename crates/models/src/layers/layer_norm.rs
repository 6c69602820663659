use tch::{TchError, Tensor};

use super::{Distribution, Layer, Pass, in_kind_of};
use crate::scope::Scope;

/// Normalisation over the last axis, (x − mean) / √(variance + ε) · weight + bias, with variables `weight` and `bias`,
/// both `[C]`.
///
/// Ba et al., "Layer Normalization", 2016, [arXiv:1607.06450](https://arxiv.org/abs/1607.06450).
#[derive(Debug)]
pub(crate) struct LayerNorm {
    weight: Tensor,
    bias: Tensor,
    epsilon: f64,
}

impl LayerNorm {
    pub(crate) fn new(scope: &Scope<'_>, channels: i64, epsilon: f64) -> Result<Self, TchError> {
        Ok(Self {
            weight: scope.trainable("weight", &[channels], Distribution::Constant(1.0))?,
            bias: scope.trainable("bias", &[channels], Distribution::Constant(0.0))?,
            epsilon,
        })
    }
}

impl Layer for LayerNorm {
    fn forward(&self, x: &Tensor, _: Pass<'_>) -> Result<Tensor, TchError> {
        x.f_layer_norm(
            self.weight.size(),
            Some(&in_kind_of(x, &self.weight)?),
            Some(&in_kind_of(x, &self.bias)?),
            self.epsilon,
            true,
        )
    }
}

/// [`LayerNorm`] over the channels of `[N, C, H, W]`.
#[derive(Debug)]
pub(crate) struct LayerNorm2d(pub(crate) LayerNorm);

impl Layer for LayerNorm2d {
    fn forward(&self, x: &Tensor, pass: Pass<'_>) -> Result<Tensor, TchError> {
        self.0
            .forward(&x.f_permute([0, 2, 3, 1])?, pass)?
            .f_permute([0, 3, 1, 2])
    }
}
