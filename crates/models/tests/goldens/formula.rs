//! Weights and inputs from a formula, the same as in `formula.py`, so that none need be stored; and the few numbers
//! that are stored of each tensor.

#[path = "uniform.rs"]
mod uniform;

use models::Network;
use tch::{Kind, TchError, Tensor};
use uniform::uniform;

pub(crate) const LEARNING_RATE: f64 = 1e-3;
const CLASSES: i64 = 10;

fn tensor(shape: &[i64], values: impl Iterator<Item = f64>) -> Result<Tensor, TchError> {
    let values: Vec<f32> = values.map(|value| value as f32).collect();
    Tensor::f_from_slice(&values)?.f_view(shape)
}

/// A batch in [-1, 1).
pub(crate) fn images(shape: &[i64]) -> Result<Tensor, TchError> {
    tensor(shape, uniform("input", shape.iter().product::<i64>() as usize))
}

pub(crate) fn labels(count: i64) -> Tensor {
    Tensor::from_slice(&(0..count).map(|index| index * 3 % CLASSES).collect::<Vec<_>>())
}

/// Gives every variable its formula. Layers keep the mean square of what a ReLU feeds them, those over single channels
/// that of what they are fed; norms scale by about `gain`, those that narrow MobileNetV2's blocks by a quarter of it: the
/// others' gain is large there, as only numbers above six tell a ReLU6 from a ReLU.
pub(crate) fn fill(network: &Network, gain: f64) -> Result<(), TchError> {
    let _no_grad = tch::no_grad_guard();
    for (name, mut variable) in network.variables().variables() {
        let shape = variable.size();
        let u = uniform(&name, variable.numel());
        let values: Box<dyn Iterator<Item = f64>> = if shape.len() >= 2 {
            let inputs = shape[1..].iter().product::<i64>() as f64;
            let scale = (if shape[1] == 1 { 3.0 / inputs } else { 6.0 / inputs }).sqrt();
            Box::new(u.map(move |u| u * scale))
        } else if name.ends_with("running_var") {
            Box::new(u.map(|u| 1.0 + 0.2 * u))
        } else if name.ends_with("weight") {
            let narrowing = if name.ends_with("_project_BN.weight") {
                0.25
            } else {
                1.0
            };
            Box::new(u.map(move |u| gain * (1.0 + 0.2 * u) * narrowing))
        } else {
            Box::new(u.map(|u| 0.1 * u))
        };
        variable.f_copy_(&tensor(&shape, values)?)?;
    }
    Ok(())
}

/// Mean, root mean square, and 16 values at places from a formula.
pub(crate) fn numbers(name: &str, tensor: &Tensor) -> Result<Vec<f64>, TchError> {
    let values = tensor.f_to_kind(Kind::Double)?.f_contiguous()?.f_flatten(0, -1)?;
    let values: Vec<f64> = (&values).try_into()?;
    let count = values.len() as f64;
    let places = uniform(&format!("places {name}"), 16).map(|u| values[((u + 1.0) / 2.0 * count) as usize]);
    Ok([values.iter().sum::<f64>() / count, root_mean_square(&values)]
        .into_iter()
        .chain(places)
        .collect())
}

pub(crate) fn root_mean_square(values: &[f64]) -> f64 {
    (values.iter().map(|value| value * value).sum::<f64>() / values.len() as f64).sqrt()
}
