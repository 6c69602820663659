//! The command line.

use std::path::PathBuf;

use anyhow::{Result, bail, ensure};
use clap::Parser;
use heatmap_filter::Filter;
use models::{Architecture, DeviceChoice, Output};
use scan_data::Layout;
use tch::Device;

/// Trains a classifier on images labelled tumour or not, turns its Grad-CAM heatmaps into
/// segmentations, scores them against the masks, and trains again on images filtered by the
/// heatmaps to see whether they mark what the classifier needs.
///
/// Without --data it runs on synthetic phantoms. A finished run leaves report.html, summary.json,
/// metrics.csv (a row per image), overlay pictures and the weights in the output folder.
#[derive(Debug, Parser)]
#[command(version)]
pub struct Options {
    /// The folder with the images; synthetic phantoms when absent
    #[arg(long, value_name = "DIR")]
    pub data: Option<PathBuf>,

    /// How the folder is laid out: busi, btp or images-masks; guessed when it is clear
    #[arg(long)]
    pub layout: Option<Layout>,

    /// The network to train: torchvision's name (resnet18, squeezenet1_0, …), or Keras's behind keras_ (keras_xception, …);
    /// give several, apart by commas, to compare them
    #[arg(long, value_name = "NAME", value_delimiter = ',', default_value = "resnet18")]
    pub model: Vec<Architecture>,

    /// Weights to start from (safetensors or a PyTorch state dict); the head is replaced when the class counts differ
    #[arg(long, value_name = "FILE")]
    pub weights: Option<PathBuf>,

    /// Passes over the training images [default: 12; phantoms: 6]
    #[arg(long, value_parser = positive)]
    pub epochs: Option<usize>,

    /// Side of the square that images are resized to, in pixels [default: 224; phantoms: 128]
    #[arg(long, value_name = "PIXELS", value_parser = positive)]
    pub image_size: Option<usize>,

    /// Images a training step [default: 16; phantoms: 8, for they are few]
    #[arg(long, value_parser = positive)]
    pub batch: Option<usize>,

    /// Peak learning rate [default: 1e-4 from --weights, 1e-3 from scratch]
    #[arg(long, value_name = "RATE")]
    pub learning_rate: Option<f64>,

    /// Where to run: auto, cpu, cuda or cuda:N
    #[arg(long, default_value_t = DeviceChoice::Auto)]
    pub device: DeviceChoice,

    /// What the phantoms, the split, the weights and everything else by chance are drawn from
    #[arg(long, default_value_t = 0)]
    pub seed: u64,

    /// The layer whose heatmap is taken [default: the last with spatial extent]
    #[arg(long, value_name = "NAME")]
    pub layer: Option<String>,

    /// Print the layers with their output shapes, parameters and multiply-adds, and stop
    #[arg(long)]
    pub list_layers: bool,

    /// How the images are filtered for re-training: keep-hottest, remove-hottest, keep-random, remove-random
    #[arg(
        long,
        value_name = "NAMES",
        value_delimiter = ',',
        default_value = "keep-hottest,remove-hottest,keep-random"
    )]
    pub filters: Vec<Filter>,

    /// The share of pixels that counts as hottest in the filters
    #[arg(long, default_value_t = 0.3)]
    pub hottest: f64,

    /// Stop at the first image that cannot be used, instead of going on without it
    #[arg(long)]
    pub strict: bool,

    /// The output folder [default: runs/<name of the data>]
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,

    /// Go on with the run in the output folder that was broken off
    #[arg(long)]
    pub resume: bool,

    /// Replace a run of other settings in the output folder
    #[arg(long, conflicts_with = "resume")]
    pub overwrite: bool,
}

fn positive(text: &str) -> Result<usize> {
    let number = text.parse()?;
    ensure!(number > 0, "expected 1 or more");
    Ok(number)
}

