//! SqueezeNet 1.0.
//!
//! Iandola et al., "SqueezeNet: AlexNet-level accuracy with 50x fewer parameters and <0.5MB model
//! size", 2016, [arXiv:1602.07360](https://arxiv.org/abs/1602.07360). Layout, variable names and
//! initialisation are those of torchvision's `squeezenet1_0`.

use tch::nn::{Init, Path};
use tch::{TchError, Tensor};

use crate::conv2d::{Conv2d, Conv2dConfig};
use crate::stage::{self, Stage};

/// The layer that holds one output per class.
pub(crate) const HEAD: &str = "classifier.1";

/// He's uniform initialisation over a layer's inputs, torch's `kaiming_uniform_`.
fn he_uniform(inputs: i64, kernel: i64) -> Init {
    let bound = (6.0 / (inputs * kernel * kernel) as f64).sqrt();
    Init::Uniform { lo: -bound, up: bound }
}

/// Squeeze to few channels by 1×1, expand by 1×1 and 3×3 side by side.
#[derive(Debug)]
struct Fire {
    squeeze: Conv2d,
    expand1x1: Conv2d,
    expand3x3: Conv2d,
}

impl Fire {
    fn new(path: &Path<'_>, inputs: i64, squeeze: i64, expand: i64) -> Result<Self, TchError> {
        let conv = |name: &str, inputs, outputs, kernel| {
            let config = Conv2dConfig {
                padding: kernel / 2,
                ..Conv2dConfig::new(he_uniform(inputs, kernel))
            };
            Conv2d::new(&(path / name), inputs, outputs, kernel, config)
        };
        Ok(Self {
            squeeze: conv("squeeze", inputs, squeeze, 1)?,
            expand1x1: conv("expand1x1", squeeze, expand, 1)?,
            expand3x3: conv("expand3x3", squeeze, expand, 3)?,
        })
    }

    fn forward(&self, x: &Tensor) -> Result<Tensor, TchError> {
        let squeezed = self.squeeze.forward(x)?.f_relu()?;
        let narrow = self.expand1x1.forward(&squeezed)?.f_relu()?;
        let wide = self.expand3x3.forward(&squeezed)?.f_relu()?;
        Tensor::f_cat(&[narrow, wide], 1)
    }
}

/// `features.0` … `features.12`, `classifier.0` … `classifier.3`, `flatten`.
pub(crate) fn squeezenet1_0(root: &Path<'_>, channels: i64, classes: i64) -> Result<Vec<Stage>, TchError> {
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
    let features = root / "features";
    let name = |index: usize| format!("features.{index}");

    let stem = Conv2d::new(
        &(&features / 0),
        channels,
        96,
        7,
        Conv2dConfig {
            stride: 2,
            ..Conv2dConfig::new(he_uniform(channels, 7))
        },
    )?;
    let mut stages = vec![
        Stage::new(name(0), move |x, _| stem.forward(x)),
        stage::relu(name(1)),
        max_pool(name(2)),
    ];
    let mut inputs = 96;
    for (squeeze, expand) in SQUEEZE_AND_EXPAND {
        if matches!(stages.len(), 6 | 11) {
            stages.push(max_pool(name(stages.len())));
        }
        let index = stages.len();
        let fire = Fire::new(&(&features / index), inputs, squeeze, expand)?;
        stages.push(Stage::new(name(index), move |x, _| fire.forward(x)));
        inputs = 2 * expand;
    }

    let head = Conv2d::new(
        &(root / "classifier" / 1),
        inputs,
        classes,
        1,
        Conv2dConfig::new(Init::Randn { mean: 0.0, stdev: 0.01 }),
    )?;
    stages.extend([
        Stage::new("classifier.0", |x, train| x.f_dropout(0.5, train)),
        Stage::new(HEAD, move |x, _| head.forward(x)),
        stage::relu("classifier.2"),
        stage::average_pool("classifier.3"),
        stage::flatten("flatten"),
    ]);
    Ok(stages)
}

/// 3×3 maximum at stride 2; a last window that hangs over the edge still counts.
fn max_pool(name: String) -> Stage {
    Stage::new(name, |x, _| x.f_max_pool2d([3, 3], [2, 2], [0, 0], [1, 1], true))
}
