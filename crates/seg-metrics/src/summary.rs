use crate::MetricError;

/// What a list of scores comes to, and how many of them it is made of.
///
/// NaN is skipped and counted. Infinities count: a mean over them is infinite, which shows that something
/// was missed altogether; the median and the quartiles stay finite as long as few are.
///
/// ```
/// use seg_metrics::Summary;
///
/// let summary = Summary::of(&[2.0, f64::NAN, 1.0, f64::INFINITY, 3.0])?;
/// assert_eq!((summary.counted, summary.skipped, summary.infinite), (4, 1, 1));
/// assert_eq!((summary.mean, summary.median), (f64::INFINITY, 2.5));
/// assert_eq!(summary.finite_mean, Some(2.0));
/// # Ok::<(), seg_metrics::MetricError>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Summary {
    /// How many values count.
    pub counted: usize,
    /// How many do not, because they are NaN.
    pub skipped: usize,
    /// How many of those that count are infinite.
    pub infinite: usize,
    /// The mean of the values that count; NaN if both infinities are among them. So is a quartile or the median
    /// that falls between the two.
    pub mean: f64,
    /// The mean of the finite values, None without any. Beside it belongs the number of the infinite ones.
    pub finite_mean: Option<f64>,
    /// The sample standard deviation of the finite values (`n − 1`), None with less than two.
    pub finite_deviation: Option<f64>,
    /// The smallest value that counts.
    pub lowest: f64,
    /// The first quartile, linear between values.
    pub lower_quartile: f64,
    /// The median.
    pub median: f64,
    /// The third quartile, linear between values.
    pub upper_quartile: f64,
    /// The largest value that counts.
    pub highest: f64,
}

impl Summary {
    /// Sums up values.
    ///
    /// # Errors
    /// [`MetricError::Missing`] without values; [`MetricError::NothingCounted`] if all are NaN: never a 0 out
    /// of nothing.
    ///
    /// # Cost
    /// One sort.
    ///
    /// ```
    /// # use seg_metrics::{MetricError, Summary};
    /// assert_eq!(Summary::of(&[f64::NAN]), Err(MetricError::NothingCounted { skipped: 1 }));
    /// ```
    pub fn of(values: &[f64]) -> Result<Self, MetricError> {
        if values.is_empty() {
            return Err(MetricError::Missing { what: "values" });
        }
        let mut ascending: Vec<f64> = values.iter().copied().filter(|value| !value.is_nan()).collect();
        let skipped = values.len() - ascending.len();
        if ascending.is_empty() {
            return Err(MetricError::NothingCounted { skipped });
        }
        ascending.sort_unstable_by(f64::total_cmp);
        let finite: Vec<f64> = ascending.iter().copied().filter(|value| value.is_finite()).collect();
        let count = finite.len() as f64;
        let finite_mean = (!finite.is_empty()).then(|| finite.iter().sum::<f64>() / count);
        let finite_deviation = finite_mean.filter(|_| finite.len() > 1).map(|mean| {
            let squares: f64 = finite.iter().map(|value| (value - mean).powi(2)).sum();
            (squares / (count - 1.0)).sqrt()
        });
        let quantile = |share: f64| {
            let position = share * (ascending.len() - 1) as f64;
            let (below, above) = (position.floor() as usize, position.ceil() as usize);
            let (low, high) = (ascending[below], ascending[above]);
            if low == high {
                low
            } else if low.is_infinite() {
                // Still that infinity below any finite value; NaN between both infinities.
                low + high
            } else {
                low + (high - low) * (position - below as f64)
            }
        };
        Ok(Summary {
            counted: ascending.len(),
            skipped,
            infinite: ascending.len() - finite.len(),
            mean: ascending.iter().sum::<f64>() / ascending.len() as f64,
            finite_mean,
            finite_deviation,
            lowest: ascending[0],
            lower_quartile: quantile(0.25),
            median: quantile(0.5),
            upper_quartile: quantile(0.75),
            highest: ascending[ascending.len() - 1],
        })
    }
}
