//! Xception as Keras has it.
//!
//! Chollet, "Xception: Deep Learning with Depthwise Separable Convolutions", 2017,
//! [arXiv:1610.02357](https://arxiv.org/abs/1610.02357). Layers, paddings, names and initialisation are those of
//! `keras.applications.Xception`.

use tch::{TchError, Tensor};

use super::keras::{Layers, Separable, norm, numbered};
use crate::architecture::Settings;
use crate::layers::{Activation, ConvConfig, ConvNorm, Layer, MaxPool, Pass, Summand};
use crate::scope::Scope;
use crate::stage::Stage;

/// Separable convolutions with ReLUs between them, and a shortcut around.
#[derive(Debug)]
struct Block {
    /// With their ReLUs.
    convs: Vec<Separable>,
    last: Separable,
    /// Whether a ReLU comes before the first convolution too; it does but in the first block.
    relu_first: bool,
    /// Halving the resolution: by the largest of each window in the branch, by a 1×1 convolution in the shortcut.
    down: Option<(MaxPool<2>, ConvNorm<2>)>,
}

impl Block {
    fn run(&self, x: &Tensor, identity: Summand<'_>, pass: Pass<'_>) -> Result<Tensor, TchError> {
        let y = match self.relu_first {
            true => x.f_relu()?,
            false => x.shallow_clone(),
        };
        let y = self.convs.iter().try_fold(y, |y, conv| conv.forward(&y, pass))?;
        match &self.down {
            Some((pool, shortcut)) => {
                let y = pool.forward(&self.last.forward(&y, pass)?, pass)?;
                shortcut.forward_plus(x, Summand::Owned(y), pass)
            }
            None => self.last.forward_plus(&y, identity, pass),
        }
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

/// `block1_conv1`, its norm and activation, `block1_conv2` likewise; `add` … `add_11`, the ends of blocks 2 to 13;
/// `block14_sepconv1`, its norm and activation, `block14_sepconv2` likewise; `avg_pool`, `predictions`.
pub(crate) fn stages(scope: &Scope<'_>, settings: &Settings) -> Result<Vec<Stage>, TchError> {
    let mut layers = Layers::new(scope, norm(0.99, 1e-3));
    layers.conv_stages(
        ["block1_conv1", "block1_conv1_bn", "block1_conv1_act"],
        ConvConfig::new(settings.channels, 32, 3).with_stride(2),
        Activation::Relu,
    )?;
    layers.conv_stages(
        ["block1_conv2", "block1_conv2_bn", "block1_conv2_act"],
        ConvConfig::new(32, 64, 3),
        Activation::Relu,
    )?;

    let mut inputs = 64;
    for block in 2..=13 {
        let (widths, outputs): (&[i64], i64) = match block {
            2 => (&[128], 128),
            3 => (&[256], 256),
            4 => (&[728], 728),
            13 => (&[728], 1024),
            _ => (&[728, 728], 728),
        };
        let mut channels = inputs;
        let mut separable = |index: usize, channels| {
            let name = format!("block{block}_sepconv{index}");
            layers.separable(&name, &format!("{name}_bn"), channels, 3, 1)
        };
        let mut convs = Vec::new();
        for (index, &width) in (1..).zip(widths) {
            convs.push(separable(index, (channels, width))?.with_activation(Activation::Relu));
            channels = width;
        }
        let last = separable(widths.len() + 1, (channels, outputs))?;
        let down = match block {
            2..=4 | 13 => {
                let index = if block == 13 { 3 } else { block - 2 };
                let config = ConvConfig::new(inputs, outputs, 1).with_stride(2);
                let names = [numbered("conv2d", index), numbered("batch_normalization", index)];
                let shortcut = layers.conv_norm(&names[0], &names[1], config)?;
                Some((MaxPool::new(3, 2).with_same_padding(), shortcut))
            }
            _ => None,
        };
        let relu_first = block > 2;
        layers.stage(
            numbered("add", block - 2),
            Block {
                convs,
                last,
                relu_first,
                down,
            },
        );
        inputs = outputs;
    }

    for (name, outputs) in [("block14_sepconv1", 1536), ("block14_sepconv2", 2048)] {
        let norm = format!("{name}_bn");
        let (conv, norm_layer) = layers.separable(name, &norm, (inputs, outputs), 3, 1)?.into_parts();
        layers.separate(name, conv, &norm, norm_layer);
        layers.stage(format!("{name}_act"), Activation::Relu);
        inputs = outputs;
    }
    layers.classified("avg_pool", inputs, settings.classes)
}
