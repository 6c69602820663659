//! ResNets over volumes.
//!
//! Hara et al., "Can Spatiotemporal 3D CNNs Retrace the History of 2D CNNs and ImageNet?", 2018,
//! [arXiv:1711.09577](https://arxiv.org/abs/1711.09577), after He et al., 2016,
//! [arXiv:1512.03385](https://arxiv.org/abs/1512.03385). Layout, variable names and initialisation are those of MONAI's
//! `resnet10`, `resnet18`, `resnet34` and `resnet50` with `spatial_dims=3` and their defaults: the first convolution at
//! stride 1, shortcuts by a 1×1×1 convolution with a bias and a norm.

use tch::TchError;

use super::resnet::{ResNetConfig, blocks, conv_norm};
use crate::architecture::Settings;
use crate::layers::{
    Activation, ConvConfig, Flatten, GlobalAveragePool, Init, Linear, LinearConfig, MaxPool, Sequence,
};
use crate::scope::Scope;
use crate::stage::Stage;

/// The layer that holds one output per class.
pub(crate) const HEAD: &str = "fc";

/// `conv1`, `bn1`, `act`, `maxpool`, `layer1.0` … `layer4.N`, `avgpool`, `fc`.
pub(crate) fn stages(scope: &Scope<'_>, settings: &Settings, config: ResNetConfig) -> Result<Vec<Stage>, TchError> {
    let stem = ConvConfig::new(settings.channels, 64, 7);
    let (conv1, bn1) = conv_norm::<3>(scope, "conv1", "bn1", stem)?.into_parts();
    let mut stages = vec![
        Stage::layer("conv1", conv1),
        Stage::layer("bn1", bn1),
        Stage::layer("act", Activation::Relu),
        Stage::layer("maxpool", MaxPool::<3>::new(3, 2).with_padding(1)),
    ];
    let (blocks, channels) = blocks::<3>(scope, &config.with_shortcut_bias(Init::TorchDefault))?;
    stages.extend(blocks);
    let fc = LinearConfig::new(channels, settings.classes).with_bias(Init::Constant(0.0));
    stages.extend([
        Stage::layer("avgpool", Sequence::default().with(GlobalAveragePool).with(Flatten)),
        Stage::layer(HEAD, Linear::new(&(scope / HEAD), fc)?),
    ]);
    Ok(stages)
}
