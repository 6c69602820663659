//! ResNets, ResNeXt and wide ResNets.
//!
//! - He et al., "Deep Residual Learning for Image Recognition", 2016,
//!   [arXiv:1512.03385](https://arxiv.org/abs/1512.03385);
//! - Xie et al., "Aggregated Residual Transformations for Deep Neural Networks", 2017,
//!   [arXiv:1611.05431](https://arxiv.org/abs/1611.05431);
//! - Zagoruyko & Komodakis, "Wide Residual Networks", 2016,
//!   [arXiv:1605.07146](https://arxiv.org/abs/1605.07146).
//!
//! Layout, variable names and initialisation are those of torchvision, whose stride lies in the 3×3 convolution of a
//! bottleneck (He et al. have it in the first 1×1).

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
    /// Two convolutions of extent 3.
    Basic,
    /// Extents 1, 3 and 1, to four times the channels.
    Bottleneck,
}

/// Which of the family.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ResNetConfig {
    kind: Kind,
    /// Blocks of each layer.
    depths: [usize; 4],
    /// Groups of a bottleneck's wide convolution.
    groups: i64,
    /// Its width at 64 channels, by group.
    width_per_group: i64,
    /// Of the shortcuts' convolutions.
    shortcut_bias: Option<Init>,
}

impl ResNetConfig {
    fn new(kind: Kind, depths: [usize; 4]) -> Self {
        Self {
            kind,
            depths,
            groups: 1,
            width_per_group: 64,
            shortcut_bias: None,
        }
    }

    /// With one block in each layer, which MONAI has and torchvision has not.
    pub(crate) fn resnet10() -> Self {
        Self::new(Kind::Basic, [1, 1, 1, 1])
    }

    pub(crate) fn resnet18() -> Self {
        Self::new(Kind::Basic, [2, 2, 2, 2])
    }

    pub(crate) fn resnet34() -> Self {
        Self::new(Kind::Basic, [3, 4, 6, 3])
    }

    pub(crate) fn resnet50() -> Self {
        Self::new(Kind::Bottleneck, [3, 4, 6, 3])
    }

    pub(crate) fn resnet101() -> Self {
        Self::new(Kind::Bottleneck, [3, 4, 23, 3])
    }

    pub(crate) fn resnet152() -> Self {
        Self::new(Kind::Bottleneck, [3, 8, 36, 3])
    }

    pub(crate) fn resnext50_32x4d() -> Self {
        Self {
            groups: 32,
            width_per_group: 4,
            ..Self::resnet50()
        }
    }

    pub(crate) fn wide_resnet50_2() -> Self {
        Self {
            width_per_group: 128,
            ..Self::resnet50()
        }
    }

    /// With biases in the shortcuts' convolutions, which begin like this.
    pub(crate) fn with_shortcut_bias(mut self, init: Init) -> Self {
        self.shortcut_bias = Some(init);
        self
    }
}

/// A convolution and its norm.
pub(crate) fn conv_norm<const D: usize>(
    scope: &Scope<'_>,
    conv: &str,
    norm: &str,
    config: ConvConfig<D>,
) -> Result<ConvNorm<D>, TchError> {
    let config = config.centred().with_init(Init::HeNormal(Fan::Out));
    ConvNorm::new(&(scope / conv), config, &(scope / norm), BatchNormConfig::default())
}

/// ReLU(branch(x) + shortcut(x)), and how many channels that has.
fn block<const D: usize>(
    scope: &Scope<'_>,
    config: &ResNetConfig,
    inputs: i64,
    channels: i64,
    stride: i64,
) -> Result<(Residual<D>, i64), TchError> {
    let (before, last) = match config.kind {
        Kind::Basic => (
            vec![ConvConfig::new(inputs, channels, 3).with_stride(stride)],
            ConvConfig::new(channels, channels, 3),
        ),
        Kind::Bottleneck => {
            let width = channels * config.width_per_group / 64 * config.groups;
            (
                vec![
                    ConvConfig::new(inputs, width, 1),
                    ConvConfig::new(width, width, 3)
                        .with_stride(stride)
                        .with_groups(config.groups),
                ],
                ConvConfig::new(width, 4 * channels, 1),
            )
        }
    };
    let outputs = last.outputs;
    let shortcut = if stride != 1 || inputs != outputs {
        let mut conv = ConvConfig::new(inputs, outputs, 1).with_stride(stride);
        conv.bias = config.shortcut_bias;
        Shortcut::Conv(conv_norm(&(scope / "downsample"), "0", "1", conv)?)
    } else {
        Shortcut::Identity
    };
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
    Ok((Residual::new(branch, with_relu(index, last)?, shortcut), outputs))
}

/// `layer1.0` … `layer4.N`, and how many channels the last puts out.
pub(crate) fn blocks<const D: usize>(scope: &Scope<'_>, config: &ResNetConfig) -> Result<(Vec<Stage>, i64), TchError> {
    let mut stages = Vec::new();
    let mut inputs = 64;
    for (layer, (channels, depth)) in (1..).zip([64, 128, 256, 512].into_iter().zip(config.depths)) {
        for index in 0..depth {
            let name = format!("layer{layer}.{index}");
            let stride = if layer > 1 && index == 0 { 2 } else { 1 };
            let (block, outputs) = block::<D>(&(scope / &name), config, inputs, channels, stride)?;
            stages.push(Stage::layer(name, block));
            inputs = outputs;
        }
    }
    Ok((stages, inputs))
}

/// `conv1`, `bn1`, `relu`, `maxpool`, `layer1.0` … `layer4.N`, `avgpool`, `flatten`, `fc`.
pub(crate) fn stages(scope: &Scope<'_>, settings: &Settings, config: &ResNetConfig) -> Result<Vec<Stage>, TchError> {
    let stem = ConvConfig::new(settings.channels, 64, 7).with_stride(2);
    let (conv1, bn1) = conv_norm::<2>(scope, "conv1", "bn1", stem)?.into_parts();
    let mut stages = vec![
        Stage::layer("conv1", conv1),
        Stage::layer("bn1", bn1),
        Stage::layer("relu", Activation::Relu),
        Stage::layer("maxpool", MaxPool::<2>::new(3, 2).with_padding(1)),
    ];
    let (blocks, channels) = blocks::<2>(scope, config)?;
    stages.extend(blocks);
    stages.extend([
        Stage::layer("avgpool", GlobalAveragePool),
        Stage::layer("flatten", Flatten),
        Stage::layer(
            HEAD,
            Linear::new(&(scope / HEAD), LinearConfig::new(channels, settings.classes))?,
        ),
    ]);
    Ok(stages)
}
