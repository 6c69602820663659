//! What is trained of a network, and how fast: by stage.

use std::collections::{BTreeMap, HashMap};
use std::sync::PoisonError;

use crate::error::ModelError;
use crate::network::Network;

impl Network {
    /// Freezes the stages from the first up to and with `last`, and no others: their variables ask for no gradient, and
    /// in training they run as in evaluation, so that dropout and running statistics rest too. Returns how many
    /// variables are frozen.
    ///
    /// ```
    /// use models::{Architecture, NetworkConfig};
    /// use tch::Device;
    ///
    /// let mut network = NetworkConfig::new(Architecture::ResNet18).with_classes(2).build(Device::Cpu)?;
    /// network.freeze_through("layer3.1")?;
    /// let variables = network.variables().variables();
    /// assert!(!variables["layer3.1.conv2.weight"].requires_grad());
    /// assert!(variables["layer4.0.conv1.weight"].requires_grad());
    /// network.unfreeze();
    /// assert!(variables["conv1.weight"].requires_grad());
    /// # Ok::<(), models::ModelError>(())
    /// ```
    ///
    /// # Errors
    /// [`ModelError::UnknownStage`], and [`ModelError::ForInference`] for a network that was rebuilt for inference.
    pub fn freeze_through(&mut self, last: &str) -> Result<usize, ModelError> {
        if self.inference().is_some() {
            return Err(ModelError::ForInference);
        }
        let stages = self.position(last)? + 1;
        self.unfreeze();
        let mut frozen = 0;
        for (name, variable) in self.variables().variables() {
            let owned = self.stages()[..stages].iter().any(|stage| stage.owns(&name));
            if owned && variable.requires_grad() {
                let _same = variable.f_set_requires_grad(false)?;
                frozen += 1;
            }
        }
        self.set_frozen_stages(stages);
        Ok(frozen)
    }

    /// Lets every stage be trained again.
    pub fn unfreeze(&mut self) {
        self.set_frozen_stages(0);
        if self.inference().is_none() {
            self.variables_mut().unfreeze();
        }
    }

    /// The learning-rate factor of each variable: that of its stage, where each of `from` says that from this stage on the
    /// factor is another. Before the first of them it is 1.
    ///
    /// The names are those of the variables, for an optimiser that goes by them; for tch's own there is
    /// [`Network::set_learning_rate_groups`].
    ///
    /// ```
    /// use models::{Architecture, NetworkConfig};
    /// use tch::Device;
    ///
    /// let network = NetworkConfig::new(Architecture::ResNet18).with_classes(2).build(Device::Cpu)?;
    /// let factors = network.learning_rate_factors(&[("conv1", 0.01), ("layer3.0", 0.1), ("fc", 1.0)])?;
    /// assert_eq!(factors["layer2.1.conv1.weight"], 0.01);
    /// assert_eq!(factors["layer4.1.bn2.bias"], 0.1);
    /// assert_eq!(factors["fc.weight"], 1.0);
    /// # Ok::<(), models::ModelError>(())
    /// ```
    ///
    /// # Errors
    /// [`ModelError::UnknownStage`]; [`ModelError::LearningRateFactor`] for one that is not positive and finite.
    pub fn learning_rate_factors(&self, from: &[(&str, f64)]) -> Result<BTreeMap<String, f64>, ModelError> {
        let steps = self.steps(from)?;
        Ok(self
            .variables()
            .variables()
            .into_iter()
            .filter(|(_, variable)| variable.requires_grad())
            .map(|(name, _)| {
                let factor = self.factor(&steps, &name);
                (name, factor)
            })
            .collect())
    }

    /// Puts the variables in groups of tch's optimisers, one for each learning-rate factor of
    /// [`Network::learning_rate_factors`], frozen ones included, and returns the factors by group. An optimiser that is built thereafter has these
    /// groups; an earlier one keeps its own.
    ///
    /// ```
    /// use models::{Architecture, NetworkConfig};
    /// use tch::nn::{self, OptimizerConfig as _};
    /// use tch::{Device, Kind, Tensor};
    ///
    /// let mut network = NetworkConfig::new(Architecture::SqueezeNet1_1).with_classes(2).build(Device::Cpu)?;
    /// let factors = network.set_learning_rate_groups(&[("features.0", 0.1), ("classifier.1", 1.0)])?;
    /// let rate = 0.01;
    /// let mut optimiser = nn::Sgd::default().build(network.variables(), rate)?;
    /// for (group, factor) in factors.iter().enumerate() {
    ///     optimiser.set_lr_group(group, rate * factor);
    /// }
    ///
    /// let stem = network.variables().variables()["features.0.weight"].shallow_clone();
    /// let before = stem.detach().copy();
    /// let images = Tensor::rand([2, 3, 64, 64], (Kind::Float, Device::Cpu));
    /// let logits = network.forward_t(&images, true)?;
    /// optimiser.backward_step(&logits.cross_entropy_for_logits(&Tensor::from_slice(&[0_i64, 1])));
    /// let expected = before - stem.grad() * 0.001;
    /// assert!(expected.allclose(&stem, 0.0, 1e-6, false));
    /// # Ok::<(), models::ModelError>(())
    /// ```
    ///
    /// # Errors
    /// Those of [`Network::learning_rate_factors`]; [`ModelError::ForInference`] for a network that was rebuilt for
    /// inference.
    pub fn set_learning_rate_groups(&mut self, from: &[(&str, f64)]) -> Result<Vec<f64>, ModelError> {
        if self.inference().is_some() {
            return Err(ModelError::ForInference);
        }
        let steps = self.steps(from)?;
        let by_place: HashMap<_, _> = self
            .variables()
            .variables()
            .into_iter()
            .map(|(name, variable)| (variable.data_ptr(), self.factor(&steps, &name)))
            .collect();
        let mut factors = Vec::new();
        let variables = &self.variables().variables_;
        let mut variables = variables.lock().unwrap_or_else(PoisonError::into_inner);
        for variable in &mut variables.trainable_variables {
            let factor = by_place.get(&variable.tensor.data_ptr()).copied().unwrap_or(1.0);
            // No group is without variables: an optimiser would not have it.
            variable.group = factors.iter().position(|&known| known == factor).unwrap_or_else(|| {
                factors.push(factor);
                factors.len() - 1
            });
        }
        Ok(factors)
    }

    /// The factors by the place of the stage from which on they hold.
    fn steps(&self, from: &[(&str, f64)]) -> Result<BTreeMap<usize, f64>, ModelError> {
        from.iter()
            .map(|&(stage, factor)| match factor > 0.0 && factor.is_finite() {
                true => Ok((self.position(stage)?, factor)),
                false => Err(ModelError::LearningRateFactor {
                    stage: stage.to_owned(),
                    factor,
                }),
            })
            .collect()
    }

    /// The factor of a variable.
    fn factor(&self, steps: &BTreeMap<usize, f64>, variable: &str) -> f64 {
        let stage = self.stages().iter().position(|stage| stage.owns(variable));
        let step = stage.and_then(|stage| steps.range(..=stage).next_back());
        step.map_or(1.0, |(_, &factor)| factor)
    }

    fn position(&self, name: &str) -> Result<usize, ModelError> {
        let position = self.stages().iter().position(|stage| stage.name() == name);
        position.ok_or_else(|| ModelError::UnknownStage {
            name: name.to_owned(),
            stages: self.stages().iter().map(|stage| stage.name().to_owned()).collect(),
        })
    }
}
