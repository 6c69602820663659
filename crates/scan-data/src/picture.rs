//! Decoding of image files to grey values and masks.

use std::path::Path;

use image::{DynamicImage, ImageReader, Limits};
use ndarray::Array2;

use crate::{DataError, GreyMasks};

/// The longest side that is decoded, and the memory that a decoder may ask for: beyond them a file
/// is a fault, so a few bytes cannot ask for gigabytes.
const LONGEST_SIDE: u32 = 16_384;
const DECODER_BYTES: u64 = 256 * 1024 * 1024;

/// How far a grey value may leave 0..=1 by rounding.
const ROUNDING: f32 = 1e-5;

/// How many values a complaint about a mask lists.
const LISTED: usize = 5;

/// Whether a file name ends as an image that can be decoded.
pub(crate) fn is_picture(name: &str) -> bool {
    let extension = name.rsplit_once('.').map(|(_, e)| e.to_ascii_lowercase());
    matches!(
        extension.as_deref(),
        Some("png" | "jpg" | "jpeg" | "bmp" | "tif" | "tiff")
    )
}

/// A file name without its last extension.
pub(crate) fn stem(name: &str) -> &str {
    name.rsplit_once('.').map_or(name, |(stem, _)| stem)
}

/// Grey values in 0..=1: colour becomes luma, alpha is ignored, integers are divided by their
/// greatest value.
pub(crate) fn grey(path: &Path) -> Result<Array2<f32>, DataError> {
    let picture = decode(path)?.to_luma32f();
    let (width, height) = picture.dimensions();
    let values = Array2::from_shape_fn((height as usize, width as usize), |(y, x)| {
        picture.get_pixel(x as u32, y as u32).0[0]
    });
    let (minimum, maximum) = extremes(&values);
    if minimum >= -ROUNDING && maximum <= 1.0 + ROUNDING {
        Ok(values.mapv_into(|v| v.clamp(0.0, 1.0)))
    } else {
        let path = path.to_path_buf();
        Err(DataError::Intensities { path, minimum, maximum })
    }
}

/// The least and the greatest value; both NaN when there is a NaN.
fn extremes(values: &Array2<f32>) -> (f32, f32) {
    values
        .iter()
        .fold((f32::INFINITY, f32::NEG_INFINITY), |(low, high), &v| {
            if v.is_nan() || low.is_nan() {
                (f32::NAN, f32::NAN)
            } else {
                (low.min(v), high.max(v))
            }
        })
}

/// True where a mask file marks a lesion. A pixel's value is the greatest of its colour channels;
/// alpha is ignored.
pub(crate) fn mask(path: &Path, rule: GreyMasks) -> Result<Array2<bool>, DataError> {
    let picture = decode(path)?.into_rgb32f();
    let (width, height) = picture.dimensions();
    let values = Array2::from_shape_fn((height as usize, width as usize), |(y, x)| {
        let [r, g, b] = picture.get_pixel(x as u32, y as u32).0;
        r.max(g).max(b)
    });
    if let Some(mask) = two_valued(values.iter()).map(|_| values.mapv(|v| v != 0.0)) {
        return Ok(mask);
    }
    match rule {
        GreyMasks::AboveHalf => Ok(values.mapv(|v| v > 0.5)),
        GreyMasks::Fault => Err(DataError::GreyMask {
            path: path.to_path_buf(),
            values: some_values(values.iter()),
        }),
    }
}

/// The one value beside 0, if there is no more than one; 0 when there is none.
pub(crate) fn two_valued<'a>(values: impl Iterator<Item = &'a f32>) -> Option<f32> {
    let mut marked = 0.0;
    for &value in values {
        if value != 0.0 && value != marked {
            if marked != 0.0 || !value.is_finite() {
                return None;
            }
            marked = value;
        }
    }
    Some(marked)
}

/// The first few different values, ascending.
pub(crate) fn some_values<'a>(values: impl Iterator<Item = &'a f32>) -> Vec<f32> {
    let mut seen: Vec<f32> = Vec::new();
    for &value in values {
        if !seen.iter().any(|s| s.total_cmp(&value).is_eq()) {
            seen.push(value);
            if seen.len() == LISTED {
                break;
            }
        }
    }
    seen.sort_by(f32::total_cmp);
    seen
}

fn decode(path: &Path) -> Result<DynamicImage, DataError> {
    let io = |source| DataError::Io {
        path: path.to_path_buf(),
        source,
    };
    let mut reader = ImageReader::open(path).map_err(io)?.with_guessed_format().map_err(io)?;
    let mut limits = Limits::default();
    limits.max_image_width = Some(LONGEST_SIDE);
    limits.max_image_height = Some(LONGEST_SIDE);
    limits.max_alloc = Some(DECODER_BYTES);
    reader.limits(limits);
    reader.decode().map_err(|source| DataError::Image {
        path: path.to_path_buf(),
        source,
    })
}
