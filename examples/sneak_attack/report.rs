//! The report: one HTML page that holds its tables, plots and pictures.

use std::cmp::Ordering;
use std::io::Cursor;

use anyhow::{Context, Result};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use image::{ImageFormat, RgbImage};
use minijinja::{Environment, UndefinedBehavior};
use serde::Serialize;

use crate::plots::{self, Plot};
use crate::summary::{Mean, Network, Part, Retraining, Scores, Segmentation, Summary};

/// A bootstrap over fewer groups than this gives no interval that can be trusted.
const LEAST_GROUPS: usize = 5;

/// One image of the grid.
#[derive(Debug, Clone)]
pub struct Picture {
    /// The image's id and Dice.
    pub title: String,
    pub image: RgbImage,
    pub mask: RgbImage,
    pub heatmap: RgbImage,
    pub segmentation: RgbImage,
}

/// What the template shows.
#[derive(Serialize)]
struct Page<'a> {
    summary: &'a Summary,
    total: Total,
    least_groups: usize,
    /// Whether the test part has too few groups for intervals.
    few_test_groups: bool,
    /// Whether the test lesions of some network have too few groups for intervals.
    few_lesion_groups: bool,
    /// The footnote on missing intervals; empty where there is nothing to say.
    few_groups: String,
    networks: Vec<Section<'a>>,
}

/// All parts of the data together.
#[derive(Serialize)]
struct Total {
    lesion: usize,
    normal: usize,
    groups: usize,
}

/// One network's part of the page.
#[derive(Serialize)]
struct Section<'a> {
    results: &'a Network,
    layer_shape: String,
    few_lesion_groups: bool,
    rules: Vec<&'a Segmentation>,
    baselines: Vec<&'a Segmentation>,
    chosen_rule: Option<&'a Segmentation>,
    best_baseline: Option<&'a Segmentation>,
    heatmap_counts: String,
    segmentation_reading: String,
    threshold_plot: Option<Plot>,
    retraining_reading: String,
    retraining_plot: Option<Plot>,
    pictures: Vec<Figure<'a>>,
}

/// A [`Picture`] as data URIs.
#[derive(Serialize)]
struct Figure<'a> {
    title: &'a str,
    views: Vec<View>,
}

#[derive(Serialize)]
struct View {
    name: &'static str,
    uri: String,
    width: u32,
    height: u32,
}

pub fn render(summary: &Summary, pictures: &[Vec<Picture>]) -> Result<String> {
    let parts = &summary.data.parts;
    let total = Total {
        lesion: parts.iter().map(|part| part.lesion).sum(),
        normal: parts.iter().map(|part| part.normal).sum(),
        groups: parts.iter().map(|part| part.groups).sum(),
    };
    let test_groups = test_groups(parts);
    let stripped: Vec<_> = summary
        .networks
        .iter()
        .map(|network| without_untrustworthy_intervals(network, test_groups))
        .collect();
    let mut networks = Vec::new();
    for (index, network) in stripped.iter().enumerate() {
        let pictures = pictures.get(index).map(Vec::as_slice).unwrap_or_default();
        networks.push(section(network, &total, test_groups, pictures)?);
    }
    let lesion_groups = stripped.iter().map(|network| network.test_lesion_groups).min();

    let mut environment = Environment::new();
    environment.set_undefined_behavior(UndefinedBehavior::Strict);
    environment.set_trim_blocks(true);
    environment.set_lstrip_blocks(true);
    environment.add_filter("decimals", decimals);
    environment.add_filter("interval", interval);
    // Escaping goes by the name's ending.
    environment.add_template("report.html", include_str!("report.html"))?;
    let page = environment.get_template("report.html")?.render(Page {
        summary,
        total,
        least_groups: LEAST_GROUPS,
        few_test_groups: test_groups < LEAST_GROUPS,
        few_lesion_groups: lesion_groups.is_some_and(|groups| groups < LEAST_GROUPS),
        few_groups: lesion_groups.map_or_else(String::new, |lesion_groups| footnote(test_groups, lesion_groups)),
        networks,
    })?;
    // File names may hold control characters, which HTML may not.
    Ok(page.replace(|letter: char| letter.is_control() && letter != '\n', "\u{fffd}"))
}

