//! Inception v3 as Keras has it.
//!
//! Szegedy et al., "Rethinking the Inception Architecture for Computer Vision", 2016,
//! [arXiv:1512.00567](https://arxiv.org/abs/1512.00567). Layers, paddings, names and initialisation are those of
//! `keras.applications.InceptionV3`, whose norms have no scale and whose convolutions are known by number.

use tch::{TchError, Tensor};

use super::keras::{Layers, norm, numbered};
use crate::architecture::Settings;
use crate::layers::{Activation, AveragePool, ConvConfig, ConvNorm, Layer, MaxPool, Padding, Pass};
use crate::scope::Scope;
use crate::stage::Stage;

/// Which of the family, of which there is one: what varies from block to block of a kind.
#[derive(Debug, Clone, Copy)]
pub(crate) struct InceptionV3Config {
    /// Channels behind the pool of each of the first blocks, with square kernels.
    pooled: [i64; 3],
    /// Channels between the convolutions of each of the blocks that have 7×7 kernels in two factors.
    factorised: [i64; 4],
}

impl InceptionV3Config {
    pub(crate) fn inception_v3() -> Self {
        Self {
            pooled: [32, 64, 64],
            factorised: [128, 160, 160, 192],
        }
    }
}

/// Layers one after the other, then, if there are any, several side by side on their result.
#[derive(Default)]
struct Branch {
    row: Vec<Box<dyn Layer>>,
    fork: Vec<ConvNorm<2>>,
}

impl Branch {
    fn collect(&self, x: &Tensor, pass: Pass<'_>, outputs: &mut Vec<Tensor>) -> Result<(), TchError> {
        let y = self
            .row
            .iter()
            .try_fold(x.shallow_clone(), |x, layer| layer.forward(&x, pass))?;
        for conv in &self.fork {
            outputs.push(conv.forward(&y, pass)?);
        }
        if self.fork.is_empty() {
            outputs.push(y);
        }
        Ok(())
    }
}

/// Branches side by side, their channels behind one another.
struct Mixed(Vec<Branch>);

impl Layer for Mixed {
    fn forward(&self, x: &Tensor, pass: Pass<'_>) -> Result<Tensor, TchError> {
        let mut outputs = Vec::new();
        for branch in &self.0 {
            branch.collect(x, pass, &mut outputs)?;
        }
        Tensor::f_cat(&outputs, 1)
    }
}

/// The convolutions, numbered in the order in which they are asked for.
struct Convs<'a> {
    layers: Layers<'a>,
    count: usize,
}

/// Outputs and kernel of a convolution.
type Conv = (i64, [i64; 2]);

impl Convs<'_> {
    fn names(&mut self) -> [String; 3] {
        let index = self.count;
        self.count += 1;
        ["conv2d", "batch_normalization", "activation"].map(|kind| numbered(kind, index))
    }

    fn conv(&mut self, config: ConvConfig<2>) -> Result<ConvNorm<2>, TchError> {
        let [conv, norm, _] = self.names();
        let conv = self.layers.conv_norm(&conv, &norm, config)?;
        Ok(conv.with_activation(Activation::Relu))
    }

    fn stem(&mut self, config: ConvConfig<2>) -> Result<(), TchError> {
        let names = self.names();
        let names = names.each_ref().map(String::as_str);
        self.layers.conv_stages(names, config, Activation::Relu)
    }

    /// Convolutions padded as `same`.
    fn branch(&mut self, mut inputs: i64, convs: &[Conv]) -> Result<Branch, TchError> {
        let mut branch = Branch::default();
        for &(outputs, kernel) in convs {
            let config = ConvConfig::new(inputs, outputs, 1).with_kernel(kernel);
            branch
                .row
                .push(Box::new(self.conv(config.with_padding(Padding::Same))?));
            inputs = outputs;
        }
        Ok(branch)
    }

    /// Convolutions padded as `same`, the last one without padding and at stride 2.
    fn down(&mut self, inputs: i64, convs: &[Conv], (outputs, kernel): Conv) -> Result<Branch, TchError> {
        let mut branch = self.branch(inputs, convs)?;
        let inputs = convs.last().map_or(inputs, |&(outputs, _)| outputs);
        let config = ConvConfig::new(inputs, outputs, 1).with_kernel(kernel).with_stride(2);
        branch.row.push(Box::new(self.conv(config)?));
        Ok(branch)
    }

    /// Convolutions, then a 1×3 and a 3×1 side by side.
    fn forked(&mut self, inputs: i64, convs: &[Conv]) -> Result<Branch, TchError> {
        let mut branch = self.branch(inputs, convs)?;
        let inputs = convs.last().map_or(inputs, |&(outputs, _)| outputs);
        for kernel in [[1, 3], [3, 1]] {
            let config = ConvConfig::new(inputs, 384, 1).with_kernel(kernel);
            branch.fork.push(self.conv(config.with_padding(Padding::Same))?);
        }
        Ok(branch)
    }

    /// The mean around each place, then a 1×1 convolution.
    fn pooled(&mut self, inputs: i64, outputs: i64) -> Result<Branch, TchError> {
        let mut branch = self.branch(inputs, &[(outputs, [1, 1])])?;
        let pool = AveragePool::<2>::new(3, 1).with_padding(1).without_counted_padding();
        branch.row.insert(0, Box::new(pool));
        Ok(branch)
    }

    fn mixed(&mut self, index: usize, branches: Vec<Branch>) {
        self.layers.stage(format!("mixed{index}"), Mixed(branches));
    }
}

