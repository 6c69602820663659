//! This workspace's side of `models.py`: reads the name of a case from standard input, runs it once, and answers with the
//! seconds it took.
//!
//! `cargo xtask bench-peers models`

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::io::{self, BufRead as _, Write as _};
use std::time::Instant;

use anyhow::{Context as _, Result};
use models::{Architecture, InferenceConfig, Network, NetworkConfig, has_bf16, packs_weights};
use tch::nn::{self, OptimizerConfig as _};
use tch::{Device, Kind, Reduction, Tensor};

const BATCH: i64 = 8;

type Case = Box<dyn Fn() -> Result<()>>;

fn main() -> Result<()> {
    // `cargo bench` and `cargo test` start every benchmark; there is nobody to answer then.
    if !std::env::args().any(|argument| argument == "--answer") {
        return Ok(());
    }
    let mut cases = BTreeMap::new();
    for architecture in [Architecture::ResNet18, Architecture::ResNet50] {
        add(&mut cases, architecture)?;
    }
    let mut out = io::stdout().lock();
    writeln!(out, "ready")?;
    out.flush()?;
    for line in io::stdin().lock().lines() {
        let name = line?;
        let seconds = match name.trim() {
            // Not times but answers: 1 for yes.
            "has_bf16" => f64::from(u8::from(has_bf16(Device::Cpu))),
            "packs_weights" => f64::from(u8::from(packs_weights(Kind::Float))),
            name => {
                let case = cases.get(name).with_context(|| format!("there is no case {name}"))?;
                let start = Instant::now();
                case()?;
                start.elapsed().as_secs_f64()
            }
        };
        writeln!(out, "{seconds}")?;
        out.flush()?;
    }
    Ok(())
}

fn add(cases: &mut BTreeMap<String, Case>, architecture: Architecture) -> Result<()> {
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
