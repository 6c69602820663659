//! RegNetY-400MF.
//!
//! Radosavovic et al., "Designing Network Design Spaces", 2020, [arXiv:2003.13678](https://arxiv.org/abs/2003.13678).
//! Layout, variable names and initialisation are those of torchvision's `regnet_y_400mf`.

use tch::TchError;

use crate::architecture::Settings;
use crate::layers::{
    Activation, BatchNormConfig, ConvConfig, ConvNorm, Fan, Flatten, GlobalAveragePool, Init, Linear, LinearConfig,
    Residual, Sequence, Shortcut, SqueezeExcitation,
};
use crate::scope::Scope;
use crate::stage::Stage;

/// The layer that holds one output per class.
pub(crate) const HEAD: &str = "fc";

/// Which of the family: what the paper's linear rule of widths comes to.
#[derive(Debug, Clone, Copy)]
pub(crate) struct RegNetConfig {
    depths: [usize; 4],
    widths: [i64; 4],
    /// Channels of each group of the 3×3 convolutions.
    group_width: i64,
}

impl RegNetConfig {
    /// Depth 16, w₀ = 48, wₐ = 27.89, wₘ = 2.09.
    pub(crate) fn y_400mf() -> Self {
        Self {
            depths: [1, 3, 6, 6],
            widths: [48, 104, 208, 440],
            group_width: 8,
        }
    }
}

const INIT: Init = Init::HeNormal(Fan::Out);

fn conv_norm(scope: &Scope<'_>, config: ConvConfig<2>) -> Result<ConvNorm<2>, TchError> {
    ConvNorm::numbered(scope, config.centred().with_init(INIT), BatchNormConfig::default())
}

/// ReLU(branch(x) + shortcut(x)): 1×1, grouped 3×3, squeeze and excitation, 1×1.
fn block(scope: &Scope<'_>, inputs: i64, outputs: i64, stride: i64, group_width: i64) -> Result<Residual<2>, TchError> {
    let shortcut = if stride != 1 || inputs != outputs {
        let config = ConvConfig::new(inputs, outputs, 1).with_stride(stride);
        Shortcut::Conv(conv_norm(&(scope / "proj"), config)?)
    } else {
        Shortcut::Identity
    };
    let scope = scope / "f";
    let grouped = ConvConfig::new(outputs, outputs, 3)
        .with_stride(stride)
        .with_groups(outputs / group_width);
    let branch = Sequence::default()
        .with(conv_norm(&(&scope / "a"), ConvConfig::new(inputs, outputs, 1))?.with_activation(Activation::Relu))
        .with(conv_norm(&(&scope / "b"), grouped)?.with_activation(Activation::Relu))
        .with(SqueezeExcitation::new(
            &(&scope / "se"),
            // A quarter, of the block's input.
            (outputs, (inputs as f64 * 0.25).round_ties_even() as i64),
            INIT,
            Init::TorchDefault,
            Activation::Relu,
            Activation::Sigmoid,
        )?);
    let last = conv_norm(&(&scope / "c"), ConvConfig::new(outputs, outputs, 1))?.with_activation(Activation::Relu);
    Ok(Residual::new(branch, last, shortcut))
}

/// `stem`, `trunk_output.block1.block1-0` … `trunk_output.block4.block4-N`, `avgpool`, `flatten`, `fc`.
pub(crate) fn stages(scope: &Scope<'_>, settings: &Settings, config: &RegNetConfig) -> Result<Vec<Stage>, TchError> {
    let mut inputs = 32;
    let stem = ConvConfig::new(settings.channels, inputs, 3).with_stride(2);
    let stem = conv_norm(&(scope / "stem"), stem)?.with_activation(Activation::Relu);
    let mut stages = vec![Stage::layer("stem", stem)];
    for (group, (width, depth)) in (1..).zip(config.widths.into_iter().zip(config.depths)) {
        for index in 0..depth {
            let name = format!("trunk_output.block{group}.block{group}-{index}");
            let stride = if index == 0 { 2 } else { 1 };
            let block = block(&(scope / &name), inputs, width, stride, config.group_width)?;
            stages.push(Stage::layer(name, block));
            inputs = width;
        }
    }
    let head = LinearConfig::new(inputs, settings.classes)
        .with_init(Init::Normal(0.01))
        .with_bias(Init::Constant(0.0));
    stages.extend([
        Stage::layer("avgpool", GlobalAveragePool),
        Stage::layer("flatten", Flatten),
        Stage::layer(HEAD, Linear::new(&(scope / HEAD), head)?),
    ]);
    Ok(stages)
}
