//! SqueezeNet 1.0 and 1.1.
//!
//! Iandola et al., "SqueezeNet: AlexNet-level accuracy with 50x fewer parameters and <0.5MB model
//! size", 2016, [arXiv:1602.07360](https://arxiv.org/abs/1602.07360). Layout, variable names and
//! initialisation are those of torchvision.

use tch::{TchError, Tensor};

use crate::architecture::Settings;
use crate::layers::{
    Activation, Conv2d, ConvConfig, Dropout, Fan, Flatten, GlobalAveragePool, Init, Layer, MaxPool, Pass,
};
use crate::scope::Scope;
use crate::stage::Stage;

/// The layer that holds one output per class.
pub(crate) const HEAD: &str = "classifier.1";

/// Which of the family.
#[derive(Debug, Clone, Copy)]
pub(crate) struct SqueezeNetConfig {
    /// Outputs and extent of the first convolution.
    stem: (i64, i64),
    /// Which of `features` are pools.
    pools: [usize; 3],
}

impl SqueezeNetConfig {
    pub(crate) fn squeezenet1_0() -> Self {
        Self {
            stem: (96, 7),
            pools: [2, 6, 11],
        }
    }

    /// Smaller at the stem and with pools earlier on: 2.4 times less work.
    pub(crate) fn squeezenet1_1() -> Self {
        Self {
            stem: (64, 3),
            pools: [2, 5, 8],
        }
    }
}

fn conv(scope: &Scope<'_>, config: ConvConfig<2>) -> Result<Conv2d, TchError> {
    let config = config
        .with_init(Init::HeUniform(Fan::In))
        .with_bias(Init::Constant(0.0));
    Conv2d::new(scope, config)
}

/// Squeeze to few channels by 1×1, expand by 1×1 and 3×3 side by side.
#[derive(Debug)]
struct Fire {
    squeeze: Conv2d,
    expand1x1: Conv2d,
    expand3x3: Conv2d,
}

impl Fire {
    fn new(scope: &Scope<'_>, inputs: i64, squeeze: i64, expand: i64) -> Result<Self, TchError> {
        let conv =
            |name, inputs, outputs, kernel| conv(&(scope / name), ConvConfig::new(inputs, outputs, kernel).centred());
        Ok(Self {
            squeeze: conv("squeeze", inputs, squeeze, 1)?,
            expand1x1: conv("expand1x1", squeeze, expand, 1)?,
            expand3x3: conv("expand3x3", squeeze, expand, 3)?,
        })
    }
}

impl Layer for Fire {
    fn forward(&self, x: &Tensor, pass: Pass<'_>) -> Result<Tensor, TchError> {
        let with_relu = |conv: &Conv2d, x: &Tensor| conv.forward_activated(x, Activation::Relu, pass);
        let squeezed = with_relu(&self.squeeze, x)?;
        let narrow = with_relu(&self.expand1x1, &squeezed)?;
        let wide = with_relu(&self.expand3x3, &squeezed)?;
        Tensor::f_cat(&[narrow, wide], 1)
    }
}

/// `features.0` … `features.12`, `classifier.0` … `classifier.3`, `flatten`.
pub(crate) fn stages(
    scope: &Scope<'_>,
    settings: &Settings,
    config: &SqueezeNetConfig,
) -> Result<Vec<Stage>, TchError> {
    const SQUEEZE_AND_EXPAND: [(i64, i64); 8] = [
        (16, 64),
        (16, 64),
        (32, 128),
        (32, 128),
        (48, 192),
        (48, 192),
        (64, 256),
        (64, 256),
    ];
    let name = |index: usize| format!("features.{index}");
    // A last window that hangs over the edge still counts.
    let pool = || MaxPool::<2>::new(3, 2).with_ceil_mode();

    let (outputs, kernel) = config.stem;
    let stem = ConvConfig::new(settings.channels, outputs, kernel).with_stride(2);
    let mut stages = vec![
        Stage::layer(name(0), conv(&(scope / name(0)), stem)?),
        Stage::layer(name(1), Activation::Relu),
    ];
    let mut inputs = outputs;
    for (squeeze, expand) in SQUEEZE_AND_EXPAND {
        if config.pools.contains(&stages.len()) {
            stages.push(Stage::layer(name(stages.len()), pool()));
        }
        let name = name(stages.len());
        let fire = Fire::new(&(scope / &name), inputs, squeeze, expand)?;
        stages.push(Stage::layer(name, fire));
        inputs = 2 * expand;
    }

    let head = ConvConfig::new(inputs, settings.classes, 1)
        .with_init(Init::Normal(0.01))
        .with_bias(Init::Constant(0.0));
    stages.extend([
        Stage::layer("classifier.0", Dropout(settings.dropout.unwrap_or(0.5))),
        Stage::layer(HEAD, Conv2d::new(&(scope / HEAD), head)?),
        Stage::layer("classifier.2", Activation::Relu),
        Stage::layer("classifier.3", GlobalAveragePool),
        Stage::layer("flatten", Flatten),
    ]);
    Ok(stages)
}
