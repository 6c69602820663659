use std::cell::{Cell, RefCell};

use tch::{TchError, Tensor};

use super::Activation;

/// Multiplications, each with an addition.
#[derive(Debug, Default)]
pub(crate) struct Work {
    pub(crate) multiply_adds: Cell<u64>,
    /// Those of them that were done with packed weights.
    pub(crate) packed: Cell<u64>,
}

/// One run through a network: training or not, whether work is counted, and what stages put aside for later ones.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Pass<'a> {
    train: bool,
    work: Option<&'a Work>,
    carried: Option<&'a RefCell<Vec<Tensor>>>,
}

impl<'a> Pass<'a> {
    /// Training if `train`: dropout drops, batch norms use the batch's statistics and keep running ones.
    pub(crate) fn new(train: bool) -> Self {
        Self {
            train,
            ..Self::default()
        }
    }

    /// An evaluation that adds its multiplications to `work`.
    pub(crate) fn counting(work: &'a Work) -> Self {
        Self {
            work: Some(work),
            ..Self::default()
        }
    }

    /// With a place for what stages put aside.
    pub(crate) fn carrying(self, carried: &'a RefCell<Vec<Tensor>>) -> Self {
        Self {
            carried: Some(carried),
            ..self
        }
    }

    /// Puts a tensor aside for a later stage. Stages put aside what they are given, never what they put out, so that a
    /// gradient at a stage's output counts every way from there.
    pub(crate) fn carry(self, x: &Tensor) {
        if let Some(carried) = self.carried {
            carried.borrow_mut().push(x.shallow_clone());
        }
    }

    /// What was put aside last, for the stage `name`.
    ///
    /// # Errors
    /// [`TchError::Shape`] for a stage that is run alone.
    pub(crate) fn take(self, name: &str) -> Result<Tensor, TchError> {
        let last = self.carried.and_then(|carried| carried.borrow_mut().pop());
        last.ok_or_else(|| TchError::Shape(format!("{name} takes what an earlier stage carries on, found nothing")))
    }

    /// Everything that is put aside.
    pub(crate) fn carried(self) -> Option<&'a RefCell<Vec<Tensor>>> {
        self.carried
    }

    pub(crate) fn train(self) -> bool {
        self.train
    }

    /// Notes that each number of `output` took `each` multiplications.
    pub(crate) fn count(self, output: &Tensor, each: i64) {
        if let Some(work) = self.work {
            let count = output.numel() as u64 * each as u64;
            work.multiply_adds.set(work.multiply_adds.get() + count);
        }
    }

    /// As [`Pass::count`], with packed weights.
    pub(crate) fn count_packed(self, output: &Tensor, each: i64) {
        self.count(output, each);
        if let Some(work) = self.work {
            work.packed.set(work.packed.get() + output.numel() as u64 * each as u64);
        }
    }
}

/// A function of a tensor, with its variables.
pub(crate) trait Layer: Send {
    /// The output for `x`, which is left as it is.
    fn forward(&self, x: &Tensor, pass: Pass<'_>) -> Result<Tensor, TchError>;

    /// The output for an `x` that nobody needs any more: computed in its memory where that saves a pass over it.
    fn forward_owned(&self, x: Tensor, pass: Pass<'_>) -> Result<Tensor, TchError> {
        self.forward(&x, pass)
    }

    /// Whether [`Layer::forward_activated`] takes one pass over the output.
    fn takes_activation(&self) -> bool {
        false
    }

    /// The activation of the output.
    fn forward_activated(&self, x: &Tensor, activation: Activation, pass: Pass<'_>) -> Result<Tensor, TchError> {
        activation.forward(&self.forward(x, pass)?, pass)
    }

    /// The activation that this layer is, if it is one.
    fn as_activation(&self) -> Option<Activation> {
        None
    }

    /// Whether the layer hands on its input.
    fn is_identity(&self) -> bool {
        false
    }
}
