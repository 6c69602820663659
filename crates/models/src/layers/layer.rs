use std::cell::Cell;

use tch::{TchError, Tensor};

/// One run through a network: training or not, and whether work is counted.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Pass<'a> {
    train: bool,
    multiply_adds: Option<&'a Cell<u64>>,
}

impl<'a> Pass<'a> {
    /// Training if `train`: dropout drops, batch norms use the batch's statistics and keep running ones.
    pub(crate) fn new(train: bool) -> Self {
        Self {
            train,
            multiply_adds: None,
        }
    }

    /// An evaluation that adds its multiplications to `count`.
    pub(crate) fn counting(count: &'a Cell<u64>) -> Self {
        Self {
            train: false,
            multiply_adds: Some(count),
        }
    }

    pub(crate) fn train(self) -> bool {
        self.train
    }

    /// Notes that each number of `output` took `each` multiplications.
    pub(crate) fn count(self, output: &Tensor, each: i64) {
        if let Some(count) = self.multiply_adds {
            count.set(count.get() + output.numel() as u64 * each as u64);
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
}
