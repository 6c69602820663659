//! The value below which a share of the values lies.

/// The percentile `percent`, 0 to 100, interpolated between the two nearest values as numpy does.
pub(crate) fn percentile(values: &[f32], percent: f32) -> f32 {
    let mut values = values.to_vec();
    let place = f64::from(percent) / 100.0 * (values.len() - 1) as f64;
    let (_, &mut below, rest) = values.select_nth_unstable_by(place as usize, f32::total_cmp);
    let above = rest.iter().copied().reduce(f32::min).unwrap_or(below);
    (f64::from(below) + (f64::from(above) - f64::from(below)) * place.fract()) as f32
}
