//! Images per second: of the forward pass, of heatmaps, of training, by network, batch and precision.
//!
//! ```text
//! cargo run --release --example throughput -- --networks resnet18,resnet50 --batches 1,8 --csv throughput.csv
//! ```
//!
//! The forward pass and the heatmaps (Grad-CAM of the predicted class at the last layer with extent in space, at the
//! image's size) are of the network as `optimize_for_inference` rebuilds it: batch norms folded, weights packed on a
//! processor, in the precision named. The training step (forward, cross-entropy, backward, SGD with momentum) is of the original, with
//! its variables in f32 and the rest in the precision named. Weights and images are random: time does not depend on them.
//! On NVIDIA's GPUs since Ampere cuDNN multiplies what is called f32 here in TF32, of 10 bits, as PyTorch has it do, unless
//! the environment says `NVIDIA_TF32_OVERRIDE=0`.

use std::collections::BTreeSet;
use std::fmt;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use clap::{Parser, ValueEnum};
use gradcam_core::{Stage, Stages, Target, grad_cam, last_spatial};
use models::{Architecture, DeviceChoice, InferenceConfig, Network, NetworkConfig, Output};
use serde::Serialize;
use tch::nn::{self, OptimizerConfig as _};
use tch::{Cuda, Device, Kind, Reduction, Tensor};

#[derive(Debug, Parser)]
#[command(about = "Images per second of the forward pass, of heatmaps and of training")]
struct Options {
    /// Classifiers by name, with commas between.
    #[arg(long, value_delimiter = ',', default_value = "resnet18,resnet50")]
    networks: Vec<Architecture>,
    /// Images at once, with commas between.
    #[arg(long, value_delimiter = ',', default_value = "1,8")]
    batches: Vec<i64>,
    /// Precisions, with commas between.
    #[arg(long, value_enum, value_delimiter = ',', default_value = "f32,bf16")]
    precisions: Vec<Precision>,
    /// auto, cpu, cuda or cuda:N.
    #[arg(long, default_value_t)]
    device: DeviceChoice,
    /// Height and width of the images; the network's own if not given.
    #[arg(long)]
    size: Option<i64>,
    /// Seconds to spend on each figure, beside the warm-up.
    #[arg(long, default_value_t = 2.0)]
    seconds: f64,
    /// Write the table as CSV, too.
    #[arg(long)]
    csv: Option<PathBuf>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Precision {
    F32,
    Bf16,
    F16,
}

impl Precision {
    fn kind(self) -> Kind {
        match self {
            Self::F32 => Kind::Float,
            Self::Bf16 => Kind::BFloat16,
            Self::F16 => Kind::Half,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::F32 => "f32",
            Self::Bf16 => "bf16",
            Self::F16 => "f16",
        }
    }
}

/// One line of the table: images per second.
#[derive(Debug, Serialize)]
struct Row {
    network: &'static str,
    batch: i64,
    size: i64,
    precision: &'static str,
    device: String,
    threads: i32,
    forward: f64,
    heatmap: f64,
    /// Of more than one image.
    training: Option<f64>,
}

const HEADER: &str = "network              batch  size  precision   forward/s   heatmap/s  training/s";

impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let training = self
            .training
            .map_or("-".to_owned(), |training| format!("{training:.1}"));
        write!(
            f,
            "{:<19} {:>6} {:>5}  {:<9} {:>11.1} {:>11.1} {training:>11}",
            self.network, self.batch, self.size, self.precision, self.forward, self.heatmap
        )
    }
}

fn main() -> Result<()> {
    models::keep_freed_memory();
    let options = Options::parse();
    ensure!(
        options.seconds > 0.0 && options.seconds.is_finite() && options.batches.iter().all(|&batch| batch > 0),
        "--seconds and --batches are finite and above 0"
    );
    if let Some(pixels) = options
        .networks
        .iter()
        .find(|network| network.output() == Output::Pixels)
    {
        bail!("--networks names {pixels}, which gives each pixel a class: there is no class to make a heatmap of");
    }
    let device = options.device.device()?;
    let name = describe(device);
    println!(
        "{name}, {} threads; images per second, in the median\n\n{HEADER}",
        tch::get_num_threads()
    );
    let mut csv = match &options.csv {
        Some(path) => Some(csv::Writer::from_path(path).with_context(|| format!("cannot write {}", path.display()))?),
        None => None,
    };
    for &architecture in &options.networks {
        let network = NetworkConfig::new(architecture).build(device)?;
        for &batch in &options.batches {
            for &precision in &options.precisions {
                let row = measure(&network, batch, precision, &name, &options)
                    .with_context(|| format!("{architecture}, batch {batch}, {}", precision.name()))?;
                println!("{row}");
                if let Some(csv) = &mut csv {
                    csv.serialize(&row)?;
                    csv.flush()?;
                }
            }
        }
    }
    Ok(())
}

