//! The report's plots, as SVG text to stand inside an HTML page.

use anyhow::Result;
use plotters::coord::Shift;
use plotters::coord::types::RangedCoordf64;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};
use serde::Serialize;

use crate::summary::{CurvePoint, Network, Retraining};

/// A drawing and what it says, for readers who do not see it.
#[derive(Debug, Serialize)]
pub struct Plot {
    pub svg: String,
    pub alt: String,
}

type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;
type Chart<'a, 'b> = ChartContext<'b, SVGBackend<'a>, Cartesian2d<RangedCoordf64, RangedCoordf64>>;

const INK: RGBColor = RGBColor(0x22, 0x2b, 0x36);
const GREY: RGBColor = RGBColor(0x5c, 0x67, 0x73);
const GRID: RGBColor = RGBColor(0xe1, 0xe5, 0xea);
/// Told apart by the colour-blind, and by line style and marker in grey print.
const BLUE: RGBColor = RGBColor(0x00, 0x5f, 0xa8);
const ORANGE: RGBColor = RGBColor(0xc4, 0x4e, 0x00);

const FONT: &str = "sans-serif";
/// Plotters writes a size of `n / 1.24` pixels for a font of size `n`.
const FONT_SIZE: i32 = 17;
const LINE_HEIGHT: i32 = 18;
/// Where the middle of the key lies, above the plot.
const KEY_HEIGHT: i32 = 14;

/// Mean Dice against the threshold, on the validation and the test lesions, beside the baselines.
///
/// `None` when the curve has no point to draw.
pub fn threshold_curve(network: &Network) -> Result<Option<Plot>> {
    const WIDTH: i32 = 680;
    const HEIGHT: i32 = 390;
    const LABELS: i32 = 160;

    let points = |value: fn(&CurvePoint) -> f64| -> Vec<(f64, f64)> {
        let mut points: Vec<_> = network
            .curve
            .iter()
            .map(|point| (f64::from(point.threshold), value(point)))
            .collect();
        points.retain(|(x, y)| x.is_finite() && y.is_finite());
        points.sort_by(|a, b| a.0.total_cmp(&b.0));
        points
    };
    let validation = points(|point| point.validation_dice);
    let test = points(|point| point.test_dice);
    if validation.is_empty() && test.is_empty() {
        return Ok(None);
    }
    let baselines: Vec<(String, f64)> = network
        .segmentation
        .iter()
        .filter(|row| row.baseline && row.dice.mean.is_finite())
        .map(|row| (plain(&row.rule), row.dice.mean))
        .collect();
    // Of equal thresholds the lowest.
    let chosen = validation
        .iter()
        .copied()
        .reduce(|best, point| if point.1 > best.1 { point } else { best });

    let highest = [&validation, &test].into_iter().flatten().map(|point| point.1);
    let highest = highest.chain(baselines.iter().map(|line| line.1)).fold(0.0, f64::max);
    let top = ((highest * 10.0 + 0.3).ceil() / 10.0).clamp(0.2, 1.0);

    let mut svg = String::new();
    {
        let root = SVGBackend::with_string(&mut svg, (WIDTH as u32, HEIGHT as u32)).into_drawing_area();
        root.fill(&WHITE)?;
        let mut chart = ChartBuilder::on(&root)
            .margin_top(58)
            .margin_right(LABELS)
            .margin_left(6)
            .margin_bottom(6)
            .x_label_area_size(48)
            .y_label_area_size(58)
            .build_cartesian_2d(0.0..1.0, 0.0..top)?;
        let decimal = |value: &f64| format!("{value:.1}");
        chart
            .configure_mesh()
            .light_line_style(TRANSPARENT)
            .bold_line_style(GRID)
            .axis_style(GREY)
            .label_style(text(INK))
            .axis_desc_style(text(INK))
            .x_labels(6)
            .y_labels(6)
            .x_label_formatter(&decimal)
            .y_label_formatter(&decimal)
            .x_desc("Threshold on the heatmap")
            .y_desc("Mean Dice of the lesions")
            .draw()?;

        for (_, dice) in &baselines {
            chart.draw_series(DashedLineSeries::new(
                [(0.0, *dice), (1.0, *dice)],
                3,
                4,
                GREY.stroke_width(1),
            ))?;
        }
        if let Some((threshold, _)) = chosen {
            let line = [(threshold, 0.0), (threshold, top)];
            chart.draw_series(DashedLineSeries::new(line, 2, 3, INK.stroke_width(1)))?;
        }
        chart.draw_series(DashedLineSeries::new(
            validation.iter().copied(),
            8,
            5,
            ORANGE.stroke_width(2),
        ))?;
        chart.draw_series(LineSeries::new(test.iter().copied(), BLUE.stroke_width(3)))?;
        if let Some((threshold, dice)) = chosen {
            chart.draw_series([Circle::new((threshold, dice), 5, ORANGE.filled())])?;
            if let Some(at) = test.iter().find(|point| point.0 == threshold) {
                chart.draw_series([Circle::new(*at, 5, BLUE.filled())])?;
            }
            let (x, y) = chart.backend_coord(&(threshold, top));
            let label = format!("validation-best {threshold:.2}");
            let centre = x.clamp(130, WIDTH - LABELS - 30);
            put(&root, &label, (centre, y - 3), INK, HPos::Center, VPos::Bottom)?;
        }

        let key = [
            PathElement::new([(66, KEY_HEIGHT), (98, KEY_HEIGHT)], BLUE.stroke_width(3)),
            PathElement::new([(150, KEY_HEIGHT), (162, KEY_HEIGHT)], ORANGE.stroke_width(2)),
            PathElement::new([(170, KEY_HEIGHT), (182, KEY_HEIGHT)], ORANGE.stroke_width(2)),
        ];
        for line in &key {
            root.draw(line)?;
        }
        put(&root, "test", (105, KEY_HEIGHT), INK, HPos::Left, VPos::Center)?;
        put(&root, "validation", (189, KEY_HEIGHT), INK, HPos::Left, VPos::Center)?;
        if !baselines.is_empty() {
            dashed_key(&root, "trivial baselines (test)", 285)?;
        }
        label_lines(&root, &chart, &baselines, WIDTH - LABELS)?;
        root.present()?;
    }

    let mut alt = String::from("Line plot of mean Dice against the threshold on the heatmap.");
    if let Some((threshold, dice)) = chosen {
        alt += &format!(" Validation is highest at a threshold of {threshold:.2}, with a mean Dice of {dice:.2}");
        if let Some((_, dice)) = test.iter().find(|point| point.0 == threshold) {
            alt += &format!("; test has {dice:.2} there");
        }
        alt += ".";
    }
    if !baselines.is_empty() {
        let lines: Vec<_> = baselines
            .iter()
            .map(|(name, dice)| format!("{name} {dice:.2}"))
            .collect();
        alt += &format!(" Horizontal lines for the baselines: {}.", lines.join(", "));
    }
    Ok(Some(Plot { svg, alt }))
}

