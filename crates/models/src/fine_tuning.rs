//! What is trained of a network, and how fast: by stage.

use std::collections::BTreeMap;

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
    /// The names are those of the variables, so that any optimiser's groups can be made from them.
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
        let mut steps = BTreeMap::new();
        for &(stage, factor) in from {
            if !(factor > 0.0 && factor.is_finite()) {
                return Err(ModelError::LearningRateFactor {
                    stage: stage.to_owned(),
                    factor,
                });
            }
            steps.insert(self.position(stage)?, factor);
        }
        let factor_at = |index: usize| steps.range(..=index).next_back().map_or(1.0, |(_, &factor)| factor);
        Ok(self
            .variables()
            .variables()
            .into_iter()
            .filter(|(_, variable)| variable.requires_grad())
            .map(|(name, _)| {
                let stage = self.stages().iter().position(|stage| stage.owns(&name));
                let factor = stage.map_or(1.0, factor_at);
                (name, factor)
            })
            .collect())
    }

    fn position(&self, name: &str) -> Result<usize, ModelError> {
        let position = self.stages().iter().position(|stage| stage.name() == name);
        position.ok_or_else(|| ModelError::UnknownStage {
            name: name.to_owned(),
            stages: self.stages().iter().map(|stage| stage.name().to_owned()).collect(),
        })
    }
}