fn measure(network: &Network, batch: i64, precision: Precision, device: &str, options: &Options) -> Result<Row> {
    let size = options.size.unwrap_or(network.input().size);
    let mut shape = vec![batch, network.input().channels()];
    shape.resize(2 + network.architecture().axes(), size);
    let images = Tensor::f_rand(shape.as_slice(), (Kind::Float, network.device()))?;
    let images = network.input().prepare(&images)?;
    let time = |step: &mut dyn FnMut() -> Result<()>| -> Result<f64> {
        Ok(batch as f64 / median(options.seconds, network.device(), step)?.as_secs_f64())
    };

    let fast = network.optimize_for_inference(&InferenceConfig::default().with_kind(precision.kind()))?;
    let forward = time(&mut || {
        let _no_grad = tch::no_grad_guard();
        let _logits = fast.forward(&images)?;
        Ok(())
    })?;

    let stages = fast.stages().iter();
    let stages = stages.map(|stage| Stage::carrying(stage.name(), |x, carried| stage.forward_carrying(x, carried)));
    let stages = Stages::new(stages.collect())?;
    let stages = stages.with_fused(|range, x, carried| fast.forward_stages(range, x, carried));
    let shapes = stages.shapes(&images.f_narrow(0, 0, 1)?)?;
    let layer = last_spatial(&shapes).context("the network has no layer with extent in space")?;
    let targets = vec![Target::Predicted; batch as usize];
    let heatmap = time(&mut || {
        let capture = stages.capture(&images, &[layer])?;
        let maps = grad_cam(&capture.gradients(&targets)?.at(layer)?)?;
        maps.heatmaps(&shape[2..])?.to_array()?;
        Ok(())
    })?;

    let mut optimiser = nn::sgd(0.9, 0.0, 1e-4, false).build(network.variables(), 1e-3)?;
    let labels = Tensor::f_zeros([batch], (Kind::Int64, network.device()))?;
    let training = if batch == 1 {
        // Batch norms take statistics over the batch, and the last ones of some networks see one place only.
        None
    } else {
        Some(time(&mut || {
            let logits = network.forward_mixed(&images, precision.kind())?;
            optimiser.backward_step(&cross_entropy(&logits, &labels)?);
            Ok(())
        })?)
    };
    Ok(Row {
        network: network.architecture().name(),
        batch,
        size,
        precision: precision.name(),
        device: device.to_owned(),
        threads: tch::get_num_threads(),
        forward,
        heatmap,
        training,
    })
}

/// The median time of a step, in `seconds`, after a fifth of them that does not count. A GPU works on after it was told
/// what to do, so it is told a tenth of a second's work at once and waited for then.
fn median(seconds: f64, device: Device, step: &mut dyn FnMut() -> Result<()>) -> Result<Duration> {
    const LEAST: usize = 5;
    const AT_ONCE: f64 = 0.1;
    let mut timed = |steps: u32| -> Result<Duration> {
        let start = Instant::now();
        for _ in 0..steps {
            step()?;
        }
        if let Device::Cuda(index) = device {
            Cuda::synchronize(index as i64);
        }
        Ok(start.elapsed() / steps)
    };
    timed(1)?;
    let start = Instant::now();
    let mut one = timed(1)?;
    while start.elapsed().as_secs_f64() < seconds / 5.0 {
        one = timed(1)?;
    }
    let steps = match device {
        Device::Cuda(_) => (AT_ONCE / one.as_secs_f64()).clamp(1.0, 1e3) as u32,
        _ => 1,
    };
    let start = Instant::now();
    let mut times = Vec::new();
    while times.len() < LEAST || start.elapsed().as_secs_f64() < seconds {
        times.push(timed(steps)?);
    }
    times.sort();
    Ok(times[times.len() / 2])
}

/// The device by the name that it was sold under, where that can be read.
fn describe(device: Device) -> String {
    let field = |text: String, key: &str| {
        let line = text.lines().find(|line| line.starts_with(key))?.to_owned();
        Some(line.split_once(':')?.1.trim().to_owned())
    };
    match device {
        Device::Cuda(index) => {
            // The driver counts cards otherwise than CUDA does: only where all are alike the name is sure.
            let cards = std::fs::read_dir("/proc/driver/nvidia/gpus")
                .into_iter()
                .flatten()
                .flatten();
            let names =
                cards.map(|card| field(std::fs::read_to_string(card.path().join("information")).ok()?, "Model"));
            let names: BTreeSet<_> = names.collect();
            match names.into_iter().collect::<Option<Vec<_>>>().as_deref() {
                Some([name]) => name.clone(),
                _ => format!("cuda:{index}"),
            }
        }
        _ => std::fs::read_to_string("/proc/cpuinfo")
            .ok()
            .and_then(|text| field(text, "model name"))
            .unwrap_or_else(|| "cpu".to_owned()),
    }
}

fn cross_entropy(logits: &Tensor, labels: &Tensor) -> Result<Tensor> {
    const NO_LABEL_IGNORED: i64 = -100;
    Ok(logits.f_cross_entropy_loss::<Tensor>(labels, None, Reduction::Mean, NO_LABEL_IGNORED, 0.0)?)
}
