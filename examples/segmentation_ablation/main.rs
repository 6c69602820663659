//! What each refinement adds to the Dice of thresholded heatmaps, on the run that a folder of `sneak_attack` holds.
//!
//! ```sh
//! cargo run --release --example segmentation_ablation -- --run runs/busi
//! ```
//!
//! The images are read again, or the phantoms made again, parted as the run's `metrics.csv` says, and the network has its
//! weights. Thresholds, seeds and the dense CRF's weight and even odds are those of the best mean Dice on the validation
//! lesions. On the test lesions, each refinement's Dice and its difference from the plain threshold's, lesion by lesion,
//! are given with 95 % bootstrap intervals over groups.

mod ablation;

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context as _, Result, ensure};
use clap::Parser;
use gradcam_core::{Parallelism, Stage, Stages, Target, grad_cam, kernel, random_cam};
use models::{Architecture, Head, Network, NetworkConfig};
use ndarray::{Axis, Ix2, Ix3};
use scan_data::{BatchSpec, Dataset, Phantoms, ReadOptions, Scan, batch};
use serde::Deserialize;
use tch::{Device, Tensor};

use crate::ablation::{Case, ablate};

/// Normal, lesion.
const CLASSES: i64 = 2;
const LESION: i64 = 1;
/// Images in one pass through the network.
const BATCH: usize = 16;

/// Prints the Dice that each refinement of heatmaps adds over a threshold.
#[derive(Debug, Parser)]
#[command(version)]
struct Options {
    /// The output folder of a finished run of sneak_attack
    #[arg(long, value_name = "DIR")]
    run: PathBuf,

    /// The folder with the run's images [default: the one that the run names]
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
}

/// What is needed of a run's `summary.json`.
#[derive(Debug, Deserialize)]
struct Run {
    command: String,
    data: RunData,
    networks: Vec<RunNetwork>,
}

#[derive(Debug, Deserialize)]
struct RunData {
    phantoms: Option<RunPhantoms>,
}

#[derive(Debug, Deserialize)]
struct RunPhantoms {
    count: usize,
    size: usize,
}

/// What is needed of a row of a run's `metrics.csv`.
#[derive(Debug, Deserialize)]
struct RunImage {
    network: String,
    image: String,
    part: String,
    lesion: bool,
}

#[derive(Debug, Deserialize)]
struct RunNetwork {
    network: String,
    layer: String,
}

fn main() -> ExitCode {
    models::keep_freed_memory();
    match run(&Options::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(options: &Options) -> Result<()> {
    let file = options.run.join("summary.json");
    let text = fs::read_to_string(&file).with_context(|| file.display().to_string())?;
    let run: Run = serde_json::from_str(&text).with_context(|| file.display().to_string())?;
    let number = |name: &str| -> Result<u64> {
        let value = setting(&run.command, name).with_context(|| format!("the run's command has no --{name}"))?;
        value.parse().with_context(|| format!("--{name} {value}"))
    };
    let (seed, side) = (number("seed")?, number("image-size")? as usize);
    let dataset = match (run.data.phantoms, options.data.as_deref()) {
        (Some(phantoms), None) => Phantoms::default()
            .with_count(phantoms.count)
            .with_size(phantoms.size)
            .with_seed(seed)
            .generate()?,
        (_, folder) => {
            let folder = folder.or(setting(&run.command, "data").map(Path::new));
            let folder = folder.with_context(|| format!("{} names no folder of images", file.display()))?;
            let layout = setting(&run.command, "layout").map(str::parse).transpose()?;
            Dataset::read_with(folder, &ReadOptions::default().with_layout(layout), &|_, _| ())?
        }
    };
    let images = images(&options.run.join("metrics.csv"))?;
    for RunNetwork { network: name, layer } in &run.networks {
        let architecture: Architecture = name.parse()?;
        let mut network = NetworkConfig::new(architecture)
            .with_classes(CLASSES)
            .build(Device::Cpu)?;
        network.load(options.run.join(name).join("weights.safetensors"), Head::Exact)?;
        let (validation, test) = (
            lesions(&dataset.scans, &images, name, "validation")?,
            lesions(&dataset.scans, &images, name, "test")?,
        );
        let cases = |part: &[usize]| cases(&network, layer, &dataset.scans, part, side, seed);
        let table = ablate(&cases(&validation)?, &cases(&test)?, seed)?;
        println!(
            "{name} at {layer}: {} test lesions, thresholds from {} validation lesions\n{table}",
            test.len(),
            validation.len()
        );
    }
    Ok(())
}

/// The rows of a run's table of images.
fn images(file: &Path) -> Result<Vec<RunImage>> {
    let mut reader = csv::Reader::from_path(file).with_context(|| file.display().to_string())?;
    let rows: Result<_, csv::Error> = reader.deserialize().collect();
    rows.with_context(|| file.display().to_string())
}

/// The lesions of a part of the run, among the scans read.
fn lesions(scans: &[Scan], images: &[RunImage], network: &str, part: &str) -> Result<Vec<usize>> {
    let numbers: HashMap<&str, usize> = scans.iter().map(|scan| scan.id.as_str()).zip(0..).collect();
    let of_part = images
        .iter()
        .filter(|row| row.network == network && row.part == part && row.lesion);
    let found: Vec<usize> = of_part
        .map(|row| {
            let number = numbers.get(row.image.as_str()).copied();
            let number = number.filter(|&number| scans[number].lesion);
            number.with_context(|| format!("the run's lesion {:?} is not among the images", row.image))
        })
        .collect::<Result<_>>()?;
    ensure!(!found.is_empty(), "the run has no lesions of {network} for {part}");
    Ok(found)
}

/// The value of an option in a command line.
fn setting<'a>(command: &'a str, name: &str) -> Option<&'a str> {
    let (_, rest) = command.split_once(&format!(" --{name} "))?;
    match rest.strip_prefix('\'') {
        Some(quoted) => quoted.split('\'').next(),
        None => rest.split(' ').next(),
    }
}