/// AUC and balanced accuracy on the test images by the filter that the images went through.
///
/// `None` when there is no row to draw.
pub fn retraining(rows: &[Retraining]) -> Result<Option<Plot>> {
    const HEIGHT: i32 = 350;

    let finite = |row: &&Retraining| row.scores.auc.is_finite() || row.scores.balanced_accuracy.is_finite();
    let rows: Vec<&Retraining> = rows.iter().filter(finite).collect();
    if rows.is_empty() {
        return Ok(None);
    }
    let width = (90 + 130 * rows.len()).max(480) as u32;
    // Centre, value and interval of every marker.
    type Marker = (f64, f64, Option<[f64; 2]>);
    let series = |offset: f64, value: fn(&Retraining) -> (f64, Option<[f64; 2]>)| -> Vec<Marker> {
        let at = |(index, row): (usize, &&Retraining)| {
            let (value, interval) = value(row);
            let interval = interval.filter(|ends| ends.iter().all(|end| end.is_finite()));
            (index as f64 + 0.5 + offset, value, interval)
        };
        rows.iter()
            .enumerate()
            .map(at)
            .filter(|(_, value, _)| value.is_finite())
            .collect()
    };
    let auc = series(-0.1, |row| (row.scores.auc, row.scores.auc_interval));
    let balanced = series(0.1, |row| {
        (row.scores.balanced_accuracy, row.scores.balanced_accuracy_interval)
    });
    let markers = || auc.iter().chain(&balanced);
    let has_intervals = markers().any(|(_, _, interval)| interval.is_some());
    let lowest = markers()
        .map(|&(_, value, interval)| interval.map_or(value, |[low, _]| low.min(value)))
        .fold(0.4, f64::min);
    let bottom = ((lowest * 10.0 + 1e-9).floor() / 10.0).max(0.0);

    let mut svg = String::new();
    {
        let root = SVGBackend::with_string(&mut svg, (width, HEIGHT as u32)).into_drawing_area();
        root.fill(&WHITE)?;
        let mut chart = ChartBuilder::on(&root)
            .margin_top(34)
            .margin_right(12)
            .margin_left(6)
            .margin_bottom(34)
            .y_label_area_size(58)
            .build_cartesian_2d(0.0..rows.len() as f64, bottom..1.02)?;
        chart
            .configure_mesh()
            .disable_x_mesh()
            .light_line_style(TRANSPARENT)
            .bold_line_style(GRID)
            .axis_style(GREY)
            .label_style(text(INK))
            .axis_desc_style(text(INK))
            .y_labels(7)
            .y_label_formatter(&|value| format!("{value:.1}"))
            .y_desc("Test score")
            .draw()?;

        let chance = [(0.0, 0.5), (rows.len() as f64, 0.5)];
        chart.draw_series(DashedLineSeries::new(chance, 3, 4, GREY.stroke_width(1)))?;
        for (values, colour) in [(&auc, BLUE), (&balanced, ORANGE)] {
            for (x, [low, high]) in values.iter().filter_map(|&(x, _, interval)| Some((x, interval?))) {
                let bar = [(x, low), (x, high)];
                let caps = [low, high].map(|end| [(x - 0.035, end), (x + 0.035, end)]);
                let lines = [bar, caps[0], caps[1]];
                chart.draw_series(lines.map(|line| PathElement::new(line, colour.stroke_width(2))))?;
            }
        }
        chart.draw_series(
            auc.iter()
                .map(|&(x, value, _)| Circle::new((x, value), 6, BLUE.filled())),
        )?;
        let square = |&(x, value, _): &Marker| {
            EmptyElement::at((x, value)) + Rectangle::new([(-5, -5), (5, 5)], ORANGE.filled())
        };
        chart.draw_series(balanced.iter().map(square))?;
        for (index, row) in rows.iter().enumerate() {
            let (x, y) = chart.backend_coord(&(index as f64 + 0.5, bottom));
            put(&root, &plain(&row.filter), (x, y + 9), INK, HPos::Center, VPos::Top)?;
        }

        root.draw(&Circle::new((72, KEY_HEIGHT), 6, BLUE.filled()))?;
        put(&root, "AUC", (84, KEY_HEIGHT), INK, HPos::Left, VPos::Center)?;
        root.draw(&Rectangle::new(
            [(139, KEY_HEIGHT - 5), (149, KEY_HEIGHT + 5)],
            ORANGE.filled(),
        ))?;
        put(
            &root,
            "balanced accuracy",
            (156, KEY_HEIGHT),
            INK,
            HPos::Left,
            VPos::Center,
        )?;
        dashed_key(&root, "chance", 305)?;
        root.present()?;
    }

    let said = |row: &&Retraining| {
        let Retraining { filter, scores, .. } = row;
        format!(
            "{}: AUC {:.2}, balanced accuracy {:.2}",
            plain(filter),
            scores.auc,
            scores.balanced_accuracy
        )
    };
    let said: Vec<_> = rows.iter().map(said).collect();
    let intervals = if has_intervals { ", with intervals" } else { "" };
    let alt = format!("Plot of the test scores by filter{intervals}. {}.", said.join("; "));
    Ok(Some(Plot { svg, alt }))
}

