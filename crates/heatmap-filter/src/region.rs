use std::cmp::Ordering;

use ndarray::{Array2, ArrayView2, Axis, Slice};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::error::FilterError;
use crate::seed::mix;

/// The hottest `fraction` of a heatmap's pixels: exactly `round(fraction · pixels)` of them.
///
/// Pixels are ranked by value, and equal ones in an order drawn from `seed`. So a map full of zeros
/// gives up no more pixels than were asked for (a comparison with a percentile would take all that
/// tie with it), and not always those at the top (which would tell such maps from others).
///
/// # Shapes
/// `[H, W]` to `[H, W]`, true where hottest.
///
/// # Errors
/// [`FilterError::Fraction`] unless 0 ≤ `fraction` ≤ 1; [`FilterError::NotFinite`] with the first
/// such pixel.
///
/// # Cost
/// O(pixels) by selection.
///
/// ```
/// use heatmap_filter::hottest;
/// use ndarray::array;
///
/// let region = hottest(array![[0.1, 0.7], [0.0, 0.9]].view(), 0.75, 0)?;
/// assert_eq!(region, array![[true, true], [false, true]]);
/// # Ok::<(), heatmap_filter::FilterError>(())
/// ```
pub fn hottest(heatmap: ArrayView2<'_, f32>, fraction: f64, seed: u64) -> Result<Array2<bool>, FilterError> {
    if !(0.0..=1.0).contains(&fraction) {
        return Err(FilterError::Fraction { fraction });
    }
    if let Some((index, &value)) = heatmap.indexed_iter().find(|(_, value)| !value.is_finite()) {
        return Err(FilterError::NotFinite { index, value });
    }
    let values: Vec<f32> = heatmap.iter().copied().collect();
    let count = (fraction * values.len() as f64).round() as usize;
    let mut order: Vec<usize> = (0..values.len()).collect();
    if 0 < count && count < order.len() {
        let place = |index: usize| (mix(seed, index as u64), index);
        order.select_nth_unstable_by(count - 1, |&a, &b| {
            // -0 ties with 0.
            let by_value = values[b].partial_cmp(&values[a]).unwrap_or(Ordering::Equal);
            by_value.then_with(|| place(a).cmp(&place(b)))
        });
    }
    let mut region = vec![false; values.len()];
    for &index in &order[..count] {
        region[index] = true;
    }
    Ok(Array2::from_shape_fn(heatmap.dim(), |(row, column)| {
        region[row * heatmap.ncols() + column]
    }))
}

/// A region of the same area and shape as `region` at a random place: the control for a heatmap's.
///
/// The region is mirrored at random (and transposed, where the image is square) and shifted by a
/// random whole number of pixels along both axes, leaving by one edge and entering by the other.
/// All such placements are equally likely. The same `seed` gives the same placement.
///
/// # Shapes
/// `[H, W]` to `[H, W]`; the number of true pixels is kept.
///
/// ```
/// use heatmap_filter::random_like;
/// use ndarray::array;
///
/// let region = array![[true, true, false], [false, false, false]];
/// let control = random_like(region.view(), 3);
/// assert_eq!(control.iter().filter(|&&inside| inside).count(), 2);
/// ```
pub fn random_like(region: ArrayView2<'_, bool>, seed: u64) -> Array2<bool> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let mut source = region;
    for axis in 0..2 {
        if rng.random() {
            source.slice_axis_inplace(Axis(axis), Slice::new(0, None, -1));
        }
    }
    if source.nrows() == source.ncols() && rng.random() {
        source.swap_axes(0, 1);
    }
    let (rows, columns) = source.dim();
    if rows == 0 || columns == 0 {
        return source.to_owned();
    }
    let (down, right) = (rng.random_range(0..rows), rng.random_range(0..columns));
    Array2::from_shape_fn((rows, columns), |(row, column)| {
        source[((row + rows - down) % rows, (column + columns - right) % columns)]
    })
}
