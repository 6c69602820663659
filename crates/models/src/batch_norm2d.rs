use tch::nn::Path;
use tch::{TchError, Tensor};

/// Torch's defaults, which torchvision keeps.
const MOMENTUM: f64 = 0.1;
const EPSILON: f64 = 1e-5;

/// Batch normalisation over `[N, C, H, W]` with variables `weight`, `bias`, `running_mean` and
/// `running_var`, all `[C]`.
#[derive(Debug)]
pub(crate) struct BatchNorm2d {
    weight: Tensor,
    bias: Tensor,
    running_mean: Tensor,
    running_var: Tensor,
}

impl BatchNorm2d {
    pub(crate) fn new(path: &Path<'_>, channels: i64) -> Result<Self, TchError> {
        Ok(Self {
            weight: path.f_ones("weight", &[channels])?,
            bias: path.f_zeros("bias", &[channels])?,
            running_mean: path.f_zeros_no_train("running_mean", &[channels])?,
            running_var: path.f_ones_no_train("running_var", &[channels])?,
        })
    }

    pub(crate) fn forward(&self, x: &Tensor, train: bool) -> Result<Tensor, TchError> {
        x.f_batch_norm(
            Some(&self.weight),
            Some(&self.bias),
            Some(&self.running_mean),
            Some(&self.running_var),
            train,
            MOMENTUM,
            EPSILON,
            true,
        )
    }
}
