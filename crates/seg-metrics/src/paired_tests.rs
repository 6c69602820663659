//! Whether one method scores higher than another on the same cases.

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;

use crate::bootstrap::check_resamples;
use crate::{MetricError, normal};

/// More cases than this go by the normal approximation, as in SciPy.
const MOST_EXACT: usize = 50;
/// The same where some sizes are equal or 0.
const MOST_EXACT_WITH_TIES: usize = 13;

/// Which differences speak against chance.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum Alternative {
    /// The first scores are higher or lower than the second.
    #[default]
    TwoSided,
    /// The first scores are higher.
    Greater,
    /// The first scores are lower.
    Less,
}

/// The result of a paired test.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct PairedTest {
    /// What was tested: the mean difference, or the smaller sum of ranks.
    pub statistic: f64,
    /// The chance of a statistic at least as extreme if the two methods were alike.
    pub p_value: f64,
    /// How many pairs count.
    pub counted: usize,
    /// How many pairs do not: those with a NaN and, in a test of ranks, those without a difference.
    pub skipped: usize,
}

/// The paired permutation test of a mean difference: within each pair, chance might as well have swapped the
/// two scores.
///
/// All `2ⁿ` swaps are tried where they are not more than the number of resamples, so that the p-value is
/// exact; else as many random ones, and `p = (b + 1) / (m + 1)` with `b` of `m` at least as extreme (Phipson &
/// Smyth, "Permutation P-values Should Never Be Zero", 2010,
/// [10.2202/1544-6115.1585](https://doi.org/10.2202/1544-6115.1585)). A two-sided p-value counts differences whose
/// size is at least the observed one. Every resample has a random stream of its own, so that the result
/// depends on the data, the settings and the seed alone.
///
/// ```
/// use seg_metrics::{Alternative, PermutationTest};
///
/// let (ours, theirs) = ([0.8, 0.7, 0.9, 0.6], [0.7, 0.6, 0.6, 0.5]);
/// let test = PermutationTest::default().run(&ours, &theirs, Alternative::TwoSided)?;
/// assert!((test.statistic - 0.15).abs() < 1e-12);
/// assert_eq!(test.p_value, 2.0 / 16.0); // All four in one direction, or all in the other.
/// # Ok::<(), seg_metrics::MetricError>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct PermutationTest {
    resamples: usize,
    seed: u64,
}

impl Default for PermutationTest {
    /// 10 000 resamples, seed 0.
    fn default() -> Self {
        PermutationTest {
            resamples: 10_000,
            seed: 0,
        }
    }
}

impl PermutationTest {
    /// Sets the number of resamples, 100 to 2²⁴.
    ///
    /// ```
    /// # use seg_metrics::{Alternative, MetricError, PermutationTest};
    /// let error = PermutationTest::default().with_resamples(5).run(&[0.1], &[0.2], Alternative::Less).unwrap_err();
    /// assert_eq!(error, MetricError::Resamples { resamples: 5, least: 100 });
    /// ```
    #[must_use]
    pub fn with_resamples(mut self, resamples: usize) -> Self {
        self.resamples = resamples;
        self
    }

    /// Sets the seed of the random swaps.
    #[must_use]
    pub fn with_seed(mut self, seed: u64) -> Self {
        self.seed = seed;
        self
    }

