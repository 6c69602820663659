use std::fmt;

use tch::{TchError, Tensor};

type Forward = Box<dyn Fn(&Tensor, bool) -> Result<Tensor, TchError> + Send>;

/// One step of a network: a name and a function from tensor to tensor.
///
/// The function's second argument says whether the network is being trained (dropout drops, batch
/// norms use the batch's own statistics and update the running ones) or evaluated.
pub struct Stage {
    name: String,
    forward: Forward,
}

impl Stage {
    /// A stage called `name` that computes `forward(input, train)`.
    pub fn new(
        name: impl Into<String>,
        forward: impl Fn(&Tensor, bool) -> Result<Tensor, TchError> + Send + 'static,
    ) -> Self {
        Self {
            name: name.into(),
            forward: Box::new(forward),
        }
    }

    /// The stage's name: torchvision's module path where torchvision has the module.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Runs the stage in evaluation mode.
    ///
    /// # Errors
    /// libtorch's own, for an input that the stage cannot take.
    pub fn forward(&self, input: &Tensor) -> Result<Tensor, TchError> {
        (self.forward)(input, false)
    }

    /// Runs the stage in training mode if `train`, in evaluation mode otherwise.
    ///
    /// # Errors
    /// libtorch's own, for an input that the stage cannot take.
    pub fn forward_t(&self, input: &Tensor, train: bool) -> Result<Tensor, TchError> {
        (self.forward)(input, train)
    }
}

impl fmt::Debug for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Stage")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

/// ReLU.
pub(crate) fn relu(name: impl Into<String>) -> Stage {
    Stage::new(name, |x, _| x.f_relu())
}

/// Mean over all of space, to 1×1: `[N, C, H, W]` to `[N, C, 1, 1]`.
pub(crate) fn average_pool(name: impl Into<String>) -> Stage {
    Stage::new(name, |x, _| x.f_adaptive_avg_pool2d([1, 1]))
}

/// `[N, C, 1, 1]` to `[N, C]`.
pub(crate) fn flatten(name: impl Into<String>) -> Stage {
    Stage::new(name, |x, _| x.f_flatten(1, -1))
}
