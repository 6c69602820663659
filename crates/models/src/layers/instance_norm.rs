use tch::{TchError, Tensor};

use super::{Distribution, Layer, Pass};
use crate::scope::Scope;

/// Normalisation of each sample's each channel over space, (x − mean) / √(variance + 1e-5) · weight + bias, with
/// variables `weight` and `bias` `[C]`; training and evaluation do the same.
///
/// Ulyanov et al., [arXiv:1607.08022](https://arxiv.org/abs/1607.08022).
#[derive(Debug)]
pub(crate) struct InstanceNorm {
    weight: Tensor,
    bias: Tensor,
}

impl InstanceNorm {
    pub(crate) fn new(scope: &Scope<'_>, channels: i64) -> Result<Self, TchError> {
        let shape = [channels];
        Ok(Self {
            weight: scope.trainable("weight", &shape, Distribution::Constant(1.0))?,
            bias: scope.trainable("bias", &shape, Distribution::Constant(0.0))?,
        })
    }
}

impl Layer for InstanceNorm {
    fn forward(&self, x: &Tensor, _: Pass<'_>) -> Result<Tensor, TchError> {
        let size = x.size();
        if size.iter().skip(2).product::<i64>() <= 1 {
            return Err(TchError::Shape(format!(
                "instance normalisation needs more than one place in space, found {size:?}"
            )));
        }
        x.f_instance_norm(Some(&self.weight), Some(&self.bias), None, None, true, 0.1, 1e-5, true)
    }
}
