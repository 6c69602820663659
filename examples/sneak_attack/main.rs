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
mod readings;
mod report;
mod retraining;
mod run_folder;
mod segmentation;
mod summary;
mod table;

use std::process::ExitCode;

use anyhow::Result;
use clap::Parser as _;
use gradcam_core::Content;
use models::Architecture;
use tch::Device;

use crate::data::Data;
use crate::options::Options;
use crate::progress::Steps;
use crate::run_folder::{METRICS, REPORT, RunFolder, SUMMARY};
use crate::summary::Summary;

fn main() -> ExitCode {
    models::keep_freed_memory();
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
        let (network, head_replaced) = classifier::build(options, architecture, device)?;
        heatmaps::choose_layer(&network, options.image_size(), options.layer.as_deref())?;
        if let Some(weights) = &options.weights
            && head_replaced
        {
            println!("the head of {} has other classes: it starts afresh", weights.display());
        }
    }
    let command = options.command(device);
    let folder = RunFolder::open(options, command.clone())?;
    let data = Data::read(options)?;
    folder.begin()?;
    println!("{}", table::parts(&data));

    let trainings = options.model.len() * (1 + options.filters.len());
    let mut run = Run {
        options,
        device,
        folder,
        steps: Steps::new(trainings, options.epochs()),
        summary: Summary {
            command,
            data: data.summary(),
            networks: Vec::new(),
        },
        data,
        pictures: Vec::new(),
        images: Vec::new(),
    };
    for &architecture in &options.model {
        run.experiment(architecture)?;
    }
    drop(run.steps);

    let faults = &run.summary.data.faults;
    if !faults.is_empty() {
        println!("\n{} images could not be used:", faults.len());
        for fault in faults {
            println!("  {fault}");
        }
    }
    println!("\nThe report is {}", run.folder.path(REPORT).display());
    Ok(())
}

fn list_layers(options: &Options, device: Device) -> Result<()> {
    for &architecture in &options.model {
        let (network, _) = classifier::build(options, architecture, device)?;
        println!("{architecture}, one image of {0}×{0}:", options.image_size());
        println!("{}", heatmaps::describe(&network, options.image_size())?);
    }
    Ok(())
}

/// A run, and what it has found so far.
struct Run<'a> {
    options: &'a Options,
    device: Device,
    folder: RunFolder,
    data: Data,
    steps: Steps,
    summary: Summary,
    /// Of each network in the summary, those shown in the report.
    pictures: Vec<Vec<report::Picture>>,
    /// The rows of `metrics.csv`.
    images: Vec<Vec<(String, String)>>,
}

impl Run<'_> {
    /// Training, heatmaps, segmentation and re-training of one network.
    fn experiment(&mut self, architecture: Architecture) -> Result<()> {
        let Self {
            options, data, folder, ..
        } = self;
        let options = *options;
        let (network, _) = classifier::build(options, architecture, self.device)?;
        let (layer, layer_shape) = heatmaps::choose_layer(&network, options.image_size(), options.layer.as_deref())?;

        self.steps.begin(format!("training {architecture}"));
        let checkpoint = folder.checkpoint(architecture, "unfiltered")?;
        let training = classifier::train(&network, data, &data.images, options, &checkpoint, &mut self.steps)?;
        network.save(folder.weights(architecture)?)?;
        let probabilities = classifier::probabilities(&network, &data.images, options)?;
        let test = classifier::test_scores(data, &probabilities, options.seed)?;

        self.steps.say(&format!("heatmaps of {architecture} at {layer}"));
        let maps = heatmaps::grad_cam(&network, &data.images, &layer, options.batch())?;
        let (heatmaps, contents) = heatmaps::to_images(&maps, options.image_size())?;
        let segmentation = segmentation::score(data, &maps, options.seed)?;
        let pictures = pictures::write(architecture, data, &maps, &segmentation, folder)?;
        self.images.extend(table::images(
            architecture,
            data,
            &probabilities,
            &contents,
            &segmentation,
        ));
        self.pictures.push(pictures);
        self.summary.networks.push(summary::Network {
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
            retraining: vec![retraining::unfiltered(&test)],
            test,
            flat_heatmaps: data.by_class(|index| contents[index] != Content::Graded),
            sparse_heatmaps: retraining::sparse(data, &heatmaps, options.hottest),
            test_lesion_groups: segmentation.groups,
            segmentation: segmentation.rows,
            curve: segmentation.curve,
        });
        // After every step that takes long, so that what is computed is not lost with a later one.
        self.write()?;
        for &filter in &options.filters {
            let (network, _) = classifier::build(options, architecture, self.device)?;
            let (data, folder) = (&self.data, &self.folder);
            let row = retraining::run(options, network, data, &heatmaps, filter, folder, &mut self.steps)?;
            if let Some(network) = self.summary.networks.last_mut() {
                network.retraining.push(row);
            }
            self.write()?;
        }
        if let Some(network) = self.summary.networks.last() {
            self.steps.say(&table::network(network));
        }
        Ok(())
    }

    fn write(&self) -> Result<()> {
        self.folder.write_json(SUMMARY, &self.summary)?;
        self.folder.write_csv(METRICS, &self.images)?;
        let report = report::render(&self.summary, &self.pictures)?;
        self.folder.write_text(REPORT, &report)
    }
}
