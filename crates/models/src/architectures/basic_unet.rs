//! U-Net over images and volumes: a segmentation instead of a class.
//!
//! Ronneberger et al., "U-Net: Convolutional Networks for Biomedical Image Segmentation", 2015,
//! [arXiv:1505.04597](https://arxiv.org/abs/1505.04597), in the form of Falk et al., "U-Net: deep learning for cell
//! counting, detection, and morphometry", 2019,
//! [doi:10.1038/s41592-018-0261-2](https://doi.org/10.1038/s41592-018-0261-2). Layout, variable names and initialisation
//! are those of MONAI's `BasicUNet` with leaky ReLUs, as it has by default, and with instance norms, as it has by default,
//! or batch norms.
//!
//! Every level hands its output across to the way up: the stage below it puts aside what it is given, and the one that
//! merges the level takes it.

use tch::{TchError, Tensor};

use crate::architecture::Settings;
use crate::layers::{
    BatchNormConfig, Conv, ConvConfig, ConvNorm, Dropout, Init, InstanceNorm, Layer, MaxPool, Pass, TransposedConv,
};
use crate::scope::Scope;
use crate::stage::Stage;

/// The layer that holds one output per class.
pub(crate) const HEAD: &str = "final_conv";

/// The smallest extent of the longest axis, so that the lowest level's instance norms have more than one place.
pub(crate) const LEAST_LONGEST: i64 = 32;

/// What a U-Net's convolutions are normalised by: MONAI's `norm`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum UNetNorm {
    /// Each sample's each channel by its own mean and variance over space, in training and evaluation alike;
    /// [arXiv:1607.08022](https://arxiv.org/abs/1607.08022).
    #[default]
    Instance,
    /// Each channel by the batch's in training, by running ones in evaluation, where it can be folded into the
    /// convolution; [arXiv:1502.03167](https://arxiv.org/abs/1502.03167).
    Batch,
}

/// Which of the family.
#[derive(Debug, Clone, Copy)]
pub(crate) struct BasicUNetConfig {
    /// Channels of the levels, from the image's resolution down, and at the end of the way up.
    features: [i64; 6],
    norm: UNetNorm,
    dropout: f64,
}

impl BasicUNetConfig {
    pub(crate) fn basic_unet() -> Self {
        Self {
            features: [32, 32, 64, 128, 256, 32],
            norm: UNetNorm::Instance,
            dropout: 0.0,
        }
    }
}

/// What a leaky ReLU leaves of negative numbers.
const SLOPE: f64 = 0.1;

/// A 3×3 convolution with bias and its norm.
#[derive(Debug)]
enum Normalised<const D: usize> {
    Instance(Conv<D>, InstanceNorm),
    Batch(ConvNorm<D>),
}

impl<const D: usize> Normalised<D> {
    fn new(scope: &Scope<'_>, inputs: i64, outputs: i64, norm: UNetNorm) -> Result<Self, TchError> {
        let config = ConvConfig::new(inputs, outputs, 3)
            .centred()
            .with_bias(Init::TorchDefault);
        let (conv, place) = (scope / "conv", scope / "adn.N");
        Ok(match norm {
            UNetNorm::Instance => Self::Instance(Conv::new(&conv, config)?, InstanceNorm::new(&place, outputs)?),
            UNetNorm::Batch => Self::Batch(ConvNorm::new(&conv, config, &place, BatchNormConfig::default())?),
        })
    }
}

impl<const D: usize> Layer for Normalised<D> {
    fn forward(&self, x: &Tensor, pass: Pass<'_>) -> Result<Tensor, TchError> {
        match self {
            Self::Instance(conv, norm) => norm.forward(&conv.forward(x, pass)?, pass),
            Self::Batch(conv) => conv.forward(x, pass),
        }
    }
}

/// Twice: convolution, norm, dropout, leaky ReLU.
#[derive(Debug)]
struct TwoConv<const D: usize> {
    convs: [Normalised<D>; 2],
    dropout: Dropout,
}

