//! EfficientNet-B0 to B3.
//!
//! Tan & Le, "EfficientNet: Rethinking Model Scaling for Convolutional Neural Networks", 2019,
//! [arXiv:1905.11946](https://arxiv.org/abs/1905.11946). Layout, variable names and initialisation are those of
//! torchvision.

use tch::TchError;

use super::mobilenet_v2::multiple_of_8;
use crate::architecture::Settings;
use crate::layers::{
    Activation, BatchNormConfig, ConvConfig, ConvNorm, Dropout, Fan, Flatten, GlobalAveragePool, Init, Linear,
    LinearConfig, Residual, Sequence, Shortcut, SqueezeExcitation, StochasticDepth,
};
use crate::scope::Scope;
use crate::stage::Stage;

/// The layer that holds one output per class.
pub(crate) const HEAD: &str = "classifier.1";

/// Expansion, kernel, first stride, channels and blocks of each group of blocks of B0.
const GROUPS: [(i64, i64, i64, i64, usize); 7] = [
    (1, 3, 1, 16, 1),
    (6, 3, 2, 24, 2),
    (6, 5, 2, 40, 2),
    (6, 3, 2, 80, 3),
    (6, 5, 1, 112, 3),
    (6, 5, 2, 192, 4),
    (6, 3, 1, 320, 1),
];

/// Which of the family: how much wider and deeper than B0.
#[derive(Debug, Clone, Copy)]
pub(crate) struct EfficientNetConfig {
    width: f64,
    depth: f64,
    dropout: f64,
}

impl EfficientNetConfig {
    pub(crate) fn b0() -> Self {
        Self {
            width: 1.0,
            depth: 1.0,
            dropout: 0.2,
        }
    }

    pub(crate) fn b1() -> Self {
        Self {
            depth: 1.1,
            ..Self::b0()
        }
    }

    pub(crate) fn b2() -> Self {
        Self {
            width: 1.1,
            depth: 1.2,
            dropout: 0.3,
        }
    }

    pub(crate) fn b3() -> Self {
        Self {
            width: 1.2,
            depth: 1.4,
            dropout: 0.3,
        }
    }
}

const INIT: Init = Init::HeNormal(Fan::Out);

fn conv_norm(scope: &Scope<'_>, config: ConvConfig<2>) -> Result<ConvNorm<2>, TchError> {
    ConvNorm::numbered(scope, config.centred().with_init(INIT), BatchNormConfig::default())
}

/// MBConv: to more channels by 1×1, a depthwise convolution, squeeze and excitation, back to few channels by 1×1, and
/// the input added where it fits.
fn block(
    scope: &Scope<'_>,
    (inputs, outputs): (i64, i64),
    (expansion, kernel, stride): (i64, i64, i64),
    depth: StochasticDepth,
) -> Result<Residual<2>, TchError> {
    let scope = scope / "block";
    let hidden = multiple_of_8((inputs * expansion) as f64);
    let mut branch = Sequence::default();
    let mut index = 0;
    if hidden != inputs {
        let expand = conv_norm(&(&scope / index), ConvConfig::new(inputs, hidden, 1))?;
        branch = branch.with(expand.with_activation(Activation::Silu));
        index += 1;
    }
    let depthwise = ConvConfig::new(hidden, hidden, kernel)
        .with_stride(stride)
        .with_groups(hidden);
    let branch = branch
        .with(conv_norm(&(&scope / index), depthwise)?.with_activation(Activation::Silu))
        .with(SqueezeExcitation::new(
            &(&scope / (index + 1)),
            (hidden, (inputs / 4).max(1)),
            INIT,
            Init::Constant(0.0),
            Activation::Silu,
            Activation::Sigmoid,
        )?);
    let last = conv_norm(&(&scope / (index + 2)), ConvConfig::new(hidden, outputs, 1))?;
    let shortcut = match stride == 1 && inputs == outputs {
        true => Shortcut::Identity,
        false => Shortcut::None,
    };
    Ok(Residual::new(branch, last, shortcut).with_stochastic_depth(depth))
}

/// `features.0`, `features.1.0` … `features.7.N`, `features.8`, `avgpool`, `flatten`, `classifier.0`, `classifier.1`.
pub(crate) fn stages(
    scope: &Scope<'_>,
    settings: &Settings,
    config: &EfficientNetConfig,
) -> Result<Vec<Stage>, TchError> {
    let width = |channels: i64| multiple_of_8(channels as f64 * config.width);
    let depth = |blocks: usize| (blocks as f64 * config.depth).ceil() as usize;
    let with_silu = |name: &str, config| {
        let conv = conv_norm(&(scope / name), config)?.with_activation(Activation::Silu);
        Ok::<_, TchError>(Stage::layer(name, conv))
    };
    let mut inputs = width(32);
    let stem = ConvConfig::new(settings.channels, inputs, 3).with_stride(2);
    let mut stages = vec![with_silu("features.0", stem)?];
    let total = GROUPS.iter().map(|&(.., blocks)| depth(blocks)).sum();
    let deepest = settings.stochastic_depth.unwrap_or(0.2);
    for (group, (expansion, kernel, first_stride, channels, blocks)) in (1..).zip(GROUPS) {
        for index in 0..depth(blocks) {
            let name = format!("features.{group}.{index}");
            let (stride, outputs) = (if index == 0 { first_stride } else { 1 }, width(channels));
            let skipped = StochasticDepth::growing(deepest, stages.len() - 1, total);
            let shape = (expansion, kernel, stride);
            let block = block(&(scope / &name), (inputs, outputs), shape, skipped)?;
            stages.push(Stage::layer(name, block));
            inputs = outputs;
        }
    }
    let last = 4 * inputs;
    let head = LinearConfig::new(last, settings.classes)
        .with_init(Init::Uniform(1.0 / (settings.classes as f64).sqrt()))
        .with_bias(Init::Constant(0.0));
    stages.extend([
        with_silu("features.8", ConvConfig::new(inputs, last, 1))?,
        Stage::layer("avgpool", GlobalAveragePool),
        Stage::layer("flatten", Flatten),
        Stage::layer("classifier.0", Dropout(settings.dropout.unwrap_or(config.dropout))),
        Stage::layer(HEAD, Linear::new(&(scope / HEAD), head)?),
    ]);
    Ok(stages)
}
