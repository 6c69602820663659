use tch::nn::{Init, Path};
use tch::{TchError, Tensor};

/// A fully connected layer over `[N, in]` with variables `weight` `[out, in]` and `bias` `[out]`,
/// both uniform in ±1/√in at the start, as torch's are.
#[derive(Debug)]
pub(crate) struct Linear {
    weight: Tensor,
    bias: Tensor,
}

impl Linear {
    pub(crate) fn new(path: &Path<'_>, inputs: i64, outputs: i64) -> Result<Self, TchError> {
        let bound = 1.0 / (inputs as f64).sqrt();
        let init = Init::Uniform { lo: -bound, up: bound };
        Ok(Self {
            weight: path.f_var("weight", &[outputs, inputs], init)?,
            bias: path.f_var("bias", &[outputs], init)?,
        })
    }

    pub(crate) fn forward(&self, x: &Tensor) -> Result<Tensor, TchError> {
        x.f_linear(&self.weight, Some(&self.bias))
    }
}
