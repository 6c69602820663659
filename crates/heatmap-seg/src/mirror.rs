//! What lies past the border: the array mirrored, its edge pixels repeated.

/// A lane with `reach` more values on both sides, mirrored as often as it takes.
pub(crate) fn mirrored<T: Copy>(lane: &[T], reach: usize) -> Vec<T> {
    let period = 2 * lane.len() as isize;
    (-(reach as isize)..(lane.len() + reach) as isize)
        .map(|place| {
            let place = place.rem_euclid(period);
            lane[place.min(period - 1 - place) as usize]
        })
        .collect()
}
