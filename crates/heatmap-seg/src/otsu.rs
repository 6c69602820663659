//! Otsu's threshold in f32, step by step as scikit-image and numpy compute it, so that the bin edges,
//! the bin that a value on an edge falls into, and ties between thresholds agree with theirs.

use rayon::prelude::*;

const BINS: usize = 256;
/// Values from which on the histogram is worth more than one thread.
const PARALLEL_FROM: usize = 1 << 20;

/// Otsu's threshold of values in `least..=greatest`, both of which occur.
pub(crate) fn otsu(values: &[f32], least: f32, greatest: f32) -> f32 {
    if least == greatest {
        return least;
    }
    match Bins::new(least, greatest) {
        Some(bins) => {
            let counts = if values.len() < PARALLEL_FROM {
                bins.count(values)
            } else {
                values
                    .par_chunks(PARALLEL_FROM / 4)
                    .map(|part| bins.count(part))
                    .reduce(|| [0; BINS], add)
            };
            bins.centres[best_split(&counts, &bins.centres)]
        }
        None => otsu_of_close_values(values, least, greatest),
    }
}

/// 256 bins of equal width; all are half-open but the last, which holds the greatest value too.
#[derive(Debug)]
struct Bins {
    /// The least value of each bin.
    from: [f32; BINS],
    /// The least value that is in a later bin.
    to: [f32; BINS],
    centres: [f32; BINS],
    least: f32,
    width: f32,
}

impl Bins {
    /// None if f32 has no room for 256 bins between the two.
    fn new(least: f32, greatest: f32) -> Option<Bins> {
        let width = greatest - least;
        let step = width / BINS as f32;
        let mut edges: [f32; BINS + 1] = std::array::from_fn(|edge| edge as f32 * step + least);
        edges[BINS] = greatest;
        if edges.windows(2).any(|pair| pair[0] >= pair[1]) {
            return None;
        }
        let centres = std::array::from_fn(|bin| (edges[bin] + edges[bin + 1]) / 2.0);
        let from = std::array::from_fn(|bin| edges[bin]);
        let to = std::array::from_fn(|bin| if bin + 1 < BINS { edges[bin + 1] } else { f32::INFINITY });
        Some(Bins {
            from,
            to,
            centres,
            least,
            width,
        })
    }

    fn count(&self, values: &[f32]) -> [u64; BINS] {
        const LANES: usize = 16;
        // Heatmaps have long runs of one value. Eight histograms in turn keep such a run from waiting for
        // its own last increment. No part has as many values as u32 can count.
        let mut counts = [[0_u32; BINS]; 8];
        let (rows, rest) = values.as_chunks::<LANES>();
        for row in rows {
            let guesses = row.map(|value| self.guess(value));
            for lane in 0..LANES {
                counts[lane % 8][usize::from(self.settle(row[lane], guesses[lane]))] += 1;
            }
        }
        for &value in rest {
            counts[0][usize::from(self.settle(value, self.guess(value)))] += 1;
        }
        counts
            .into_iter()
            .fold([0; BINS], |sum, counts| add(sum, counts.map(u64::from)))
    }

    /// The bin by division, which may be off by one beside an edge. The cast keeps it to 0..=255.
    fn guess(&self, value: f32) -> u8 {
        ((value - self.least) / self.width * BINS as f32) as u8
    }

    /// The bin by its edges. The first bin has no value below it and the last none above.
    fn settle(&self, value: f32, guess: u8) -> u8 {
        let bin = usize::from(guess);
        let before = u8::from(value < self.from[bin]);
        let after = u8::from(value >= self.to[bin]);
        guess.wrapping_sub(before).wrapping_add(after)
    }
}

fn add(mut left: [u64; BINS], right: [u64; BINS]) -> [u64; BINS] {
    for (left, right) in left.iter_mut().zip(right) {
        *left += right;
    }
    left
}

/// The last bin of the lower class; the lowest such bin if several splits are best.
fn best_split(counts: &[u64], centres: &[f32]) -> usize {
    let bins = counts.len();
    let (mut weight, mut sum) = (0.0_f32, 0.0_f32);
    let lower: Vec<(f32, f32)> = (0..bins)
        .map(|bin| {
            weight += counts[bin] as f32;
            sum += counts[bin] as f32 * centres[bin];
            (weight, sum / weight)
        })
        .collect();
    (weight, sum) = (0.0, 0.0);
    let mut best = (0, f32::NEG_INFINITY);
    for bin in (0..bins - 1).rev() {
        weight += counts[bin + 1] as f32;
        sum += counts[bin + 1] as f32 * centres[bin + 1];
        let (lower_weight, lower_mean) = lower[bin];
        let distance = lower_mean - sum / weight;
        let variance = lower_weight * weight * (distance * distance);
        if variance >= best.1 {
            best = (bin, variance);
        }
    }
    best.0
}

/// Values so close together that every f32 between them can have a bin: no more than some hundreds.
///
/// The bits of positive f32 values count upwards with the values. The classes are found in steps of one
/// f32, where the means do not cancel out.
fn otsu_of_close_values(values: &[f32], least: f32, greatest: f32) -> f32 {
    let first = least.to_bits();
    let mut counts = vec![0_u64; (greatest.to_bits() - first) as usize + 1];
    for &value in values {
        counts[((value + 0.0).to_bits() - first) as usize] += 1;
    }
    let centres: Vec<f32> = (0..counts.len()).map(|bin| bin as f32).collect();
    f32::from_bits(first + best_split(&counts, &centres) as u32)
}
