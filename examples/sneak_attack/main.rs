//! The paper's experiment on real scans, from images with labels to a report.
//!
//! Guan & Loew, "A Sneak Attack on Segmentation of Medical Images Using Deep Neural Network
//! Classifiers", 2021: train a classifier on tumour or no tumour; take its Grad-CAM heatmaps as
//! segmentations, scored by Dice; train again on images filtered by the heatmaps, to see whether
//! they mark what the classifier needs. `cargo run --release --example sneak_attack -- --help`
//! says what can be set.

// In a program, `pub` is for its other modules.
#![allow(unreachable_pub)]

mod classifier;
mod data;
mod heatmaps;
mod options;
mod pictures;
mod plots;
mod progress;
mod report;
mod retraining;
mod run_folder;
mod segmentation;
mod summary;
mod table;

use std::process::ExitCode;

use anyhow::Result;
use clap::Parser as _;
use models::Architecture;
use scan_data::Part;
use tch::Device;

use crate::data::Data;
use crate::options::Options;
use crate::progress::Steps;
use crate::run_folder::RunFolder;
use crate::summary::Summary;

fn main() -> ExitCode {
    let options = Options::parse();
    match options.check().and_then(|()| run(&options)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let message = format!("{error:#}");
            // libtorch's errors end in a trace of its C++ calls.
            let message = message.split("\nException raised from").next().unwrap_or(&message);
            eprintln!("error: {message}");
            ExitCode::FAILURE
        }
    }
}

fn run(options: &Options) -> Result<()> {
    let device = options.device.device()?;
    if options.list_layers {
        return list_layers(options, device);
    }
    // What cannot work is found before anything takes time: the weights, the layer, the folder.
    for &architecture in &options.model {
        let network = classifier::build(options, architecture, device)?;
        heatmaps::choose_layer(&network, options.image_size(), options.layer.as_deref())?;
    }
    let data = Data::read(options)?;
    let folder = RunFolder::open(options)?;
    println!("{}", table::parts(&data));

    let trainings = options.model.len() * (1 + options.filters.len());
    let mut steps = Steps::new(trainings, options.epochs);
    let mut networks = Vec::new();
    let mut pictures = Vec::new();
    let mut images = Vec::new();
    for &architecture in &options.model {
        let outcome = experiment(options, architecture, device, &data, &folder, &mut steps)?;
        steps.say(&table::network(&outcome.summary));
        networks.push(outcome.summary);
        pictures.push(outcome.pictures);
        images.extend(outcome.images);
        // After every network, so that what is computed is not lost with a later one.
        let summary = Summary {
            command: options.command(),
            data: data.summary(),
            networks: networks.clone(),
        };
        folder.write_json("summary.json", &summary)?;
        folder.write_csv("metrics.csv", &images)?;
        folder.write_text("report.html", &report::render(&summary, &pictures)?)?;
    }
    drop(steps);

    let faults = data.faults();
    if !faults.is_empty() {
        println!("\n{} images could not be used:", faults.len());
        for fault in &faults {
            println!("  {fault}");
        }
    }
    println!("\nThe report is {}", folder.path("report.html").display());
    Ok(())
}

fn list_layers(options: &Options, device: Device) -> Result<()> {
    for &architecture in &options.model {
        let network = classifier::build(options, architecture, device)?;
        println!("{architecture}, one image of {0}×{0}:", options.image_size());
        for (name, shape) in heatmaps::layers(&network, options.image_size())? {
            println!("  {name:<14} {shape:?}");
        }
    }
    Ok(())
}

/// Everything that one network gave.
struct Outcome {
    summary: summary::Network,
    pictures: Vec<report::Picture>,
    images: Vec<Vec<(String, String)>>,
}

/// Training, heatmaps, segmentation and re-training of one network.
fn experiment(
    options: &Options,
    architecture: Architecture,
    device: Device,
    data: &Data,
    folder: &RunFolder,
    steps: &mut Steps,
) -> Result<Outcome> {
    let network = classifier::build(options, architecture, device)?;
    let (layer, layer_shape) = heatmaps::choose_layer(&network, options.image_size(), options.layer.as_deref())?;

    steps.begin(format!("training {architecture}"));
    let checkpoint = folder.checkpoint(architecture, "unfiltered")?;
    let training = classifier::train(&network, data, &data.images, options, &checkpoint, steps)?;
    network.save(folder.network(architecture)?.join("weights.safetensors"))?;
    let probabilities = classifier::probabilities(&network, &data.images, options)?;
    let test = classifier::test_scores(data, &probabilities, options.seed)?;

    steps.say(&format!("heatmaps of {architecture} at {layer}"));
    let maps = heatmaps::grad_cam(&network, &data.images, &layer, options.batch())?;
    let segmentation = segmentation::score(data, &maps, options.seed)?;
    let pictures = pictures::write(options, architecture, data, &maps, &segmentation, folder)?;
    let images = table::images(architecture, data, &probabilities, &maps, &segmentation);

    let heatmaps = heatmaps::to_images(&maps, options.image_size())?;
    let retraining = retraining::run(options, architecture, device, data, &heatmaps, &test, folder, steps)?;

    let lesions = [Part::Validation, Part::Test].map(|part| data.lesions(part)).concat();
    Ok(Outcome {
        summary: summary::Network {
            network: architecture.to_string(),
            weights: options.weights.as_ref().map(|path| path.display().to_string()),
            layer,
            layer_shape,
            epochs: training
                .history
                .iter()
                .map(|epoch| summary::Epoch {
                    epoch: epoch.epoch,
                    training_loss: epoch.training_loss,
                    validation_loss: epoch.validation_loss,
                    validation_auc: epoch.validation_score,
                })
                .collect(),
            best_epoch: training.best + 1,
            test,
            empty_heatmaps: lesions.iter().filter(|&&index| table::is_empty(&maps, index)).count(),
            segmentation: segmentation.rows,
            curve: segmentation.curve,
            retraining,
        },
        pictures,
        images,
    })
}
