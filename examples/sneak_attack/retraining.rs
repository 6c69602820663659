//! Training again on images filtered by the heatmaps, from the same initial weights.

use anyhow::Result;
use heatmap_filter::{Fill, Filter, Masking};
use models::Network;
use ndarray::{Array4, Axis};

use crate::classifier;
use crate::data::Data;
use crate::options::Options;
use crate::progress::Steps;
use crate::run_folder::RunFolder;
use crate::summary::{self, Scores};

/// The scores on the images as they are, to compare with.
pub fn unfiltered(scores: &Scores) -> summary::Retraining {
    summary::Retraining {
        filter: "unfiltered".to_owned(),
        description: "the images as they are".to_owned(),
        scores: scores.clone(),
    }
}

/// The scores with one filter.
pub fn run(
    options: &Options,
    network: Network,
    data: &Data,
    heatmaps: &Array4<f32>,
    filter: Filter,
    folder: &RunFolder,
    steps: &mut Steps,
) -> Result<summary::Retraining> {
    let architecture = network.architecture();
    steps.begin(format!("training {architecture} again, {filter}"));
    let images = filtered(options, data, heatmaps, filter)?;
    let checkpoint = folder.checkpoint(architecture, filter.name())?;
    classifier::train(&network, data, &images, options, &checkpoint, steps)?;
    let probabilities = classifier::probabilities(&network, &images, options)?;
    Ok(summary::Retraining {
        filter: filter.to_string(),
        description: describe(filter, options.hottest, data.mean),
        scores: classifier::test_scores(data, &probabilities, options.seed)?,
    })
}

/// Images, by class, whose heatmap is above zero on fewer pixels than the share that counts as hottest.
pub fn sparse(data: &Data, heatmaps: &Array4<f32>, hottest: f64) -> summary::ByClass {
    data.by_class(|index| {
        let heatmap = heatmaps.index_axis(Axis(0), index);
        let positive = heatmap.iter().filter(|&&value| value > 0.0).count();
        (positive as f64) < hottest * heatmap.len() as f64
    })
}

/// All images, filtered by their heatmaps; what goes is filled with the training images' mean.
fn filtered(options: &Options, data: &Data, heatmaps: &Array4<f32>, filter: Filter) -> Result<Array4<f32>> {
    let masking = Masking::new(filter, options.hottest, Fill::Value(data.mean));
    let mut images = data.images.clone();
    masking.apply_batch(images.view_mut(), heatmaps.view(), options.seed)?;
    Ok(images)
}

fn describe(filter: Filter, hottest: f64, mean: f32) -> String {
    let share = format!("{:.0} %", 100.0 * hottest);
    let what = match filter {
        Filter::KeepHottest => format!("the hottest {share} of pixels kept, the rest filled"),
        Filter::RemoveHottest => format!("the hottest {share} of pixels filled, the rest kept"),
        Filter::KeepRandom => {
            format!("a random region of the area and shape of the hottest {share} kept, the rest filled")
        }
        Filter::RemoveRandom => {
            format!("a random region of the area and shape of the hottest {share} filled, the rest kept")
        }
    };
    format!("{what} (fill: mean of the training images, {mean:.3})")
}
