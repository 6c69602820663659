//! DenseNet-121, 161, 169 and 201.
//!
//! Huang et al., "Densely Connected Convolutional Networks", 2017,
//! [arXiv:1608.06993](https://arxiv.org/abs/1608.06993). Layout, variable names and initialisation are those of
//! torchvision.

use tch::{TchError, Tensor};

use crate::architecture::Settings;
use crate::layers::{
    Activation, AveragePool, BatchNorm, BatchNormConfig, Conv2d, ConvConfig, ConvNorm, Dropout, Fan, Flatten,
    GlobalAveragePool, Init, Layer, Linear, LinearConfig, MaxPool, Pass, Sequence,
};
use crate::scope::Scope;
use crate::stage::Stage;

/// The layer that holds one output per class.
pub(crate) const HEAD: &str = "classifier";

/// Which of the family.
#[derive(Debug, Clone, Copy)]
pub(crate) struct DenseNetConfig {
    /// Channels that each layer adds.
    growth: i64,
    /// Layers of each block.
    depths: [usize; 4],
    /// Channels behind the first convolution.
    stem: i64,
}

impl DenseNetConfig {
    fn new(depths: [usize; 4]) -> Self {
        Self {
            growth: 32,
            depths,
            stem: 64,
        }
    }

    pub(crate) fn densenet121() -> Self {
        Self::new([6, 12, 24, 16])
    }

    pub(crate) fn densenet161() -> Self {
        Self {
            growth: 48,
            stem: 96,
            ..Self::new([6, 12, 36, 24])
        }
    }

    pub(crate) fn densenet169() -> Self {
        Self::new([6, 12, 32, 32])
    }

    pub(crate) fn densenet201() -> Self {
        Self::new([6, 12, 48, 32])
    }
}

fn conv(inputs: i64, outputs: i64, kernel: i64) -> ConvConfig<2> {
    ConvConfig::new(inputs, outputs, kernel)
        .centred()
        .with_init(Init::HeNormal(Fan::In))
}

fn norm(scope: &Scope<'_>, channels: i64) -> Result<BatchNorm, TchError> {
    BatchNorm::new(scope, channels, BatchNormConfig::default())
}

/// Its input with new channels behind: by norm, ReLU, 1×1 convolution, norm, ReLU, 3×3 convolution.
#[derive(Debug)]
struct DenseLayer {
    norm1: BatchNorm,
    /// With `norm2` and the ReLU behind.
    conv1: ConvNorm<2>,
    conv2: Conv2d,
    dropout: Dropout,
}

impl DenseLayer {
    fn new(scope: &Scope<'_>, inputs: i64, growth: i64, dropout: f64) -> Result<Self, TchError> {
        let narrow = 4 * growth;
        let norm1 = norm(&(scope / "norm1"), inputs)?;
        let conv1 = ConvNorm::new(
            &(scope / "conv1"),
            conv(inputs, narrow, 1),
            &(scope / "norm2"),
            BatchNormConfig::default(),
        )?;
        Ok(Self {
            norm1,
            conv1: conv1.with_activation(Activation::Relu),
            conv2: Conv2d::new(&(scope / "conv2"), conv(narrow, growth, 3))?,
            dropout: Dropout(dropout),
        })
    }
}

impl Layer for DenseLayer {
    fn forward(&self, x: &Tensor, pass: Pass<'_>) -> Result<Tensor, TchError> {
        let y = Activation::Relu.forward_owned(self.norm1.forward(x, pass)?, pass)?;
        let y = self.conv2.forward(&self.conv1.forward(&y, pass)?, pass)?;
        Tensor::f_cat(&[x.shallow_clone(), self.dropout.forward(&y, pass)?], 1)
    }
}

/// The name that a variable has today for one of torchvision's published files, which are of a time when
/// `denselayer1.norm1.weight` was `denselayer1.norm.1.weight`.
pub(crate) fn renamed(published: &str) -> Option<String> {
    let parts: Vec<&str> = published.split('.').collect();
    match parts.as_slice() {
        [
            block @ ..,
            layer,
            kind @ ("norm" | "conv"),
            place @ ("1" | "2"),
            variable,
        ] if layer.starts_with("denselayer") => Some(format!("{}.{layer}.{kind}{place}.{variable}", block.join("."))),
        _ => None,
    }
}

/// `features.conv0` … `features.pool0`, `features.denseblock1.denselayer1` …, `features.transition1` …,
/// `features.norm5`, `relu`, `avgpool`, `flatten`, `classifier`.
pub(crate) fn stages(scope: &Scope<'_>, settings: &Settings, config: &DenseNetConfig) -> Result<Vec<Stage>, TchError> {
    let features = scope / "features";
    let stem = conv(settings.channels, config.stem, 7).with_stride(2);
    let norm0 = BatchNormConfig::default();
    let (conv0, norm0) = ConvNorm::new(&(&features / "conv0"), stem, &(&features / "norm0"), norm0)?.into_parts();
    let mut stages = vec![
        Stage::layer("features.conv0", conv0),
        Stage::layer("features.norm0", norm0),
        Stage::layer("features.relu0", Activation::Relu),
        Stage::layer("features.pool0", MaxPool::<2>::new(3, 2).with_padding(1)),
    ];
    let mut channels = config.stem;
    for (block, depth) in (1..).zip(config.depths) {
        for layer in 1..=depth {
            let name = format!("features.denseblock{block}.denselayer{layer}");
            let dropout = settings.dropout.unwrap_or(0.0);
            let dense = DenseLayer::new(&(scope / &name), channels, config.growth, dropout)?;
            stages.push(Stage::layer(name, dense));
            channels += config.growth;
        }
        if block < config.depths.len() {
            let name = format!("features.transition{block}");
            let transition = scope / &name;
            let sequence = Sequence::default()
                .with(norm(&(&transition / "norm"), channels)?)
                .with(Activation::Relu)
                .with(Conv2d::new(&(&transition / "conv"), conv(channels, channels / 2, 1))?)
                .with(AveragePool::<2>::new(2, 2));
            stages.push(Stage::layer(name, sequence));
            channels /= 2;
        }
    }
    let head = LinearConfig::new(channels, settings.classes).with_bias(Init::Constant(0.0));
    stages.extend([
        Stage::layer("features.norm5", norm(&(&features / "norm5"), channels)?),
        Stage::layer("relu", Activation::Relu),
        Stage::layer("avgpool", GlobalAveragePool),
        Stage::layer("flatten", Flatten),
        Stage::layer(HEAD, Linear::new(&(scope / HEAD), head)?),
    ]);
    Ok(stages)
}
