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

/// `features.0` … `features.12`, `avgpool`, `flatten`, `classifier.0` … `classifier.6`.
pub(crate) fn stages(scope: &Scope<'_>, settings: &Settings) -> Result<Vec<Stage>, TchError> {
    let mut stages = Vec::new();
    let convs = [
        (
            0,
            ConvConfig::new(settings.channels, 64, 11)
                .with_stride(4)
                .with_padding(Padding::Zeros([2; 2])),
            true,
        ),
        (3, ConvConfig::new(64, 192, 5).centred(), true),
        (6, ConvConfig::new(192, 384, 3).centred(), false),
        (8, ConvConfig::new(384, 256, 3).centred(), false),
        (10, ConvConfig::new(256, 256, 3).centred(), true),
    ];
    let name = |index| format!("features.{index}");
    for (index, conv, pool) in convs {
        let conv = Conv2d::new(&(scope / name(index)), conv.with_bias(Init::TorchDefault))?;
        stages.extend([
            Stage::layer(name(index), conv),
            Stage::layer(name(index + 1), Activation::Relu),
        ]);
        if pool {
            stages.push(Stage::layer(name(index + 2), MaxPool::<2>::new(3, 2)));
        }
    }
    let dropout = Dropout(settings.dropout.unwrap_or(0.5));
    let linear = |name: &str, inputs, outputs| {
        let linear = Linear::new(&(scope / name), LinearConfig::new(inputs, outputs))?;
        Ok::<_, TchError>(Stage::layer(name, linear))
    };
    stages.extend([
        Stage::layer("avgpool", AdaptiveAveragePool([6, 6])),
        Stage::layer("flatten", Flatten),
        Stage::layer("classifier.0", dropout),
        linear("classifier.1", 256 * 6 * 6, 4096)?,
        Stage::layer("classifier.2", Activation::Relu),
        Stage::layer("classifier.3", dropout),
        linear("classifier.4", 4096, 4096)?,
        Stage::layer("classifier.5", Activation::Relu),
        linear(HEAD, 4096, settings.classes)?,
    ]);
    Ok(stages)
}
