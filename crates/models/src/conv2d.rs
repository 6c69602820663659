use tch::nn::{Init, Path};
use tch::{TchError, Tensor};

/// Settings of a [`Conv2d`] beside its channels and kernel.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Conv2dConfig {
    pub(crate) stride: i64,
    pub(crate) padding: i64,
    pub(crate) bias: bool,
    pub(crate) init: Init,
}

impl Conv2dConfig {
    /// Stride 1, no padding, a bias of zeros, weights by `init`.
    pub(crate) fn new(init: Init) -> Self {
        Self {
            stride: 1,
            padding: 0,
            bias: true,
            init,
        }
    }
}

/// A convolution over `[N, C, H, W]` with variables `weight` `[out, in, k, k]` and `bias` `[out]`.
#[derive(Debug)]
pub(crate) struct Conv2d {
    weight: Tensor,
    bias: Option<Tensor>,
    stride: i64,
    padding: i64,
}

impl Conv2d {
    pub(crate) fn new(
        path: &Path<'_>,
        inputs: i64,
        outputs: i64,
        kernel: i64,
        config: Conv2dConfig,
    ) -> Result<Self, TchError> {
        let weight = path.f_var("weight", &[outputs, inputs, kernel, kernel], config.init)?;
        let bias = match config.bias {
            true => Some(path.f_zeros("bias", &[outputs])?),
            false => None,
        };
        Ok(Self {
            weight,
            bias,
            stride: config.stride,
            padding: config.padding,
        })
    }

    pub(crate) fn forward(&self, x: &Tensor) -> Result<Tensor, TchError> {
        x.f_conv2d(
            &self.weight,
            self.bias.as_ref(),
            [self.stride, self.stride],
            [self.padding, self.padding],
            [1, 1],
            1,
        )
    }
}