    /// Tests two lists of scores of the same cases.
    ///
    /// Pairs with a NaN are skipped and counted.
    ///
    /// # Errors
    /// [`MetricError::Resamples`]; [`MetricError::TooManyResamples`]; [`MetricError::Length`];
    /// [`MetricError::ScoreNotFinite`] for an infinity; [`MetricError::NothingCounted`] if no pair is left.
    ///
    /// # Cost
    /// As many sums of all differences as resamples, on all threads.
    ///
    /// ```
    /// # use seg_metrics::{Alternative, PermutationTest};
    /// let (first, second) = ([0.9, 0.8, 0.7, f64::NAN], [0.6, 0.7, 0.5, 0.4]);
    /// let test = PermutationTest::default().run(&first, &second, Alternative::Greater)?;
    /// // Of the 8 ways to swap three pairs, the one at hand is the most extreme.
    /// assert_eq!((test.counted, test.skipped, test.p_value), (3, 1, 1.0 / 8.0));
    /// # Ok::<(), seg_metrics::MetricError>(())
    /// ```
    pub fn run(&self, first: &[f64], second: &[f64], alternative: Alternative) -> Result<PairedTest, MetricError> {
        check_resamples(self.resamples)?;
        let (differences, skipped) = differences(first, second)?;
        let count = differences.len();
        let observed: f64 = differences.iter().sum();
        // Equal sums in another order must count as equal.
        let slack = 1e-12 * differences.iter().map(|difference| difference.abs()).sum::<f64>();
        let extreme = |sum: f64| match alternative {
            Alternative::TwoSided => sum.abs() >= observed.abs() - slack,
            Alternative::Greater => sum >= observed - slack,
            Alternative::Less => sum <= observed + slack,
        };
        let exact = count < usize::BITS as usize && 1 << count <= self.resamples;
        let p_value = if exact {
            let swaps = 1_usize << count;
            let found = (0..swaps).into_par_iter().filter(|swap| {
                let signed = differences.iter().enumerate();
                extreme(signed.map(|(at, d)| if swap >> at & 1 == 1 { -d } else { *d }).sum())
            });
            found.count() as f64 / swaps as f64
        } else {
            let key = ChaCha8Rng::seed_from_u64(self.seed);
            let found = (0..self.resamples).into_par_iter().filter(|&resample| {
                let mut stream = key.clone();
                stream.set_stream(resample as u64);
                extreme(differences.iter().map(|d| if stream.random() { -d } else { *d }).sum())
            });
            (found.count() + 1) as f64 / (self.resamples + 1) as f64
        };
        Ok(PairedTest {
            statistic: observed / count as f64,
            p_value,
            counted: count,
            skipped,
        })
    }
}

/// Wilcoxon's signed-rank test: the ranks of the sizes of the differences, those in favour of the first list
/// against those in favour of the second.
///
/// Pairs without a difference are left out; ties have their mean rank. The p-value is exact with at most 50
/// pairs, or 13 if there are ties or equal pairs, and otherwise that of the normal distribution, corrected for
/// ties but not for continuity: the rules of `scipy.stats.wilcoxon`. The statistic is the smaller sum of ranks, or with a
/// side chosen the sum in favour of the first list. Wilcoxon, "Individual Comparisons by Ranking Methods",
/// 1945, [10.2307/3001968](https://doi.org/10.2307/3001968).
///
/// # Errors
/// [`MetricError::Length`]; [`MetricError::ScoreNotFinite`] for an infinity; [`MetricError::NothingCounted`] if no
/// pair with a difference is left.
///
/// # Cost
/// One sort; up to 50 pairs, 50³ additions.
///
/// ```
/// use seg_metrics::{Alternative, wilcoxon};
///
/// let (ours, theirs) = ([0.80, 0.71, 0.93, 0.62], [0.70, 0.60, 0.65, 0.50]);
/// let test = wilcoxon(&ours, &theirs, Alternative::TwoSided)?;
/// assert_eq!((test.statistic, test.p_value), (0.0, 2.0 / 16.0));
/// # Ok::<(), seg_metrics::MetricError>(())
/// ```
pub fn wilcoxon(first: &[f64], second: &[f64], alternative: Alternative) -> Result<PairedTest, MetricError> {
    let (mut differences, _) = differences(first, second)?;
    let equal = differences.len();
    differences.retain(|&difference| difference != 0.0);
    let count = differences.len();
    let equal = equal - count;
    let skipped = first.len() - count;
    if count == 0 {
        return Err(MetricError::NothingCounted { skipped });
    }
    differences.sort_unstable_by(|left, right| left.abs().total_cmp(&right.abs()));
    let (mut in_favour, mut before, mut ties) = (0.0, 0, 0.0);
    // Twice each rank, a whole number also of ties.
    let mut ranks = Vec::with_capacity(count);
    for tied in differences.chunk_by(|left, right| left.abs() == right.abs()) {
        let size = tied.len() as f64;
        let rank = before as f64 + (size + 1.0) / 2.0;
        in_favour += rank * tied.iter().filter(|&&difference| difference > 0.0).count() as f64;
        ranks.extend(tied.iter().map(|_| 2 * before + tied.len() + 1));
        ties += size * size * size - size;
        before += tied.len();
    }
    let n = count as f64;
    let all = n * (n + 1.0) / 2.0;
    let most_exact = if ties == 0.0 && equal == 0 {
        MOST_EXACT
    } else {
        MOST_EXACT_WITH_TIES
    };
    let p_value = if count + equal <= most_exact {
        // Of all 2ⁿ ways to share out the ranks, those of each sum (twice).
        let mut ways = vec![0.0_f64; count * (count + 1) + 1];
        ways[0] = 1.0;
        for rank in ranks {
            for sum in (rank..ways.len()).rev() {
                ways[sum] += ways[sum - rank];
            }
        }
        let total = 2_f64.powi(count as i32);
        let at_least = |sum: f64| ways[(2.0 * sum) as usize..].iter().sum::<f64>() / total;
        match alternative {
            Alternative::TwoSided => (2.0 * at_least(in_favour.max(all - in_favour))).min(1.0),
            Alternative::Greater => at_least(in_favour),
            Alternative::Less => at_least(all - in_favour),
        }
    } else {
        let deviation = (n * (n + 1.0) * (2.0 * n + 1.0) / 24.0 - ties / 48.0).sqrt();
        let z = (in_favour - all / 2.0) / deviation;
        match alternative {
            Alternative::TwoSided => 2.0 * normal::cdf(-z.abs()),
            Alternative::Greater => normal::cdf(-z),
            Alternative::Less => normal::cdf(z),
        }
    };
    Ok(PairedTest {
        statistic: match alternative {
            Alternative::TwoSided => in_favour.min(all - in_favour),
            Alternative::Greater | Alternative::Less => in_favour,
        },
        p_value,
        counted: count,
        skipped,
    })
}

