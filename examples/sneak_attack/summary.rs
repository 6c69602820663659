//! What a run found: the content of `summary.json` and of the report.

use serde::Serialize;

/// The whole run.
#[derive(Debug, Clone, Serialize)]
pub struct Summary {
    /// The command line that makes these numbers again.
    pub command: String,
    pub data: Data,
    pub networks: Vec<Network>,
}

/// The images and how they were parted.
#[derive(Debug, Clone, Serialize)]
pub struct Data {
    pub name: String,
    pub layout: String,
    /// What the phantoms were made of, if the images are such.
    pub phantoms: Option<Phantoms>,
    pub parts: Vec<Part>,
    /// How images and groups were chosen.
    pub notes: Vec<String>,
    /// Images that could not be used.
    pub faults: Vec<String>,
}

/// The settings of synthetic images; their seed is that of the command.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct Phantoms {
    pub count: usize,
    /// The side in pixels.
    pub size: usize,
}

/// One part of the split.
#[derive(Debug, Clone, Serialize)]
pub struct Part {
    pub part: String,
    pub lesion: usize,
    pub normal: usize,
    /// Patients, or groups of near-duplicates.
    pub groups: usize,
}

/// One network's results.
#[derive(Debug, Clone, Serialize)]
pub struct Network {
    pub network: String,
    /// The weights file that training started from, if any.
    pub weights: Option<String>,
    pub layer: String,
    /// The layer's output for one image, `[C, h, w]`.
    pub layer_shape: Vec<i64>,
    pub epochs: Vec<Epoch>,
    /// The epoch kept, from 1.
    pub best_epoch: usize,
    pub test: Scores,
    /// Images, of all parts, whose heatmap says nothing because the layer's map is flat.
    pub flat_heatmaps: ByClass,
    /// Images, of all parts, whose heatmap is zero on more than the filters leave: what they call hottest is then in
    /// part drawn by chance.
    pub sparse_heatmaps: ByClass,
    /// Groups with a test lesion: what the intervals of `segmentation` are drawn from.
    pub test_lesion_groups: usize,
    pub segmentation: Vec<Segmentation>,
    /// Mean Dice of the lesions at each threshold.
    pub curve: Vec<CurvePoint>,
    pub retraining: Vec<Retraining>,
}

#[derive(Debug, Clone, Serialize)]
pub struct Epoch {
    pub epoch: usize,
    pub training_loss: f64,
    pub validation_loss: f64,
    pub validation_auc: f64,
}

/// Numbers of images.
#[derive(Debug, Clone, Copy, Default, Serialize)]
pub struct ByClass {
    pub lesion: usize,
    pub normal: usize,
}

/// How a classifier did on the test images, with 95 % bootstrap intervals over groups; there is none where too few
/// groups leave it undefined.
#[derive(Debug, Clone, Serialize)]
pub struct Scores {
    pub auc: f64,
    pub auc_interval: Option<[f64; 2]>,
    pub balanced_accuracy: f64,
    pub balanced_accuracy_interval: Option<[f64; 2]>,
    pub accuracy: f64,
    pub accuracy_interval: Option<[f64; 2]>,
}

/// How one rule that makes masks did on the test lesions.
#[derive(Debug, Clone, Serialize)]
pub struct Segmentation {
    pub rule: String,
    /// Whether the rule looks at no heatmap of the network.
    pub baseline: bool,
    /// Whether this is the heatmap rule with the highest mean Dice on the validation lesions.
    pub chosen: bool,
    /// What the rule does, with its number where it has one.
    pub description: String,
    pub dice: Mean,
    pub iou: Mean,
}

/// A mean over images with its 95 % bootstrap interval over groups.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct Mean {
    pub mean: f64,
    pub low: f64,
    pub high: f64,
}

#[derive(Debug, Clone, Copy, Serialize)]
pub struct CurvePoint {
    pub threshold: f32,
    pub validation_dice: f64,
    pub test_dice: f64,
}

/// How the classifier did when trained and tested on filtered images.
#[derive(Debug, Clone, Serialize)]
pub struct Retraining {
    pub filter: String,
    pub description: String,
    #[serde(flatten)]
    pub scores: Scores,
}

/// Results to test with.
#[cfg(test)]
pub mod samples {
    use super::*;

    pub const ENOUGH: usize = crate::readings::LEAST_GROUPS;

    pub fn row(rule: &str, baseline: bool, mean: f64, low: f64, high: f64) -> Segmentation {
        let dice = Mean { mean, low, high };
        Segmentation {
            rule: rule.to_owned(),
            baseline,
            chosen: false,
            description: String::new(),
            dice,
            iou: dice,
        }
    }

    pub fn chosen(rule: &str, mean: f64, low: f64, high: f64) -> Segmentation {
        Segmentation {
            chosen: true,
            ..row(rule, false, mean, low, high)
        }
    }

    pub fn scores(auc: f64, interval: Option<[f64; 2]>) -> Scores {
        Scores {
            auc,
            auc_interval: interval,
            balanced_accuracy: auc,
            balanced_accuracy_interval: interval,
            accuracy: auc,
            accuracy_interval: interval,
        }
    }

    pub fn retrained(filter: &str, auc: f64, low: f64, high: f64) -> Retraining {
        Retraining {
            filter: filter.to_owned(),
            description: String::new(),
            scores: scores(auc, Some([low, high])),
        }
    }

    /// A full set of filters, on which both results support the heatmaps.
    pub fn supporting() -> [Retraining; 5] {
        [
            retrained("unfiltered", 0.9, 0.85, 0.95),
            retrained("keep-hottest", 0.88, 0.8, 0.93),
            retrained("remove-hottest", 0.7, 0.6, 0.79),
            retrained("keep-random", 0.6, 0.5, 0.7),
            retrained("remove-random", 0.85, 0.8, 0.9),
        ]
    }

    pub fn network() -> Network {
        Network {
            network: "<b>net".to_owned(),
            weights: None,
            layer: "layer4".to_owned(),
            layer_shape: vec![8, 7, 7],
            epochs: Vec::new(),
            best_epoch: 0,
            test: scores(0.91, Some([0.87, 0.94])),
            flat_heatmaps: ByClass { lesion: 1, normal: 2 },
            sparse_heatmaps: ByClass { lesion: 3, normal: 4 },
            test_lesion_groups: ENOUGH,
            segmentation: vec![
                row("fixed-0.5", false, 0.66, 0.62, 0.71),
                chosen("otsu", 0.64, 0.58, 0.69),
                row("everything", true, 0.22, 0.17, 0.28),
            ],
            curve: Vec::new(),
            retraining: supporting().to_vec(),
        }
    }
}