fn max_pool() -> MaxPool<2> {
    MaxPool::new(3, 2)
}

/// `conv2d`, `batch_normalization`, `activation` and so on to `activation_4`, with `max_pooling2d` after the third
/// convolution and `max_pooling2d_1` after the fifth; `mixed0` … `mixed10`, `avg_pool`, `predictions`.
pub(crate) fn stages(
    scope: &Scope<'_>,
    settings: &Settings,
    config: &InceptionV3Config,
) -> Result<Vec<Stage>, TchError> {
    let mut convs = Convs {
        layers: Layers::new(scope, norm(0.99, 1e-3).without_scale()),
        count: 0,
    };
    convs.stem(ConvConfig::new(settings.channels, 32, 3).with_stride(2))?;
    convs.stem(ConvConfig::new(32, 32, 3))?;
    convs.stem(ConvConfig::new(32, 64, 3).with_padding(Padding::Same))?;
    convs.layers.stage("max_pooling2d", max_pool());
    convs.stem(ConvConfig::new(64, 80, 1))?;
    convs.stem(ConvConfig::new(80, 192, 3))?;
    convs.layers.stage("max_pooling2d_1", max_pool());

    let mut inputs = 192;
    for (index, pooled) in (0..).zip(config.pooled) {
        let branches = vec![
            convs.branch(inputs, &[(64, [1, 1])])?,
            convs.branch(inputs, &[(48, [1, 1]), (64, [5, 5])])?,
            convs.branch(inputs, &[(64, [1, 1]), (96, [3, 3]), (96, [3, 3])])?,
            convs.pooled(inputs, pooled)?,
        ];
        convs.mixed(index, branches);
        inputs = 64 + 64 + 96 + pooled;
    }

    let pool = || Branch {
        row: vec![Box::new(max_pool())],
        fork: Vec::new(),
    };
    let branches = vec![
        convs.down(inputs, &[], (384, [3, 3]))?,
        convs.down(inputs, &[(64, [1, 1]), (96, [3, 3])], (96, [3, 3]))?,
        pool(),
    ];
    convs.mixed(3, branches);

    for (index, width) in (4..).zip(config.factorised) {
        let branches = vec![
            convs.branch(768, &[(192, [1, 1])])?,
            convs.branch(768, &[(width, [1, 1]), (width, [1, 7]), (192, [7, 1])])?,
            convs.branch(
                768,
                &[
                    (width, [1, 1]),
                    (width, [7, 1]),
                    (width, [1, 7]),
                    (width, [7, 1]),
                    (192, [1, 7]),
                ],
            )?,
            convs.pooled(768, 192)?,
        ];
        convs.mixed(index, branches);
    }

    let branches = vec![
        convs.down(768, &[(192, [1, 1])], (320, [3, 3]))?,
        convs.down(768, &[(192, [1, 1]), (192, [1, 7]), (192, [7, 1])], (192, [3, 3]))?,
        pool(),
    ];
    convs.mixed(8, branches);

    for (index, inputs) in [(9, 1280), (10, 2048)] {
        let branches = vec![
            convs.branch(inputs, &[(320, [1, 1])])?,
            convs.forked(inputs, &[(384, [1, 1])])?,
            convs.forked(inputs, &[(448, [1, 1]), (384, [3, 3])])?,
            convs.pooled(inputs, 192)?,
        ];
        convs.mixed(index, branches);
    }
    convs.layers.classified("avg_pool", 2048, settings.classes)
}
