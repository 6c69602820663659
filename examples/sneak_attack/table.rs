//! Numbers as tables: on the terminal, and a row per image for `metrics.csv`.

use std::fmt::Write as _;

use gradcam_core::Content;
use models::Architecture;

use crate::data::Data;
use crate::segmentation::Outcome;
use crate::summary;

/// How the images were parted.
pub fn parts(data: &Data) -> String {
    let mut text = format!("{}: {} images", data.dataset.name, data.len());
    let counts = data.counts.to_string();
    for line in counts.lines().chain(data.dataset.notes.iter().map(String::as_str)) {
        let _ = write!(text, "\n  {line}");
    }
    text
}

/// A network's results.
pub fn network(network: &summary::Network) -> String {
    let mean = |mean: &summary::Mean| format!("{:.3} ({:.3} to {:.3})", mean.mean, mean.low, mean.high);
    let mut text = format!(
        "\n{} at {}, test lesions, means with 95 % intervals\n  {:<16} {:<24} {:<24}",
        network.network, network.layer, "rule", "Dice", "IoU"
    );
    for row in &network.segmentation {
        let name = if row.baseline {
            format!("· {}", row.rule)
        } else {
            row.rule.clone()
        };
        let _ = write!(text, "\n  {name:<16} {:<24} {:<24}", mean(&row.dice), mean(&row.iou));
    }
    let _ = write!(
        text,
        "\n  (· baselines)\n\n  {:<16} {:<24} {:<20} test accuracy",
        "trained on", "test AUC", "balanced accuracy"
    );
    for row in &network.retraining {
        let scores = &row.scores;
        let auc = match scores.auc_interval {
            Some([low, high]) => format!("{:.3} ({low:.3} to {high:.3})", scores.auc),
            None => format!("{:.3}", scores.auc),
        };
        let _ = write!(
            text,
            "\n  {:<16} {auc:<24} {:<20.3} {:.3}",
            row.filter, scores.balanced_accuracy, scores.accuracy
        );
    }
    text
}

/// A row for each image: what it is, what the classifier made of it, and how each rule's mask fits.
pub fn images(
    architecture: Architecture,
    data: &Data,
    probabilities: &[f64],
    contents: &[Content],
    segmentation: &Outcome,
) -> Vec<Vec<(String, String)>> {
    (0..data.len())
        .map(|index| {
            let scan = data.scan(index);
            let mut row = vec![
                ("network".to_owned(), architecture.to_string()),
                ("image".to_owned(), scan.id.clone()),
                ("group".to_owned(), scan.group.clone()),
                ("part".to_owned(), data.part_of(index).to_string()),
                ("lesion".to_owned(), scan.lesion.to_string()),
                ("lesion_probability".to_owned(), probabilities[index].to_string()),
                (
                    "flat_heatmap".to_owned(),
                    (contents[index] != Content::Graded).to_string(),
                ),
            ];
            let overlaps = segmentation.overlaps.iter().find(|(lesion, _)| *lesion == index);
            for (rule, overlap) in segmentation.rows.iter().zip(overlaps.iter().flat_map(|(_, all)| all)) {
                row.push((format!("dice_{}", rule.rule), overlap.dice.to_string()));
                row.push((format!("iou_{}", rule.rule), overlap.iou.to_string()));
            }
            row
        })
        .collect()
}