/// An id such as `random-heatmap` as words.
fn plain(id: &str) -> String {
    id.replace('-', " ")
}

fn text(colour: RGBColor) -> TextStyle<'static> {
    (FONT, FONT_SIZE).into_font().color(&colour)
}

fn put(area: &Area, words: &str, at: (i32, i32), colour: RGBColor, across: HPos, down: VPos) -> Result<()> {
    area.draw(&Text::new(
        words.to_owned(),
        at,
        text(colour).pos(Pos::new(across, down)),
    ))?;
    Ok(())
}

/// The key of the level dashed lines, from `left` on.
fn dashed_key(area: &Area, words: &str, left: i32) -> Result<()> {
    for start in [left, left + 7, left + 14, left + 21] {
        area.draw(&PathElement::new(
            [(start, KEY_HEIGHT), (start + 3, KEY_HEIGHT)],
            GREY.stroke_width(1),
        ))?;
    }
    put(area, words, (left + 31, KEY_HEIGHT), INK, HPos::Left, VPos::Center)
}

/// Names horizontal lines to the right of the plot at `edge`, moved apart where they would overlap.
fn label_lines(area: &Area, chart: &Chart, lines: &[(String, f64)], edge: i32) -> Result<()> {
    let mut labels: Vec<(i32, String)> = lines
        .iter()
        .map(|(name, value)| (chart.backend_coord(&(1.0, *value)).1, format!("{name} {value:.2}")))
        .collect();
    labels.sort();
    let heights: Vec<i32> = labels.iter().map(|label| label.0).collect();
    let (_, below) = chart.plotting_area().get_pixel_range();
    let placed = spread(&heights, LINE_HEIGHT, below.start, below.end);
    for ((height, label), placed) in labels.iter().zip(placed) {
        area.draw(&PathElement::new(
            [(edge, *height), (edge + 12, placed)],
            GREY.stroke_width(1),
        ))?;
        put(area, label, (edge + 15, placed), INK, HPos::Left, VPos::Center)?;
    }
    Ok(())
}

/// Moves ascending `heights` so that neighbours are at least `gap` apart, within `low..=high` where there is room.
fn spread(heights: &[i32], gap: i32, low: i32, high: i32) -> Vec<i32> {
    let mut placed = heights.to_vec();
    let mut least = low;
    for height in &mut placed {
        *height = (*height).max(least);
        least = *height + gap;
    }
    let mut most = high;
    for height in placed.iter_mut().rev() {
        *height = (*height).min(most);
        most = *height - gap;
    }
    placed
}

#[cfg(test)]
mod tests {
    use super::spread;

    #[test]
    fn labels_are_moved_apart_and_stay_inside() {
        assert_eq!(spread(&[10, 60], 18, 0, 100), [10, 60]);
        assert_eq!(spread(&[50, 51, 52], 18, 0, 100), [50, 68, 86]);
        assert_eq!(spread(&[97, 98, 99], 18, 0, 100), [64, 82, 100]);
    }
}
