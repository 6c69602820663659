use std::collections::HashMap;
use std::hash::Hash;

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;

use crate::{MetricError, normal};

/// Fewer resamples than this say nothing about the ends of an interval.
const LEAST_RESAMPLES: usize = 100;
/// Each takes 16 bytes.
const MOST_RESAMPLES: usize = 1 << 24;

/// Bootstrap confidence intervals, bias-corrected and accelerated (BCa).
///
/// A statistic `θ` of `n` units is computed anew on many resamples of `n` units drawn with replacement.
/// With `Φ` the normal distribution function, `z = Φ⁻¹((1 − level) / 2)` and its negative, the interval's
/// ends are the quantiles of the resampled values at
///
/// ```text
/// Φ(z0 + (z0 + z) / (1 − a·(z0 + z)))
/// z0 = Φ⁻¹(fraction of resampled values below θ, those equal to θ counted half)
/// a  = Σ (m − θᵢ)³ / (6 · (Σ (m − θᵢ)²)^1.5),   θᵢ: θ without unit i;  m: their mean
/// ```
///
/// Efron, "Better Bootstrap Confidence Intervals", 1987,
/// [10.1080/01621459.1987.10478410](https://doi.org/10.1080/01621459.1987.10478410). Quantiles are linear
/// between the resampled values (type 7), as in `scipy.stats.bootstrap(method="BCa")`.
///
/// A unit is a case, or a whole group of cases. Several images of one patient are not independent:
/// resampling them one by one gives an interval that is too narrow, so use the `…_by_group` methods with
/// the patients as groups.
///
/// **The same numbers everywhere.** Every resample has a random stream of its own (ChaCha8, the seed as
/// key, the resample's number as stream), so a result depends on the data, the settings and the seed
/// alone, never on the number of threads.
///
/// **Where there is nothing to resample** – one unit, or the same value on all resamples – `low` and
/// `high` are the value itself. That is no sign of certainty: look at [`Interval::counted`].
///
/// ```
/// use seg_metrics::Bootstrap;
///
/// let dice = [0.61, 0.74, 0.18, 0.55, 0.69, 0.70, 0.42, 0.66];
/// let interval = Bootstrap::default().with_level(0.9).with_seed(7).mean(&dice)?;
/// assert!((interval.value - 0.56875).abs() < 1e-12);
/// assert!(0.4 < interval.low && interval.low < 0.5);
/// assert!(0.62 < interval.high && interval.high < 0.68);
/// # Ok::<(), seg_metrics::MetricError>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Bootstrap {
    level: f64,
    resamples: usize,
    seed: u64,
}

/// A statistic and its confidence interval.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Interval {
    /// The statistic on all cases that count.
    pub value: f64,
    /// The interval's lower end.
    pub low: f64,
    /// The interval's upper end.
    pub high: f64,
    /// How many cases count.
    pub counted: usize,
    /// How many cases do not, because their value is NaN.
    pub skipped: usize,
    /// On how many resamples the statistic was undefined; they are left out of the interval.
    pub undefined_resamples: usize,
}

impl Default for Bootstrap {
    /// 95 %, 10 000 resamples, seed 0.
    fn default() -> Self {
        Bootstrap {
            level: 0.95,
            resamples: 10_000,
            seed: 0,
        }
    }
}

impl Bootstrap {
    /// Sets the confidence level, above 0 and below 1.
    ///
    /// ```
    /// # use seg_metrics::{Bootstrap, MetricError};
    /// let error = Bootstrap::default().with_level(95.0).mean(&[0.1, 0.2]).unwrap_err();
    /// assert_eq!(error, MetricError::Level { level: 95.0 });
    /// ```
    #[must_use]
    pub fn with_level(mut self, level: f64) -> Self {
        self.level = level;
        self
    }

    /// Sets the number of resamples, 100 to 2²⁴.
    ///
    /// ```
    /// # use seg_metrics::{Bootstrap, MetricError};
    /// let error = Bootstrap::default().with_resamples(10).mean(&[0.1, 0.2]).unwrap_err();
    /// assert_eq!(error, MetricError::Resamples { resamples: 10, least: 100 });
    /// ```
    #[must_use]
    pub fn with_resamples(mut self, resamples: usize) -> Self {
        self.resamples = resamples;
        self
    }

    /// Sets the seed of the resamples.
    ///
    /// ```
    /// # use seg_metrics::Bootstrap;
    /// let bootstrap = Bootstrap::default().with_seed(42);
    /// assert_eq!(bootstrap.mean(&[0.1, 0.5, 0.9])?, bootstrap.mean(&[0.1, 0.5, 0.9])?);
    /// # Ok::<(), seg_metrics::MetricError>(())
    /// ```
    #[must_use]
    pub fn with_seed(mut self, seed: u64) -> Self {
        self.seed = seed;
        self
    }

