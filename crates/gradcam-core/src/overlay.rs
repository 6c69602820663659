//! Pictures of heatmaps and masks.

use image::{Rgb, RgbImage, imageops};
use ndarray::{Array2, ArrayView2};

use crate::colour_map::ColourMap;
use crate::error::CamError;

/// Values in 0..=1 as a grey picture. A [`Window`](crate::Window) brings a scan's own values there.
///
/// # Shapes
/// `[H, W]` to a picture W wide and H high.
///
/// # Errors
/// [`CamError::NotInUnitRange`] for a value outside or NaN, [`CamError::TooLarge`].
///
/// # Cost
/// One pass over the values.
///
/// ```
/// use gradcam_core::grey;
/// use ndarray::arr2;
///
/// let picture = grey(arr2(&[[0.0, 0.5, 1.0]]).view())?;
/// assert_eq!(picture.dimensions(), (3, 1));
/// assert_eq!(picture.get_pixel(1, 0).0, [128; 3]);
/// # Ok::<(), gradcam_core::CamError>(())
/// ```
pub fn grey(values: ArrayView2<'_, f32>) -> Result<RgbImage, CamError> {
    paint(values, |value| [(value * 255.0).round() as u8; 3])
}

/// A heatmap as a picture.
///
/// # Shapes
/// `[H, W]` to a picture W wide and H high.
///
/// # Errors
/// [`CamError::NotInUnitRange`] for a value outside 0..=1 or NaN, [`CamError::TooLarge`].
///
/// # Cost
/// One pass over the values.
///
/// ```
/// use gradcam_core::{ColourMap, heatmap_picture};
/// use ndarray::arr2;
///
/// let picture = heatmap_picture(arr2(&[[0.0, 1.0]]).view(), ColourMap::Viridis)?;
/// assert_eq!(picture.get_pixel(0, 0).0, ColourMap::Viridis.rgb(0.0));
/// assert_eq!(picture.get_pixel(1, 0).0, ColourMap::Viridis.rgb(1.0));
/// # Ok::<(), gradcam_core::CamError>(())
/// ```
pub fn heatmap_picture(heatmap: ArrayView2<'_, f32>, colours: ColourMap) -> Result<RgbImage, CamError> {
    paint(heatmap, |value| colours.rgb(value))
}

/// A heatmap laid over a picture: `(1 - alpha) picture + alpha colour`.
///
/// # Shapes
/// The heatmap is `[H, W]`, the picture W wide and H high.
///
/// # Errors
/// [`CamError::PictureSize`] unless both have the same rows and columns, [`CamError::Alpha`]
/// unless `alpha` is in 0..=1, [`CamError::NotInUnitRange`].
///
/// # Cost
/// One pass over the picture.
///
/// ```
/// use gradcam_core::{ColourMap, contour, grey, overlay, side_by_side};
/// use image::Rgb;
/// use ndarray::Array2;
///
/// let scan = grey(Array2::from_elem((4, 6), 0.5).view())?;
/// let heat = Array2::from_shape_fn((4, 6), |(_, column)| column as f32 / 5.0);
/// let mask = heat.mapv(|value| value > 0.5);
///
/// let painted = overlay(&scan, heat.view(), ColourMap::Jet, 0.5)?;
/// // Half of the scan's grey, half of jet's dark red for 1.
/// assert_eq!(painted.get_pixel(5, 0).0, [128, 64, 64]);
///
/// let outlined = contour(&painted, mask.view(), Rgb([255; 3]), 1)?;
/// let row = side_by_side(&[scan, painted, outlined], 3, 2, Rgb([0; 3]))?;
/// assert_eq!(row.dimensions(), (3 * 6 + 2 * 2, 4));
/// # Ok::<(), gradcam_core::CamError>(())
/// ```
pub fn overlay(
    picture: &RgbImage,
    heatmap: ArrayView2<'_, f32>,
    colours: ColourMap,
    alpha: f32,
) -> Result<RgbImage, CamError> {
    check_size(picture, heatmap.dim())?;
    if !(0.0..=1.0).contains(&alpha) {
        return Err(CamError::Alpha { alpha });
    }
    let mut out = heatmap_picture(heatmap, colours)?;
    for (over, under) in out.iter_mut().zip(picture.iter()) {
        *over = ((1.0 - alpha) * f32::from(*under) + alpha * f32::from(*over)).round() as u8;
    }
    Ok(out)
}