/// Holm's correction: p-values of several tests, adjusted so that with those up to α rejected the chance of
/// any wrong rejection is at most α.
///
/// With `p₍₁₎ ≤ … ≤ p₍ₘ₎`: `max over j ≤ i of min(1, (m − j + 1)·p₍ⱼ₎)`. Holm, "A Simple Sequentially Rejective Multiple
/// Test Procedure", 1979, [JSTOR 4615733](https://www.jstor.org/stable/4615733).
///
/// # Errors
/// [`MetricError::Share`] if a p-value is not in 0..=1.
///
/// ```
/// use seg_metrics::holm;
///
/// assert_eq!(holm(&[0.25, 0.0625, 0.125])?, [0.25, 0.1875, 0.25]);
/// # Ok::<(), seg_metrics::MetricError>(())
/// ```
pub fn holm(p_values: &[f64]) -> Result<Vec<f64>, MetricError> {
    if let Some(&value) = p_values.iter().find(|value| !(0.0..=1.0).contains(*value)) {
        return Err(MetricError::Share { name: "p-value", value });
    }
    let mut order: Vec<usize> = (0..p_values.len()).collect();
    order.sort_by(|&left, &right| p_values[left].total_cmp(&p_values[right]));
    let mut adjusted = vec![0.0; p_values.len()];
    let mut highest = 0.0_f64;
    for (before, &test) in order.iter().enumerate() {
        highest = highest.max((p_values.len() - before) as f64 * p_values[test]).min(1.0);
        adjusted[test] = highest;
    }
    Ok(adjusted)
}

/// First less second where neither is NaN, and how many pairs have one.
fn differences(first: &[f64], second: &[f64]) -> Result<(Vec<f64>, usize), MetricError> {
    if first.len() != second.len() {
        return Err(MetricError::Length {
            first: "first scores",
            first_len: first.len(),
            second: "second scores",
            second_len: second.len(),
        });
    }
    let mut differences = Vec::with_capacity(first.len());
    for (index, (&left, &right)) in first.iter().zip(second).enumerate() {
        for value in [left, right] {
            if value.is_infinite() {
                return Err(MetricError::ScoreNotFinite { index, value });
            }
        }
        if !left.is_nan() && !right.is_nan() {
            differences.push(left - right);
        }
    }
    let skipped = first.len() - differences.len();
    if differences.is_empty() {
        return Err(MetricError::NothingCounted { skipped });
    }
    Ok((differences, skipped))
}