impl<const D: usize> TwoConv<D> {
    fn new(
        scope: &Scope<'_>,
        inputs: i64,
        outputs: i64,
        (norm, dropout): (UNetNorm, Dropout),
    ) -> Result<Self, TchError> {
        let conv = |name: &str, inputs| Normalised::new(&(scope / name), inputs, outputs, norm);
        Ok(Self {
            convs: [conv("conv_0", inputs)?, conv("conv_1", outputs)?],
            dropout,
        })
    }
}

impl<const D: usize> Layer for TwoConv<D> {
    fn forward(&self, x: &Tensor, pass: Pass<'_>) -> Result<Tensor, TchError> {
        self.convs.iter().try_fold(x.shallow_clone(), |x, conv| {
            let y = self.dropout.forward(&conv.forward(&x, pass)?, pass)?;
            // Torch's own leaky ReLU has another slope, which tch does not let one choose.
            y.f_prelu(&Tensor::f_full([1], SLOPE, (y.kind(), y.device()))?)
        })
    }
}

/// Half the resolution; the level above is handed across.
#[derive(Debug)]
struct Down<const D: usize>(TwoConv<D>);

impl<const D: usize> Layer for Down<D> {
    fn forward(&self, x: &Tensor, pass: Pass<'_>) -> Result<Tensor, TchError> {
        pass.carry(x);
        self.0.forward(&MaxPool::<D>::new(2, 2).forward(x, pass)?, pass)
    }
}

/// Twice the resolution, merged with what comes across.
#[derive(Debug)]
struct UpCat<const D: usize> {
    name: String,
    up: TransposedConv<D>,
    merge: TwoConv<D>,
}

impl<const D: usize> Layer for UpCat<D> {
    fn forward(&self, x: &Tensor, pass: Pass<'_>) -> Result<Tensor, TchError> {
        let across = pass.take(&self.name)?;
        let up = like(self.up.forward(x, pass)?, &across.size())?;
        self.merge.forward(&Tensor::f_cat(&[across, up], 1)?, pass)
    }
}

/// One more of the last row where halving an odd extent lost one.
fn like(up: Tensor, size: &[i64]) -> Result<Tensor, TchError> {
    let found = up.size();
    let missing: Vec<i64> = size.iter().zip(&found).skip(2).map(|(to, from)| to - from).collect();
    if missing.iter().all(|&rows| rows == 0) {
        return Ok(up);
    }
    let padding: Vec<i64> = missing.iter().rev().flat_map(|&rows| [0, rows]).collect();
    up.f_pad(padding, "replicate", None)
}

/// `conv_0`, `down_1` … `down_4`, `upcat_4` … `upcat_1`, `final_conv`: logits `[N, classes, …]` of every pixel.
pub(crate) fn stages<const D: usize>(
    scope: &Scope<'_>,
    settings: &Settings,
    config: &BasicUNetConfig,
) -> Result<Vec<Stage>, TchError> {
    let dropout = Dropout(settings.dropout.unwrap_or(config.dropout));
    let each = (settings.norm.unwrap_or(config.norm), dropout);
    let [levels @ .., last] = settings.features.unwrap_or(config.features);
    let first = TwoConv::<D>::new(&(scope / "conv_0"), settings.channels, levels[0], each)?;
    let mut stages = vec![Stage::layer("conv_0", first)];
    for (index, level) in levels.windows(2).enumerate() {
        let name = format!("down_{}", index + 1);
        let convs = TwoConv::new(&(&(scope / name.as_str()) / "convs"), level[0], level[1], each)?;
        stages.push(Stage::layer(name, Down::<D>(convs)));
    }
    for (index, level) in levels.windows(2).enumerate().rev() {
        let (here, below) = (level[0], level[1]);
        let (up, outputs) = match index {
            0 => (below, last),
            _ => (below / 2, here),
        };
        let name = format!("upcat_{}", index + 1);
        let scope = scope / name.as_str();
        let layer = UpCat::<D> {
            name: name.clone(),
            up: TransposedConv::new(&(&scope / "upsample.deconv"), below, up)?,
            merge: TwoConv::new(&(&scope / "convs"), here + up, outputs, each)?,
        };
        stages.push(Stage::layer(name, layer));
    }
    let last = ConvConfig::<D>::new(last, settings.classes, 1).with_bias(Init::TorchDefault);
    stages.push(Stage::layer(HEAD, Conv::new(&(scope / HEAD), last)?));
    Ok(stages)
}
