//! Opening and closing by balls, from squared distances: a ball around a pixel meets a set where the set
//! is no farther than the radius. The distances come apart into one pass per axis.

use ndarray::{Array, ArrayView, Axis, Dimension, Zip};

pub(crate) fn open<D: Dimension>(mask: ArrayView<'_, bool, D>, radius: usize) -> Array<bool, D> {
    let core = within(mask.map(|on| !on), radius).mapv_into(|meets| !meets);
    within(core, radius)
}

pub(crate) fn close<D: Dimension>(mask: ArrayView<'_, bool, D>, radius: usize) -> Array<bool, D> {
    let wide = within(mask.to_owned(), radius);
    within(wide.mapv_into(|on| !on), radius).mapv_into(|meets| !meets)
}

/// The pixels no farther than `radius` from the set.
fn within<D: Dimension>(set: Array<bool, D>, radius: usize) -> Array<bool, D> {
    // No distance inside the array is greater, and none beyond is asked for.
    let radius = radius.min(set.shape().iter().sum());
    let limit = (radius * radius) as u64;
    let mut squares = set.mapv(|on| if on { 0 } else { limit + 1 });
    for axis in 0..squares.ndim() {
        Zip::from(squares.lanes_mut(Axis(axis))).par_for_each(|mut lane| {
            let before = lane.to_vec();
            for (at, value) in lane.iter_mut().enumerate() {
                let from = at.saturating_sub(radius);
                let reach = before.len().min(at + radius + 1);
                for (place, square) in before[from..reach].iter().enumerate() {
                    let step = (from + place).abs_diff(at) as u64;
                    *value = (*value).min(square + step * step);
                }
            }
        });
    }
    squares.mapv(|square| square <= limit)
}