/// Groups in the test part.
fn test_groups(parts: &[Part]) -> usize {
    let test = parts.iter().find(|part| part.part == "test");
    test.map_or(0, |part| part.groups)
}

/// `network` with only those intervals that enough groups stand behind.
fn without_untrustworthy_intervals(network: &Network, test_groups: usize) -> Network {
    let mut network = network.clone();
    if network.test_lesion_groups < LEAST_GROUPS {
        for row in &mut network.segmentation {
            for mean in [&mut row.dice, &mut row.iou] {
                (mean.low, mean.high) = (f64::NAN, f64::NAN);
            }
        }
    }
    if test_groups < LEAST_GROUPS {
        let retrained = network.retraining.iter_mut().map(|row| &mut row.scores);
        for scores in retrained.chain([&mut network.test]) {
            scores.auc_interval = None;
            scores.balanced_accuracy_interval = None;
            scores.accuracy_interval = None;
        }
    }
    network
}

/// Why numbers stand without an interval; empty where there are groups enough.
fn footnote(test_groups: usize, lesion_groups: usize) -> String {
    let few: Vec<_> = [("test images", test_groups), ("test lesions", lesion_groups)]
        .into_iter()
        .filter(|&(_, groups)| groups < LEAST_GROUPS)
        .map(|(what, groups)| format!("the {what} come from {}", counted(groups)))
        .collect();
    if few.is_empty() {
        return String::new();
    }
    format!(
        "No interval is given: {}, too few for one, which takes at least {LEAST_GROUPS}.",
        few.join(" and ")
    )
}

/// `1 group`, `2 groups`.
fn counted(groups: usize) -> String {
    format!("{groups} group{}", if groups == 1 { "" } else { "s" })
}

fn section<'a>(
    network: &'a Network,
    total: &Total,
    test_groups: usize,
    pictures: &'a [Picture],
) -> Result<Section<'a>> {
    let (baselines, rules): (Vec<_>, Vec<_>) = network.segmentation.iter().partition(|row| row.baseline);
    let mut retraining_reading = read_retraining(&network.retraining, test_groups);
    let filtered = network.retraining.iter().any(|row| row.filter != "unfiltered");
    if let Some(caution) = sparse_caution(network, total).filter(|_| filtered) {
        retraining_reading = format!("{retraining_reading} {caution}").trim_start().to_owned();
    }
    Ok(Section {
        results: network,
        layer_shape: shape(&network.layer_shape),
        few_lesion_groups: network.test_lesion_groups < LEAST_GROUPS,
        chosen_rule: rules.iter().copied().find(|row| row.chosen),
        best_baseline: highest(&baselines),
        heatmap_counts: heatmap_counts(network, total),
        segmentation_reading: read_segmentation(&rules, &baselines, network.test_lesion_groups),
        threshold_plot: plots::threshold_curve(network)?,
        retraining_reading,
        retraining_plot: plots::retraining(&network.retraining)?,
        rules,
        baselines,
        pictures: pictures.iter().map(figure).collect::<Result<_>>()?,
    })
}

fn figure(picture: &Picture) -> Result<Figure<'_>> {
    let view = |name, image: &RgbImage| -> Result<View> {
        let mut png = Cursor::new(Vec::new());
        image
            .write_to(&mut png, ImageFormat::Png)
            .with_context(|| format!("cannot encode {}", picture.title))?;
        let uri = format!("data:image/png;base64,{}", STANDARD.encode(png.into_inner()));
        Ok(View {
            name,
            uri,
            width: image.width(),
            height: image.height(),
        })
    };
    Ok(Figure {
        title: &picture.title,
        views: vec![
            view("image", &picture.image)?,
            view("expert mask", &picture.mask)?,
            view("heatmap", &picture.heatmap)?,
            view("segmentation", &picture.segmentation)?,
        ],
    })
}

