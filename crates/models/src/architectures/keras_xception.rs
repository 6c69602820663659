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

/// Which of the family, of which there is one: what the paper's Figure 5 shows.
#[derive(Debug, Clone, Copy)]
pub(crate) struct XceptionConfig {
    /// Channels of the two plain convolutions.
    stem: [i64; 2],
    /// Channels of the entry flow's blocks, each at half the resolution of the one before.
    entry: [i64; 3],
    /// Blocks of the middle flow, as wide as the last before them.
    middle: usize,
    /// Channels of the exit flow: of its block, and of the two separable convolutions behind.
    exit: (i64, [i64; 2]),
}

impl XceptionConfig {
    pub(crate) fn xception() -> Self {
        Self {
            stem: [32, 64],
            entry: [128, 256, 728],
            middle: 8,
            exit: (1024, [1536, 2048]),
        }
    }

    /// Widths between the separable convolutions of each block, channels behind it, and what becomes of the resolution.
    fn blocks(&self) -> Vec<(Vec<i64>, i64, Resolution)> {
        let [.., width] = self.entry;
        let entry = self
            .entry
            .map(|channels| (vec![channels], channels, Resolution::Halved));
        let middle = (0..self.middle).map(|_| (vec![width; 2], width, Resolution::Kept));
        let exit = (vec![width], self.exit.0, Resolution::Halved);
        entry.into_iter().chain(middle).chain([exit]).collect()
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Resolution {
    Kept,
    Halved,
}

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
pub(crate) fn stages(scope: &Scope<'_>, settings: &Settings, config: &XceptionConfig) -> Result<Vec<Stage>, TchError> {
    let [first, mut inputs] = config.stem;
    let mut layers = Layers::new(scope, norm(0.99, 1e-3));
    layers.conv_stages(
        ["block1_conv1", "block1_conv1_bn", "block1_conv1_act"],
        ConvConfig::new(settings.channels, first, 3).with_stride(2),
        Activation::Relu,
    )?;
    layers.conv_stages(
        ["block1_conv2", "block1_conv2_bn", "block1_conv2_act"],
        ConvConfig::new(first, inputs, 3),
        Activation::Relu,
    )?;

    let mut shortcuts = 0;
    let mut block = 2;
    for (widths, outputs, resolution) in config.blocks() {
        let mut channels = inputs;
        let mut separable = |index: usize, channels| {
            let name = format!("block{block}_sepconv{index}");
            layers.separable(&name, &format!("{name}_bn"), channels, 3, 1)
        };
        let mut convs = Vec::new();
        for (index, &width) in (1..).zip(&widths) {
            convs.push(separable(index, (channels, width))?.with_activation(Activation::Relu));
            channels = width;
        }
        let last = separable(widths.len() + 1, (channels, outputs))?;
        let down = match resolution {
            Resolution::Halved => {
                let config = ConvConfig::new(inputs, outputs, 1).with_stride(2);
                let names = ["conv2d", "batch_normalization"].map(|kind| numbered(kind, shortcuts));
                shortcuts += 1;
                let shortcut = layers.conv_norm(&names[0], &names[1], config)?;
                Some((MaxPool::new(3, 2).with_same_padding(), shortcut))
            }
            Resolution::Kept => None,
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
        block += 1;
    }

    for (index, outputs) in (1..).zip(config.exit.1) {
        let name = format!("block{block}_sepconv{index}");
        let norm = format!("{name}_bn");
        let (conv, norm_layer) = layers.separable(&name, &norm, (inputs, outputs), 3, 1)?.into_parts();
        layers.separate(&name, conv, &norm, norm_layer);
        layers.stage(format!("{name}_act"), Activation::Relu);
        inputs = outputs;
    }
    layers.classified("avg_pool", inputs, settings.classes)
}