    /// The mean of one value per case.
    ///
    /// NaN values are skipped and counted in [`Interval::skipped`]. Infinite values count: the mean and
    /// both ends are then that infinity, so that a miss scored as infinite is never averaged away.
    ///
    /// # Errors
    /// [`MetricError::Level`], [`MetricError::Resamples`], [`MetricError::TooManyResamples`];
    /// [`MetricError::Missing`] without values; [`MetricError::NothingCounted`] if all are NaN; [`MetricError::BothInfinities`].
    ///
    /// # Cost
    /// `resamples · n` draws, on all threads.
    ///
    /// ```
    /// # use seg_metrics::{Bootstrap, MetricError};
    /// let interval = Bootstrap::default().mean(&[0.4, f64::NAN, 0.6])?;
    /// assert_eq!((interval.value, interval.counted, interval.skipped), (0.5, 2, 1));
    /// let error = Bootstrap::default().mean(&[f64::NAN]).unwrap_err();
    /// assert_eq!(error, MetricError::NothingCounted { skipped: 1 });
    /// # Ok::<(), MetricError>(())
    /// ```
    pub fn mean(&self, values: &[f64]) -> Result<Interval, MetricError> {
        let units: Vec<usize> = (0..values.len()).collect();
        self.mean_of_units(values, &units)
    }

    /// The mean of one value per case, resampling whole groups of cases (all of a patient's images).
    ///
    /// `groups` names each case's group. A case counts once, so a group weighs by its number of cases. Of
    /// a group whose values are all NaN nothing is left; it is not resampled. Otherwise as
    /// [`Bootstrap::mean`].
    ///
    /// # Errors
    /// Those of [`Bootstrap::mean`]; [`MetricError::Length`] if there are not as many values as groups.
    ///
    /// ```
    /// # use seg_metrics::Bootstrap;
    /// let dice = [0.8, 0.82, 0.81, 0.3, 0.31, 0.6];
    /// let patients = ["a", "a", "a", "b", "b", "c"];
    /// let by_image = Bootstrap::default().mean(&dice)?;
    /// let by_patient = Bootstrap::default().mean_by_group(&dice, &patients)?;
    /// assert_eq!(by_image.value, by_patient.value);
    /// assert!(by_patient.low < by_image.low);
    /// # Ok::<(), seg_metrics::MetricError>(())
    /// ```
    pub fn mean_by_group<G: Eq + Hash>(&self, values: &[f64], groups: &[G]) -> Result<Interval, MetricError> {
        if values.len() != groups.len() {
            return Err(MetricError::Length {
                first: "values",
                first_len: values.len(),
                second: "groups",
                second_len: groups.len(),
            });
        }
        self.mean_of_units(values, &units(groups))
    }

    /// Any statistic of `cases` cases, given as a function of the indices of the cases drawn.
    ///
    /// The indices come in ascending order, an index once for each time it was drawn. The statistic must
    /// not depend on their order. Where it is undefined (a resample without a positive case has no AUC) it
    /// answers None; an answer that is not finite is taken for None. Such resamples, and units without
    /// which the statistic is undefined, are left out, and [`Interval::undefined_resamples`] counts the
    /// former: the interval is then one given that the statistic is defined.
    ///
    /// # Errors
    /// [`MetricError::Level`], [`MetricError::Resamples`], [`MetricError::TooManyResamples`];
    /// [`MetricError::Missing`] without cases;
    /// [`MetricError::Undefined`] if the statistic of all cases is; [`MetricError::UndefinedResamples`]
    /// if it is undefined on more than half of the resamples.
    ///
    /// # Cost
    /// `resamples + cases` calls, on all threads.
    ///
    /// ```
    /// use seg_metrics::{Bootstrap, roc_auc};
    ///
    /// let scores = [0.1, 0.2, 0.6, 0.3, 0.4, 0.8, 0.9, 0.7];
    /// let positive = [false, false, false, false, true, true, true, true];
    /// let auc = Bootstrap::default().statistic(scores.len(), |cases| {
    ///     let scores: Vec<f64> = cases.iter().map(|&case| scores[case]).collect();
    ///     let positive: Vec<bool> = cases.iter().map(|&case| positive[case]).collect();
    ///     roc_auc(&scores, &positive).ok()
    /// })?;
    /// assert_eq!(auc.value, 15.0 / 16.0);
    /// assert!(auc.low < 0.9 && auc.high == 1.0);
    /// # Ok::<(), seg_metrics::MetricError>(())
    /// ```
    pub fn statistic<F>(&self, cases: usize, statistic: F) -> Result<Interval, MetricError>
    where
        F: Fn(&[usize]) -> Option<f64> + Sync,
    {
        let members: Vec<Vec<usize>> = (0..cases).map(|case| vec![case]).collect();
        self.statistic_of_units(cases, &members, statistic)
    }

