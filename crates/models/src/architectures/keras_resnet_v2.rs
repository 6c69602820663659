//! ResNet with pre-activation as Keras has it.
//!
//! He et al., "Identity Mappings in Deep Residual Networks", 2016,
//! [arXiv:1603.05027](https://arxiv.org/abs/1603.05027). Layers, paddings, names and initialisation are those of
//! `keras.applications.ResNet50V2`, which halves the resolution in a stack's last block.

use tch::{TchError, Tensor};

use super::keras::{Layers, norm};
use crate::architecture::Settings;
use crate::layers::{Activation, BatchNorm, Conv, ConvConfig, ConvNorm, Epilogue, Init, Layer, MaxPool, Pass, Summand};
use crate::scope::Scope;
use crate::stage::Stage;

/// Which of the family.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ResNetV2Config {
    blocks: [usize; 4],
}

impl ResNetV2Config {
    pub(crate) fn resnet50_v2() -> Self {
        Self { blocks: [3, 4, 6, 3] }
    }
}

#[derive(Debug)]
enum Shortcut {
    /// The input itself.
    Identity,
    /// Every second place of the input.
    Strided,
    /// A convolution of the activated input.
    Conv(Conv<2>),
}

/// Norm and ReLU first, then a bottleneck whose sum with the shortcut is left as it is.
#[derive(Debug)]
struct Block {
    norm: BatchNorm,
    conv1: ConvNorm<2>,
    conv2: ConvNorm<2>,
    conv3: Conv<2>,
    shortcut: Shortcut,
}

impl Block {
    fn run(&self, x: &Tensor, identity: Summand<'_>, pass: Pass<'_>) -> Result<Tensor, TchError> {
        let active = Activation::Relu.forward_owned(self.norm.forward(x, pass)?, pass)?;
        let y = self.conv2.forward(&self.conv1.forward(&active, pass)?, pass)?;
        let strided;
        let summand = match &self.shortcut {
            Shortcut::Identity => identity,
            Shortcut::Strided => {
                strided = x.f_slice(2, None, None, 2)?.f_slice(3, None, None, 2)?;
                Summand::Kept(&strided)
            }
            Shortcut::Conv(conv) => Summand::Owned(conv.forward(&active, pass)?),
        };
        self.conv3.forward_with(&y, Epilogue::sum(summand), pass)
    }
}

impl Layer for Block {
    fn forward(&self, x: &Tensor, pass: Pass<'_>) -> Result<Tensor, TchError> {
        self.run(x, Summand::Kept(x), pass)
    }

    fn forward_owned(&self, x: Tensor, pass: Pass<'_>) -> Result<Tensor, TchError> {
        self.run(&x, Summand::Owned(x.shallow_clone()), pass)
    }
}

/// Zeros around the image.
#[derive(Debug)]
struct ZeroPad(i64);

impl Layer for ZeroPad {
    fn forward(&self, x: &Tensor, _: Pass<'_>) -> Result<Tensor, TchError> {
        x.f_constant_pad_nd([self.0; 4])
    }
}

/// `conv1_conv`, `pool1_pad`, `pool1_pool`, `conv2_block1_out` … `conv5_block3_out`, `post_bn`, `post_relu`,
/// `avg_pool`, `predictions`.
pub(crate) fn stages(scope: &Scope<'_>, settings: &Settings, config: &ResNetV2Config) -> Result<Vec<Stage>, TchError> {
    let with_bias = |config: ConvConfig<2>| config.with_bias(Init::Constant(0.0));
    let mut layers = Layers::new(scope, norm(0.99, 1.001e-5));
    let stem = ConvConfig::new(settings.channels, 64, 7).with_stride(2).centred();
    let conv1 = layers.conv("conv1_conv", with_bias(stem))?;
    layers.stage("conv1_conv", conv1);
    // The zeros are padding like any number: without a ReLU before, they may be the largest.
    layers.stage("pool1_pad", ZeroPad(1));
    layers.stage("pool1_pool", MaxPool::<2>::new(3, 2));

    let mut inputs = 64;
    for (stage, (width, blocks)) in (2..).zip([64, 128, 256, 512].into_iter().zip(config.blocks)) {
        for block in 1..=blocks {
            let stride = if block == blocks && stage < 5 { 2 } else { 1 };
            let prefix = format!("conv{stage}_block{block}");
            let name = |layer: &str| format!("{prefix}_{layer}");
            let norm = layers.norm(&name("preact_bn"), inputs)?;
            let shortcut = match (block, stride) {
                (1, _) => {
                    let config = ConvConfig::new(inputs, 4 * width, 1).with_stride(stride);
                    Shortcut::Conv(layers.conv(&name("0_conv"), with_bias(config))?)
                }
                (_, 1) => Shortcut::Identity,
                _ => Shortcut::Strided,
            };
            let mut conv_norm = |index: usize, config| {
                let (conv, norm) = (name(&format!("{index}_conv")), name(&format!("{index}_bn")));
                let conv = layers.conv_norm(&conv, &norm, config)?;
                Ok::<_, TchError>(conv.with_activation(Activation::Relu))
            };
            let block = Block {
                norm,
                conv1: conv_norm(1, ConvConfig::new(inputs, width, 1))?,
                conv2: conv_norm(2, ConvConfig::new(width, width, 3).with_stride(stride).centred())?,
                conv3: layers.conv(&name("3_conv"), with_bias(ConvConfig::new(width, 4 * width, 1)))?,
                shortcut,
            };
            layers.stage(name("out"), block);
            inputs = 4 * width;
        }
    }
    let norm = layers.norm("post_bn", inputs)?;
    layers.stage("post_bn", norm);
    layers.stage("post_relu", Activation::Relu);
    layers.classified("avg_pool", inputs, settings.classes)
}