/// The inner boundary of a mask drawn onto a picture, `thickness` pixels wide.
///
/// A pixel is on the boundary when it is in the mask and fewer than `thickness` steps (up, down,
/// left, right) within the mask lead to one that has a neighbour outside. Outside the picture is outside
/// the mask, so a mask that is everything has its outline along the picture's edge.
///
/// # Shapes
/// The mask is `[H, W]`, the picture W wide and H high.
///
/// # Errors
/// [`CamError::PictureSize`] unless both have the same rows and columns.
///
/// # Cost
/// One pass over the mask for each pixel of thickness.
///
/// ```
/// use gradcam_core::contour;
/// use image::{Rgb, RgbImage};
/// use ndarray::Array2;
///
/// // A mask of 3×3 pixels: all but the middle one are its boundary.
/// let mask = Array2::from_shape_fn((5, 5), |(row, column)| (1..4).contains(&row) && (1..4).contains(&column));
/// let outlined = contour(&RgbImage::new(5, 5), mask.view(), Rgb([255; 3]), 1)?;
/// assert_eq!(outlined.pixels().filter(|pixel| pixel.0 == [255; 3]).count(), 8);
/// assert_eq!(outlined.get_pixel(2, 2).0, [0; 3]);
/// # Ok::<(), gradcam_core::CamError>(())
/// ```
pub fn contour(
    picture: &RgbImage,
    mask: ArrayView2<'_, bool>,
    colour: Rgb<u8>,
    thickness: u32,
) -> Result<RgbImage, CamError> {
    check_size(picture, mask.dim())?;
    let mut out = picture.clone();
    let mut inside = mask.to_owned();
    for _ in 0..thickness {
        let inner = erode(&inside);
        let mut changed = false;
        for (((row, column), &was), &is) in inside.indexed_iter().zip(&inner) {
            if was && !is {
                out.put_pixel(column as u32, row as u32, colour);
                changed = true;
            }
        }
        if !changed {
            break;
        }
        inside = inner;
    }
    Ok(out)
}

/// Pictures in rows of `columns`, `gap` pixels of `background` between them, none around them.
///
/// Every cell is as large as the largest picture; smaller ones lie in its upper left corner.
///
/// # Errors
/// [`CamError::EmptyGrid`] for no pictures or no columns, [`CamError::TooLarge`].
///
/// # Cost
/// One pass over the result.
///
/// ```
/// use gradcam_core::side_by_side;
/// use image::{Rgb, RgbImage};
///
/// let pictures = vec![RgbImage::from_pixel(4, 3, Rgb([9; 3])); 3];
/// let grid = side_by_side(&pictures, 2, 1, Rgb([255; 3]))?;
/// // Two rows of two, of which the last is empty.
/// assert_eq!(grid.dimensions(), (2 * 4 + 1, 2 * 3 + 1));
/// assert_eq!(grid.get_pixel(0, 4).0, [9; 3]);
/// assert_eq!(grid.get_pixel(8, 6).0, [255; 3]);
/// # Ok::<(), gradcam_core::CamError>(())
/// ```
pub fn side_by_side(pictures: &[RgbImage], columns: u32, gap: u32, background: Rgb<u8>) -> Result<RgbImage, CamError> {
    if pictures.is_empty() || columns == 0 {
        return Err(CamError::EmptyGrid {
            pictures: pictures.len(),
            columns,
        });
    }
    let across = u64::from(columns).min(pictures.len() as u64);
    let down = (pictures.len() as u64).div_ceil(across);
    let width = u64::from(pictures.iter().map(RgbImage::width).max().unwrap_or(0));
    let height = u64::from(pictures.iter().map(RgbImage::height).max().unwrap_or(0));
    let gap = u64::from(gap);
    let extent = |count: u64, cell: u64| (cell.saturating_mul(count)).saturating_add(gap.saturating_mul(count - 1));
    let mut out = blank(extent(down, height), extent(across, width))?;
    out.pixels_mut().for_each(|pixel| *pixel = background);
    for (index, picture) in (0u64..).zip(pictures) {
        let x = index % across * (width + gap);
        let y = index / across * (height + gap);
        imageops::replace(&mut out, picture, x as i64, y as i64);
    }
    Ok(out)
}

fn paint(values: ArrayView2<'_, f32>, rgb: impl Fn(f32) -> [u8; 3]) -> Result<RgbImage, CamError> {
    let (rows, columns) = values.dim();
    let mut out = blank(rows as u64, columns as u64)?;
    for (((row, column), &value), pixel) in values.indexed_iter().zip(out.pixels_mut()) {
        if !(0.0..=1.0).contains(&value) {
            return Err(CamError::NotInUnitRange { value, row, column });
        }
        *pixel = Rgb(rgb(value));
    }
    Ok(out)
}

/// A black picture. 2³⁰ pixels are the most, 3 GiB.
fn blank(rows: u64, columns: u64) -> Result<RgbImage, CamError> {
    let side = |extent: u64| u32::try_from(extent).ok();
    match (side(rows), side(columns)) {
        (Some(height), Some(width)) if rows * columns <= 1 << 30 => Ok(RgbImage::new(width, height)),
        _ => Err(CamError::TooLarge { rows, columns }),
    }
}

fn check_size(picture: &RgbImage, drawn: (usize, usize)) -> Result<(), CamError> {
    let picture = (picture.height() as usize, picture.width() as usize);
    if picture == drawn {
        Ok(())
    } else {
        Err(CamError::PictureSize { picture, drawn })
    }
}

/// The mask without its pixels that have one of four neighbours outside.
fn erode(mask: &Array2<bool>) -> Array2<bool> {
    let (rows, columns) = mask.dim();
    Array2::from_shape_fn((rows, columns), |(row, column)| {
        mask[[row, column]]
            && row > 0
            && column > 0
            && row + 1 < rows
            && column + 1 < columns
            && mask[[row - 1, column]]
            && mask[[row + 1, column]]
            && mask[[row, column - 1]]
            && mask[[row, column + 1]]
    })
}
