use tch::{TchError, Tensor};

use super::{ConvNorm, Epilogue, Layer, Pass, Sequence, StochasticDepth, Summand};

/// What goes around a branch.
#[derive(Debug)]
pub(crate) enum Shortcut<const D: usize> {
    /// Nothing.
    None,
    /// The input itself.
    Identity,
    /// The input in the branch's shape.
    Conv(ConvNorm<D>),
}

/// activation(last(branch(x)) + shortcut(x)), with the activation of `last`.
///
/// He et al., "Deep Residual Learning for Image Recognition", 2016, [arXiv:1512.03385](https://arxiv.org/abs/1512.03385).
pub(crate) struct Residual<const D: usize> {
    /// At least one layer that gives a tensor of its own: the sum may be written over the input.
    branch: Sequence,
    last: ConvNorm<D>,
    shortcut: Shortcut<D>,
    skipped: Option<StochasticDepth>,
}

impl<const D: usize> Residual<D> {
    pub(crate) fn new(branch: Sequence, last: ConvNorm<D>, shortcut: Shortcut<D>) -> Self {
        Self {
            branch,
            last,
            shortcut,
            skipped: None,
        }
    }

    /// With a branch that samples skip in training.
    pub(crate) fn with_stochastic_depth(mut self, skipped: StochasticDepth) -> Self {
        self.skipped = Some(skipped);
        self
    }

    fn run(&self, x: &Tensor, identity: Summand<'_>, pass: Pass<'_>) -> Result<Tensor, TchError> {
        let y = self.branch.forward(x, pass)?;
        let summand = match &self.shortcut {
            Shortcut::None => return self.last.forward(&y, pass),
            Shortcut::Identity => identity,
            Shortcut::Conv(conv) => Summand::Owned(conv.forward(x, pass)?),
        };
        match &self.skipped {
            Some(skipped) if pass.train() => {
                let y = skipped.forward(&self.last.normalised(&y, pass)?, pass)?;
                let (summand, activation) = (Some(summand), self.last.activation());
                Epilogue { summand, activation }.apply(y, pass)
            }
            _ => self.last.forward_plus(&y, summand, pass),
        }
    }
}

impl<const D: usize> Layer for Residual<D> {
    fn forward(&self, x: &Tensor, pass: Pass<'_>) -> Result<Tensor, TchError> {
        self.run(x, Summand::Kept(x), pass)
    }

    fn forward_owned(&self, x: Tensor, pass: Pass<'_>) -> Result<Tensor, TchError> {
        self.run(&x, Summand::Owned(x.shallow_clone()), pass)
    }
}
