use image::imageops::{self, FilterType};
use image::{ImageBuffer, Luma};
use ndarray::{Array2, Array4, ArrayView2, Axis};
use rayon::prelude::*;

use crate::{BatchSpec, DataError, Scan};

/// Resizes an image bilinearly at half-pixel centres, smoothing first where it shrinks (the triangle
/// filter grows with the scale). Enlarging equals torch's `interpolate(mode="bilinear",
/// align_corners=False)`, shrinking the same with `antialias=True`, and Pillow's `BILINEAR`.
///
/// # Shapes
/// `[h, w]` → `size`, both rows and columns. An image without pixels gives zeros.
///
/// # Units
/// Values must be in 0..=1; others are clipped when the size changes.
///
/// ```
/// use ndarray::array;
///
/// let wide = scan_data::resize(array![[0.0, 1.0]].view(), (1, 4));
/// assert_eq!(wide, array![[0.0, 0.25, 0.75, 1.0]]);
/// ```
pub fn resize(image: ArrayView2<'_, f32>, size: (usize, usize)) -> Array2<f32> {
    if image.dim() == size {
        return image.to_owned();
    }
    let (height, width) = image.dim();
    let pixels: Vec<f32> = image.iter().copied().collect();
    let resized = match (
        u32::try_from(width),
        u32::try_from(height),
        u32::try_from(size.1),
        u32::try_from(size.0),
    ) {
        (Ok(w), Ok(h), Ok(new_w), Ok(new_h)) if w > 0 && h > 0 && new_w > 0 && new_h > 0 => {
            ImageBuffer::<Luma<f32>, _>::from_raw(w, h, pixels)
                .map(|picture| imageops::resize(&picture, new_w, new_h, FilterType::Triangle).into_raw())
        }
        _ => None,
    };
    // Every size that memory can hold fits, so what is left are the images without pixels.
    resized
        .and_then(|pixels| Array2::from_shape_vec(size, pixels).ok())
        .unwrap_or_else(|| Array2::zeros(size))
}

/// Resizes a mask by taking the nearest pixel at half-pixel centres: row `y` of the result is row
/// `⌊(y + ½) · h / new h⌋` of the mask, and columns alike (torch's `nearest-exact`).
///
/// # Shapes
/// `[h, w]` → `size`. A mask without pixels gives an empty mask.
///
/// ```
/// use ndarray::array;
///
/// let small = scan_data::resize_mask(array![[true, true, false, false]].view(), (2, 2));
/// assert_eq!(small, array![[true, false], [true, false]]);
/// ```
pub fn resize_mask(mask: ArrayView2<'_, bool>, size: (usize, usize)) -> Array2<bool> {
    let (height, width) = mask.dim();
    if height == 0 || width == 0 {
        return Array2::from_elem(size, false);
    }
    let nearest = |to: usize, old: usize, new: usize| ((2 * to + 1) * old / (2 * new)).min(old - 1);
    Array2::from_shape_fn(size, |(y, x)| {
        mask[[nearest(y, height, size.0), nearest(x, width, size.1)]]
    })
}

/// The images of some scans as a batch: resized as [`resize`] does, repeated to the channels,
/// normalised. In parallel over the images.
///
/// # Shapes
/// `[indices, channels, height, width]`, in the order of the indices, which may repeat.
///
/// # Errors
/// An index beyond the scans; an input without pixels, with channels other than 1 or 3, or without a
/// finite mean and a positive standard deviation for each channel.
///
/// ```
/// use scan_data::{BatchSpec, Phantoms, batch};
///
/// let data = Phantoms::default().with_count(4).with_size(32).generate()?;
/// let images = batch(&data.scans, &[2, 0], &BatchSpec::default().with_size(64, 48))?;
/// assert_eq!(images.dim(), (2, 3, 64, 48));
/// # Ok::<(), scan_data::DataError>(())
/// ```
pub fn batch(scans: &[Scan], indices: &[usize], spec: &BatchSpec) -> Result<Array4<f32>, DataError> {
    spec.check()?;
    if let Some(&index) = indices.iter().find(|&&i| i >= scans.len()) {
        return Err(DataError::IndexOutOfRange {
            index,
            len: scans.len(),
        });
    }
    let mut images = Array4::zeros((indices.len(), spec.channels(), spec.height(), spec.width()));
    images
        .axis_iter_mut(Axis(0))
        .into_par_iter()
        .zip(indices)
        .for_each(|(mut image, &index)| {
            let grey = resize(scans[index].image.view(), (spec.height(), spec.width()));
            let statistics = spec.mean().iter().zip(spec.std());
            for (mut channel, (&mean, &std)) in image.outer_iter_mut().zip(statistics) {
                channel.zip_mut_with(&grey, |to, &v| *to = (v - mean) / std);
            }
        });
    Ok(images)
}