    /// Any statistic of as many cases as `groups` names, resampling whole groups of cases.
    ///
    /// `groups` names each case's group. The indices come group by group; otherwise as
    /// [`Bootstrap::statistic`].
    ///
    /// # Errors
    /// Those of [`Bootstrap::statistic`].
    ///
    /// ```
    /// use seg_metrics::Bootstrap;
    ///
    /// let right = [true, true, false, true, true, false];
    /// let patients = [1, 1, 2, 3, 3, 4];
    /// let accuracy = Bootstrap::default().statistic_by_group(&patients, |cases| {
    ///     let right = cases.iter().filter(|&&case| right[case]).count();
    ///     Some(right as f64 / cases.len() as f64)
    /// })?;
    /// assert_eq!((accuracy.value, accuracy.counted), (4.0 / 6.0, 6));
    /// # Ok::<(), seg_metrics::MetricError>(())
    /// ```
    pub fn statistic_by_group<G, F>(&self, groups: &[G], statistic: F) -> Result<Interval, MetricError>
    where
        G: Eq + Hash,
        F: Fn(&[usize]) -> Option<f64> + Sync,
    {
        let mut members: Vec<Vec<usize>> = Vec::new();
        for (case, unit) in units(groups).into_iter().enumerate() {
            if unit == members.len() {
                members.push(Vec::new());
            }
            members[unit].push(case);
        }
        self.statistic_of_units(groups.len(), &members, statistic)
    }

    fn mean_of_units(&self, values: &[f64], units: &[usize]) -> Result<Interval, MetricError> {
        self.check()?;
        if values.is_empty() {
            return Err(MetricError::Missing { what: "values" });
        }
        let mut by_unit: Vec<(f64, usize)> = vec![(0.0, 0); units.iter().max().map_or(0, |last| last + 1)];
        let mut skipped = 0;
        let (mut lowest, mut highest) = (f64::INFINITY, f64::NEG_INFINITY);
        for (&value, &unit) in values.iter().zip(units) {
            if value.is_nan() {
                skipped += 1;
                continue;
            }
            by_unit[unit].0 += value;
            by_unit[unit].1 += 1;
            lowest = lowest.min(value);
            highest = highest.max(value);
        }
        by_unit.retain(|&(_, cases)| cases > 0);
        let counted = values.len() - skipped;
        if counted == 0 {
            return Err(MetricError::NothingCounted { skipped });
        }
        let same = |value| Interval {
            value,
            low: value,
            high: value,
            counted,
            skipped,
            undefined_resamples: 0,
        };
        match (lowest == f64::NEG_INFINITY, highest == f64::INFINITY) {
            (true, true) => return Err(MetricError::BothInfinities),
            (true, false) => return Ok(same(lowest)),
            (false, true) => return Ok(same(highest)),
            (false, false) => {}
        }
        if lowest == highest {
            return Ok(same(lowest));
        }

        let mean = |times: &[u32]| {
            let (mut sum, mut cases) = (0.0, 0.0);
            for (&(unit_sum, unit_cases), &times) in by_unit.iter().zip(times) {
                sum += unit_sum * f64::from(times);
                cases += unit_cases as f64 * f64::from(times);
            }
            sum / cases
        };
        let value = mean(&vec![1; by_unit.len()]);
        let resampled = self.resample(by_unit.len(), |times| Some(mean(times)));
        let sum: f64 = by_unit.iter().map(|unit| unit.0).sum();
        let without: Vec<f64> = by_unit
            .iter()
            .filter(|unit| unit.1 < counted)
            .map(|&(unit_sum, unit_cases)| (sum - unit_sum) / (counted - unit_cases) as f64)
            .collect();
        let (low, high) = self.bca(value, resampled, &without);
        Ok(Interval {
            value,
            low,
            high,
            counted,
            skipped,
            undefined_resamples: 0,
        })
    }

    fn statistic_of_units<F>(&self, cases: usize, members: &[Vec<usize>], statistic: F) -> Result<Interval, MetricError>
    where
        F: Fn(&[usize]) -> Option<f64> + Sync,
    {
        self.check()?;
        if cases == 0 {
            return Err(MetricError::Missing { what: "cases" });
        }
        let of = |times: &[u32]| {
            let mut drawn = Vec::with_capacity(cases);
            for (members, &times) in members.iter().zip(times) {
                for &case in members {
                    drawn.extend(std::iter::repeat_n(case, times as usize));
                }
            }
            statistic(&drawn).filter(|value| value.is_finite())
        };
        let all = vec![1; members.len()];
        let value = of(&all).ok_or(MetricError::Undefined { cases })?;
        let resampled = self.resample(members.len(), of);
        let undefined_resamples = self.resamples - resampled.len();
        if undefined_resamples > self.resamples / 2 {
            return Err(MetricError::UndefinedResamples {
                undefined: undefined_resamples,
                resamples: self.resamples,
            });
        }
        let without: Vec<f64> = if members.len() == 1 {
            Vec::new()
        } else {
            (0..members.len())
                .into_par_iter()
                .map_with(all, |times, unit| {
                    times[unit] = 0;
                    let value = of(times);
                    times[unit] = 1;
                    value
                })
                .collect::<Vec<_>>()
                .into_iter()
                .flatten()
                .collect()
        };
        let (low, high) = self.bca(value, resampled, &without);
        Ok(Interval {
            value,
            low,
            high,
            counted: cases,
            skipped: 0,
            undefined_resamples,
        })
    }

