//! Progress bars on a terminal, lines elsewhere, both with an estimate of the time left.

use std::time::{Duration, Instant};

use heatmap_filter::train::Progress;
use indicatif::{HumanDuration, ProgressBar, ProgressDrawTarget, ProgressStyle};

/// A bar for work that is counted in images. It shows on a terminal only.
pub fn bar(what: &'static str) -> ProgressBar {
    let bar = ProgressBar::no_length().with_message(what);
    if let Ok(style) = ProgressStyle::with_template("{msg}  {wide_bar}  {pos}/{len}  {eta} left") {
        bar.set_style(style);
    }
    bar
}

/// The training steps of a whole run: every network, and every re-training of it.
pub struct Steps {
    bar: ProgressBar,
    started: Instant,
    epochs: usize,
    epochs_total: usize,
    epochs_done: usize,
    /// Epochs that were not run now but found in a checkpoint.
    epochs_found: usize,
    what: String,
}

impl Steps {
    /// For `trainings` trainings of `epochs` epochs each.
    pub fn new(trainings: usize, epochs: usize) -> Self {
        let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
        if let Ok(style) = ProgressStyle::with_template("{msg}  {wide_bar}  {percent}%  {prefix} left") {
            bar.set_style(style);
        }
        Self {
            bar,
            started: Instant::now(),
            epochs,
            epochs_total: trainings * epochs,
            epochs_done: 0,
            epochs_found: 0,
            what: String::new(),
        }
    }

    /// A line above the bar.
    pub fn say(&self, line: &str) {
        if self.bar.is_hidden() {
            println!("{line}");
        } else {
            self.bar.suspend(|| println!("{line}"));
        }
    }

    /// The next training begins.
    pub fn begin(&mut self, what: String) {
        self.say(&what);
        self.what = what;
    }

    pub fn report(&mut self, progress: Progress<'_>) {
        match progress {
            Progress::Resumed(history) => {
                self.epochs_done += history.len();
                self.epochs_found += history.len();
                self.say(&format!(
                    "  {} of {} epochs were done before",
                    history.len(),
                    self.epochs
                ));
            }
            Progress::Step { epoch, step, steps } => {
                self.bar
                    .set_message(format!("{}, epoch {epoch}/{}", self.what, self.epochs));
                let done = self.epochs_done as f64 + step as f64 / steps as f64;
                self.bar.set_length(1000 * self.epochs_total as u64);
                self.bar.set_prefix(HumanDuration(self.left(done)).to_string());
                self.bar.set_position((1000.0 * done) as u64);
            }
            Progress::Epoch(epoch) => {
                self.epochs_done += 1;
                self.say(&format!(
                    "  epoch {:>2}/{}  loss {:.4}  validation loss {:.4}  validation AUC {:.4}  about {} left",
                    epoch.epoch,
                    self.epochs,
                    epoch.training_loss,
                    epoch.validation_loss,
                    epoch.validation_score,
                    HumanDuration(self.left(self.epochs_done as f64)),
                ));
            }
            _ => {}
        }
    }

    /// The time left if the epochs to come take as long as those that were run.
    fn left(&self, done: f64) -> Duration {
        let run = done - self.epochs_found as f64;
        if run <= 0.0 {
            return Duration::ZERO;
        }
        self.started
            .elapsed()
            .mul_f64((self.epochs_total as f64 - done).max(0.0) / run)
    }
}

impl Drop for Steps {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}
