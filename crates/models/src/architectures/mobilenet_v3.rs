//! MobileNetV3, small and large.
//!
//! Howard et al., "Searching for MobileNetV3", 2019, [arXiv:1905.02244](https://arxiv.org/abs/1905.02244). Layout,
//! variable names and initialisation are those of torchvision.

use tch::TchError;

use super::mobilenet_v2::multiple_of_8;
use crate::architecture::Settings;
use crate::layers::{
    Activation, BatchNormConfig, ConvConfig, ConvNorm, Dropout, Fan, Flatten, GlobalAveragePool, Init, Linear,
    LinearConfig, Residual, Sequence, Shortcut, SqueezeExcitation,
};
use crate::scope::Scope;
use crate::stage::Stage;

/// The layer that holds one output per class.
pub(crate) const HEAD: &str = "classifier.3";

/// One block: extent of the depthwise kernel, channels inside and behind, whether channels are squeezed and excited,
/// the activation, the stride.
#[derive(Debug, Clone, Copy)]
struct BlockConfig {
    kernel: i64,
    hidden: i64,
    outputs: i64,
    excitation: bool,
    activation: Activation,
    stride: i64,
}

/// Which of the family.
#[derive(Debug, Clone)]
pub(crate) struct MobileNetV3Config {
    blocks: Vec<BlockConfig>,
    /// Width of the classifier's first layer.
    classifier: i64,
    /// The width multiplier.
    width: f64,
    dropout: f64,
}

impl MobileNetV3Config {
    fn new(blocks: &[(i64, i64, i64, bool, Activation, i64)], classifier: i64) -> Self {
        let block = |&(kernel, hidden, outputs, excitation, activation, stride): &_| BlockConfig {
            kernel,
            hidden,
            outputs,
            excitation,
            activation,
            stride,
        };
        Self {
            blocks: blocks.iter().map(block).collect(),
            classifier,
            width: 1.0,
            dropout: 0.2,
        }
    }

    pub(crate) fn small() -> Self {
        use Activation::{HardSwish, Relu};
        Self::new(
            &[
                (3, 16, 16, true, Relu, 2),
                (3, 72, 24, false, Relu, 2),
                (3, 88, 24, false, Relu, 1),
                (5, 96, 40, true, HardSwish, 2),
                (5, 240, 40, true, HardSwish, 1),
                (5, 240, 40, true, HardSwish, 1),
                (5, 120, 48, true, HardSwish, 1),
                (5, 144, 48, true, HardSwish, 1),
                (5, 288, 96, true, HardSwish, 2),
                (5, 576, 96, true, HardSwish, 1),
                (5, 576, 96, true, HardSwish, 1),
            ],
            1024,
        )
    }

    pub(crate) fn large() -> Self {
        use Activation::{HardSwish, Relu};
        Self::new(
            &[
                (3, 16, 16, false, Relu, 1),
                (3, 64, 24, false, Relu, 2),
                (3, 72, 24, false, Relu, 1),
                (5, 72, 40, true, Relu, 2),
                (5, 120, 40, true, Relu, 1),
                (5, 120, 40, true, Relu, 1),
                (3, 240, 80, false, HardSwish, 2),
                (3, 200, 80, false, HardSwish, 1),
                (3, 184, 80, false, HardSwish, 1),
                (3, 184, 80, false, HardSwish, 1),
                (3, 480, 112, true, HardSwish, 1),
                (3, 672, 112, true, HardSwish, 1),
                (5, 672, 160, true, HardSwish, 2),
                (5, 960, 160, true, HardSwish, 1),
                (5, 960, 160, true, HardSwish, 1),
            ],
            1280,
        )
    }
}

const INIT: Init = Init::HeNormal(Fan::Out);

fn conv_norm(scope: &Scope<'_>, config: ConvConfig<2>) -> Result<ConvNorm<2>, TchError> {
    let norm = BatchNormConfig::default().with_epsilon(1e-3).with_momentum(0.01);
    ConvNorm::numbered(scope, config.centred().with_init(INIT), norm)
}

/// To more channels by 1×1, a depthwise convolution, squeeze and excitation, back to few channels by 1×1, and the
/// input added where it fits.
fn block(scope: &Scope<'_>, inputs: i64, config: BlockConfig) -> Result<Residual<2>, TchError> {
    let BlockConfig {
        kernel,
        hidden,
        outputs,
        excitation,
        activation,
        stride,
    } = config;
    let mut places = (0..).map(|index| scope / "block" / index);
    let mut next = || places.next().unwrap_or_else(|| scope.clone());
    let mut branch = Sequence::default();
    if hidden != inputs {
        let expand = ConvConfig::new(inputs, hidden, 1);
        branch = branch.with(conv_norm(&next(), expand)?.with_activation(activation));
    }
    let depthwise = ConvConfig::new(hidden, hidden, kernel)
        .with_stride(stride)
        .with_groups(hidden);
    branch = branch.with(conv_norm(&next(), depthwise)?.with_activation(activation));
    if excitation {
        branch = branch.with(SqueezeExcitation::new(
            &next(),
            (hidden, multiple_of_8((hidden / 4) as f64)),
            INIT,
            Init::Constant(0.0),
            Activation::Relu,
            Activation::HardSigmoid,
        )?);
    }
    let last = conv_norm(&next(), ConvConfig::new(hidden, outputs, 1))?;
    let shortcut = match stride == 1 && inputs == outputs {
        true => Shortcut::Identity,
        false => Shortcut::None,
    };
    Ok(Residual::new(branch, last, shortcut))
}

/// `features.0` … `features.N`, `avgpool`, `flatten`, `classifier.0` … `classifier.3`.
pub(crate) fn stages(
    scope: &Scope<'_>,
    settings: &Settings,
    config: &MobileNetV3Config,
) -> Result<Vec<Stage>, TchError> {
    let name = |index: usize| format!("features.{index}");
    let with_hard_swish = |name: &str, config| {
        let conv = conv_norm(&(scope / name), config)?.with_activation(Activation::HardSwish);
        Ok::<_, TchError>(Stage::layer(name, conv))
    };
    let width = settings.width.unwrap_or(config.width);
    let scaled = |channels: i64| multiple_of_8(channels as f64 * width);
    let mut inputs = scaled(16);
    let stem = ConvConfig::new(settings.channels, inputs, 3).with_stride(2);
    let mut stages = vec![with_hard_swish(&name(0), stem)?];
    for &shape in &config.blocks {
        let shape = BlockConfig {
            hidden: scaled(shape.hidden),
            outputs: scaled(shape.outputs),
            ..shape
        };
        let name = name(stages.len());
        stages.push(Stage::layer(&name, block(&(scope / &name), inputs, shape)?));
        inputs = shape.outputs;
    }
    let (last, classifier) = (6 * inputs, scaled(config.classifier));
    stages.push(with_hard_swish(&name(stages.len()), ConvConfig::new(inputs, last, 1))?);

    let linear = |name: &str, inputs, outputs| {
        let config = LinearConfig::new(inputs, outputs)
            .with_init(Init::Normal(0.01))
            .with_bias(Init::Constant(0.0));
        Ok::<_, TchError>(Stage::layer(name, Linear::new(&(scope / name), config)?))
    };
    stages.extend([
        Stage::layer("avgpool", GlobalAveragePool),
        Stage::layer("flatten", Flatten),
        linear("classifier.0", last, classifier)?,
        Stage::layer("classifier.1", Activation::HardSwish),
        Stage::layer("classifier.2", Dropout(settings.dropout.unwrap_or(config.dropout))),
        linear(HEAD, classifier, settings.classes)?,
    ]);
    Ok(stages)
}
