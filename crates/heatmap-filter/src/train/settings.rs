use std::collections::BTreeMap;

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
    #[serde(default)]
    factors: BTreeMap<String, f64>,
}

impl Default for TrainSettings {
    /// 10 epochs, batches of 16, learning rate 3e-4 for every variable, weight decay 1e-4, the default
    /// augmentation, seed 0.
    fn default() -> Self {
        Self {
            epochs: 10,
            batch: 16,
            learning_rate: 3e-4,
            weight_decay: 1e-4,
            augmentation: Augmentation::default(),
            seed: 0,
            factors: BTreeMap::new(),
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

    /// The learning rate of the variables called `name`, or whose names begin with it and a dot, is
    /// `factor` times that of the others. Where several names fit a variable the longest counts.
    ///
    /// ```
    /// use heatmap_filter::train::TrainSettings;
    ///
    /// // A fresh head learns at the full rate, the layers before it at less the earlier they are.
    /// let settings = TrainSettings::default()
    ///     .with_learning_rate_factor("conv1", 0.01)
    ///     .with_learning_rate_factor("layer1", 0.01)
    ///     .with_learning_rate_factor("layer4", 0.1);
    /// assert_ne!(settings, TrainSettings::default());
    /// ```
    pub fn with_learning_rate_factor(mut self, name: impl Into<String>, factor: f64) -> Self {
        self.factors.insert(name.into(), factor);
        self
    }

    /// The factor of each variable that has one.
    pub(crate) fn factors<'a>(
        &self,
        variables: impl Iterator<Item = &'a String> + Clone,
    ) -> Result<BTreeMap<String, f64>, FilterError> {
        let fits = |variable: &str, name: &str| {
            variable
                .strip_prefix(name)
                .is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
        };
        if let Some(name) = self
            .factors
            .keys()
            .find(|name| !variables.clone().any(|variable| fits(variable, name)))
        {
            return Err(FilterError::NoSuchVariable { name: name.clone() });
        }
        Ok(variables
            .filter_map(|variable| {
                let fitting = self.factors.iter().filter(|(name, _)| fits(variable, name));
                let (_, factor) = fitting.max_by_key(|(name, _)| name.len())?;
                Some((variable.clone(), *factor))
            })
            .collect())
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
        for &factor in self.factors.values() {
            check("learning-rate factor", factor, positive(factor), "a number above 0")?;
        }
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
    fn the_longest_name_that_fits_gives_the_factor() {
        let settings = TrainSettings::default()
            .with_learning_rate_factor("layer1", 0.5)
            .with_learning_rate_factor("layer1.0", 0.25)
            .with_learning_rate_factor("fc.bias", 2.0);
        let variables = [
            "conv1.weight",
            "fc.bias",
            "fc.weight",
            "layer1.0.weight",
            "layer1.1.weight",
            "layer10.weight",
        ];
        let variables = variables.map(str::to_owned);
        let factors = settings.factors(variables.iter()).unwrap();
        let factors: Vec<_> = factors.iter().map(|(name, factor)| (name.as_str(), *factor)).collect();
        assert_eq!(
            factors,
            [("fc.bias", 2.0), ("layer1.0.weight", 0.25), ("layer1.1.weight", 0.5)]
        );
        let error = settings.factors(variables[..3].iter()).unwrap_err().to_string();
        assert!(error.contains("`layer1`"), "{error}");
    }

    #[test]
    fn settings_that_make_no_sense_are_named() {
        for (settings, name) in [
            (TrainSettings::default().with_epochs(0), "epochs"),
            (TrainSettings::default().with_batch(0), "batch"),
            (TrainSettings::default().with_learning_rate(f64::NAN), "learning rate"),
            (TrainSettings::default().with_weight_decay(-1.0), "weight decay"),
            (
                TrainSettings::default().with_learning_rate_factor("fc", 0.0),
                "learning-rate factor",
            ),
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