/// `value` with `places` decimals, or a dash for what is no number.
fn decimals(value: f64, places: usize) -> String {
    if value.is_finite() {
        format!("{value:.places$}")
    } else {
        "–".to_owned()
    }
}

/// `0.61 (0.55–0.66)`, or the value alone where an end is missing.
fn interval(value: f64, ends: Option<Vec<f64>>) -> String {
    let ends = ends.and_then(|ends| <[f64; 2]>::try_from(ends).ok());
    Estimate::new(value, ends).text()
}

/// A value, and its interval where it has one.
#[derive(Debug, Clone, Copy)]
struct Estimate {
    value: f64,
    interval: Option<[f64; 2]>,
}

impl Estimate {
    fn new(value: f64, interval: Option<[f64; 2]>) -> Self {
        let interval = interval.filter(|ends| value.is_finite() && ends.iter().all(|end| end.is_finite()));
        Self { value, interval }
    }

    fn text(self) -> String {
        let value = decimals(self.value, 2);
        match self.interval {
            Some([low, high]) => format!("{value} ({low:.2}–{high:.2})"),
            None => value,
        }
    }

    /// On which side of the other's interval this one lies, equal where they overlap; `None` where one is missing.
    fn beside(self, other: Self) -> Option<Ordering> {
        let ([low, high], [other_low, other_high]) = (self.interval?, other.interval?);
        Some(if low > other_high {
            Ordering::Greater
        } else if high < other_low {
            Ordering::Less
        } else {
            Ordering::Equal
        })
    }
}

impl From<Mean> for Estimate {
    fn from(mean: Mean) -> Self {
        Self::new(mean.mean, Some([mean.low, mean.high]))
    }
}

fn shape(sizes: &[i64]) -> String {
    let axes = match sizes.len() {
        3 => " (channels × height × width)",
        4 => " (channels × depth × height × width)",
        _ => "",
    };
    let sizes: Vec<_> = sizes.iter().map(i64::to_string).collect();
    sizes.join(" × ") + axes
}

/// The row with the highest mean Dice; of equals the first.
fn highest<'a>(rows: &[&'a Segmentation]) -> Option<&'a Segmentation> {
    let finite = rows.iter().copied().filter(|row| row.dice.mean.is_finite());
    finite.reduce(|best, row| if row.dice.mean > best.dice.mean { row } else { best })
}

/// How many heatmaps are flat or sparse, by class.
fn heatmap_counts(network: &Network, total: &Total) -> String {
    let (lesions, normals) = (total.lesion, total.normal);
    let (flat, sparse) = (network.flat_heatmaps, network.sparse_heatmaps);
    format!(
        "Heatmaps that say nothing or little (all parts): flat: {} of {lesions} lesions, {} of {normals} normals; \
         sparse: {} of {lesions} lesions, {} of {normals} normals. A sparse heatmap is zero on more of the image than \
         the filters leave, so that what they take as its hottest pixels is in part drawn by chance.",
        flat.lesion, flat.normal, sparse.lesion, sparse.normal
    )
}

/// A caution where sparse heatmaps are much more common in one class, so that filtering gives the class away.
fn sparse_caution(network: &Network, total: &Total) -> Option<String> {
    let (lesions, normals) = (total.lesion, total.normal);
    let sparse = network.sparse_heatmaps;
    // More than 10 percentage points, in whole numbers; never so where a class has no image.
    let (of_lesions, of_normals) = (sparse.lesion * normals, sparse.normal * lesions);
    if 10 * of_lesions.abs_diff(of_normals) <= lesions * normals {
        return None;
    }
    let share = |count: usize, total: usize| format!("{:.0} %", 100.0 * count as f64 / total as f64);
    let (lesion_share, normal_share) = (share(sparse.lesion, lesions), share(sparse.normal, normals));
    let shares = if of_lesions > of_normals {
        format!("lesions ({lesion_share}) than among normals ({normal_share})")
    } else {
        format!("normals ({normal_share}) than among lesions ({lesion_share})")
    };
    Some(format!(
        "Caution: sparse heatmaps are much more common among {shares}, so the filtered region itself can tell the \
         class; a high AUC after filtering is weak evidence."
    ))
}

