//! Training again on images filtered by the heatmaps, from the same initial weights.

use anyhow::Result;
use heatmap_filter::{Fill, Filter, Masking};
use models::Architecture;
use ndarray::Array4;
use tch::Device;

use crate::classifier;
use crate::data::Data;
use crate::options::Options;
use crate::progress::Steps;
use crate::run_folder::RunFolder;
use crate::summary::{self, Scores};

/// The unfiltered scores, and those of each filter.
#[allow(clippy::too_many_arguments)]
pub fn run(
    options: &Options,
    architecture: Architecture,
    device: Device,
    data: &Data,
    heatmaps: &Array4<f32>,
    unfiltered: &Scores,
    folder: &RunFolder,
    steps: &mut Steps,
) -> Result<Vec<summary::Retraining>> {
    let mut rows = vec![summary::Retraining {
        filter: "unfiltered".to_owned(),
        description: "the images as they are".to_owned(),
        scores: unfiltered.clone(),
    }];
    for &filter in &options.filters {
        steps.begin(format!("training {architecture} again, {filter}"));
        let images = filtered(options, data, heatmaps, filter)?;
        let network = classifier::build(options, architecture, device)?;
        let checkpoint = folder.checkpoint(architecture, filter.name())?;
        classifier::train(&network, data, &images, options, &checkpoint, steps)?;
        let probabilities = classifier::probabilities(&network, &images, options)?;
        rows.push(summary::Retraining {
            filter: filter.to_string(),
            description: describe(filter, options.hottest, data.mean),
            scores: classifier::test_scores(data, &probabilities, options.seed)?,
        });
    }
    Ok(rows)
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