    fn check(&self) -> Result<(), MetricError> {
        if !(self.level > 0.0 && self.level < 1.0) {
            return Err(MetricError::Level { level: self.level });
        }
        check_resamples(self.resamples)
    }

    /// The statistic on every resample on which it is defined, in the order of the resamples.
    ///
    /// The statistic is given how many times each unit was drawn, not in which order: two resamples of
    /// the same units then give the same value to the last bit, and count as equal to the value of the
    /// whole where they are.
    fn resample<F>(&self, units: usize, statistic: F) -> Vec<f64>
    where
        F: Fn(&[u32]) -> Option<f64> + Sync,
    {
        let key = ChaCha8Rng::seed_from_u64(self.seed);
        (0..self.resamples)
            .into_par_iter()
            .map_init(
                || vec![0_u32; units],
                |times, resample| {
                    let mut stream = key.clone();
                    stream.set_stream(resample as u64);
                    times.fill(0);
                    for _ in 0..units {
                        times[stream.random_range(0..units)] += 1;
                    }
                    statistic(times)
                },
            )
            .collect::<Vec<_>>()
            .into_iter()
            .flatten()
            .collect()
    }

    /// The ends of the interval. `without` holds the statistic without each unit.
    fn bca(&self, value: f64, mut resampled: Vec<f64>, without: &[f64]) -> (f64, f64) {
        resampled.sort_unstable_by(f64::total_cmp);
        let count = resampled.len() as f64;
        let below = resampled.partition_point(|&other| other < value) as f64;
        let up_to = resampled.partition_point(|&other| other <= value) as f64;
        // At 0 or 1 the correction would be infinite: no more than what so many resamples can show.
        let fraction = ((below + up_to) / (2.0 * count)).clamp(1.0 / (count + 1.0), count / (count + 1.0));
        let bias = normal::quantile(fraction);
        let acceleration = acceleration(without);
        let end = |z: f64| {
            let shifted = bias + z;
            let shrink = 1.0 - acceleration * shifted;
            // Beyond its pole the formula turns round; the end is then that of all resampled values.
            let z = if shrink > 0.0 {
                bias + shifted / shrink
            } else {
                shifted.signum() * f64::INFINITY
            };
            quantile(&resampled, normal::cdf(z))
        };
        let z = normal::quantile((1.0 - self.level) / 2.0);
        (end(z), end(-z))
    }
}

/// Checks that so many resamples can be drawn and say something.
pub(crate) fn check_resamples(resamples: usize) -> Result<(), MetricError> {
    if resamples < LEAST_RESAMPLES {
        return Err(MetricError::Resamples {
            resamples,
            least: LEAST_RESAMPLES,
        });
    }
    if resamples > MOST_RESAMPLES {
        return Err(MetricError::TooManyResamples {
            resamples,
            most: MOST_RESAMPLES,
        });
    }
    Ok(())
}

/// Each case's group by number, in the order in which groups first appear.
fn units<G: Eq + Hash>(groups: &[G]) -> Vec<usize> {
    let mut numbers = HashMap::new();
    groups
        .iter()
        .map(|group| {
            let next = numbers.len();
            *numbers.entry(group).or_insert(next)
        })
        .collect()
}

/// Efron's acceleration, from the statistic without each unit; 0 where they do not vary.
fn acceleration(without: &[f64]) -> f64 {
    let mean = without.iter().sum::<f64>() / without.len() as f64;
    let (mut squares, mut cubes) = (0.0, 0.0);
    for value in without {
        let deviation = mean - value;
        squares += deviation.powi(2);
        cubes += deviation.powi(3);
    }
    if squares > 0.0 {
        cubes / (6.0 * squares.powf(1.5))
    } else {
        0.0
    }
}

/// The quantile of ascending values, linear between them (type 7).
fn quantile(ascending: &[f64], fraction: f64) -> f64 {
    let last = ascending.len() - 1;
    let position = fraction * last as f64;
    let below = (position.floor() as usize).min(last);
    let above = (below + 1).min(last);
    let (low, high) = (ascending[below], ascending[above]);
    low + (high - low) * (position - below as f64)
}