/// `a`, `a and b`, `a, b and c`.
fn enumerated(names: &[&str]) -> String {
    match names {
        [] => String::new(),
        [name] => (*name).to_owned(),
        [names @ .., last] => format!("{} and {last}", names.join(", ")),
    }
}

/// What the segmentation table says about heatmaps against trivial baselines.
fn read_segmentation(rules: &[&Segmentation], baselines: &[&Segmentation], groups: usize) -> String {
    let Some(chosen) = rules.iter().find(|row| row.chosen) else {
        return "No heatmap rule was chosen on validation.".to_owned();
    };
    if !chosen.dice.mean.is_finite() {
        return format!(
            "The heatmap rule chosen on validation, {}, has no Dice that could be computed.",
            chosen.rule
        );
    }
    let dice = Estimate::from(chosen.dice);
    let found = format!(
        "The heatmap rule chosen on validation, {}, reaches a mean Dice of {}",
        chosen.rule,
        dice.text()
    );
    let Some(rival) = highest(baselines) else {
        return found + "; there is no baseline to hold it against.";
    };
    let against = format!("{} with {}", rival.rule, Estimate::from(rival.dice).text());
    let no_verdict = |why: &str| format!("{found}; the best trivial baseline is {against}. {why}");
    if groups < LEAST_GROUPS {
        return no_verdict(&too_few("test lesions", groups));
    }
    let mut without = Vec::new();
    let mut close = Vec::new();
    if dice.interval.is_none() {
        without.push(chosen.rule.as_str());
    }
    for row in baselines.iter().filter(|row| row.dice.mean.is_finite()) {
        let other = Estimate::from(row.dice);
        if other.interval.is_none() {
            without.push(&row.rule);
        } else if dice.beside(other) != Some(Ordering::Greater) {
            close.push(row.rule.as_str());
        }
    }
    if !without.is_empty() {
        let names = enumerated(&without);
        return no_verdict(&format!("There is no interval for {names}, so there is no verdict."));
    }
    if rival.dice.mean >= chosen.dice.mean {
        let how = if dice.beside(rival.dice.into()) == Some(Ordering::Less) {
            "clearly below"
        } else {
            "no higher than"
        };
        return format!(
            "{found}, which is {how} the best trivial baseline, {against}: these results do not show that the \
             heatmaps locate the lesions."
        );
    }
    if close.is_empty() {
        format!(
            "{found}, and its interval lies above that of every trivial baseline, of which the best is {against}: the \
             heatmaps locate the lesions better than these guesses do."
        )
    } else {
        let rivals = enumerated(&close);
        format!(
            "{found}, which is higher than the best trivial baseline, {against}, but its interval does not lie above \
             that of {rivals}: the advantage is not clear on this many images."
        )
    }
}

/// Why there is no verdict on numbers of `groups` groups.
fn too_few(what: &str, groups: usize) -> String {
    format!(
        "The {what} come from {}, too few for an interval, so there is no verdict.",
        counted(groups)
    )
}

