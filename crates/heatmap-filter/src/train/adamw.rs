use std::collections::BTreeMap;

use tch::{TchError, Tensor};

const BETA1: f64 = 0.9;
const BETA2: f64 = 0.999;
const EPSILON: f64 = 1e-8;

/// AdamW with its state in the open, which tch's own optimiser does not give out and a checkpoint
/// needs.
///
/// Loshchilov & Hutter, [arXiv:1711.05101](https://arxiv.org/abs/1711.05101), as torch computes
/// it: w ← w·(1 − ηλ) − η·m̂ / (√v̂ + ε), with λ on variables of two or more axes only, and η times
/// each variable's own factor.
#[derive(Debug)]
pub(crate) struct AdamW {
    pub(crate) moments: BTreeMap<String, Moments>,
    pub(crate) steps: i32,
    weight_decay: f64,
    factors: BTreeMap<String, f64>,
}

/// Running means of a variable's gradient and of its square.
#[derive(Debug)]
pub(crate) struct Moments {
    pub(crate) first: Tensor,
    pub(crate) second: Tensor,
}

impl AdamW {
    /// Variables without a factor in `factors` have 1.
    pub(crate) fn new(
        variables: &BTreeMap<String, Tensor>,
        weight_decay: f64,
        factors: BTreeMap<String, f64>,
    ) -> Result<Self, TchError> {
        let moments = variables
            .iter()
            .filter(|(_, variable)| variable.requires_grad())
            .map(|(name, variable)| {
                let first = variable.f_detach()?.f_zeros_like()?;
                let second = first.f_zeros_like()?;
                Ok((name.clone(), Moments { first, second }))
            })
            .collect::<Result<_, TchError>>()?;
        Ok(Self {
            moments,
            steps: 0,
            weight_decay,
            factors,
        })
    }

    /// One step down the gradients of `loss`.
    pub(crate) fn step(
        &mut self,
        variables: &BTreeMap<String, Tensor>,
        loss: &Tensor,
        learning_rate: f64,
    ) -> Result<(), TchError> {
        let trained: Vec<&Tensor> = self.moments.keys().map(|name| &variables[name]).collect();
        let gradients = Tensor::f_run_backward(&[loss], &trained, false, false)?;
        self.steps += 1;
        let first_scale = 1.0 - BETA1.powi(self.steps);
        let second_scale = (1.0 - BETA2.powi(self.steps)).sqrt();
        tch::no_grad(|| {
            for ((variable, gradient), (name, moments)) in trained.into_iter().zip(&gradients).zip(&self.moments) {
                if !gradient.defined() {
                    continue;
                }
                let rate = learning_rate * self.factors.get(name).copied().unwrap_or(1.0);
                let decay = if variable.dim() > 1 {
                    rate * self.weight_decay
                } else {
                    0.0
                };
                // η·m̂ / (√v̂ + ε) with all scales in the denominator, which saves passes over memory.
                let scale = -first_scale / rate;
                for [mut variable, gradient, mut first, mut second] in
                    parts([variable, gradient, &moments.first, &moments.second])?
                {
                    if decay != 0.0 {
                        let _ = variable.f_mul_scalar_(1.0 - decay)?;
                    }
                    let _ = first.f_lerp_(&gradient, 1.0 - BETA1)?;
                    let _ = second.f_lerp_(&gradient.f_square()?, 1.0 - BETA2)?;
                    let mut denominator = second.f_sqrt()?;
                    let _ = denominator.f_mul_scalar_(scale / second_scale)?;
                    let _ = denominator.f_add_scalar_(scale * EPSILON)?;
                    let _ = variable.f_addcdiv_(&first, &denominator)?;
                }
            }
            Ok(())
        })
    }
}

/// Four tensors of one shape as views of the same parts of each, small enough for the cache to hold what
/// one pass over a part leaves to the next.
///
/// Where memory does not lie alike in all four, the only part is the whole.
fn parts(tensors: [&Tensor; 4]) -> Result<Vec<[Tensor; 4]>, TchError> {
    const PART: i64 = 1 << 16;
    let rank = tensors[0].dim() as i64;
    if tensors[0].numel() as i64 > PART {
        let channels_first: Vec<i64> = (0..rank).collect();
        let channels_last: Vec<i64> = [0].into_iter().chain(2..rank).chain([1]).take(rank as usize).collect();
        for order in [channels_first, channels_last] {
            let rows = tensors.iter().map(|tensor| tensor.f_permute(&order));
            let rows = rows.collect::<Result<Vec<_>, TchError>>()?;
            if rows.iter().all(Tensor::is_contiguous) {
                let split = |row: &Tensor| row.f_view([-1])?.f_split(PART, 0);
                let (variables, gradients) = (split(&rows[0])?, split(&rows[1])?);
                let (firsts, seconds) = (split(&rows[2])?, split(&rows[3])?);
                let four = variables.into_iter().zip(gradients).zip(firsts).zip(seconds);
                return Ok(four.map(|(((a, b), c), d)| [a, b, c, d]).collect());
            }
        }
    }
    Ok(vec![tensors.map(Tensor::shallow_clone)])
}

#[cfg(test)]
mod tests {
    use tch::{Device, Kind};

    use super::*;

    #[test]
    fn parts_cover_a_tensor_once_however_it_lies_in_memory() {
        let options = (Kind::Float, Device::Cpu);
        let whole = Tensor::zeros([70, 40, 5, 5], options);
        let last = Tensor::zeros([70, 5, 5, 40], options).permute([0, 3, 1, 2]);
        for (variable, gradient, count) in [
            (whole.copy(), whole.copy(), 2),
            (last.copy(), last.copy(), 2),
            (whole.copy(), last.copy(), 1),
            (Tensor::zeros([1 << 17], options), Tensor::zeros([1 << 17], options), 2),
            (
                Tensor::zeros([3, 1 << 16], options),
                Tensor::zeros([3, 1 << 16], options),
                3,
            ),
            (Tensor::zeros([], options), Tensor::zeros([], options), 1),
        ] {
            let parts = parts([&variable, &gradient, &variable, &variable]).unwrap();
            assert_eq!(parts.len(), count);
            for [mut part, ..] in parts {
                let _ = part.g_add_scalar_(1.0);
            }
            assert_eq!(variable, variable.ones_like());
        }
    }
}
