//! MobileNetV2 as Keras has it.
//!
//! Sandler et al., "MobileNetV2: Inverted Residuals and Linear Bottlenecks", 2018,
//! [arXiv:1801.04381](https://arxiv.org/abs/1801.04381). Layers, paddings, names and initialisation are those of
//! `keras.applications.MobileNetV2` at width 1: what differs from torchvision's is the padding at stride 2, the norms'
//! epsilon and momentum, and that there is no dropout.

use tch::TchError;

use super::keras::{Layers, norm};
use crate::architecture::Settings;
use crate::layers::{Activation, ConvConfig, Padding, Residual, Sequence, Shortcut};
use crate::scope::Scope;
use crate::stage::Stage;

/// Outputs, stride and number of each group of blocks.
const GROUPS: [(i64, i64, usize); 7] = [
    (16, 1, 1),
    (24, 2, 2),
    (32, 2, 3),
    (64, 2, 4),
    (96, 1, 3),
    (160, 2, 3),
    (320, 1, 1),
];

/// How many times wider a block is inside; the first one is not.
const EXPANSION: i64 = 6;

/// `Conv1`, `bn_Conv1`, `Conv1_relu`; `expanded_conv_project_BN`, `block_1_project_BN`, `block_2_add` … and so on to
/// `block_16_project_BN`; `Conv_1`, `Conv_1_bn`, `out_relu`, `global_average_pooling2d`, `predictions`.
pub(crate) fn stages(scope: &Scope<'_>, settings: &Settings) -> Result<Vec<Stage>, TchError> {
    let mut layers = Layers::new(scope, norm(0.999, 1e-3));
    layers.conv_stages(
        ["Conv1", "bn_Conv1", "Conv1_relu"],
        ConvConfig::new(settings.channels, 32, 3)
            .with_stride(2)
            .with_padding(Padding::Same),
        Activation::Relu6,
    )?;
    let mut inputs = 32;
    let blocks = GROUPS.iter().flat_map(|&(outputs, stride, count)| {
        (0..count).map(move |index| (outputs, if index == 0 { stride } else { 1 }))
    });
    for (index, (outputs, stride)) in blocks.enumerate() {
        let prefix = match index {
            0 => "expanded_conv".to_owned(),
            _ => format!("block_{index}"),
        };
        let mut conv = |layer: &str, config| {
            let conv = format!("{prefix}_{layer}");
            layers.conv_norm(&conv, &format!("{conv}_BN"), config)
        };
        let mut branch = Sequence::default();
        let mut width = inputs;
        if index > 0 {
            width *= EXPANSION;
            branch = branch.with(conv("expand", ConvConfig::new(inputs, width, 1))?.with_activation(Activation::Relu6));
        }
        let depthwise = ConvConfig::new(width, width, 3)
            .with_groups(width)
            .with_stride(stride)
            .with_padding(Padding::Same);
        branch = branch.with(conv("depthwise", depthwise)?.with_activation(Activation::Relu6));
        let last = conv("project", ConvConfig::new(width, outputs, 1))?;
        let (shortcut, end) = match stride == 1 && inputs == outputs {
            true => (Shortcut::Identity, "add"),
            false => (Shortcut::None, "project_BN"),
        };
        // Widen by 1×1, filter each channel, narrow by 1×1 without activation.
        layers.stage(format!("{prefix}_{end}"), Residual::new(branch, last, shortcut));
        inputs = outputs;
    }
    layers.conv_stages(
        ["Conv_1", "Conv_1_bn", "out_relu"],
        ConvConfig::new(inputs, 1280, 1),
        Activation::Relu6,
    )?;
    layers.classified("global_average_pooling2d", 1280, settings.classes)
}