/// What re-training on filtered images says about the heatmaps.
fn read_retraining(rows: &[Retraining], groups: usize) -> String {
    let auc = |filter: &str| -> Option<Estimate> {
        let Scores { auc, auc_interval, .. } = rows.iter().find(|row| row.filter == filter)?.scores;
        Some(Estimate::new(auc, auc_interval)).filter(|auc| auc.value.is_finite())
    };
    let against = |controls: [(Option<Estimate>, &str); 2]| -> String {
        let known: Vec<_> = controls
            .iter()
            .filter_map(|(auc, what)| Some(format!("{} {what}", (*auc)?.text())))
            .collect();
        if known.is_empty() {
            String::new()
        } else {
            format!(", against {}", known.join(" and "))
        }
    };
    let unfiltered = auc("unfiltered");
    let mut sentences = Vec::new();
    let mut verdicts = Vec::new();
    // Whether a comparison with its control could not be made for want of an interval.
    let mut undecided = false;

    if let Some(keep) = auc("keep-hottest") {
        let random = auc("keep-random");
        sentences.push(format!(
            "With the hottest pixels alone the AUC is {}{}.",
            keep.text(),
            against([
                (unfiltered, "on unfiltered images"),
                (random, "with a random region alone")
            ])
        ));
        match random.map(|random| keep.beside(random)) {
            Some(Some(order)) => {
                verdicts.push(order == Ordering::Greater);
                let (place, so) = match order {
                    Ordering::Greater => (
                        "lies above",
                        "the hottest pixels tell the classes apart better than a random region does",
                    ),
                    Ordering::Less => (
                        "lies below",
                        "the hottest pixels tell the classes apart worse than a random region does",
                    ),
                    Ordering::Equal => (
                        "does not lie above",
                        "it is not shown that the hottest pixels tell the classes apart better than a random region \
                         does",
                    ),
                };
                sentences.push(format!("Its interval {place} that of the random region: {so}."));
            }
            Some(None) => undecided = true,
            None => (),
        }
    }
    if let Some(remove) = auc("remove-hottest") {
        let random = auc("remove-random");
        sentences.push(format!(
            "Without the hottest pixels the AUC is {}{}.",
            remove.text(),
            against([
                (unfiltered, "on unfiltered images"),
                (random, "without a random region")
            ])
        ));
        match random.map(|random| remove.beside(random)) {
            Some(Some(order)) => {
                let below = order == Ordering::Less;
                verdicts.push(below);
                let (place, so) = if below {
                    (
                        "lies below",
                        "losing the hottest pixels costs more than losing a random region does",
                    )
                } else {
                    (
                        "does not lie below",
                        "it is not shown that losing the hottest pixels costs more than losing a random region does",
                    )
                };
                sentences.push(format!("Its interval {place} that of the removed random region: {so}."));
            }
            Some(None) => undecided = true,
            None => sentences.push(
                "Any removal may lower the AUC, and there is no removed random region to hold this against.".to_owned(),
            ),
        }
    }
    if !sentences.is_empty() && groups < LEAST_GROUPS {
        sentences.push(too_few("test images", groups));
    } else if undecided {
        sentences.push("Where an interval is missing there is no verdict.".to_owned());
    }
    let verdict = match verdicts.as_slice() {
        [true, true] => "Both results support the heatmaps.",
        [false, false] => "Neither result supports the heatmaps.",
        [_, _] => "The two results together are mixed evidence for the heatmaps.",
        _ => "",
    };
    if !verdict.is_empty() {
        sentences.push(verdict.to_owned());
    }
    sentences.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::summary::{ByClass, Data};

    const ENOUGH: usize = LEAST_GROUPS;

    fn row(rule: &str, baseline: bool, mean: f64, low: f64, high: f64) -> Segmentation {
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

    fn chosen(rule: &str, mean: f64, low: f64, high: f64) -> Segmentation {
        Segmentation {
            chosen: true,
            ..row(rule, false, mean, low, high)
        }
    }

    fn reading(rows: &[Segmentation]) -> String {
        let (baselines, rules): (Vec<_>, Vec<_>) = rows.iter().partition(|row| row.baseline);
        read_segmentation(&rules, &baselines, ENOUGH)
    }

    fn scores(auc: f64, interval: Option<[f64; 2]>) -> Scores {
        Scores {
            auc,
            auc_interval: interval,
            balanced_accuracy: auc,
            balanced_accuracy_interval: interval,
            accuracy: auc,
            accuracy_interval: interval,
        }
    }

    fn retrained(filter: &str, auc: f64, low: f64, high: f64) -> Retraining {
        Retraining {
            filter: filter.to_owned(),
            description: String::new(),
            scores: scores(auc, Some([low, high])),
        }
    }

    /// A full set of filters, on which both results support the heatmaps.
    fn supporting() -> [Retraining; 5] {
        [
            retrained("unfiltered", 0.9, 0.85, 0.95),
            retrained("keep-hottest", 0.88, 0.8, 0.93),
            retrained("remove-hottest", 0.7, 0.6, 0.79),
            retrained("keep-random", 0.6, 0.5, 0.7),
            retrained("remove-random", 0.85, 0.8, 0.9),
        ]
    }

    fn network() -> Network {
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

    /// Of 40 lesions and 60 normals, with `groups` in the test part.
    fn summary(groups: usize, networks: Vec<Network>) -> Summary {
        let part = |part: &str, lesion, normal, groups| Part {
            part: part.to_owned(),
            lesion,
            normal,
            groups,
        };
        let data = Data {
            name: "phantoms".to_owned(),
            layout: "folders".to_owned(),
            parts: vec![part("train", 30, 40, 20), part("test", 10, 20, groups)],
            notes: Vec::new(),
            faults: Vec::new(),
        };
        Summary {
            command: "cargo run".to_owned(),
            data,
            networks,
        }
    }

    fn page(summary: &Summary) -> String {
        render(summary, &[]).unwrap()
    }

    #[test]
    fn a_clear_win_needs_an_interval_above_every_baseline() {
        let best = chosen("otsu", 0.6, 0.5, 0.7);
        let clear = reading(&[best.clone(), row("everything", true, 0.2, 0.1, 0.3)]);
        assert!(
            clear.contains("0.60 (0.50–0.70), and its interval lies above that of every"),
            "{clear}"
        );

        let rows = [
            best.clone(),
            row("everything", true, 0.2, 0.1, 0.3),
            row("centred-disk", true, 0.48, 0.4, 0.55),
        ];
        let close = reading(&rows);
        assert!(close.contains("does not lie above that of centred-disk:"), "{close}");

        // A baseline below the best one may still have the wider interval.
        let rows = [
            best,
            row("everything", true, 0.2, 0.1, 0.6),
            row("centred-disk", true, 0.48, 0.47, 0.49),
        ];
        let wide = reading(&rows);
        assert!(wide.contains("does not lie above that of everything:"), "{wide}");
    }

    #[test]
    fn a_loss_and_missing_numbers_are_said() {
        let best = chosen("otsu", 0.3, 0.2, 0.4);
        let loss = reading(&[best.clone(), row("centred-disk", true, 0.6, 0.5, 0.7)]);
        assert!(
            loss.contains("clearly below the best trivial baseline, centred-disk with 0.60 (0.50–0.70)"),
            "{loss}"
        );
        let tie = reading(&[best.clone(), row("centred-disk", true, 0.3, 0.2, 0.4)]);
        assert!(tie.contains("no higher than the best trivial baseline"), "{tie}");
        let unknown = reading(&[best, row("centred-disk", true, 0.1, f64::NAN, f64::NAN)]);
        assert!(
            unknown.ends_with("There is no interval for centred-disk, so there is no verdict."),
            "{unknown}"
        );
        assert!(reading(&[chosen("otsu", f64::NAN, 0.0, 0.0)]).contains("has no Dice"));
        assert!(reading(&[row("otsu", false, 0.3, 0.2, 0.4)]).starts_with("No heatmap rule was chosen"));
        assert!(reading(&[]).starts_with("No heatmap rule was chosen"));
    }

    #[test]
    fn the_rule_chosen_on_validation_is_the_headline() {
        let page = page(&summary(ENOUGH, vec![network(), network()]));
        assert!(
            page.contains("The heatmap rule chosen on validation, otsu, reaches a mean Dice of 0.64"),
            "{page}"
        );
        let mark = r#"<code>otsu</code> <span class="mark">chosen on validation</span>"#;
        assert_eq!(page.matches(mark).count(), 2, "{page}");
        assert_eq!(page.matches(r#"<span class="mark">"#).count(), 2, "{page}");
        // In the comparison of the networks.
        assert_eq!(
            page.matches("0.64 (0.58–0.69)<br><code>otsu</code>").count(),
            2,
            "{page}"
        );
        assert!(!page.contains("<br><code>fixed-0.5</code>"), "{page}");
    }

    #[test]
    fn re_training_is_read_against_random_regions() {
        let rows = supporting();
        let [unfiltered, keep, remove, keep_random, remove_random] = rows.clone();
        let reading = |rows: &[&Retraining]| {
            let rows: Vec<_> = rows.iter().copied().cloned().collect();
            read_retraining(&rows, ENOUGH)
        };
        let good = read_retraining(&rows, ENOUGH);
        assert!(good.ends_with("Both results support the heatmaps."), "{good}");

        // Where any region that is removed costs as much, the hottest one shows nothing.
        let remove_less = retrained("remove-hottest", 0.84, 0.8, 0.9);
        let mixed = reading(&[&unfiltered, &keep, &remove_less, &keep_random, &remove_random]);
        assert!(
            mixed.contains("does not lie below that of the removed random region") && mixed.contains("mixed evidence"),
            "{mixed}"
        );

        let keep_less = retrained("keep-hottest", 0.65, 0.55, 0.75);
        let neither = reading(&[&unfiltered, &keep_less, &remove_less, &keep_random, &remove_random]);
        assert!(neither.ends_with("Neither result supports the heatmaps."), "{neither}");

        // Unfiltered images are no control for a removal.
        let uncontrolled = reading(&[&unfiltered, &keep, &remove, &keep_random]);
        assert!(
            uncontrolled.ends_with(
                "0.70 (0.60–0.79), against 0.90 (0.85–0.95) on unfiltered images. Any removal may lower the AUC, and \
                 there is no removed random region to hold this against."
            ),
            "{uncontrolled}"
        );
        let keep_uncontrolled = reading(&[&unfiltered, &keep, &remove, &remove_random]);
        assert!(
            keep_uncontrolled.contains("lies below that of the removed random region")
                && !keep_uncontrolled.contains("support"),
            "{keep_uncontrolled}"
        );

        let mut unknown = rows;
        unknown[1].scores.auc_interval = None;
        let unknown = read_retraining(&unknown, ENOUGH);
        assert!(
            unknown.starts_with("With the hottest pixels alone the AUC is 0.88, against")
                && unknown.ends_with("Where an interval is missing there is no verdict."),
            "{unknown}"
        );
        assert_eq!(reading(&[]), "");
    }

    #[test]
    fn few_groups_get_neither_intervals_nor_verdicts() {
        let lesions = "The test lesions come from";
        let images = "The test images come from";
        let enough = page(&summary(ENOUGH, vec![network()]));
        for shown in [
            "0.91 (0.87–0.94)",
            "0.64 (0.58–0.69)",
            "Both results support",
            "lies above that of every",
        ] {
            assert!(enough.contains(shown), "{shown}: {enough}");
        }
        for hidden in [lesions, images, "few-groups"] {
            assert!(!enough.contains(hidden), "{hidden}: {enough}");
        }

        let few_lesions = Network {
            test_lesion_groups: 1,
            ..network()
        };
        let page_of_few_lesions = page(&summary(ENOUGH, vec![few_lesions.clone()]));
        for shown in [
            "reaches a mean Dice of 0.64; the best trivial baseline is everything with 0.22. The test lesions come \
             from 1 group, too few for an interval, so there is no verdict.",
            "* No interval is given: the test lesions come from 1 group, too few for one",
            "0.91 (0.87–0.94)",
            "Both results support",
        ] {
            assert!(page_of_few_lesions.contains(shown), "{shown}: {page_of_few_lesions}");
        }
        for hidden in ["(0.58–0.69)", "lies above that of every", images] {
            assert!(!page_of_few_lesions.contains(hidden), "{hidden}: {page_of_few_lesions}");
        }

        let few = page(&summary(4, vec![few_lesions]));
        for shown in [
            "<td class=\"number\">0.91</td>",
            "the test images come from 4 groups and the test lesions come from 1 group, too few",
            "The test images come from 4 groups, too few for an interval, so there is no verdict.",
        ] {
            assert!(few.contains(shown), "{shown}: {few}");
        }
        assert_eq!(few.matches(r#"id="few-groups""#).count(), 1, "{few}");
        for hidden in [
            "(0.",
            "support the heatmaps",
            "Its interval",
            "Bars are",
            "with intervals",
        ] {
            assert!(!few.contains(hidden), "{hidden}: {few}");
        }
    }

    #[test]
    fn missing_intervals_leave_the_value_alone() {
        let mut network = network();
        network.test = scores(0.91, None);
        let page = page(&summary(ENOUGH, vec![network]));
        assert_eq!(page.matches("<td class=\"number\">0.91</td>").count(), 3, "{page}");
        assert_eq!(interval(0.5, Some(vec![f64::NAN, 0.6])), "0.50");
    }

    #[test]
    fn flat_and_sparse_heatmaps_are_counted_by_class() {
        let caution = |lesion, normal| {
            let sparse_heatmaps = ByClass { lesion, normal };
            page(&summary(
                ENOUGH,
                vec![Network {
                    sparse_heatmaps,
                    ..network()
                }],
            ))
        };
        let even = caution(4, 12);
        assert!(
            even.contains("flat: 1 of 40 lesions, 2 of 60 normals; sparse: 4 of 40 lesions, 12 of 60 normals."),
            "{even}"
        );
        // A difference of just 10 percentage points is let pass.
        assert!(!even.contains("Caution"), "{even}");
        let normals = caution(4, 13);
        assert!(
            normals.contains("more common among normals (22 %) than among lesions (10 %)")
                && normals.contains("a high AUC after filtering is weak evidence"),
            "{normals}"
        );
        let lesions = caution(20, 0);
        assert!(
            lesions.contains("among lesions (50 %) than among normals (0 %)"),
            "{lesions}"
        );

        let mut unfiltered = network();
        unfiltered.sparse_heatmaps.lesion = 40;
        unfiltered.retraining.truncate(1);
        let unfiltered = page(&summary(ENOUGH, vec![unfiltered]));
        assert!(!unfiltered.contains("Caution"), "{unfiltered}");
    }

    #[test]
    fn hostile_names_stay_text() {
        let mut summary = summary(ENOUGH, Vec::new());
        summary
            .data
            .faults
            .push("<script>alert('x')</script>\u{1b}&.png".to_owned());
        summary.command = "run --data \"><img src=x>\"".to_owned();
        let page = page(&summary);
        assert!(!page.contains("<script") && !page.contains("<img"), "{page}");
        assert!(
            page.contains("&lt;script&gt;") && page.contains("\u{fffd}&amp;.png"),
            "{page}"
        );
    }

    #[test]
    fn a_network_without_numbers_is_shown() {
        let bare = Network {
            test: scores(f64::NAN, Some([f64::NAN; 2])),
            segmentation: Vec::new(),
            retraining: Vec::new(),
            ..network()
        };
        let mut summary = summary(ENOUGH, vec![bare]);
        summary.data.parts.clear();
        let page = page(&summary);
        assert!(page.contains("&lt;b&gt;net") && !page.contains("NaN"), "{page}");
    }
}
