/// A mean that skips NaN and counts what it skips.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Mean {
    sum: f64,
    pub(crate) counted: usize,
    pub(crate) skipped: usize,
}

impl Mean {
    pub(crate) fn add(&mut self, value: f64) {
        if value.is_nan() {
            self.skipped += 1;
        } else {
            self.counted += 1;
            self.sum += value;
        }
    }

    /// NaN if nothing was counted.
    pub(crate) fn value(self) -> f64 {
        self.sum / self.counted as f64
    }
}
