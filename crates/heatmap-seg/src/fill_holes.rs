//! Holes: background that the border cannot be reached from.

use ndarray::{Array, ArrayView, Dimension};

use crate::components::{Bordered, take_component};
use crate::{Connectivity, SegError};

pub(crate) fn fill_holes<D: Dimension>(
    mask: ArrayView<'_, bool, D>,
    connectivity: Connectivity,
) -> Result<Array<bool, D>, SegError> {
    let grid = Bordered::new(mask.shape())?;
    let steps = grid.steps(connectivity);
    let sides = grid.steps(Connectivity::Faces);
    let inside = grid.surround(mask.iter().map(|_| true), false);
    let mut holes = grid.surround(mask.iter().map(|&on| !on), false);
    for place in grid.places() {
        // Without axes there are no sides, and nothing around a hole.
        if holes[place] && (sides.is_empty() || sides.iter().any(|&side| !inside[place.wrapping_add_signed(side)])) {
            take_component(&mut holes, place, &steps);
        }
    }
    let mut filled = grid.inner(&holes, mask.raw_dim());
    filled.zip_mut_with(&mask, |filled, &on| *filled |= on);
    Ok(filled)
}
