use tch::{Kind, TchError, Tensor};

use super::{Activation, BatchNorm, BatchNormConfig, Conv, ConvConfig, Epilogue, Layer, Pass, Summand};
use crate::scope::Scope;

/// A convolution, the batch norm of its output, and an activation if any.
///
/// Where the scope folds, the norm's scale and shift are already in the convolution's weight and bias:
/// w′ = w · γ/√(σ² + ε), b′ = β + (b − μ) · γ/√(σ² + ε).
#[derive(Debug)]
pub(crate) struct ConvNorm<const D: usize> {
    conv: Conv<D>,
    norm: BatchNorm,
    activation: Option<Activation>,
}

impl<const D: usize> ConvNorm<D> {
    /// The variables of the convolution lie in `conv_scope`, those of the norm in `norm_scope`.
    pub(crate) fn new(
        conv_scope: &Scope<'_>,
        conv: ConvConfig<D>,
        norm_scope: &Scope<'_>,
        norm: BatchNormConfig,
    ) -> Result<Self, TchError> {
        let (conv, norm) = if conv_scope.folds() {
            (fold(conv_scope, conv, norm_scope, norm)?, BatchNorm::Folded)
        } else {
            let channels = conv.outputs;
            (
                Conv::new(conv_scope, conv)?,
                BatchNorm::new(norm_scope, channels, norm)?,
            )
        };
        Ok(Self {
            conv,
            norm,
            activation: None,
        })
    }

    /// The convolution is `0` of `scope` and the norm is `1`, as in torchvision's `Conv2dNormActivation`.
    pub(crate) fn numbered(scope: &Scope<'_>, conv: ConvConfig<D>, norm: BatchNormConfig) -> Result<Self, TchError> {
        Self::new(&(scope / 0), conv, &(scope / 1), norm)
    }

    pub(crate) fn with_activation(mut self, activation: Activation) -> Self {
        self.activation = Some(activation);
        self
    }

    pub(crate) fn activation(&self) -> Option<Activation> {
        self.activation
    }

    /// norm(conv(x)), without the activation.
    pub(crate) fn normalised(&self, x: &Tensor, pass: Pass<'_>) -> Result<Tensor, TchError> {
        self.forward_with(x, Epilogue::default(), pass)
    }

    /// activation(norm(conv(x)) + summand).
    pub(crate) fn forward_plus(&self, x: &Tensor, summand: Summand<'_>, pass: Pass<'_>) -> Result<Tensor, TchError> {
        let (summand, activation) = (Some(summand), self.activation);
        self.forward_with(x, Epilogue { summand, activation }, pass)
    }

    fn forward_with(&self, x: &Tensor, epilogue: Epilogue<'_>, pass: Pass<'_>) -> Result<Tensor, TchError> {
        match &self.norm {
            BatchNorm::Folded => self.conv.forward_with(x, epilogue, pass),
            norm => epilogue.apply(norm.forward(&self.conv.forward(x, pass)?, pass)?, pass),
        }
    }

    /// The convolution and the norm, as stages of their own.
    pub(crate) fn into_parts(self) -> (Conv<D>, BatchNorm) {
        (self.conv, self.norm)
    }
}

fn fold<const D: usize>(
    conv_scope: &Scope<'_>,
    config: ConvConfig<D>,
    norm_scope: &Scope<'_>,
    norm: BatchNormConfig,
) -> Result<Conv<D>, TchError> {
    let (scale, shift) = norm.affine(norm_scope)?;
    let mut by_output = vec![1; D + 2];
    by_output[0] = config.outputs;
    let weight = conv_scope
        .taken("weight")?
        .f_to_kind(Kind::Double)?
        .f_mul(&scale.f_view(by_output.as_slice())?)?;
    let bias = match config.bias {
        Some(_) => shift.f_add(&conv_scope.taken("bias")?.f_to_kind(Kind::Double)?.f_mul(&scale)?)?,
        None => shift,
    };
    Ok(Conv::of(
        conv_scope,
        conv_scope.prepared("weight", &weight)?,
        Some(conv_scope.prepared("bias", &bias)?),
        config,
    ))
}

impl<const D: usize> Layer for ConvNorm<D> {
    fn forward(&self, x: &Tensor, pass: Pass<'_>) -> Result<Tensor, TchError> {
        let (summand, activation) = (None, self.activation);
        self.forward_with(x, Epilogue { summand, activation }, pass)
    }
}
