//! AlexNet.
//!
//! Krizhevsky, "One weird trick for parallelizing convolutional neural networks", 2014,
//! [arXiv:1404.5997](https://arxiv.org/abs/1404.5997), the single-column form of the network of 2012. Layout, variable
//! names and initialisation are those of torchvision.

use tch::TchError;

use crate::architecture::Settings;
use crate::layers::{
    Activation, AdaptiveAveragePool, Conv2d, ConvConfig, Dropout, Flatten, Init, Linear, LinearConfig, MaxPool, Padding,
};
use crate::scope::Scope;
use crate::stage::Stage;

/// The layer that holds one output per class.
pub(crate) const HEAD: &str = "classifier.6";

/// One convolution: channels behind it, extent, stride and padding, and what comes behind its ReLU.
#[derive(Debug, Clone, Copy)]
struct ConvShape(i64, i64, i64, i64, Behind);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Behind {
    Conv,
    Pool,
}

/// Which of the family, of which there is one.
#[derive(Debug, Clone, Copy)]
pub(crate) struct AlexNetConfig {
    convs: [ConvShape; 5],
    /// Width of the classifier's first two layers.
    classifier: i64,
    dropout: f64,
}

impl AlexNetConfig {
    pub(crate) fn alexnet() -> Self {
        Self {
            convs: [
                ConvShape(64, 11, 4, 2, Behind::Pool),
                ConvShape(192, 5, 1, 2, Behind::Pool),
                ConvShape(384, 3, 1, 1, Behind::Conv),
                ConvShape(256, 3, 1, 1, Behind::Conv),
                ConvShape(256, 3, 1, 1, Behind::Pool),
            ],
            classifier: 4096,
            dropout: 0.5,
        }
    }
}

/// `features.0` … `features.12`, `avgpool`, `flatten`, `classifier.0` … `classifier.6`.
pub(crate) fn stages(scope: &Scope<'_>, settings: &Settings, config: &AlexNetConfig) -> Result<Vec<Stage>, TchError> {
    let name = |index| format!("features.{index}");
    let mut stages = Vec::new();
    let mut inputs = settings.channels;
    for ConvShape(outputs, kernel, stride, padding, behind) in config.convs {
        let conv = ConvConfig::new(inputs, outputs, kernel)
            .with_stride(stride)
            .with_padding(Padding::Zeros([padding; 2]))
            .with_bias(Init::TorchDefault);
        let first = name(stages.len());
        stages.push(Stage::layer(&first, Conv2d::new(&(scope / &first), conv)?));
        stages.push(Stage::layer(name(stages.len()), Activation::Relu));
        if behind == Behind::Pool {
            stages.push(Stage::layer(name(stages.len()), MaxPool::<2>::new(3, 2)));
        }
        inputs = outputs;
    }
    let dropout = Dropout(settings.dropout.unwrap_or(config.dropout));
    let linear = |name: &str, inputs, outputs| {
        let linear = Linear::new(&(scope / name), LinearConfig::new(inputs, outputs))?;
        Ok::<_, TchError>(Stage::layer(name, linear))
    };
    stages.extend([
        Stage::layer("avgpool", AdaptiveAveragePool([6, 6])),
        Stage::layer("flatten", Flatten),
        Stage::layer("classifier.0", dropout),
        linear("classifier.1", inputs * 6 * 6, config.classifier)?,
        Stage::layer("classifier.2", Activation::Relu),
        Stage::layer("classifier.3", dropout),
        linear("classifier.4", config.classifier, config.classifier)?,
        Stage::layer("classifier.5", Activation::Relu),
        linear(HEAD, config.classifier, settings.classes)?,
    ]);
    Ok(stages)
}
