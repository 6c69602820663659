//! MobileNetV2.
//!
//! Sandler et al., "MobileNetV2: Inverted Residuals and Linear Bottlenecks", 2018,
//! [arXiv:1801.04381](https://arxiv.org/abs/1801.04381). Layout, variable names and initialisation are those of
//! torchvision's `mobilenet_v2`.

use tch::TchError;

use crate::architecture::Settings;
use crate::layers::{
    Activation, BatchNormConfig, ConvConfig, ConvNorm, Dropout, Fan, Flatten, GlobalAveragePool, Init, Linear,
    LinearConfig, Residual, Sequence, Shortcut,
};
use crate::scope::Scope;
use crate::stage::Stage;

/// The layer that holds one output per class.
pub(crate) const HEAD: &str = "classifier.1";

/// Which of the family: what the paper's Table 2 lists, and how many times as wide.
#[derive(Debug, Clone, Copy)]
pub(crate) struct MobileNetV2Config {
    /// Expansion, channels, blocks and first stride of each group of blocks.
    pub(crate) groups: [(i64, i64, usize, i64); 7],
    /// The width multiplier.
    pub(crate) width: f64,
    dropout: f64,
}

impl MobileNetV2Config {
    pub(crate) fn mobilenet_v2() -> Self {
        Self {
            groups: [
                (1, 16, 1, 1),
                (6, 24, 2, 2),
                (6, 32, 3, 2),
                (6, 64, 4, 2),
                (6, 96, 3, 1),
                (6, 160, 3, 2),
                (6, 320, 1, 1),
            ],
            width: 1.0,
            dropout: 0.2,
        }
    }
}

/// The multiple of 8 that is nearest to a width, but not less than nine tenths of it.
pub(crate) fn multiple_of_8(width: f64) -> i64 {
    let nearest = ((width + 4.0) as i64 / 8 * 8).max(8);
    if (nearest as f64) < 0.9 * width {
        nearest + 8
    } else {
        nearest
    }
}

fn conv(inputs: i64, outputs: i64, kernel: i64) -> ConvConfig<2> {
    ConvConfig::new(inputs, outputs, kernel)
        .centred()
        .with_init(Init::HeNormal(Fan::Out))
}

fn with_relu6(scope: &Scope<'_>, config: ConvConfig<2>) -> Result<ConvNorm<2>, TchError> {
    Ok(ConvNorm::numbered(scope, config, BatchNormConfig::default())?.with_activation(Activation::Relu6))
}

/// To more channels by 1×1, a depthwise 3×3, back to few channels by 1×1, and the input added where it fits.
fn inverted_residual(
    scope: &Scope<'_>,
    inputs: i64,
    outputs: i64,
    stride: i64,
    expansion: i64,
) -> Result<Residual<2>, TchError> {
    let scope = scope / "conv";
    let hidden = inputs * expansion;
    let mut branch = Sequence::default();
    let mut index = 0;
    if expansion != 1 {
        branch = branch.with(with_relu6(&(&scope / index), conv(inputs, hidden, 1))?);
        index += 1;
    }
    let depthwise = conv(hidden, hidden, 3).with_stride(stride).with_groups(hidden);
    branch = branch.with(with_relu6(&(&scope / index), depthwise)?);
    let last = ConvNorm::new(
        &(&scope / (index + 1)),
        conv(hidden, outputs, 1),
        &(&scope / (index + 2)),
        BatchNormConfig::default(),
    )?;
    let shortcut = match stride == 1 && inputs == outputs {
        true => Shortcut::Identity,
        false => Shortcut::None,
    };
    Ok(Residual::new(branch, last, shortcut))
}

/// `features.0` … `features.18`, `avgpool`, `flatten`, `classifier.0`, `classifier.1`.
pub(crate) fn stages(
    scope: &Scope<'_>,
    settings: &Settings,
    config: &MobileNetV2Config,
) -> Result<Vec<Stage>, TchError> {
    let width = settings.width.unwrap_or(config.width);
    let scaled = |channels: i64| multiple_of_8(channels as f64 * width);
    let name = |index: usize| format!("features.{index}");
    let mut inputs = scaled(32);
    let stem = conv(settings.channels, inputs, 3).with_stride(2);
    let mut stages = vec![Stage::layer(name(0), with_relu6(&(scope / name(0)), stem)?)];
    for (expansion, channels, depth, first_stride) in config.groups {
        let outputs = scaled(channels);
        for index in 0..depth {
            let name = name(stages.len());
            let stride = if index == 0 { first_stride } else { 1 };
            let block = inverted_residual(&(scope / &name), inputs, outputs, stride, expansion)?;
            stages.push(Stage::layer(name, block));
            inputs = outputs;
        }
    }
    let last = name(stages.len());
    // A narrow network's last layer is as wide as ever.
    let features = multiple_of_8(1280.0 * width.max(1.0));
    let head = LinearConfig::new(features, settings.classes)
        .with_init(Init::Normal(0.01))
        .with_bias(Init::Constant(0.0));
    stages.extend([
        Stage::layer(&last, with_relu6(&(scope / &last), conv(inputs, features, 1))?),
        Stage::layer("avgpool", GlobalAveragePool),
        Stage::layer("flatten", Flatten),
        Stage::layer("classifier.0", Dropout(settings.dropout.unwrap_or(config.dropout))),
        Stage::layer(HEAD, Linear::new(&(scope / HEAD), head)?),
    ]);
    Ok(stages)
}
