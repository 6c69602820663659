//! Weights and inputs from a formula, the same as in `make.py`, so that none need be stored.

use models::Network;
use tch::{TchError, Tensor};

/// Numbers in [-1, 1) from a name: splitmix64 of the name's fnv1a64 hash plus the index.
fn uniform(name: &str, count: usize) -> impl Iterator<Item = f64> {
    let seed = name.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    (0..count as u64).map(move |index| {
        let z = seed.wrapping_add(index).wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        let z = z ^ (z >> 31);
        (z >> 11) as f64 * (-53f64).exp2() * 2.0 - 1.0
    })
}

fn tensor(shape: &[i64], values: impl Iterator<Item = f64>) -> Result<Tensor, TchError> {
    let values: Vec<f32> = values.map(|value| value as f32).collect();
    Tensor::f_from_slice(&values)?.f_view(shape)
}

fn count(shape: &[i64]) -> usize {
    shape.iter().product::<i64>() as usize
}

/// Numbers in [-1, 1) from a name.
pub(crate) fn numbers(name: &str, shape: &[i64]) -> Result<Tensor, TchError> {
    tensor(shape, uniform(name, count(shape)))
}

/// An input in [-1, 1).
pub(crate) fn input(shape: &[i64]) -> Result<Tensor, TchError> {
    numbers("input", shape)
}

/// An input in [0, 1).
pub(crate) fn image(shape: &[i64]) -> Result<Tensor, TchError> {
    tensor(shape, uniform("input", count(shape)).map(|u| (u + 1.0) / 2.0))
}

/// Gives every variable its formula: layers with inputs get sqrt(6 / inputs) u, scales and
/// variances 1 + 0.2 u, biases and means 0.1 u.
pub(crate) fn fill(network: &Network) -> Result<(), TchError> {
    let _no_grad = tch::no_grad_guard();
    for (name, mut variable) in network.variables().variables() {
        let shape = variable.size();
        let u = uniform(&name, count(&shape));
        let values: Box<dyn Iterator<Item = f64>> = if shape.len() >= 2 {
            let scale = (6.0 / shape[1..].iter().product::<i64>() as f64).sqrt();
            Box::new(u.map(move |u| u * scale))
        } else if name.ends_with("weight") || name.ends_with("running_var") {
            Box::new(u.map(|u| 1.0 + 0.2 * u))
        } else {
            Box::new(u.map(|u| 0.1 * u))
        };
        variable.f_copy_(&tensor(&shape, values)?)?;
    }
    Ok(())
}
