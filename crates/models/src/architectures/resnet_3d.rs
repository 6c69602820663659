//! ResNets over volumes.
//!
//! Hara et al., "Can Spatiotemporal 3D CNNs Retrace the History of 2D CNNs and ImageNet?", 2018,
//! [arXiv:1711.09577](https://arxiv.org/abs/1711.09577), after He et al., 2016,
//! [arXiv:1512.03385](https://arxiv.org/abs/1512.03385). Layout, variable names and initialisation are those of MONAI's
//! `resnet10`, `resnet18`, `resnet34` and `resnet50` with `spatial_dims=3` and their defaults: the first convolution at
//! stride 1, shortcuts by a 1×1×1 convolution with a bias and a norm.

use tch::TchError;

use crate::architecture::Settings;
use crate::layers::{
    Activation, BatchNormConfig, ConvConfig, ConvNorm, Fan, Flatten, GlobalAveragePool, Init, Linear, LinearConfig,
    MaxPool, Residual, Sequence, Shortcut,
};
use crate::scope::Scope;
use crate::stage::Stage;

/// The layer that holds one output per class.
pub(crate) const HEAD: &str = "fc";

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// Two 3×3×3 convolutions.
    Basic,
    /// 1×1×1, 3×3×3 and 1×1×1 to four times the channels.
    Bottleneck,
}

/// Which of the family.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ResNet3dConfig {
    kind: Kind,
    depths: [usize; 4],
}

impl ResNet3dConfig {
    pub(crate) fn resnet10() -> Self {
        Self {
            kind: Kind::Basic,
            depths: [1, 1, 1, 1],
        }
    }

    pub(crate) fn resnet18() -> Self {
        Self {
            kind: Kind::Basic,
            depths: [2, 2, 2, 2],
        }
    }

    pub(crate) fn resnet34() -> Self {
        Self {
            kind: Kind::Basic,
            depths: [3, 4, 6, 3],
        }
    }

    pub(crate) fn resnet50() -> Self {
        Self {
            kind: Kind::Bottleneck,
            depths: [3, 4, 6, 3],
        }
    }
}

fn conv_norm(scope: &Scope<'_>, conv: &str, norm: &str, config: ConvConfig<3>) -> Result<ConvNorm<3>, TchError> {
    let config = config.centred().with_init(Init::HeNormal(Fan::Out));
    ConvNorm::new(&(scope / conv), config, &(scope / norm), BatchNormConfig::default())
}

/// ReLU(branch(x) + shortcut(x)), and how many channels that has.
fn block(scope: &Scope<'_>, kind: Kind, inputs: i64, width: i64, stride: i64) -> Result<(Residual<3>, i64), TchError> {
    let (before, last) = match kind {
        Kind::Basic => (
            vec![ConvConfig::new(inputs, width, 3).with_stride(stride)],
            ConvConfig::new(width, width, 3),
        ),
        Kind::Bottleneck => (
            vec![
                ConvConfig::new(inputs, width, 1),
                ConvConfig::new(width, width, 3).with_stride(stride),
            ],
            ConvConfig::new(width, 4 * width, 1),
        ),
    };
    let outputs = last.outputs;
    let with_relu = |index: usize, config| {
        let conv = conv_norm(scope, &format!("conv{index}"), &format!("bn{index}"), config)?;
        Ok::<_, TchError>(conv.with_activation(Activation::Relu))
    };
    let mut branch = Sequence::default();
    let mut index = 1;
    for config in before {
        branch = branch.with(with_relu(index, config)?);
        index += 1;
    }
    let last = with_relu(index, last)?;
    let shortcut = if stride != 1 || inputs != outputs {
        let config = ConvConfig::new(inputs, outputs, 1)
            .with_stride(stride)
            .with_bias(Init::TorchDefault);
        Shortcut::Conv(conv_norm(&(scope / "downsample"), "0", "1", config)?)
    } else {
        Shortcut::Identity
    };
    Ok((Residual::new(branch, last, shortcut), outputs))
}

/// `conv1`, `bn1`, `act`, `maxpool`, `layer1.0` … `layer4.N`, `avgpool`, `fc`.
pub(crate) fn stages(scope: &Scope<'_>, settings: &Settings, config: &ResNet3dConfig) -> Result<Vec<Stage>, TchError> {
    let stem = ConvConfig::new(settings.channels, 64, 7);
    let (conv1, bn1) = conv_norm(scope, "conv1", "bn1", stem)?.into_parts();
    let mut stages = vec![
        Stage::layer("conv1", conv1),
        Stage::layer("bn1", bn1),
        Stage::layer("act", Activation::Relu),
        Stage::layer("maxpool", MaxPool::<3>::new(3, 2).with_padding(1)),
    ];
    let mut inputs = 64;
    for (layer, (width, depth)) in (1..).zip([64, 128, 256, 512].into_iter().zip(config.depths)) {
        for index in 0..depth {
            let name = format!("layer{layer}.{index}");
            let stride = if layer > 1 && index == 0 { 2 } else { 1 };
            let (block, outputs) = block(&(scope / &name), config.kind, inputs, width, stride)?;
            stages.push(Stage::layer(name, block));
            inputs = outputs;
        }
    }
    let fc = LinearConfig::new(inputs, settings.classes).with_bias(Init::Constant(0.0));
    stages.extend([
        Stage::layer("avgpool", Sequence::default().with(GlobalAveragePool).with(Flatten)),
        Stage::layer(HEAD, Linear::new(&(scope / HEAD), fc)?),
    ]);
    Ok(stages)
}
