use tch::{TchError, Tensor};

/// In training, sets each sample of a residual branch to zero with this probability and scales the others up to the
/// same mean.
///
/// Huang et al., "Deep Networks with Stochastic Depth", 2016, [arXiv:1603.09382](https://arxiv.org/abs/1603.09382).
#[derive(Debug, Clone, Copy)]
pub(crate) struct StochasticDepth(f64);

impl StochasticDepth {
    /// The probability of block `index` where it grows linearly from zero at the first to `last` at `count`.
    pub(crate) fn growing(last: f64, index: usize, count: usize) -> Self {
        Self(last * index as f64 / count.max(1) as f64)
    }
}

impl super::Layer for StochasticDepth {
    fn forward(&self, x: &Tensor, pass: super::Pass<'_>) -> Result<Tensor, TchError> {
        if !pass.train() || self.0 == 0.0 {
            return Ok(x.shallow_clone());
        }
        let mut shape = vec![1; x.dim()];
        shape[0] = x.size()[0];
        let survival = 1.0 - self.0;
        let noise = Tensor::f_empty(shape.as_slice(), (x.kind(), x.device()))?
            .f_bernoulli_float_(survival)?
            .f_div_scalar(survival)?;
        x.f_mul(&noise)
    }
}
