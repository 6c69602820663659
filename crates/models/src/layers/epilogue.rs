use tch::{TchError, Tensor};

use super::{Activation, Layer, Pass};

/// What is added to a convolution's output.
#[derive(Debug)]
pub(crate) enum Summand<'a> {
    /// A tensor that nobody needs any more: the sum may take its place.
    Owned(Tensor),
    /// A tensor that stays as it is.
    Kept(&'a Tensor),
}

impl Summand<'_> {
    pub(crate) fn tensor(&self) -> &Tensor {
        match self {
            Self::Owned(tensor) => tensor,
            Self::Kept(tensor) => tensor,
        }
    }

    /// The numbers in memory that may be written over.
    pub(crate) fn into_owned(self) -> Result<Tensor, TchError> {
        match self {
            Self::Owned(tensor) => Ok(tensor),
            Self::Kept(tensor) => tensor.f_to_dtype(tensor.f_kind()?, false, true),
        }
    }
}

/// What follows a convolution, in the same pass over its output where that can be: activation(y + summand).
#[derive(Debug, Default)]
pub(crate) struct Epilogue<'a> {
    pub(crate) summand: Option<Summand<'a>>,
    pub(crate) activation: Option<Activation>,
}

impl<'a> Epilogue<'a> {
    pub(crate) fn activation(activation: Activation) -> Self {
        Self {
            summand: None,
            activation: Some(activation),
        }
    }

    pub(crate) fn sum(summand: Summand<'a>) -> Self {
        Self {
            summand: Some(summand),
            activation: None,
        }
    }

    /// By steps of its own, over `y`.
    // A convolution keeps nothing of its output, nor does a norm, so the sum and the activation may take its place.
    pub(crate) fn apply(self, mut y: Tensor, pass: Pass<'_>) -> Result<Tensor, TchError> {
        if let Some(summand) = &self.summand {
            y = y.f_add_(summand.tensor())?;
        }
        match self.activation {
            Some(activation) => activation.forward_owned(y, pass),
            None => Ok(y),
        }
    }
}
