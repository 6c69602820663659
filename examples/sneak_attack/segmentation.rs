//! Heatmaps to masks, and how well the masks fit.

use std::collections::HashSet;

use anyhow::{Context as _, Result};
use heatmap_seg::Threshold;
use ndarray::{Array2, Array3, Axis};
use rayon::prelude::*;
use scan_data::{Part, Scan};
use seg_metrics::{Bootstrap, Confusion, DiceCurve, EmptyMasks, best_centred_disk, centred_disk, everything};

use crate::data::Data;
use crate::heatmaps;
use crate::summary::{self, CurvePoint};

/// A lesion with its heatmap at the image's own resolution.
struct Case<'a> {
    index: usize,
    scan: &'a Scan,
    heatmap: Array2<f32>,
    /// A heatmap of the same smoothness that knows nothing.
    random: Array2<f32>,
}

/// A way to get a mask for a lesion.
enum Rule {
    OfHeatmap(Threshold),
    OfRandom(Threshold),
    Everything,
    Disk { radius: f64 },
}

impl Rule {
    fn mask(&self, case: &Case<'_>) -> Result<Array2<bool>> {
        let size = case.scan.mask.dim();
        Ok(match self {
            Self::OfHeatmap(threshold) => threshold.apply(case.heatmap.view())?,
            Self::OfRandom(threshold) => threshold.apply(case.random.view())?,
            Self::Everything => everything(size),
            Self::Disk { radius } => centred_disk(size, *radius)?,
        })
    }
}

/// Dice and IoU of one lesion by one rule.
#[derive(Clone, Copy)]
pub struct Overlap {
    pub dice: f64,
    pub iou: f64,
}

/// What came of the heatmaps as segmentations.
pub struct Outcome {
    pub rows: Vec<summary::Segmentation>,
    pub curve: Vec<CurvePoint>,
    /// Validation and test lesions: their index, and the overlap by each row's rule.
    pub overlaps: Vec<(usize, Vec<Overlap>)>,
    /// Index in `rows` of the heatmap rule that is best on validation.
    pub chosen: usize,
    /// The threshold of that rule.
    threshold: Threshold,
    /// Groups with a test lesion.
    pub groups: usize,
}

impl Outcome {
    /// A lesion's heatmap, and its mask by the rule that is best on validation.
    pub fn picture(&self, data: &Data, maps: &Array3<f32>, index: usize) -> Result<(Array2<f32>, Array2<bool>)> {
        let heatmap = heatmap(data, maps, index)?;
        let mask = self.threshold.apply(heatmap.view())?;
        Ok((heatmap, mask))
    }
}

/// An image's heatmap at its own resolution.
fn heatmap(data: &Data, maps: &Array3<f32>, index: usize) -> Result<Array2<f32>> {
    heatmaps::to_image(maps.index_axis(Axis(0), index), data.scan(index).image.dim())
}

fn cases<'a>(data: &'a Data, maps: &Array3<f32>, part: Part, seed: u64) -> Result<Vec<Case<'a>>> {
    let (_, height, width) = maps.dim();
    data.lesions(part)
        .into_par_iter()
        .map(|index| {
            let scan = data.scan(index);
            Ok(Case {
                index,
                scan,
                heatmap: heatmap(data, maps, index)?,
                random: heatmaps::random(seed, index, (height, width), scan.image.dim())?,
            })
        })
        .collect()
}

/// Thresholds 0, 0.01 … 0.99.
fn thresholds() -> Vec<f32> {
    (0..100).map(|percent| percent as f32 / 100.0).collect()
}

fn curve<'a>(cases: &[Case<'a>], heatmap: impl for<'c> Fn(&'c Case<'a>) -> &'c Array2<f32>) -> Result<DiceCurve> {
    let pairs: Vec<_> = cases
        .iter()
        .map(|case| (heatmap(case).view(), case.scan.mask.view()))
        .collect();
    Ok(DiceCurve::new(&pairs, &thresholds(), EmptyMasks::default())?)
}

