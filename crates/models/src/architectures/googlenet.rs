//! GoogLeNet, the first Inception network.
//!
//! Szegedy et al., "Going Deeper with Convolutions", 2015, [arXiv:1409.4842](https://arxiv.org/abs/1409.4842). Layout,
//! variable names and initialisation are those of torchvision's `googlenet`, with batch norms and with 3×3 kernels
//! where the paper has 5×5. The two auxiliary heads, which only training uses, are not built: a file's `aux1` and
//! `aux2`, which torchvision's published one has, are passed over.
//!
//! torchvision's weights take channels from −1 to 1 (its `transform_input` makes them so from ImageNet's statistics),
//! which is the input here.

use tch::{TchError, Tensor};

use crate::architecture::Settings;
use crate::layers::{
    Activation, BatchNormConfig, ConvConfig, ConvNorm, Dropout, Flatten, GlobalAveragePool, Init, Layer, Linear,
    LinearConfig, MaxPool, Pass, Sequence,
};
use crate::load_rules::below;
use crate::scope::Scope;
use crate::stage::Stage;

/// The layer that holds one output per class.
pub(crate) const HEAD: &str = "fc";

// torchvision cuts this at ±2, two hundred standard deviations away.
const INIT: Init = Init::Normal(0.01);

/// Whether a tensor is one of the two heads that only training uses.
pub(crate) fn is_auxiliary(name: &str) -> bool {
    ["aux1", "aux2"].iter().any(|module| below(name, module).is_some())
}

/// A convolution with its norm and ReLU.
fn conv(scope: &Scope<'_>, config: ConvConfig<2>) -> Result<ConvNorm<2>, TchError> {
    let norm = BatchNormConfig::default().with_epsilon(1e-3);
    let config = config.centred().with_init(INIT);
    Ok(ConvNorm::new(&(scope / "conv"), config, &(scope / "bn"), norm)?.with_activation(Activation::Relu))
}

/// Channels of an [`Inception`]: of the 1×1; before and behind both 3×3; behind the pool.
#[derive(Debug, Clone, Copy)]
struct Widths(i64, [i64; 2], [i64; 2], i64);

impl Widths {
    fn outputs(self) -> i64 {
        self.0 + self.1[1] + self.2[1] + self.3
    }
}

/// Which of the family, of which there is one: what the paper's Table 1 lists.
#[derive(Debug, Clone, Copy)]
pub(crate) struct GoogLeNetConfig {
    /// The blocks at each resolution.
    inceptions: [&'static [Widths]; 3],
    dropout: f64,
}

impl GoogLeNetConfig {
    pub(crate) fn googlenet() -> Self {
        Self {
            inceptions: [
                &[
                    Widths(64, [96, 128], [16, 32], 32),
                    Widths(128, [128, 192], [32, 96], 64),
                ],
                &[
                    Widths(192, [96, 208], [16, 48], 64),
                    Widths(160, [112, 224], [24, 64], 64),
                    Widths(128, [128, 256], [24, 64], 64),
                    Widths(112, [144, 288], [32, 64], 64),
                    Widths(256, [160, 320], [32, 128], 128),
                ],
                &[
                    Widths(256, [160, 320], [32, 128], 128),
                    Widths(384, [192, 384], [48, 128], 128),
                ],
            ],
            dropout: 0.2,
        }
    }
}

/// A 1×1 convolution, two 3×3 behind 1×1, and a pool before 1×1, side by side.
struct Inception([Sequence; 4]);

impl Inception {
    fn new(scope: &Scope<'_>, inputs: i64, widths: Widths) -> Result<Self, TchError> {
        let Widths(direct, second, third, pooled) = widths;
        let narrow_then_3x3 = |scope: Scope<'_>, [narrow, outputs]: [i64; 2]| {
            Ok::<_, TchError>(
                Sequence::default()
                    .with(conv(&(&scope / 0), ConvConfig::new(inputs, narrow, 1))?)
                    .with(conv(&(&scope / 1), ConvConfig::new(narrow, outputs, 3))?),
            )
        };
        let pool = MaxPool::<2>::new(3, 1).with_padding(1).with_ceil_mode();
        Ok(Self([
            Sequence::default().with(conv(&(scope / "branch1"), ConvConfig::new(inputs, direct, 1))?),
            narrow_then_3x3(scope / "branch2", second)?,
            narrow_then_3x3(scope / "branch3", third)?,
            Sequence::default()
                .with(pool)
                .with(conv(&(scope / "branch4.1"), ConvConfig::new(inputs, pooled, 1))?),
        ]))
    }
}

impl Layer for Inception {
    fn forward(&self, x: &Tensor, pass: Pass<'_>) -> Result<Tensor, TchError> {
        let branches = self.0.iter().map(|branch| branch.forward(x, pass));
        Tensor::f_cat(&branches.collect::<Result<Vec<_>, _>>()?, 1)
    }
}

/// `conv1`, `maxpool1`, `conv2`, `conv3`, `maxpool2`, `inception3a` … `inception5b` with `maxpool3` and `maxpool4`
/// between, `avgpool`, `flatten`, `dropout`, `fc`.
pub(crate) fn stages(scope: &Scope<'_>, settings: &Settings, config: &GoogLeNetConfig) -> Result<Vec<Stage>, TchError> {
    let conv = |name: &str, config| Ok::<_, TchError>(Stage::layer(name, conv(&(scope / name), config)?));
    let pool = |name: &str, kernel| Stage::layer(name, MaxPool::<2>::new(kernel, 2).with_ceil_mode());
    let mut stages = vec![
        conv("conv1", ConvConfig::new(settings.channels, 64, 7).with_stride(2))?,
        pool("maxpool1", 3),
        conv("conv2", ConvConfig::new(64, 64, 1))?,
        conv("conv3", ConvConfig::new(64, 192, 3))?,
        pool("maxpool2", 3),
    ];
    let mut inputs = 192;
    for (group, blocks) in (3..).zip(config.inceptions) {
        match group {
            4 => stages.push(pool("maxpool3", 3)),
            5 => stages.push(pool("maxpool4", 2)),
            _ => {}
        }
        for (block, &widths) in ('a'..).zip(blocks) {
            let name = format!("inception{group}{block}");
            let inception = Inception::new(&(scope / &name), inputs, widths)?;
            stages.push(Stage::layer(name, inception));
            inputs = widths.outputs();
        }
    }
    let head = LinearConfig::new(inputs, settings.classes).with_init(INIT);
    stages.extend([
        Stage::layer("avgpool", GlobalAveragePool),
        Stage::layer("flatten", Flatten),
        Stage::layer("dropout", Dropout(settings.dropout.unwrap_or(config.dropout))),
        Stage::layer(HEAD, Linear::new(&(scope / HEAD), head)?),
    ]);
    Ok(stages)
}
