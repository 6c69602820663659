//! The report: one HTML page that holds its tables, plots and pictures.

use std::io::Cursor;

use anyhow::{Context, Result};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use image::{ImageFormat, RgbImage};
use minijinja::{Environment, UndefinedBehavior};
use serde::Serialize;

use crate::plots::{self, Plot};
use crate::readings::{self, Estimate, LEAST_GROUPS};
use crate::summary::{ByClass, Network, Part, Segmentation, Summary};

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
    #[serde(flatten)]
    images: ByClass,
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
        images: ByClass {
            lesion: parts.iter().map(|part| part.lesion).sum(),
            normal: parts.iter().map(|part| part.normal).sum(),
        },
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
        networks.push(section(network, test_groups, total.images, pictures)?);
    }
    let lesion_groups = stripped.iter().map(|network| network.test_lesion_groups).min();

    let mut environment = Environment::new();
    environment.set_undefined_behavior(UndefinedBehavior::Strict);
    environment.set_trim_blocks(true);
    environment.set_lstrip_blocks(true);
    environment.add_filter("decimals", readings::decimals);
    environment.add_filter("interval", interval);
    // Escaping goes by the name's ending.
    environment.add_template("report.html", include_str!("report.html"))?;
    let page = environment.get_template("report.html")?.render(Page {
        summary,
        total,
        least_groups: LEAST_GROUPS,
        few_test_groups: test_groups < LEAST_GROUPS,
        few_lesion_groups: lesion_groups.is_some_and(|groups| groups < LEAST_GROUPS),
        few_groups: lesion_groups.map_or_else(String::new, |lesion_groups| {
            readings::footnote(test_groups, lesion_groups)
        }),
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

fn section<'a>(
    network: &'a Network,
    test_groups: usize,
    images: ByClass,
    pictures: &'a [Picture],
) -> Result<Section<'a>> {
    let (baselines, rules): (Vec<_>, Vec<_>) = network.segmentation.iter().partition(|row| row.baseline);
    Ok(Section {
        results: network,
        layer_shape: shape(&network.layer_shape),
        few_lesion_groups: network.test_lesion_groups < LEAST_GROUPS,
        chosen_rule: rules.iter().copied().find(|row| row.chosen),
        best_baseline: readings::highest(&baselines),
        heatmap_counts: readings::heatmap_counts(network, images),
        segmentation_reading: readings::segmentation(&rules, &baselines, network.test_lesion_groups),
        threshold_plot: plots::threshold_curve(network)?,
        retraining_reading: readings::retraining(network, test_groups, images),
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

/// `0.61 (0.55–0.66)`, or the value alone where an end is missing.
fn interval(value: f64, ends: Option<Vec<f64>>) -> String {
    let ends = ends.and_then(|ends| <[f64; 2]>::try_from(ends).ok());
    Estimate::new(value, ends).text()
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::summary::Data;
    use crate::summary::samples::{ENOUGH, network, scores};

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
            phantoms: None,
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
    fn few_groups_get_neither_intervals_nor_verdicts() {
        let lesions = "The test lesions come from";
        let images = "The test images come from";
        let enough = page(&summary(ENOUGH, vec![network()]));
        for shown in [
            "0.91 (0.87–0.94)",
            "0.64 (0.58–0.69)",
            "Both results support",
            "lies above that of every",
            "flat: 1 of 40 lesions, 2 of 60 normals; sparse: 3 of 40 lesions",
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
