use tch::{TchError, Tensor};

use super::{Layer, Pass};

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

impl Layer for StochasticDepth {
    fn forward(&self, x: &Tensor, pass: Pass<'_>) -> Result<Tensor, TchError> {
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

#[cfg(test)]
mod tests {
    use tch::{Device, Kind};

    use super::*;

    #[test]
    fn whole_samples_are_dropped_and_the_mean_stays() {
        let x = Tensor::ones([4000, 2, 3, 1], (Kind::Float, Device::Cpu));
        let depth = StochasticDepth::growing(0.5, 1, 2);
        assert_eq!(depth.forward(&x, Pass::new(false)).unwrap(), x);
        let first = StochasticDepth::growing(0.5, 0, 2);
        assert_eq!(first.forward(&x, Pass::new(true)).unwrap(), x);

        let y = depth.forward(&x, Pass::new(true)).unwrap().reshape([4000, 6]);
        let (least, largest) = (y.amin(1, false), y.amax(1, false));
        assert_eq!(least, largest, "a sample is dropped whole or not at all");
        let values = Vec::<f32>::try_from(least).unwrap();
        let kept = values.iter().filter(|&&value| value != 0.0).count();
        assert!(
            values
                .iter()
                .all(|&value| value == 0.0 || (value - 1.0 / 0.75).abs() < 1e-6)
        );
        // Six standard deviations of 4000 draws.
        assert!(
            (kept as f64 - 3000.0).abs() < 6.0 * (4000.0_f64 * 0.25 * 0.75).sqrt(),
            "{kept}"
        );
    }
}
