use tch::{Device, TchError, Tensor};

use super::{Activation, Init, Layer, Packed, Pass, asks_for_gradient, in_kind_of, without_graph};
use crate::scope::Scope;

/// Settings of a [`Linear`] layer.
#[derive(Debug, Clone, Copy)]
pub(crate) struct LinearConfig {
    inputs: i64,
    outputs: i64,
    init: Init,
    bias: Option<Init>,
}

impl LinearConfig {
    /// Weights and bias as torch's layers begin.
    pub(crate) fn new(inputs: i64, outputs: i64) -> Self {
        Self {
            inputs,
            outputs,
            init: Init::TorchDefault,
            bias: Some(Init::TorchDefault),
        }
    }

    pub(crate) fn with_init(mut self, init: Init) -> Self {
        self.init = init;
        self
    }

    pub(crate) fn with_bias(mut self, bias: Init) -> Self {
        self.bias = Some(bias);
        self
    }
}

/// A fully connected layer over `[…, in]` with variables `weight` `[out, in]` and `bias` `[out]`.
#[derive(Debug)]
pub(crate) struct Linear {
    weight: Tensor,
    bias: Option<Tensor>,
    packed: Option<Packed>,
}

impl Linear {
    pub(crate) fn new(scope: &Scope<'_>, config: LinearConfig) -> Result<Self, TchError> {
        let shape = [config.outputs, config.inputs];
        Ok(Self {
            weight: scope.trainable("weight", &shape, config.init.for_weight(&shape))?,
            bias: config
                .bias
                .map(|init| scope.trainable("bias", &shape[..1], init.for_weight(&shape)))
                .transpose()?,
            packed: Packed::new(scope),
        })
    }

    /// activation(x·Wᵀ + b), in one pass over the output where the weight is packed and no graph is wanted.
    fn forward_with(&self, x: &Tensor, activation: Option<Activation>, pass: Pass<'_>) -> Result<Tensor, TchError> {
        let (size, each) = (x.size(), self.weight.size()[1]);
        let fits = size.last() == Some(&each) && size.len() > 1 && x.numel() > 0;
        if let Some(packed) = &self.packed
            && fits
            && x.device() == Device::Cpu
            && x.f_kind()? == self.weight.f_kind()?
            && !asks_for_gradient(&self.weight, self.bias.as_ref())?
            && let Some(x) = without_graph(x)?
        {
            let rows = x.numel() as i64 / each;
            let weight = packed.weight(&self.weight, &[rows], |onednn| onednn.pack_linear(&self.weight, rows))?;
            let y = packed.onednn().linear(&x, &weight, self.bias.as_ref(), activation)?;
            pass.count_packed(&y, each);
            return Ok(y);
        }
        let bias = self.bias.as_ref().map(|bias| in_kind_of(x, bias)).transpose()?;
        let y = x.f_linear(&in_kind_of(x, &self.weight)?, bias.as_ref())?;
        pass.count(&y, each);
        match activation {
            // It may need its input for the way back, of which the linear layer keeps nothing.
            Some(activation) => activation.forward_owned(y, pass),
            None => Ok(y),
        }
    }
}

impl Layer for Linear {
    fn forward(&self, x: &Tensor, pass: Pass<'_>) -> Result<Tensor, TchError> {
        self.forward_with(x, None, pass)
    }

    fn takes_activation(&self) -> bool {
        true
    }

    fn forward_activated(&self, x: &Tensor, activation: Activation, pass: Pass<'_>) -> Result<Tensor, TchError> {
        self.forward_with(x, Some(activation), pass)
    }
}
