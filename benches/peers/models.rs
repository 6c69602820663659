//! This workspace's side of `models.py`.
//!
//! `cargo xtask bench-peers models`

mod answer;

use std::cell::RefCell;

use anyhow::Result;
use models::{Architecture, InferenceConfig, Network, NetworkConfig, has_bf16, packs_weights};
use tch::nn::{self, OptimizerConfig as _};
use tch::{Device, Kind, Reduction, Tensor};

use crate::answer::{Cases, answer};

const BATCH: i64 = 8;

fn main() -> Result<()> {
    let packs = packs_weights(Kind::Float);
    answer(cases, &[("has_bf16", has_bf16(Device::Cpu)), ("packs_weights", packs)])
}

fn cases() -> Result<Cases> {
    models::keep_freed_memory();
    let mut cases = Cases::new();
    for architecture in [Architecture::ResNet18, Architecture::ResNet50] {
        add(&mut cases, architecture)?;
    }
    Ok(cases)
}

fn add(cases: &mut Cases, architecture: Architecture) -> Result<()> {
    let network = || -> Result<Network> { Ok(NetworkConfig::new(architecture).build(Device::Cpu)?) };
    let built = network()?;
    let images = built
        .input()
        .prepare(&Tensor::f_rand([BATCH, 3, 224, 224], (Kind::Float, Device::Cpu))?)?;
    let folded = InferenceConfig::default();
    let bf16 = folded.clone().with_kind(Kind::BFloat16);
    for (name, network) in [
        ("folded", built.optimize_for_inference(&folded)?),
        ("bf16", built.optimize_for_inference(&bf16)?),
        ("as_built", built),
    ] {
        let images = images.shallow_clone();
        cases.insert(
            format!("{name}/{architecture}"),
            Box::new(move || {
                let _no_grad = tch::no_grad_guard();
                let _logits = network.forward(&images)?;
                Ok(())
            }),
        );
    }
    for (name, kind) in [("training", Kind::Float), ("training_bf16", Kind::BFloat16)] {
        let (network, images) = (network()?, images.shallow_clone());
        let labels = Tensor::f_arange(BATCH, (Kind::Int64, Device::Cpu))?;
        let optimiser = nn::sgd(0.9, 0.0, 1e-4, false).build(network.variables(), 1e-3)?;
        let optimiser = RefCell::new(optimiser);
        cases.insert(
            format!("{name}/{architecture}"),
            Box::new(move || {
                let logits = network.forward_mixed(&images, kind)?;
                optimiser.borrow_mut().backward_step(&cross_entropy(&logits, &labels)?);
                Ok(())
            }),
        );
    }
    Ok(())
}

fn cross_entropy(logits: &Tensor, labels: &Tensor) -> Result<Tensor> {
    const NO_LABEL_IGNORED: i64 = -100;
    Ok(logits.f_cross_entropy_loss::<Tensor>(labels, None, Reduction::Mean, NO_LABEL_IGNORED, 0.0)?)
}