/// Scores every rule on the test lesions; whatever a rule can choose is chosen on validation.
pub fn score(data: &Data, maps: &Array3<f32>, seed: u64) -> Result<Outcome> {
    let (validation, test) = (
        cases(data, maps, Part::Validation, seed)?,
        cases(data, maps, Part::Test, seed)?,
    );
    let validation_curve = curve(&validation, |case| &case.heatmap)?;
    let test_curve = curve(&test, |case| &case.heatmap)?;
    let best = validation_curve.best().threshold;
    let best_random = curve(&validation, |case| &case.random)?.best().threshold;
    let masks: Vec<_> = validation.iter().map(|case| case.scan.mask.view()).collect();
    let radii: Vec<f64> = (1..=35).map(|step| step as f64 * 0.02).collect();
    let disk = best_centred_disk(&masks, &radii, EmptyMasks::default())?.radius;

    let rules: Vec<(&str, String, Rule)> = vec![
        (
            "fixed-0.5",
            "heatmap above 0.5".to_owned(),
            Rule::OfHeatmap(Threshold::Fixed(0.5)),
        ),
        (
            "otsu",
            "heatmap above Otsu's threshold of its own".to_owned(),
            Rule::OfHeatmap(Threshold::Otsu),
        ),
        (
            "validation-best",
            format!("heatmap above {best:.2}, the best threshold on validation"),
            Rule::OfHeatmap(Threshold::Fixed(best)),
        ),
        ("everything", "the whole image marked".to_owned(), Rule::Everything),
        (
            "random-heatmap",
            format!("random heatmap of the same smoothness above {best_random:.2}, its best threshold on validation"),
            Rule::OfRandom(Threshold::Fixed(best_random)),
        ),
        (
            "centred-disk",
            format!("centred disk of radius {disk:.2} of the shorter side, the best on validation"),
            Rule::Disk { radius: disk },
        ),
    ];
    let overlaps = |cases: &[Case<'_>]| {
        cases
            .par_iter()
            .map(|case| {
                let overlaps = rules
                    .iter()
                    .map(|(_, _, rule)| {
                        let counts = Confusion::from_masks(rule.mask(case)?.view(), case.scan.mask.view())?;
                        let policy = EmptyMasks::default();
                        Ok(Overlap {
                            dice: counts.dice(policy)?,
                            iou: counts.iou(policy)?,
                        })
                    })
                    .collect::<Result<Vec<_>>>()?;
                Ok((case.index, overlaps))
            })
            .collect::<Result<Vec<_>>>()
    };
    let (validation_overlaps, test_overlaps) = (overlaps(&validation)?, overlaps(&test)?);

    let groups = data.groups(test.iter().map(|case| case.index));
    let bootstrap = Bootstrap::default().with_seed(seed);
    let mean = |pick: &dyn Fn(&Overlap) -> f64, rule: usize| -> Result<summary::Mean> {
        let values: Vec<f64> = test_overlaps
            .iter()
            .map(|(_, overlaps)| pick(&overlaps[rule]))
            .collect();
        let interval = bootstrap.mean_by_group(&values, &groups)?;
        Ok(summary::Mean {
            mean: interval.value,
            low: interval.low,
            high: interval.high,
        })
    };
    let validation_dice = |rule: usize| -> f64 {
        validation_overlaps
            .iter()
            .map(|(_, overlaps)| overlaps[rule].dice)
            .sum()
    };
    let (chosen, threshold) = rules
        .iter()
        .enumerate()
        .filter_map(|(index, (_, _, rule))| match rule {
            Rule::OfHeatmap(threshold) => Some((index, *threshold)),
            _ => None,
        })
        .max_by(|&(a, _), &(b, _)| validation_dice(a).total_cmp(&validation_dice(b)))
        .context("no rule looks at the heatmaps")?;
    let rows = rules
        .iter()
        .enumerate()
        .map(|(index, (name, description, rule))| {
            Ok(summary::Segmentation {
                rule: (*name).to_owned(),
                baseline: !matches!(rule, Rule::OfHeatmap(_)),
                chosen: index == chosen,
                description: description.clone(),
                dice: mean(&|overlap| overlap.dice, index)?,
                iou: mean(&|overlap| overlap.iou, index)?,
            })
        })
        .collect::<Result<Vec<_>>>()?;
    Ok(Outcome {
        rows,
        chosen,
        threshold,
        groups: groups.iter().collect::<HashSet<_>>().len(),
        curve: validation_curve
            .points()
            .iter()
            .zip(test_curve.points())
            .map(|(validation, test)| CurvePoint {
                threshold: validation.threshold,
                validation_dice: validation.dice,
                test_dice: test.dice,
            })
            .collect(),
        overlaps: [validation_overlaps, test_overlaps].concat(),
    })
}
