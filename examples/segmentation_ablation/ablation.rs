//! The refinements, and how much Dice each adds.

use std::fmt::Write as _;

use anyhow::{Context as _, Result};
use heatmap_seg::{
    CleanUp, Connectivity, DenseCrf, GuidedFilter, RandomWalker, Seeds, SegError, SuperpixelVoting, Threshold,
    Watershed,
};
use ndarray::{Array2, ArrayView2};
use rayon::prelude::*;
use seg_metrics::{Bootstrap, Confusion, EmptyMasks};

/// A lesion with its heatmap, all at the image's own resolution.
pub(crate) struct Case<'a> {
    pub(crate) image: ArrayView2<'a, f32>,
    pub(crate) truth: ArrayView2<'a, bool>,
    pub(crate) group: &'a str,
    pub(crate) heatmap: Array2<f32>,
    /// A heatmap of the same smoothness that knows nothing.
    pub(crate) random: Array2<f32>,
}

/// From a case to a map in 0..=1 that a threshold makes a mask of.
type Map = Box<dyn Fn(&Case<'_>) -> Result<Array2<f32>, SegError> + Sync>;

/// A way to a mask: one of some maps, a threshold, and clean-up.
struct Rule {
    name: &'static str,
    /// The validation lesions choose between them.
    maps: Vec<Map>,
    clean_up: Vec<CleanUp>,
}

/// The plain threshold, then the refinements, then the baselines.
fn rules() -> Vec<Rule> {
    let connectivity = Connectivity::Faces;
    let rule = |name, maps, clean_up: &[CleanUp]| Rule {
        name,
        maps,
        clean_up: clean_up.to_vec(),
    };
    let heatmap = || -> Vec<Map> { vec![Box::new(|case| Ok(case.heatmap.clone()))] };
    let seeds = [(0.2, 0.7), (0.1, 0.5)].map(|(low, high)| Seeds::new(Threshold::Fixed(low), Threshold::Fixed(high)));
    let walker = |seeds: Seeds| -> Map {
        Box::new(move |case| {
            RandomWalker::default()
                .with_seeds(seeds)
                .probabilities(case.heatmap.view(), case.image)
        })
    };
    let watershed = |seeds: Seeds| -> Map {
        Box::new(move |case| {
            let watershed = Watershed::default().with_seeds(seeds);
            let mask = watershed.apply(case.heatmap.view(), case.image)?;
            Ok(mask.mapv(|on| f32::from(u8::from(on))))
        })
    };
    let evens_and_weights = [
        (0.05, 10.0),
        (0.1, 10.0),
        (0.25, 10.0),
        (0.05, 3.0),
        (0.1, 3.0),
        (0.25, 3.0),
    ];
    let crf = |(even, weight): (f32, f32)| -> Map {
        Box::new(move |case| {
            let probabilities = case.heatmap.mapv(|value| shifted(value, even));
            let crf = DenseCrf::default().with_bilateral(80.0, 0.05, weight);
            crf.probabilities(probabilities.view(), case.image)
        })
    };
    vec![
        rule("threshold", heatmap(), &[]),
        rule("largest component", heatmap(), &[CleanUp::Largest { connectivity }]),
        rule("holes filled", heatmap(), &[CleanUp::FillHoles { connectivity }]),
        rule(
            "convex hull of the largest",
            heatmap(),
            &[CleanUp::Largest { connectivity }, CleanUp::ConvexHull],
        ),
        rule(
            "guided filter",
            vec![Box::new(|case| {
                GuidedFilter::default().apply(case.heatmap.view(), case.image)
            })],
            &[],
        ),
        rule(
            "superpixel voting",
            vec![Box::new(|case| {
                SuperpixelVoting::default().means(case.heatmap.view(), case.image)
            })],
            &[],
        ),
        rule("random walker", seeds.map(walker).into(), &[]),
        rule("watershed", seeds.map(watershed).into(), &[]),
        rule("dense CRF", evens_and_weights.map(crf).into(), &[]),
        rule("· random heatmap", vec![Box::new(|case| Ok(case.random.clone()))], &[]),
        rule("· centred disk", vec![Box::new(|case| Ok(cone(case.image.dim())))], &[]),
        rule(
            "· everything",
            vec![Box::new(|case| Ok(Array2::ones(case.image.dim())))],
            &[],
        ),
    ]
}

/// A probability that is one half where the heatmap has this value, for the dense CRF, which takes it as such: the
/// heatmap's odds over those of the value.
fn shifted(heat: f32, even: f32) -> f32 {
    let (with, without) = (heat * (1.0 - even), (1.0 - heat) * even);
    with / (with + without)
}

/// A cone over the middle, 1 there and 0 half the shorter side away: above a threshold, a centred disk.
fn cone((height, width): (usize, usize)) -> Array2<f32> {
    let radius = height.min(width) as f32 / 2.0;
    Array2::from_shape_fn((height, width), |(y, x)| {
        let (y, x) = (
            y as f32 + 0.5 - height as f32 / 2.0,
            x as f32 + 0.5 - width as f32 / 2.0,
        );
        (1.0 - y.hypot(x) / radius).max(0.0)
    })
}

/// Thresholds 0.05, 0.1 … 0.95.
fn thresholds() -> impl Iterator<Item = f32> {
    (1..20).map(|step| step as f32 * 0.05)
}

/// The Dice of each case by a rule's map, at each of some thresholds.
fn dice(rule: &Rule, map: &Map, cases: &[Case<'_>], thresholds: &[f32]) -> Result<Vec<Vec<f64>>> {
    let dice = |case: &Case<'_>| {
        let map = map(case)?;
        let dice = thresholds.iter().map(|&threshold| {
            let mask = Threshold::Fixed(threshold).apply(map.view())?;
            let mask = (rule.clean_up.iter()).try_fold(mask, |mask, step| step.apply(mask.view()))?;
            Ok(Confusion::from_masks(mask.view(), case.truth)?.dice(EmptyMasks::default())?)
        });
        dice.collect::<Result<Vec<f64>>>()
    };
    cases.par_iter().map(dice).collect()
}

/// The map and the threshold of the best mean Dice.
fn choose<'r>(rule: &'r Rule, cases: &[Case<'_>]) -> Result<(&'r Map, f32)> {
    let thresholds: Vec<f32> = thresholds().collect();
    let mut best: Option<(f64, &Map, f32)> = None;
    for map in &rule.maps {
        let dice = dice(rule, map, cases, &thresholds)?;
        for (place, &threshold) in thresholds.iter().enumerate() {
            let sum = dice.iter().map(|case| case[place]).sum();
            if best.is_none_or(|(most, ..)| sum > most) {
                best = Some((sum, map, threshold));
            }
        }
    }
    let (_, map, threshold) = best.context("a rule without a map")?;
    Ok((map, threshold))
}

/// A rule's result on the test cases.
struct Row {
    name: &'static str,
    threshold: f32,
    dice: Vec<f64>,
}

fn rows(validation: &[Case<'_>], test: &[Case<'_>]) -> Result<Vec<Row>> {
    let row = |rule: &Rule| {
        let (map, threshold) = choose(rule, validation)?;
        let dice = dice(rule, map, test, &[threshold])?;
        Ok(Row {
            name: rule.name,
            threshold,
            dice: dice.concat(),
        })
    };
    rules().iter().map(row).collect()
}

/// A line for each rule: its threshold, its Dice, and what it adds to that of the plain threshold.
pub(crate) fn ablate(validation: &[Case<'_>], test: &[Case<'_>], seed: u64) -> Result<String> {
    let groups: Vec<&str> = test.iter().map(|case| case.group).collect();
    let bootstrap = Bootstrap::default().with_seed(seed);
    let rows = rows(validation, test)?;
    let plain = rows.first().context("no rules")?.dice.as_slice();
    let mut table = format!(
        "  {:<28}{:<11}{:<26}{}",
        "rule", "threshold", "Dice", "more than the threshold's"
    );
    for Row { name, threshold, dice } in &rows {
        let mean = bootstrap.mean_by_group(dice, &groups)?;
        let dice_column = format!("{:.3} ({:.3} to {:.3})", mean.value, mean.low, mean.high);
        let _ = write!(table, "\n  {name:<28}{threshold:<11.2}{dice_column:<26}");
        let more: Vec<f64> = dice.iter().zip(plain).map(|(dice, plain)| dice - plain).collect();
        if more.iter().any(|&more| more != 0.0) {
            let more = bootstrap.mean_by_group(&more, &groups)?;
            let _ = write!(table, "{:+.3} ({:+.3} to {:+.3})", more.value, more.low, more.high);
        } else {
            table.push_str("none");
        }
    }
    table.push_str("\n  (· baselines)");
    Ok(table)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Bright disks in noise, under heatmaps that are too wide and too far to the right.
    fn pictures(count: usize) -> Vec<(Array2<f32>, Array2<bool>, Array2<f32>)> {
        let picture = |number: usize| {
            let (cy, cx) = (20.0 + number as f32, 26.0 - number as f32);
            let far = |y: usize, x: usize, cx: f32| (y as f32 - cy).powi(2) + (x as f32 - cx).powi(2);
            let truth = Array2::from_shape_fn((48, 52), |(y, x)| far(y, x, cx) < 80.0);
            let image = Array2::from_shape_fn((48, 52), |(y, x)| {
                let noise = ((y * 37 + x * 101 + number).pow(2) % 97) as f32 / 970.0;
                noise + if truth[(y, x)] { 0.7 } else { 0.2 }
            });
            let heatmap = Array2::from_shape_fn((48, 52), |(y, x)| (-far(y, x, cx + 3.0) / 120.0).exp());
            (image, truth, heatmap)
        };
        (0..count).map(picture).collect()
    }

    fn cases(pictures: &[(Array2<f32>, Array2<bool>, Array2<f32>)]) -> Vec<Case<'_>> {
        let groups = ["a", "b", "c", "d", "e", "f"];
        let mut cases = Vec::new();
        for ((image, truth, heatmap), group) in pictures.iter().zip(groups) {
            cases.push(Case {
                image: image.view(),
                truth: truth.view(),
                group,
                heatmap: heatmap.clone(),
                random: Array2::zeros(heatmap.dim()),
            });
        }
        cases
    }

    #[test]
    fn the_image_mends_a_shifted_heatmap_and_baselines_do_not() {
        let pictures = pictures(6);
        let cases = cases(&pictures);
        let rows = rows(&cases, &cases).unwrap();
        let mean = |name: &str| {
            let row = rows.iter().find(|row| row.name == name).unwrap();
            row.dice.iter().sum::<f64>() / row.dice.len() as f64
        };
        let plain = mean("threshold");
        assert!(0.6 < plain && plain < 0.9, "{plain}");
        // Superpixels of some six pixels mend but little of a shift by three.
        for (better, by) in [
            ("random walker", 0.05),
            ("watershed", 0.05),
            ("superpixel voting", 0.01),
        ] {
            assert!(mean(better) > plain + by, "{better}: {}, {plain} without", mean(better));
        }
        // The heatmaps are round and whole, so there is nothing to clean up.
        for same in ["largest component", "holes filled"] {
            assert_eq!(mean(same), plain, "{same}");
        }
        assert_eq!(mean("· random heatmap"), 0.0);
        assert!(mean("· everything") < 0.3);
        let table = ablate(&cases, &cases, 0).unwrap();
        assert_eq!(table.lines().count(), rows.len() + 2);
    }

    #[test]
    fn the_threshold_is_that_of_validation() {
        let mut pictures = pictures(4);
        for (_, truth, heatmap) in &mut pictures {
            *truth = heatmap.mapv(|value| value > 0.6);
        }
        let cases = cases(&pictures);
        let rules = rules();
        let (map, threshold) = choose(&rules[0], &cases).unwrap();
        assert!((threshold - 0.6).abs() < 1e-6, "{threshold}");
        assert_eq!(dice(&rules[0], map, &cases, &[threshold]).unwrap(), vec![vec![1.0]; 4]);
    }
}
