use std::collections::BTreeMap;

use tch::{TchError, Tensor};

const BETA1: f64 = 0.9;
const BETA2: f64 = 0.999;
const EPSILON: f64 = 1e-8;

/// AdamW with its state in the open, which tch's own optimiser does not give out and a checkpoint
/// needs.
///
/// Loshchilov & Hutter, [arXiv:1711.05101](https://arxiv.org/abs/1711.05101), as torch computes
/// it: w ← w·(1 − ηλ) − η·m̂ / (√v̂ + ε), with λ on variables of two or more axes only.
#[derive(Debug)]
pub(crate) struct AdamW {
    pub(crate) moments: BTreeMap<String, Moments>,
    pub(crate) steps: i32,
    weight_decay: f64,
}

/// Running means of a variable's gradient and of its square.
#[derive(Debug)]
pub(crate) struct Moments {
    pub(crate) first: Tensor,
    pub(crate) second: Tensor,
}

impl AdamW {
    pub(crate) fn new(variables: &BTreeMap<String, Tensor>, weight_decay: f64) -> Result<Self, TchError> {
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
            for ((variable, gradient), moments) in trained.into_iter().zip(&gradients).zip(self.moments.values_mut()) {
                if !gradient.defined() {
                    continue;
                }
                let mut variable = variable.shallow_clone();
                if variable.dim() > 1 {
                    let _ = variable.f_mul_scalar_(1.0 - learning_rate * self.weight_decay)?;
                }
                let _ = moments.first.f_lerp_(gradient, 1.0 - BETA1)?;
                let part = gradient.f_mul_scalar((1.0 - BETA2).sqrt())?;
                let _ = moments.second.f_mul_scalar_(BETA2)?;
                let _ = moments.second.f_addcmul_(&part, &part)?;
                let mut root = moments.second.f_sqrt()?;
                let _ = root.f_div_scalar_(second_scale)?;
                let _ = root.f_add_scalar_(EPSILON)?;
                let mut update = moments.first.f_div(&root)?;
                let _ = update.f_mul_scalar_(-learning_rate / first_scale)?;
                let _ = variable.f_add_(&update)?;
            }
            Ok(())
        })
    }
}
