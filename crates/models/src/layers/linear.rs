use tch::{TchError, Tensor};

use super::{Init, Layer, Pass, in_kind_of};
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
        })
    }
}

impl Layer for Linear {
    fn forward(&self, x: &Tensor, pass: Pass<'_>) -> Result<Tensor, TchError> {
        let bias = self.bias.as_ref().map(|bias| in_kind_of(x, bias)).transpose()?;
        let y = x.f_linear(&in_kind_of(x, &self.weight)?, bias.as_ref())?;
        pass.count(&y, self.weight.size()[1]);
        Ok(y)
    }
}