impl Options {
    /// What the parser cannot see: options that contradict each other.
    pub fn check(&self) -> Result<()> {
        if self.weights.is_some() && self.model.len() > 1 {
            bail!(
                "--weights holds the weights of one network, but --model names {}: {}; run them one by one",
                self.model.len(),
                names(&self.model)
            );
        }
        for (index, model) in self.model.iter().enumerate() {
            ensure!(!self.model[..index].contains(model), "--model names {model} twice");
            ensure!(
                model.axes() == 2 && model.output() == Output::Image,
                "--model names {model}, which does not classify images"
            );
        }
        for (index, filter) in self.filters.iter().enumerate() {
            ensure!(
                !self.filters[..index].contains(filter),
                "--filters names {filter} twice"
            );
        }
        ensure!(
            0.0 < self.hottest && self.hottest < 1.0,
            "--hottest is {}; expected a share between 0 and 1",
            self.hottest
        );
        if let Some(rate) = self.learning_rate {
            ensure!(
                rate.is_finite() && rate > 0.0,
                "--learning-rate is {rate}; expected a number above 0"
            );
        }
        if self.layout.is_some() && self.data.is_none() {
            bail!("--layout says how --data is laid out, but there is no --data");
        }
        Ok(())
    }

    pub fn image_size(&self) -> usize {
        self.image_size.unwrap_or(match self.data {
            Some(_) => 224,
            None => crate::data::PHANTOM_SIZE,
        })
    }

    pub fn epochs(&self) -> usize {
        self.epochs.unwrap_or(match self.data {
            Some(_) => 12,
            None => 6,
        })
    }

    pub fn batch(&self) -> usize {
        self.batch.unwrap_or(match self.data {
            Some(_) => 16,
            None => 8,
        })
    }

    /// Pretrained weights want small steps; fresh ones large ones.
    pub fn learning_rate(&self) -> f64 {
        self.learning_rate.unwrap_or(match self.weights {
            Some(_) => 1e-4,
            None => 1e-3,
        })
    }

    pub fn out(&self) -> PathBuf {
        self.out.clone().unwrap_or_else(|| {
            let name = match &self.data {
                Some(folder) => folder.canonicalize().unwrap_or(folder.clone()),
                None => PathBuf::from("phantoms"),
            };
            PathBuf::from("runs").join(name.file_name().unwrap_or("data".as_ref()))
        })
    }

    /// Everything that the numbers depend on, as the command line that makes them again on a device.
    pub fn command(&self, device: Device) -> String {
        let mut command = "cargo run --release --example sneak_attack --".to_owned();
        let mut add = |name: &str, value: String| {
            let quoted = value.contains(|c: char| !c.is_ascii_alphanumeric() && !"/._-,:=".contains(c));
            let value = if quoted {
                format!("'{}'", value.replace('\'', r"'\''"))
            } else {
                value
            };
            command.push_str(&format!(" --{name} {value}"));
        };
        if let Some(data) = &self.data {
            add("data", data.display().to_string());
        }
        if let Some(layout) = self.layout {
            add("layout", layout.to_string());
        }
        add("model", names(&self.model));
        if let Some(weights) = &self.weights {
            add("weights", weights.display().to_string());
        }
        add("epochs", self.epochs().to_string());
        add("image-size", self.image_size().to_string());
        add("batch", self.batch().to_string());
        add("learning-rate", self.learning_rate().to_string());
        add(
            "device",
            match device {
                Device::Cuda(index) => format!("cuda:{index}"),
                _ => "cpu".to_owned(),
            },
        );
        add("seed", self.seed.to_string());
        if let Some(layer) = &self.layer {
            add("layer", layer.clone());
        }
        add("filters", names(&self.filters));
        add("hottest", self.hottest.to_string());
        if self.strict {
            command.push_str(" --strict");
        }
        command
    }
}

fn names<T: ToString>(items: &[T]) -> String {
    items.iter().map(T::to_string).collect::<Vec<_>>().join(",")
}
