//! The report: one HTML page that holds its tables, plots and pictures.

use std::io::Cursor;

use anyhow::{Context, Result};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use image::{ImageFormat, RgbImage};
use minijinja::{Environment, UndefinedBehavior};
use serde::Serialize;

use crate::plots::{self, Plot};
use crate::summary::{Mean, Network, Retraining, Segmentation, Summary};

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
    rules: Vec<&'a Segmentation>,
    baselines: Vec<&'a Segmentation>,
    best_rule: Option<&'a Segmentation>,
    best_baseline: Option<&'a Segmentation>,
    empty_heatmaps: String,
    segmentation_reading: String,
    threshold_plot: Option<Plot>,
    retraining: Vec<&'a Retraining>,
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
    let mut networks = Vec::new();
    for (index, network) in summary.networks.iter().enumerate() {
        networks.push(section(network, pictures.get(index).map_or(&[], Vec::as_slice))?);
    }

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
        networks,
    })?;
    // File names may hold control characters, which HTML may not.
    Ok(page.replace(|letter: char| letter.is_control() && letter != '\n', "\u{fffd}"))
}

fn section<'a>(network: &'a Network, pictures: &'a [Picture]) -> Result<Section<'a>> {
    let (baselines, rules): (Vec<_>, Vec<_>) = network.segmentation.iter().partition(|row| row.baseline);
    let (mut retraining, filtered): (Vec<_>, Vec<_>) =
        network.retraining.iter().partition(|row| row.filter == "unfiltered");
    retraining.extend(filtered);
    Ok(Section {
        results: network,
        layer_shape: shape(&network.layer_shape),
        best_rule: highest(&rules),
        best_baseline: highest(&baselines),
        empty_heatmaps: empty_heatmaps(network.empty_heatmaps),
        segmentation_reading: read_segmentation(&rules, &baselines),
        threshold_plot: plots::threshold_curve(network)?,
        retraining_reading: read_retraining(&retraining),
        retraining_plot: plots::retraining(&retraining)?,
        rules,
        baselines,
        retraining,
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

/// `0.61 (0.55–0.66)`.
fn interval(value: f64, low: f64, high: f64) -> String {
    let value_text = decimals(value, 2);
    if [value, low, high].iter().all(|number| number.is_finite()) {
        format!("{value_text} ({low:.2}–{high:.2})")
    } else {
        value_text
    }
}

fn with_interval(mean: Mean) -> String {
    interval(mean.mean, mean.low, mean.high)
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

fn empty_heatmaps(count: usize) -> String {
    match count {
        0 => "The heatmap of every lesion image has something positive.".to_owned(),
        1 => "The heatmap of 1 lesion image has nothing positive.".to_owned(),
        _ => format!("The heatmaps of {count} lesion images have nothing positive."),
    }
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
fn read_segmentation(rules: &[&Segmentation], baselines: &[&Segmentation]) -> String {
    let Some(best) = highest(rules) else {
        return "No heatmap rule has a Dice that could be computed.".to_owned();
    };
    let found = format!(
        "The best heatmap rule, {}, reaches a mean Dice of {}",
        best.rule,
        with_interval(best.dice)
    );
    let Some(rival) = highest(baselines) else {
        return found + "; there is no baseline to hold it against.";
    };
    let against = format!("{} with {}", rival.rule, with_interval(rival.dice));
    if rival.dice.mean >= best.dice.mean {
        let how = if rival.dice.low > best.dice.high {
            "clearly below"
        } else {
            "no higher than"
        };
        return format!(
            "{found}, which is {how} the trivial baseline {against}: these results do not show that the heatmaps \
             locate the lesions."
        );
    }
    // An interval that is not there lies nowhere, so such a baseline counts as not cleared.
    let close: Vec<&str> = baselines
        .iter()
        .filter(|row| row.dice.mean.is_finite() && !best.dice.low.gt(&row.dice.high))
        .map(|row| row.rule.as_str())
        .collect();
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

/// What re-training on filtered images says about the heatmaps.
fn read_retraining(rows: &[&Retraining]) -> String {
    let auc = |filter: &str| -> Option<Mean> {
        let scores = &rows.iter().find(|row| row.filter == filter)?.scores;
        let [low, high] = scores.auc_interval;
        Some(Mean {
            mean: scores.auc,
            low,
            high,
        })
        .filter(|auc| auc.mean.is_finite())
    };
    let beside = |controls: [(Option<Mean>, &str); 2]| -> String {
        let known: Vec<_> = controls
            .iter()
            .filter_map(|(auc, what)| Some(format!("{} {what}", with_interval((*auc)?))))
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

    if let Some(keep) = auc("keep-hottest") {
        let random = auc("keep-random");
        sentences.push(format!(
            "With the hottest pixels alone the AUC is {}{}.",
            with_interval(keep),
            beside([
                (unfiltered, "on unfiltered images"),
                (random, "with a random region alone")
            ])
        ));
        if let Some(random) = random {
            let above = keep.low > random.high;
            verdicts.push(above);
            let (place, so) = if above {
                (
                    "lies above",
                    "the hottest pixels tell the classes apart better than a random region does",
                )
            } else if keep.high < random.low {
                (
                    "lies below",
                    "the hottest pixels tell the classes apart worse than a random region does",
                )
            } else {
                (
                    "does not lie above",
                    "it is not shown that the hottest pixels tell the classes apart better than a random region does",
                )
            };
            sentences.push(format!("Its interval {place} that of the random region: {so}."));
        }
    }
    if let Some(remove) = auc("remove-hottest") {
        let random = auc("remove-random");
        sentences.push(format!(
            "Without the hottest pixels the AUC is {}{}.",
            with_interval(remove),
            beside([
                (unfiltered, "on unfiltered images"),
                (random, "without a random region")
            ])
        ));
        if let Some(control) = random.or(unfiltered) {
            let below = remove.high < control.low;
            verdicts.push(below);
            let (place, so) = if below {
                ("lies below", "the classifier cannot make up for what was removed")
            } else {
                (
                    "does not lie below",
                    "it is not shown that the classifier needs what was removed",
                )
            };
            let control = if random.is_some() {
                "the removed random region"
            } else {
                "the unfiltered images"
            };
            sentences.push(format!("Its interval {place} that of {control}: {so}."));
        }
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
    use crate::summary::{Data, Scores};

    fn row(rule: &str, baseline: bool, mean: f64, low: f64, high: f64) -> Segmentation {
        let dice = Mean { mean, low, high };
        Segmentation {
            rule: rule.to_owned(),
            baseline,
            description: String::new(),
            dice,
            iou: dice,
        }
    }

    fn reading(rows: &[Segmentation]) -> String {
        let (baselines, rules): (Vec<_>, Vec<_>) = rows.iter().partition(|row| row.baseline);
        read_segmentation(&rules, &baselines)
    }

    fn retrained(filter: &str, auc: f64, low: f64, high: f64) -> Retraining {
        let scores = Scores {
            auc,
            auc_interval: [low, high],
            balanced_accuracy: auc,
            balanced_accuracy_interval: [low, high],
            accuracy: auc,
            accuracy_interval: [low, high],
        };
        Retraining {
            filter: filter.to_owned(),
            description: String::new(),
            scores,
        }
    }

    fn retraining_reading(rows: &[Retraining]) -> String {
        read_retraining(&rows.iter().collect::<Vec<_>>())
    }

    fn empty() -> Summary {
        let data = Data {
            name: "phantoms".to_owned(),
            layout: "folders".to_owned(),
            parts: Vec::new(),
            notes: Vec::new(),
            faults: Vec::new(),
        };
        Summary {
            command: "cargo run".to_owned(),
            data,
            networks: Vec::new(),
        }
    }

    #[test]
    fn a_clear_win_needs_an_interval_above_every_baseline() {
        let best = row("otsu", false, 0.6, 0.5, 0.7);
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
        let best = row("otsu", false, 0.3, 0.2, 0.4);
        let loss = reading(&[best.clone(), row("centred-disk", true, 0.6, 0.5, 0.7)]);
        assert!(
            loss.contains("clearly below the trivial baseline centred-disk with 0.60 (0.50–0.70)"),
            "{loss}"
        );
        let tie = reading(&[best.clone(), row("centred-disk", true, 0.3, 0.2, 0.4)]);
        assert!(tie.contains("no higher than the trivial baseline"), "{tie}");
        let unknown = reading(&[best, row("centred-disk", true, 0.1, f64::NAN, f64::NAN)]);
        assert!(unknown.contains("does not lie above that of centred-disk"), "{unknown}");
        assert!(reading(&[row("otsu", false, f64::NAN, 0.0, 0.0)]).starts_with("No heatmap rule"));
        assert!(reading(&[]).starts_with("No heatmap rule"));
    }

    #[test]
    fn re_training_is_read_against_random_and_unfiltered_images() {
        let unfiltered = retrained("unfiltered", 0.9, 0.85, 0.95);
        let random = retrained("keep-random", 0.6, 0.5, 0.7);
        let keep = retrained("keep-hottest", 0.88, 0.8, 0.93);
        let remove = retrained("remove-hottest", 0.7, 0.6, 0.8);
        let good = retraining_reading(&[unfiltered.clone(), keep.clone(), random.clone(), remove.clone()]);
        assert!(good.ends_with("Both results support the heatmaps."), "{good}");

        let remove_less = retrained("remove-hottest", 0.84, 0.8, 0.9);
        let mixed = retraining_reading(&[unfiltered.clone(), keep.clone(), random.clone(), remove_less.clone()]);
        assert!(
            mixed.contains("Its interval does not lie below") && mixed.contains("mixed evidence"),
            "{mixed}"
        );

        let keep_less = retrained("keep-hottest", 0.65, 0.55, 0.75);
        let neither = retraining_reading(&[unfiltered, keep_less, random, remove_less]);
        assert!(neither.ends_with("Neither result supports the heatmaps."), "{neither}");

        // Where any region that is removed costs as much, the hottest one shows nothing.
        let control = retrained("remove-random", 0.72, 0.62, 0.82);
        let controlled = retraining_reading(&[retrained("unfiltered", 0.9, 0.85, 0.95), remove.clone(), control]);
        assert!(
            controlled.contains("does not lie below that of the removed random region"),
            "{controlled}"
        );

        let alone = retraining_reading(&[keep, remove]);
        assert_eq!(
            alone,
            "With the hottest pixels alone the AUC is 0.88 (0.80–0.93). Without the hottest pixels the AUC is 0.70 \
             (0.60–0.80)."
        );
        assert_eq!(retraining_reading(&[]), "");
    }

    #[test]
    fn hostile_names_stay_text() {
        let mut summary = empty();
        summary
            .data
            .faults
            .push("<script>alert('x')</script>\u{1b}&.png".to_owned());
        summary.command = "run --data \"><img src=x>\"".to_owned();
        let page = render(&summary, &[]).unwrap();
        assert!(!page.contains("<script") && !page.contains("<img"), "{page}");
        assert!(
            page.contains("&lt;script&gt;") && page.contains("\u{fffd}&amp;.png"),
            "{page}"
        );
    }

    #[test]
    fn a_network_without_numbers_is_shown() {
        let mut summary = empty();
        let scores = retrained("unfiltered", f64::NAN, f64::NAN, f64::NAN).scores;
        let curve = Vec::new();
        summary.networks.push(Network {
            network: "<b>net".to_owned(),
            weights: None,
            layer: "layer4".to_owned(),
            layer_shape: vec![8, 7, 7],
            epochs: Vec::new(),
            best_epoch: 0,
            test: scores,
            empty_heatmaps: 0,
            segmentation: Vec::new(),
            curve,
            retraining: Vec::new(),
        });
        let page = render(&summary, &[]).unwrap();
        assert!(page.contains("&lt;b&gt;net") && !page.contains("NaN"), "{page}");
    }
}
