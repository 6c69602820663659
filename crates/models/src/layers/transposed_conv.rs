use tch::{TchError, Tensor};

use super::{Init, Layer, Pass, in_kind_of};
use crate::scope::Scope;

/// A transposed convolution that doubles the extents of `D` axes, kernel 2 at stride 2, with variables `weight`
/// `[in, out, 2…]` and `bias` `[out]` as torch's layers begin.
#[derive(Debug)]
pub(crate) struct TransposedConv<const D: usize> {
    weight: Tensor,
    bias: Tensor,
}

impl<const D: usize> TransposedConv<D> {
    pub(crate) fn new(scope: &Scope<'_>, inputs: i64, outputs: i64) -> Result<Self, TchError> {
        let shape = [[inputs, outputs].as_slice(), &[2; D]].concat();
        let init = Init::TorchDefault.for_weight(&shape);
        Ok(Self {
            weight: scope.trainable("weight", &shape, init)?,
            bias: scope.trainable("bias", &shape[1..2], init)?,
        })
    }
}

impl<const D: usize> Layer for TransposedConv<D> {
    fn forward(&self, x: &Tensor, pass: Pass<'_>) -> Result<Tensor, TchError> {
        let (weight, bias) = (in_kind_of(x, &self.weight)?, in_kind_of(x, &self.bias)?);
        let y = x.f_convolution(&weight, Some(&bias), [2; D], [0; D], [1; D], true, [0; D], 1)?;
        // Kernel and stride are the same: one place of the input for each of the output.
        pass.count(&y, self.weight.size()[0]);
        Ok(y)
    }
}
