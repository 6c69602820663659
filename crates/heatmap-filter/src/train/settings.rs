use serde::{Deserialize, Serialize};

use super::augmentation::Augmentation;
use crate::error::FilterError;

/// How to train.
///
/// The learning rate rises linearly over the first tenth of the steps to its peak and falls as a
/// cosine to a hundredth of it (Loshchilov & Hutter, [arXiv:1608.03983](https://arxiv.org/abs/1608.03983)).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TrainSettings {
    pub(crate) epochs: usize,
    pub(crate) batch: usize,
    pub(crate) learning_rate: f64,
    pub(crate) weight_decay: f64,
    pub(crate) augmentation: Augmentation,
    pub(crate) seed: u64,
}

impl Default for TrainSettings {
    /// 10 epochs, batches of 16, learning rate 3e-4, weight decay 1e-4, the default augmentation,
    /// seed 0.
    fn default() -> Self {
        Self {
            epochs: 10,
            batch: 16,
            learning_rate: 3e-4,
            weight_decay: 1e-4,
            augmentation: Augmentation::default(),
            seed: 0,
        }
    }
}

impl TrainSettings {
    /// Passes over the training images.
    pub fn with_epochs(mut self, epochs: usize) -> Self {
        self.epochs = epochs;
        self
    }

    /// Images a step.
    pub fn with_batch(mut self, batch: usize) -> Self {
        self.batch = batch;
        self
    }

    /// The peak learning rate.
    pub fn with_learning_rate(mut self, learning_rate: f64) -> Self {
        self.learning_rate = learning_rate;
        self
    }

    /// Decoupled weight decay of the variables with two or more axes.
    pub fn with_weight_decay(mut self, weight_decay: f64) -> Self {
        self.weight_decay = weight_decay;
        self
    }

    /// What is done to the training images by chance.
    pub fn with_augmentation(mut self, augmentation: Augmentation) -> Self {
        self.augmentation = augmentation;
        self
    }

    /// What the order of images, the augmentation and dropout are drawn from.
    pub fn with_seed(mut self, seed: u64) -> Self {
        self.seed = seed;
        self
    }

    pub(crate) fn check(&self) -> Result<(), FilterError> {
        let positive = |value: f64| value > 0.0 && value.is_finite();
        let check = |name, value, holds, expected| match holds {
            true => Ok(()),
            false => Err(FilterError::Setting { name, value, expected }),
        };
        for (name, value) in [
            ("epochs", self.epochs as f64),
            ("batch", self.batch as f64),
            ("learning rate", self.learning_rate),
        ] {
            check(name, value, positive(value), "a number above 0")?;
        }
        let decay = self.weight_decay;
        check("weight decay", decay, decay == 0.0 || positive(decay), "0 or more")?;
        for (name, amount, most) in self.augmentation.amounts() {
            let expected = match most {
                Some(_) => "0 or more, below 1",
                None => "0 or more",
            };
            let holds = amount >= 0.0 && amount.is_finite() && most.is_none_or(|most| amount < most);
            check(name, amount, holds, expected)?;
        }
        Ok(())
    }

    /// The learning rate at a step, from 0, of so many.
    pub(crate) fn rate(&self, step: usize, steps: usize) -> f64 {
        const FLOOR: f64 = 0.01;
        let warm_up = (steps / 10).max(1);
        let factor = if step < warm_up {
            (step + 1) as f64 / warm_up as f64
        } else {
            let progress = (step - warm_up) as f64 / (steps - warm_up).max(1) as f64;
            FLOOR + (1.0 - FLOOR) * 0.5 * (1.0 + (std::f64::consts::PI * progress).cos())
        };
        self.learning_rate * factor
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rate_rises_to_its_peak_and_falls_to_a_hundredth() {
        let settings = TrainSettings::default().with_learning_rate(1.0);
        let rates: Vec<f64> = (0..100).map(|step| settings.rate(step, 100)).collect();
        assert!((rates[0] - 0.1).abs() < 1e-12);
        assert_eq!(rates[9], 1.0);
        assert_eq!(rates[10], 1.0);
        assert!(rates[10..].is_sorted_by(|a, b| a >= b));
        assert!((0.01..0.011).contains(&rates[99]));
        assert_eq!(settings.rate(0, 1), 1.0);
    }

    #[test]
    fn settings_that_make_no_sense_are_named() {
        for (settings, name) in [
            (TrainSettings::default().with_epochs(0), "epochs"),
            (TrainSettings::default().with_batch(0), "batch"),
            (TrainSettings::default().with_learning_rate(f64::NAN), "learning rate"),
            (TrainSettings::default().with_weight_decay(-1.0), "weight decay"),
            (
                TrainSettings::default().with_augmentation(Augmentation::none().with_scale(1.0)),
                "scale",
            ),
            (
                TrainSettings::default().with_augmentation(Augmentation::none().with_rotation(f64::NAN)),
                "rotation",
            ),
        ] {
            assert!(settings.check().unwrap_err().to_string().contains(name));
        }
        assert!(TrainSettings::default().check().is_ok());
    }
}
