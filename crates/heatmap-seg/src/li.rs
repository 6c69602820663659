//! Li's threshold, that of the least cross entropy.

/// Iterates `t ← (m0 − m1) / (ln m0 − ln m1)` from the mean on until no value changes sides, with `m` the
/// means of the values up to and above `t`, all counted from the least value.
///
/// A logarithmic mean grows with both means, and these with `t`, so `t` moves in one direction only and
/// the loop ends.
pub(crate) fn li(values: &[f32], least: f32) -> f32 {
    let least = f64::from(least);
    let all = values.iter().map(|&value| f64::from(value) - least).sum::<f64>();
    let mut threshold = all / values.len() as f64;
    let mut before = usize::MAX;
    loop {
        let (mut above, mut sum) = (0_usize, 0.0);
        for &value in values {
            let value = f64::from(value) - least;
            let inside = value > threshold;
            above += usize::from(inside);
            sum += if inside { value } else { 0.0 };
        }
        let lower = (all - sum) / (values.len() - above) as f64;
        let upper = sum / above as f64;
        // Nothing but the least value is below, up to the rounding of the sums: ln 0 is no number.
        let none_below = lower <= f64::EPSILON * all;
        if above == before || above == 0 || above == values.len() || none_below {
            return (threshold + least) as f32;
        }
        before = above;
        threshold = (lower - upper) / (lower.ln() - upper.ln());
    }
}
