//! DenseNet as Keras has it.
//!
//! Huang et al., "Densely Connected Convolutional Networks", 2017,
//! [arXiv:1608.06993](https://arxiv.org/abs/1608.06993). Layers, paddings, names and initialisation are those of
//! `keras.applications.DenseNet121`.

use tch::{TchError, Tensor};

use super::keras::{Layers, norm};
use crate::architecture::Settings;
use crate::layers::{Activation, AveragePool, BatchNorm, Conv, ConvConfig, ConvNorm, Layer, MaxPool, Pass};
use crate::scope::Scope;
use crate::stage::Stage;

/// How many channels a block adds.
const GROWTH: i64 = 32;

/// Which of the family.
#[derive(Debug, Clone, Copy)]
pub(crate) struct KerasDenseNetConfig {
    blocks: [usize; 4],
}

impl KerasDenseNetConfig {
    pub(crate) fn densenet121() -> Self {
        Self {
            blocks: [6, 12, 24, 16],
        }
    }
}

/// New channels behind the old ones: norm, ReLU, 1×1 convolution, norm, ReLU, 3×3 convolution.
#[derive(Debug)]
struct Block {
    norm: BatchNorm,
    conv1: ConvNorm<2>,
    conv2: Conv<2>,
}

impl Layer for Block {
    fn forward(&self, x: &Tensor, pass: Pass<'_>) -> Result<Tensor, TchError> {
        let y = Activation::Relu.forward_owned(self.norm.forward(x, pass)?, pass)?;
        let y = self.conv2.forward(&self.conv1.forward(&y, pass)?, pass)?;
        Tensor::f_cat(&[x, &y], 1)
    }
}

/// `conv1_conv`, `conv1_bn`, `conv1_relu`, `pool1`; `conv2_block1_concat` … `conv5_block16_concat` with `pool2_bn`,
/// `pool2_relu`, `pool2_conv`, `pool2_pool` and so on between; `bn`, `relu`, `avg_pool`, `predictions`.
pub(crate) fn stages(
    scope: &Scope<'_>,
    settings: &Settings,
    config: &KerasDenseNetConfig,
) -> Result<Vec<Stage>, TchError> {
    let mut layers = Layers::new(scope, norm(0.99, 1.001e-5));
    layers.conv_stages(
        ["conv1_conv", "conv1_bn", "conv1_relu"],
        ConvConfig::new(settings.channels, 64, 7).with_stride(2).centred(),
        Activation::Relu,
    )?;
    // Keras pads with zeros, which are no larger than what comes from a ReLU.
    layers.stage("pool1", MaxPool::<2>::new(3, 2).with_padding(1));

    let mut channels = 64;
    for (stage, blocks) in (2..).zip(config.blocks) {
        for block in 1..=blocks {
            let name = format!("conv{stage}_block{block}");
            let block = Block {
                norm: layers.norm(&format!("{name}_0_bn"), channels)?,
                conv1: layers
                    .conv_norm(
                        &format!("{name}_1_conv"),
                        &format!("{name}_1_bn"),
                        ConvConfig::new(channels, 4 * GROWTH, 1),
                    )?
                    .with_activation(Activation::Relu),
                conv2: layers.conv(
                    &format!("{name}_2_conv"),
                    ConvConfig::new(4 * GROWTH, GROWTH, 3).centred(),
                )?,
            };
            layers.stage(format!("{name}_concat"), block);
            channels += GROWTH;
        }
        if stage < 5 {
            let name = |layer: &str| format!("pool{stage}_{layer}");
            let norm = layers.norm(&name("bn"), channels)?;
            layers.stage(name("bn"), norm);
            layers.stage(name("relu"), Activation::Relu);
            let conv = layers.conv(&name("conv"), ConvConfig::new(channels, channels / 2, 1))?;
            layers.stage(name("conv"), conv);
            layers.stage(name("pool"), AveragePool::<2>::new(2, 2));
            channels /= 2;
        }
    }
    let norm = layers.norm("bn", channels)?;
    layers.stage("bn", norm);
    layers.stage("relu", Activation::Relu);
    layers.classified("avg_pool", channels, settings.classes)
}
