//! MobileNetV2 as Keras has it.
//!
//! Sandler et al., "MobileNetV2: Inverted Residuals and Linear Bottlenecks", 2018,
//! [arXiv:1801.04381](https://arxiv.org/abs/1801.04381). Layers, paddings, names and initialisation are those of
//! `keras.applications.MobileNetV2`: what differs from torchvision's is the padding at stride 2, the norms' epsilon and
//! momentum, that there is no dropout, and how some widths are rounded.

use tch::TchError;

use super::keras::{Layers, norm};
use super::mobilenet_v2::{MobileNetV2Config, multiple_of_8};
use crate::architecture::Settings;
use crate::layers::{Activation, ConvConfig, Padding, Residual, Sequence, Shortcut};
use crate::scope::Scope;
use crate::stage::Stage;

/// `Conv1`, `bn_Conv1`, `Conv1_relu`; `expanded_conv_project_BN`, `block_1_project_BN`, `block_2_add` … and so on to
/// `block_16_project_BN`; `Conv_1`, `Conv_1_bn`, `out_relu`, `global_average_pooling2d`, `predictions`.
pub(crate) fn stages(
    scope: &Scope<'_>,
    settings: &Settings,
    config: &MobileNetV2Config,
) -> Result<Vec<Stage>, TchError> {
    let width = settings.width.unwrap_or(config.width);
    let mut layers = Layers::new(scope, norm(0.999, 1e-3));
    let mut inputs = multiple_of_8(32.0 * width);
    layers.conv_stages(
        ["Conv1", "bn_Conv1", "Conv1_relu"],
        ConvConfig::new(settings.channels, inputs, 3)
            .with_stride(2)
            .with_padding(Padding::Same),
        Activation::Relu6,
    )?;
    let blocks = config.groups.iter().flat_map(|&(expansion, channels, count, stride)| {
        (0..count).map(move |index| (expansion, channels, if index == 0 { stride } else { 1 }))
    });
    for (index, (expansion, channels, stride)) in blocks.enumerate() {
        // Cut to a whole number before it is rounded, which the stem's width and the last are not.
        let outputs = multiple_of_8((channels as f64 * width).trunc());
        let prefix = match index {
            0 => "expanded_conv".to_owned(),
            _ => format!("block_{index}"),
        };
        let mut conv = |layer: &str, config| {
            let conv = format!("{prefix}_{layer}");
            layers.conv_norm(&conv, &format!("{conv}_BN"), config)
        };
        let mut branch = Sequence::default();
        let hidden = expansion * inputs;
        if index > 0 {
            let expand = ConvConfig::new(inputs, hidden, 1);
            branch = branch.with(conv("expand", expand)?.with_activation(Activation::Relu6));
        }
        let depthwise = ConvConfig::new(hidden, hidden, 3)
            .with_groups(hidden)
            .with_stride(stride)
            .with_padding(Padding::Same);
        branch = branch.with(conv("depthwise", depthwise)?.with_activation(Activation::Relu6));
        let last = conv("project", ConvConfig::new(hidden, outputs, 1))?;
        let (shortcut, end) = match stride == 1 && inputs == outputs {
            true => (Shortcut::Identity, "add"),
            false => (Shortcut::None, "project_BN"),
        };
        // Widen by 1×1, filter each channel, narrow by 1×1 without activation.
        layers.stage(format!("{prefix}_{end}"), Residual::new(branch, last, shortcut));
        inputs = outputs;
    }
    // A narrow network's last layer is as wide as ever.
    let features = multiple_of_8(1280.0 * width.max(1.0));
    layers.conv_stages(
        ["Conv_1", "Conv_1_bn", "out_relu"],
        ConvConfig::new(inputs, features, 1),
        Activation::Relu6,
    )?;
    layers.classified("global_average_pooling2d", features, settings.classes)
}
