//! Passes along the axes of an array, sixteen lanes side by side: whole cache lines are read along any axis, and what a
//! pass does to one lane is done to sixteen by vector instructions.

use ndarray::parallel::prelude::*;
use ndarray::{ArrayViewMut2, ArrayViewMut3, Axis};

/// How many lanes go side by side.
pub(crate) const ABREAST: usize = 16;

/// The values at one place of lanes side by side.
pub(crate) type Abreast<T> = [T; ABREAST];

/// Replaces the lanes along an axis of an array in C order by what `pass` makes of them: from the places of lanes side
/// by side to as many.
///
/// Where there are fewer lanes than places for them the rest hold what `pass` may do anything with.
pub(crate) fn pass_along<T: Copy + Default + Send + Sync>(
    values: &mut [T],
    shape: &[usize],
    axis: usize,
    pass: impl Fn(&[Abreast<T>], &mut [Abreast<T>]) + Sync,
) {
    let (outer, inner): (usize, usize) = (shape[..axis].iter().product(), shape[axis + 1..].iter().product());
    let length = shape[axis];
    let Ok(mut array) = ArrayViewMut3::from_shape((outer, length, inner), values) else {
        unreachable!("one value for each place of the shape");
    };
    let buffers = || {
        let zeros = vec![[T::default(); ABREAST]; length];
        (zeros.clone(), zeros)
    };
    // Places by lanes.
    let each = |(before, after): &mut (Vec<Abreast<T>>, Vec<Abreast<T>>), mut lanes: ArrayViewMut2<'_, T>| {
        if inner > 1 {
            for (place, row) in before.iter_mut().zip(lanes.rows()) {
                place.iter_mut().zip(row).for_each(|(to, from)| *to = *from);
            }
        } else {
            for (at, lane) in lanes.columns().into_iter().enumerate() {
                before.iter_mut().zip(lane).for_each(|(place, from)| place[at] = *from);
            }
        }
        pass(before, after);
        if inner > 1 {
            for (mut row, place) in lanes.rows_mut().into_iter().zip(after) {
                row.iter_mut().zip(place).for_each(|(to, from)| *to = *from);
            }
        } else {
            for (at, mut lane) in lanes.columns_mut().into_iter().enumerate() {
                lane.iter_mut().zip(&*after).for_each(|(to, place)| *to = place[at]);
            }
        }
    };
    if inner > 1 {
        for mut block in array.outer_iter_mut() {
            let lanes = block.axis_chunks_iter_mut(Axis(1), ABREAST).into_par_iter();
            lanes.for_each_init(buffers, each);
        }
    } else {
        let mut block = array.index_axis_move(Axis(2), 0);
        let lanes = block.axis_chunks_iter_mut(Axis(0), ABREAST).into_par_iter();
        lanes.for_each_init(buffers, |buffers, lanes| each(buffers, lanes.reversed_axes()));
    }
}

/// `sum + weight · values`, lane by lane.
#[inline]
pub(crate) fn add_weighted<T>(sum: &mut Abreast<T>, weight: T, values: &Abreast<T>)
where
    T: Copy + std::ops::Mul<Output = T> + std::ops::AddAssign,
{
    for (sum, &value) in sum.iter_mut().zip(values) {
        *sum += weight * value;
    }
}
