//! VGG with 11, 13, 16 and 19 layers, with and without batch norms.
//!
//! Simonyan & Zisserman, "Very Deep Convolutional Networks for Large-Scale Image Recognition", 2015,
//! [arXiv:1409.1556](https://arxiv.org/abs/1409.1556). Layout, variable names and initialisation are those of
//! torchvision.

use tch::TchError;

use crate::architecture::Settings;
use crate::layers::{
    Activation, AdaptiveAveragePool, BatchNormConfig, Conv2d, ConvConfig, ConvNorm, Dropout, Fan, Flatten, Init,
    Linear, LinearConfig, MaxPool,
};
use crate::scope::Scope;
use crate::stage::Stage;

/// The layer that holds one output per class.
pub(crate) const HEAD: &str = "classifier.6";

/// Which of the family.
#[derive(Debug, Clone, Copy)]
pub(crate) struct VggConfig {
    /// Convolutions before each of the five pools.
    depths: [usize; 5],
    batch_norm: bool,
}

impl VggConfig {
    fn new(depths: [usize; 5]) -> Self {
        Self {
            depths,
            batch_norm: false,
        }
    }

    pub(crate) fn vgg11() -> Self {
        Self::new([1, 1, 2, 2, 2])
    }

    pub(crate) fn vgg13() -> Self {
        Self::new([2, 2, 2, 2, 2])
    }

    pub(crate) fn vgg16() -> Self {
        Self::new([2, 2, 3, 3, 3])
    }

    pub(crate) fn vgg19() -> Self {
        Self::new([2, 2, 4, 4, 4])
    }

    pub(crate) fn with_batch_norm(mut self) -> Self {
        self.batch_norm = true;
        self
    }
}

/// `features.0` … `features.N`, `avgpool`, `flatten`, `classifier.0` … `classifier.6`.
pub(crate) fn stages(scope: &Scope<'_>, settings: &Settings, config: &VggConfig) -> Result<Vec<Stage>, TchError> {
    let name = |index| format!("features.{index}");
    let mut stages = Vec::new();
    let mut inputs = settings.channels;
    for (outputs, depth) in [64, 128, 256, 512, 512].into_iter().zip(config.depths) {
        for _ in 0..depth {
            let conv = ConvConfig::new(inputs, outputs, 3)
                .centred()
                .with_init(Init::HeNormal(Fan::Out))
                .with_bias(Init::Constant(0.0));
            let (first, second) = (name(stages.len()), name(stages.len() + 1));
            if config.batch_norm {
                let norm = BatchNormConfig::default();
                let (conv, norm) = ConvNorm::new(&(scope / &first), conv, &(scope / &second), norm)?.into_parts();
                stages.extend([Stage::layer(first, conv), Stage::layer(second, norm)]);
            } else {
                stages.push(Stage::layer(&first, Conv2d::new(&(scope / &first), conv)?));
            }
            stages.push(Stage::layer(name(stages.len()), Activation::Relu));
            inputs = outputs;
        }
        stages.push(Stage::layer(name(stages.len()), MaxPool::<2>::new(2, 2)));
    }

    let dropout = Dropout(settings.dropout.unwrap_or(0.5));
    let linear = |name: &str, inputs, outputs| {
        let config = LinearConfig::new(inputs, outputs)
            .with_init(Init::Normal(0.01))
            .with_bias(Init::Constant(0.0));
        Ok::<_, TchError>(Stage::layer(name, Linear::new(&(scope / name), config)?))
    };
    stages.extend([
        Stage::layer("avgpool", AdaptiveAveragePool([7, 7])),
        Stage::layer("flatten", Flatten),
        linear("classifier.0", inputs * 7 * 7, 4096)?,
        Stage::layer("classifier.1", Activation::Relu),
        Stage::layer("classifier.2", dropout),
        linear("classifier.3", 4096, 4096)?,
        Stage::layer("classifier.4", Activation::Relu),
        Stage::layer("classifier.5", dropout),
        linear(HEAD, 4096, settings.classes)?,
    ]);
    Ok(stages)
}
