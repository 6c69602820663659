//! ConvNeXt, tiny and small.
//!
//! Liu et al., "A ConvNet for the 2020s", 2022, [arXiv:2201.03545](https://arxiv.org/abs/2201.03545). Layout, variable
//! names and initialisation are those of torchvision.

use tch::{TchError, Tensor};

use crate::architecture::Settings;
use crate::layers::{
    Activation, Conv2d, ConvConfig, Distribution, Flatten, GlobalAveragePool, Init, Layer, LayerNorm, LayerNorm2d,
    Linear, LinearConfig, Pass, Sequence, StochasticDepth, in_kind_of,
};
use crate::scope::Scope;
use crate::stage::Stage;

/// The layer that holds one output per class.
pub(crate) const HEAD: &str = "classifier.2";

const EPSILON: f64 = 1e-6;
/// What a residual branch is multiplied with at the start.
const LAYER_SCALE: f64 = 1e-6;
// torchvision cuts this at ±2, a hundred standard deviations away.
const INIT: Init = Init::Normal(0.02);

/// Which of the family.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ConvNextConfig {
    /// Blocks of each group.
    depths: [usize; 4],
    stochastic_depth: f64,
}

impl ConvNextConfig {
    pub(crate) fn tiny() -> Self {
        Self {
            depths: [3, 3, 9, 3],
            stochastic_depth: 0.1,
        }
    }

    pub(crate) fn small() -> Self {
        Self {
            depths: [3, 3, 27, 3],
            stochastic_depth: 0.4,
        }
    }
}

fn conv(scope: &Scope<'_>, config: ConvConfig<2>) -> Result<Conv2d, TchError> {
    Conv2d::new(scope, config.with_init(INIT).with_bias(Init::Constant(0.0)))
}

fn linear(scope: &Scope<'_>, inputs: i64, outputs: i64) -> Result<Linear, TchError> {
    let config = LinearConfig::new(inputs, outputs)
        .with_init(INIT)
        .with_bias(Init::Constant(0.0));
    Linear::new(scope, config)
}

fn norm(scope: &Scope<'_>, channels: i64) -> Result<LayerNorm2d, TchError> {
    Ok(LayerNorm2d(LayerNorm::new(scope, channels, EPSILON)?))
}

/// The input and, added to it, a depthwise 7×7 convolution, a norm over the channels, two layers from pixel to pixel,
/// and a scale by channel.
struct Block {
    depthwise: Conv2d,
    norm: LayerNorm,
    expand: Linear,
    contract: Linear,
    layer_scale: Tensor,
    skipped: StochasticDepth,
}

impl Block {
    fn new(scope: &Scope<'_>, channels: i64, skipped: StochasticDepth) -> Result<Self, TchError> {
        let block = scope / "block";
        let depthwise = ConvConfig::new(channels, channels, 7).centred().with_groups(channels);
        Ok(Self {
            layer_scale: scope.trainable("layer_scale", &[channels, 1, 1], Distribution::Constant(LAYER_SCALE))?,
            depthwise: conv(&(&block / 0), depthwise)?,
            norm: LayerNorm::new(&(&block / 2), channels, EPSILON)?,
            expand: linear(&(&block / 3), channels, 4 * channels)?,
            contract: linear(&(&block / 5), 4 * channels, channels)?,
            skipped,
        })
    }
}

impl Layer for Block {
    fn forward(&self, x: &Tensor, pass: Pass<'_>) -> Result<Tensor, TchError> {
        let y = self.depthwise.forward(x, pass)?.f_permute([0, 2, 3, 1])?;
        let y = self
            .expand
            .forward_activated(&self.norm.forward(&y, pass)?, Activation::Gelu, pass)?;
        let y = self.contract.forward(&y, pass)?;
        let y = y.f_permute([0, 3, 1, 2])?.f_mul(&in_kind_of(x, &self.layer_scale)?)?;
        self.skipped.forward(&y, pass)?.f_add_(x)
    }
}

/// `features.0`, `features.1.0` … `features.7.N` with `features.2`, `.4` and `.6` between, `avgpool`, `classifier.0` …
/// `classifier.2`.
pub(crate) fn stages(scope: &Scope<'_>, settings: &Settings, config: &ConvNextConfig) -> Result<Vec<Stage>, TchError> {
    const CHANNELS: [i64; 4] = [96, 192, 384, 768];
    let mut stages = Vec::new();
    let last = config.depths.iter().sum::<usize>() - 1;
    let deepest = settings.stochastic_depth.unwrap_or(config.stochastic_depth);
    let mut blocks = 0;
    let mut inputs = settings.channels;
    for (group, (channels, depth)) in CHANNELS.into_iter().zip(config.depths).enumerate() {
        let name = format!("features.{}", 2 * group);
        let place = scope / &name;
        let smaller = if group == 0 {
            let patches = ConvConfig::new(inputs, channels, 4).with_stride(4);
            Sequence::default()
                .with(conv(&(&place / 0), patches)?)
                .with(norm(&(&place / 1), channels)?)
        } else {
            let patches = ConvConfig::new(inputs, channels, 2).with_stride(2);
            Sequence::default()
                .with(norm(&(&place / 0), inputs)?)
                .with(conv(&(&place / 1), patches)?)
        };
        stages.push(Stage::layer(name, smaller));
        for index in 0..depth {
            let name = format!("features.{}.{index}", 2 * group + 1);
            let skipped = StochasticDepth::growing(deepest, blocks, last);
            stages.push(Stage::layer(&name, Block::new(&(scope / &name), channels, skipped)?));
            blocks += 1;
        }
        inputs = channels;
    }
    stages.extend([
        Stage::layer("avgpool", GlobalAveragePool),
        Stage::layer("classifier.0", norm(&(scope / "classifier.0"), inputs)?),
        Stage::layer("classifier.1", Flatten),
        Stage::layer(HEAD, linear(&(scope / HEAD), inputs, settings.classes)?),
    ]);
    Ok(stages)
}
