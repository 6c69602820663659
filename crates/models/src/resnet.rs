//! ResNet-18.
//!
//! He et al., "Deep Residual Learning for Image Recognition", 2016,
//! [arXiv:1512.03385](https://arxiv.org/abs/1512.03385). Layout, variable names and initialisation
//! are those of torchvision's `resnet18`.

use tch::nn::{Init, Path};
use tch::{TchError, Tensor};

use crate::batch_norm2d::BatchNorm2d;
use crate::conv2d::{Conv2d, Conv2dConfig};
use crate::linear::Linear;
use crate::stage::{self, Stage};

/// The layer that holds one output per class.
pub(crate) const HEAD: &str = "fc";

/// A convolution without bias, "same" padding for odd kernels, weights normal with variance
/// 2 / (k² · outputs), torch's `kaiming_normal_` with `fan_out`.
fn conv(path: &Path<'_>, inputs: i64, outputs: i64, kernel: i64, stride: i64) -> Result<Conv2d, TchError> {
    let stdev = (2.0 / (outputs * kernel * kernel) as f64).sqrt();
    let config = Conv2dConfig {
        stride,
        padding: kernel / 2,
        bias: false,
        init: Init::Randn { mean: 0.0, stdev },
    };
    Conv2d::new(path, inputs, outputs, kernel, config)
}

/// Two 3×3 convolutions and a shortcut around them.
#[derive(Debug)]
struct BasicBlock {
    conv1: Conv2d,
    bn1: BatchNorm2d,
    conv2: Conv2d,
    bn2: BatchNorm2d,
    downsample: Option<(Conv2d, BatchNorm2d)>,
}

impl BasicBlock {
    fn new(path: &Path<'_>, inputs: i64, outputs: i64, stride: i64) -> Result<Self, TchError> {
        let downsample = if stride != 1 || inputs != outputs {
            let path = path / "downsample";
            Some((
                conv(&(&path / 0), inputs, outputs, 1, stride)?,
                BatchNorm2d::new(&(&path / 1), outputs)?,
            ))
        } else {
            None
        };
        Ok(Self {
            conv1: conv(&(path / "conv1"), inputs, outputs, 3, stride)?,
            bn1: BatchNorm2d::new(&(path / "bn1"), outputs)?,
            conv2: conv(&(path / "conv2"), outputs, outputs, 3, 1)?,
            bn2: BatchNorm2d::new(&(path / "bn2"), outputs)?,
            downsample,
        })
    }

    fn forward(&self, x: &Tensor, train: bool) -> Result<Tensor, TchError> {
        let y = self.bn1.forward(&self.conv1.forward(x)?, train)?.f_relu()?;
        let y = self.bn2.forward(&self.conv2.forward(&y)?, train)?;
        let sum = match &self.downsample {
            Some((conv, bn)) => y.f_add(&bn.forward(&conv.forward(x)?, train)?)?,
            None => y.f_add(x)?,
        };
        sum.f_relu()
    }
}

/// `conv1`, `bn1`, `relu`, `maxpool`, `layer1.0` … `layer4.1`, `avgpool`, `flatten`, `fc`.
pub(crate) fn resnet18(root: &Path<'_>, channels: i64, classes: i64) -> Result<Vec<Stage>, TchError> {
    let conv1 = conv(&(root / "conv1"), channels, 64, 7, 2)?;
    let bn1 = BatchNorm2d::new(&(root / "bn1"), 64)?;
    let mut stages = vec![
        Stage::new("conv1", move |x, _| conv1.forward(x)),
        Stage::new("bn1", move |x, train| bn1.forward(x, train)),
        stage::relu("relu"),
        Stage::new("maxpool", |x, _| x.f_max_pool2d([3, 3], [2, 2], [1, 1], [1, 1], false)),
    ];
    let mut inputs = 64;
    for (layer, outputs) in [(1, 64), (2, 128), (3, 256), (4, 512)] {
        for index in 0..2 {
            let name = format!("layer{layer}.{index}");
            let path = root / format!("layer{layer}") / index;
            let stride = if layer > 1 && index == 0 { 2 } else { 1 };
            let block = BasicBlock::new(&path, inputs, outputs, stride)?;
            stages.push(Stage::new(name, move |x, train| block.forward(x, train)));
            inputs = outputs;
        }
    }
    let fc = Linear::new(&(root / HEAD), inputs, classes)?;
    stages.extend([
        stage::average_pool("avgpool"),
        stage::flatten("flatten"),
        Stage::new(HEAD, move |x, _| fc.forward(x)),
    ]);
    Ok(stages)
}
