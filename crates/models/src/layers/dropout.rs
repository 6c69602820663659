use tch::{TchError, Tensor};

use super::{Layer, Pass};

/// In training, sets each number to zero with this probability and scales the others up to the same mean.
///
/// Srivastava et al., "Dropout: A Simple Way to Prevent Neural Networks from Overfitting", JMLR 15, 2014,
/// <https://jmlr.org/papers/v15/srivastava14a.html>.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Dropout(pub(crate) f64);

impl Layer for Dropout {
    fn forward(&self, x: &Tensor, pass: Pass<'_>) -> Result<Tensor, TchError> {
        if pass.train() && self.0 > 0.0 {
            x.f_dropout(self.0, true)
        } else {
            Ok(x.shallow_clone())
        }
    }
}
