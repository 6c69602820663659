use tch::{Kind, TchError, Tensor};

use super::{Distribution, Layer, Pass};
use crate::scope::Scope;

/// Which variance of a batch goes into the running one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RunningVariance {
    /// Over n − 1, as torch has it.
    Unbiased,
    /// Over n, what the batch itself is divided by: Keras 3.
    Biased,
}

/// Settings of a [`BatchNorm`].
#[derive(Debug, Clone, Copy)]
pub(crate) struct BatchNormConfig {
    /// How much of a new batch goes into the running statistics.
    momentum: f64,
    /// Added to the variance.
    epsilon: f64,
    /// Whether there is a `weight`; Keras leaves it out before a ReLU.
    scale: bool,
    running_variance: RunningVariance,
}

impl Default for BatchNormConfig {
    /// Torch's: momentum 0.1, epsilon 1e-5.
    fn default() -> Self {
        Self {
            momentum: 0.1,
            epsilon: 1e-5,
            scale: true,
            running_variance: RunningVariance::Unbiased,
        }
    }
}

impl BatchNormConfig {
    pub(crate) fn with_momentum(mut self, momentum: f64) -> Self {
        self.momentum = momentum;
        self
    }

    pub(crate) fn with_epsilon(mut self, epsilon: f64) -> Self {
        self.epsilon = epsilon;
        self
    }

    pub(crate) fn without_scale(mut self) -> Self {
        self.scale = false;
        self
    }

    pub(crate) fn with_running_variance(mut self, running_variance: RunningVariance) -> Self {
        self.running_variance = running_variance;
        self
    }

    /// What the norm at `scope` does in evaluation, as `x · scale + shift`, in double precision: scale and shift,
    /// both `[C]`.
    pub(crate) fn affine(self, scope: &Scope<'_>) -> Result<(Tensor, Tensor), TchError> {
        let double = |name| scope.taken(name)?.f_to_kind(Kind::Double);
        let mut scale = double("running_var")?.f_add_scalar(self.epsilon)?.f_rsqrt()?;
        if self.scale {
            scale = scale.f_mul(&double("weight")?)?;
        }
        let shift = double("bias")?.f_sub(&double("running_mean")?.f_mul(&scale)?)?;
        Ok((scale, shift))
    }
}

/// Batch normalisation of `[N, C, …]` by channel, (x − mean) / √(variance + ε) · weight + bias, with variables
/// `weight`, `bias`, `running_mean` and `running_var`, all `[C]`.
///
/// Ioffe & Szegedy, [arXiv:1502.03167](https://arxiv.org/abs/1502.03167).
#[derive(Debug)]
pub(crate) enum BatchNorm {
    /// As above.
    Normalise {
        weight: Option<Tensor>,
        bias: Tensor,
        running_mean: Tensor,
        running_var: Tensor,
        config: BatchNormConfig,
    },
    /// Part of the convolution before it already.
    Folded,
}

impl BatchNorm {
    /// The variables that no optimiser changes.
    pub(crate) const BUFFERS: [&'static str; 2] = ["running_mean", "running_var"];

    pub(crate) fn new(scope: &Scope<'_>, channels: i64, config: BatchNormConfig) -> Result<Self, TchError> {
        let scope = scope.in_full_precision();
        let shape = [channels];
        let weight = match config.scale {
            true => Some(scope.trainable("weight", &shape, Distribution::Constant(1.0))?),
            false => None,
        };
        Ok(Self::Normalise {
            weight,
            bias: scope.trainable("bias", &shape, Distribution::Constant(0.0))?,
            running_mean: scope.buffer("running_mean", &shape, 0.0)?,
            running_var: scope.buffer("running_var", &shape, 1.0)?,
            config,
        })
    }
}

impl Layer for BatchNorm {
    fn forward(&self, x: &Tensor, pass: Pass<'_>) -> Result<Tensor, TchError> {
        let Self::Normalise {
            weight,
            bias,
            running_mean,
            running_var,
            config,
        } = self
        else {
            return Ok(x.shallow_clone());
        };
        let size = x.size();
        if pass.train() && x.numel() as i64 <= bias.size()[0] {
            // The variance of one number, or of none, would go into the running statistics as NaN.
            return Err(TchError::Shape(format!(
                "batch normalisation in training needs more than one value a channel, found {size:?}"
            )));
        }
        let normalise = |running_var: &Tensor| {
            x.f_batch_norm(
                weight.as_ref(),
                Some(bias),
                Some(running_mean),
                Some(running_var),
                pass.train(),
                config.momentum,
                config.epsilon,
                true,
            )
        };
        if !pass.train() || config.running_variance == RunningVariance::Unbiased {
            return normalise(running_var);
        }
        // On zeros, torch makes momentum · s² · n / (n − 1) of the batch's s².
        let new = running_var.f_zeros_like()?;
        let y = normalise(&new)?;
        let count = x.numel() as f64 / bias.size()[0] as f64;
        let new = new.f_mul_scalar((count - 1.0) / count)?;
        let _ = running_var
            .shallow_clone()
            .f_mul_scalar_(1.0 - config.momentum)?
            .f_add_(&new)?;
        Ok(y)
    }

    fn is_identity(&self) -> bool {
        matches!(self, Self::Folded)
    }
}

#[cfg(test)]
mod tests {
    use tch::{Device, nn};

    use super::*;

    #[test]
    fn one_value_a_channel_or_none_is_refused_in_training_only() {
        for running_variance in [RunningVariance::Unbiased, RunningVariance::Biased] {
            let store = nn::VarStore::new(Device::Cpu);
            let config = BatchNormConfig::default().with_running_variance(running_variance);
            let norm = BatchNorm::new(&Scope::fresh(&store), 3, config).unwrap();
            for shape in [[1, 3, 1, 1], [0, 3, 1, 1]] {
                let x = Tensor::ones(shape, (Kind::Float, Device::Cpu));
                assert!(norm.forward(&x, Pass::new(false)).is_ok());
                let message = norm.forward(&x, Pass::new(true)).unwrap_err().to_string();
                assert!(message.contains(&format!("{shape:?}")), "{message}");
                assert_eq!(
                    store.variables()["running_var"],
                    Tensor::ones([3], (Kind::Float, Device::Cpu))
                );
            }
        }
    }
}
