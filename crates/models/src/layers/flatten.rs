use tch::{TchError, Tensor};

use super::{Layer, Pass};

/// `[N, C, H, W]` to `[N, C·H·W]`.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Flatten;

impl Layer for Flatten {
    fn forward(&self, x: &Tensor, _: Pass<'_>) -> Result<Tensor, TchError> {
        x.f_flatten(1, -1)
    }
}
