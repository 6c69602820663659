use tch::{TchError, Tensor};

use super::{Activation, Layer, Pass};

/// Layers one after the other.
#[derive(Default)]
pub(crate) struct Sequence(Vec<Box<dyn Layer>>);

impl Sequence {
    pub(crate) fn with(mut self, layer: impl Layer + 'static) -> Self {
        self.0.push(Box::new(layer));
        self
    }

    pub(crate) fn with_boxed(mut self, layer: Box<dyn Layer>) -> Self {
        self.0.push(layer);
        self
    }
}

impl Layer for Sequence {
    // No `forward_owned` inside: a layer may hand on its input, which belongs to the caller.
    fn forward(&self, x: &Tensor, pass: Pass<'_>) -> Result<Tensor, TchError> {
        self.0
            .iter()
            .try_fold(x.shallow_clone(), |x, layer| layer.forward(&x, pass))
    }

    fn takes_activation(&self) -> bool {
        self.0.last().is_some_and(|last| last.takes_activation())
    }

    fn forward_activated(&self, x: &Tensor, activation: Activation, pass: Pass<'_>) -> Result<Tensor, TchError> {
        let Some((last, before)) = self.0.split_last() else {
            return activation.forward(x, pass);
        };
        let x = before
            .iter()
            .try_fold(x.shallow_clone(), |x, layer| layer.forward(&x, pass))?;
        last.forward_activated(&x, activation, pass)
    }
}
