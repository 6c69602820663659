//! The histogram that the thresholds are found in, step by step as scikit-image and numpy compute it, so
//! that the bin edges and the bin that a value on an edge falls into agree with theirs.

use rayon::prelude::*;

const BINS: usize = 256;
/// Values from which on the histogram is worth more than one thread.
const PARALLEL_FROM: usize = 1 << 20;

/// How many values lie in each bin. The first and the last bin are never empty.
#[derive(Debug)]
pub(crate) struct Histogram {
    pub(crate) counts: Vec<u64>,
    /// Where the bins lie, in units in which their differences do not cancel out.
    pub(crate) centres: Vec<f32>,
    /// The threshold that has the bins up to this one below it.
    pub(crate) thresholds: Vec<f32>,
}

impl Histogram {
    /// The histogram of values in `least..greatest`, both of which occur and differ.
    pub(crate) fn of(values: &[f32], least: f32, greatest: f32) -> Histogram {
        let Some(bins) = Bins::new(least, greatest) else {
            return Histogram::of_close_values(values, least, greatest);
        };
        let counts = if values.len() < PARALLEL_FROM {
            bins.count(values)
        } else {
            values
                .par_chunks(PARALLEL_FROM / 4)
                .map(|part| bins.count(part))
                .reduce(|| [0; BINS], add)
        };
        Histogram {
            counts: counts.to_vec(),
            centres: bins.centres.to_vec(),
            thresholds: bins.centres.to_vec(),
        }
    }

    /// Values so close together that every f32 between them can have a bin: no more than some hundreds.
    ///
    /// The bits of positive f32 values count upwards with the values. The bins lie in steps of one f32,
    /// where means do not cancel out.
    fn of_close_values(values: &[f32], least: f32, greatest: f32) -> Histogram {
        let first = least.to_bits();
        let mut counts = vec![0_u64; (greatest.to_bits() - first) as usize + 1];
        for &value in values {
            counts[((value + 0.0).to_bits() - first) as usize] += 1;
        }
        Histogram {
            centres: (0..counts.len()).map(|bin| bin as f32).collect(),
            thresholds: (0..counts.len())
                .map(|bin| f32::from_bits(first + bin as u32))
                .collect(),
            counts,
        }
    }

    /// The share of the values in each bin.
    pub(crate) fn shares(&self) -> Vec<f64> {
        let all = self.counts.iter().sum::<u64>() as f64;
        self.counts.iter().map(|&count| count as f64 / all).collect()
    }
}

/// The sums of the first one, two, … numbers.
pub(crate) fn running_sums(numbers: impl Iterator<Item = f64>) -> Vec<f64> {
    numbers
        .scan(0.0, |sum, number| {
            *sum += number;
            Some(*sum)
        })
        .collect()
}

/// The first place of the greatest number.
pub(crate) fn first_greatest(numbers: impl Iterator<Item = f64>) -> usize {
    numbers
        .enumerate()
        .fold((0, f64::NEG_INFINITY), |best, (place, number)| {
            if number > best.1 { (place, number) } else { best }
        })
        .0
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