/// Some scans with the Grad-CAM heatmaps of the lesion class at a layer.
fn cases<'a>(
    network: &Network,
    layer: &str,
    scans: &'a [Scan],
    part: &[usize],
    side: usize,
    seed: u64,
) -> Result<Vec<Case<'a>>> {
    let stages = network.stages().iter();
    let stages = stages.map(|stage| Stage::carrying(stage.name(), |x, carried| stage.forward_carrying(x, carried)));
    let stages = Stages::new(stages.collect())?;
    let stages = stages.with_fused(|range, x, carried| network.forward_stages(range, x, carried));
    let mut cases = Vec::new();
    for chunk in part.chunks(BATCH) {
        let images = batch(scans, chunk, &BatchSpec::new(side, side, 1))?;
        let images = Tensor::try_from(images)?;
        let capture = stages.capture(&network.input().prepare(&images)?, &[layer])?;
        let gradients = capture.gradients(&vec![Target::Class(LESION); chunk.len()])?;
        let maps = grad_cam(&gradients.at(layer)?)?
            .to_array()?
            .into_dimensionality::<Ix3>()?;
        for (map, &index) in maps.axis_iter(Axis(0)).zip(chunk) {
            let scan = &scans[index];
            let (height, width) = scan.image.dim();
            let size = [height, width];
            let heatmap = kernel::heatmaps(map.insert_axis(Axis(0)), &size, Parallelism::Rayon)?;
            let number = index as u64;
            let random = random_cam(seed, number..number + 1, map.shape(), &size)?;
            cases.push(Case {
                image: scan.image.view(),
                truth: scan.mask.view(),
                group: &scan.group,
                heatmap: heatmap.maps.index_axis_move(Axis(0), 0),
                random: random.maps.index_axis_move(Axis(0), 0).into_dimensionality::<Ix2>()?,
            });
        }
    }
    Ok(cases)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_are_read_from_the_command() {
        let command = "sneak_attack -- --data '../my scans' --layout busi --seed 7";
        assert_eq!(setting(command, "data"), Some("../my scans"));
        assert_eq!(setting(command, "layout"), Some("busi"));
        assert_eq!(setting(command, "seed"), Some("7"));
        assert_eq!(setting(command, "layer"), None);
    }

    #[test]
    fn lesions_are_those_of_the_part() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("metrics.csv");
        let dataset = Phantoms::default().with_count(16).with_size(32).generate().unwrap();
        let mut table = "network,image,group,part,lesion,dice_otsu\n".to_owned();
        for (number, scan) in dataset.scans.iter().enumerate() {
            let part = ["train", "validation", "test"][number % 3];
            for network in ["resnet18", "vgg16"] {
                table += &format!("{network},{},{},{part},{},\n", scan.id, scan.group, scan.lesion);
            }
        }
        fs::write(&file, table).unwrap();
        let images = images(&file).unwrap();
        assert_eq!(images.len(), 32);
        let test = lesions(&dataset.scans, &images, "vgg16", "test").unwrap();
        let expected: Vec<usize> = (0..16)
            .filter(|&number| number % 3 == 2 && dataset.scans[number].lesion)
            .collect();
        assert_eq!(test, expected);
        assert!(lesions(&dataset.scans, &images, "alexnet", "test").is_err());
        let error = lesions(&dataset.scans[..2], &images, "vgg16", "test").unwrap_err();
        assert!(error.to_string().contains("is not among the images"), "{error}");
    }

    #[test]
    fn a_folder_without_a_run_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let options = Options {
            run: folder.path().to_owned(),
            data: None,
        };
        let error = run(&options).unwrap_err();
        let file = folder.path().join("summary.json");
        assert!(error.to_string().contains(&file.display().to_string()));
    }
}
