//! Overlays of heatmaps and masks on the test lesions.

use std::collections::HashSet;

use anyhow::{Context as _, Result};
use gradcam_core::{ColourMap, contour, grey, overlay, side_by_side};
use image::Rgb;
use models::Architecture;
use ndarray::{Array2, Array3};
use rayon::prelude::*;
use scan_data::Part;

use crate::data::Data;
use crate::report::Picture;
use crate::run_folder::RunFolder;
use crate::segmentation::Outcome;

/// Lesions shown in the report's grid.
const SHOWN: usize = 12;
const TRUTH: Rgb<u8> = Rgb([64, 224, 96]);
const SEGMENTATION: Rgb<u8> = Rgb([255, 64, 160]);

/// Writes a picture of every test lesion and returns some for the report: the best, the worst, and
/// those evenly between them by Dice.
pub fn write(
    architecture: Architecture,
    data: &Data,
    maps: &Array3<f32>,
    segmentation: &Outcome,
    folder: &RunFolder,
) -> Result<Vec<Picture>> {
    let folder = folder.overlays(architecture)?;
    let mut lesions: Vec<(usize, f64)> = segmentation
        .overlaps
        .iter()
        .filter(|(index, _)| data.part_of(*index) == Part::Test)
        .map(|(index, overlaps)| (*index, overlaps[segmentation.chosen].dice))
        .collect();
    lesions.sort_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
    let count = lesions.len();
    let shown: Vec<usize> = (0..SHOWN.min(count))
        .map(|place| place * (count - 1) / (SHOWN.min(count) - 1).max(1))
        .collect();
    let mut taken = HashSet::new();
    let names: Vec<String> = lesions
        .iter()
        .map(|&(index, _)| file_name(&data.scan(index).id, &mut taken))
        .collect();
    let pictures = lesions
        .par_iter()
        .zip(names)
        .enumerate()
        .map(|(place, (&(index, dice), name))| {
            let scan = data.scan(index);
            let (heatmap, mask) = segmentation.picture(data, maps, index)?;
            let picture = draw(
                &scan.image,
                &scan.mask,
                &heatmap,
                &mask,
                format!("{}, Dice {dice:.2}", scan.id),
            )?;
            let file = folder.join(format!("{name}.png"));
            let parts = [&picture.image, &picture.mask, &picture.heatmap, &picture.segmentation];
            side_by_side(&parts.map(Clone::clone), 4, 4, Rgb([255; 3]))?
                .save(&file)
                .with_context(|| format!("cannot write {}", file.display()))?;
            Ok(shown.contains(&place).then_some(picture))
        })
        .collect::<Result<Vec<_>>>()?;
    Ok(pictures.into_iter().flatten().collect())
}

fn draw(
    image: &Array2<f32>,
    truth: &Array2<bool>,
    heatmap: &Array2<f32>,
    mask: &Array2<bool>,
    title: String,
) -> Result<Picture> {
    let image = grey(image.view())?;
    let segmentation = contour(&image, mask.view(), SEGMENTATION, 2)?;
    Ok(Picture {
        title,
        mask: contour(&image, truth.view(), TRUTH, 2)?,
        heatmap: overlay(&image, heatmap.view(), ColourMap::Inferno, 0.5)?,
        segmentation: contour(&segmentation, truth.view(), TRUTH, 1)?,
        image,
    })
}

/// An id as a file name that no other has: `malignant/malignant (12)` as `malignant-malignant (12)`.
fn file_name(id: &str, taken: &mut HashSet<String>) -> String {
    let plain = id.replace(|c: char| c.is_control() || "/\\:*?\"<>|".contains(c), "-");
    let mut name = plain.clone();
    for number in 2.. {
        if taken.insert(name.clone()) {
            break;
        }
        name = format!("{plain} {number}");
    }
    name
}
