//! NASNet-A as Keras has it.
//!
//! Zoph et al., "Learning Transferable Architectures for Scalable Image Recognition", 2018,
//! [arXiv:1707.07012](https://arxiv.org/abs/1707.07012). Layers, paddings, names and initialisation are those of
//! `keras.applications.NASNetMobile`.
//!
//! A cell looks at the outputs of the two cells before it. So it puts aside what it is given, for the next cell.

use tch::{TchError, Tensor};

use super::keras::{Layers, Separable, norm};
use crate::architecture::Settings;
use crate::layers::{
    Activation, AveragePool, BatchNorm, Conv, ConvConfig, ConvNorm, Fan, Init, Layer, MaxPool, Padding, Pass, Summand,
    pad_list,
};
use crate::scope::Scope;
use crate::stage::Stage;

/// Which of the family.
#[derive(Debug, Clone, Copy)]
pub(crate) struct NasNetConfig {
    /// Channels of the stem.
    stem: i64,
    /// Channels in the first normal cells; they double at each reduction.
    filters: i64,
    /// Normal cells between reductions.
    repeats: usize,
}

impl NasNetConfig {
    /// NASNet-A (4 @ 1056).
    pub(crate) fn mobile() -> Self {
        Self {
            stem: 32,
            filters: 44,
            repeats: 4,
        }
    }
}

/// Two separable convolutions, the first with a ReLU.
#[derive(Debug)]
struct Twice(Separable, Separable);

impl Twice {
    fn forward_plus(&self, x: &Tensor, summand: Summand<'_>, pass: Pass<'_>) -> Result<Tensor, TchError> {
        self.1.forward_plus(&self.0.forward(x, pass)?, summand, pass)
    }
}

impl Layer for Twice {
    fn forward(&self, x: &Tensor, pass: Pass<'_>) -> Result<Tensor, TchError> {
        self.1.forward(&self.0.forward(x, pass)?, pass)
    }
}

/// An earlier output in the width, and if need be the resolution, of a cell.
#[derive(Debug)]
enum Adjust {
    Project(ConvNorm<2>),
    /// Every second place into half of the channels, the places right below of them into the other half.
    Halve {
        near: Conv<2>,
        far: Conv<2>,
        norm: BatchNorm,
    },
}

impl Layer for Adjust {
    fn forward(&self, x: &Tensor, pass: Pass<'_>) -> Result<Tensor, TchError> {
        let x = x.f_relu()?;
        match self {
            Self::Project(conv) => conv.forward(&x, pass),
            Self::Halve { near, far, norm } => {
                let every_second = |x: &Tensor, first: i64| x.f_slice(2, first, None, 2)?.f_slice(3, first, None, 2);
                let below = x.f_constant_pad_nd([0, 1, 0, 1])?;
                let halves = [
                    near.forward(&every_second(&x, 0)?, pass)?,
                    far.forward(&every_second(&below, 1)?, pass)?,
                ];
                norm.forward(&Tensor::f_cat(&halves, 1)?, pass)
            }
        }
    }
}

/// The mean around each place, over the image only.
fn mean_around(x: &Tensor, pass: Pass<'_>) -> Result<Tensor, TchError> {
    AveragePool::<2>::new(3, 1)
        .with_padding(1)
        .without_counted_padding()
        .forward(x, pass)
}

/// The cell's convolutions; left and right, first to fifth, are the paper's operations.
#[derive(Debug)]
enum Operations {
    Normal {
        left1: Twice,
        right1: Twice,
        left2: Twice,
        right2: Twice,
        left5: Twice,
    },
    Reduction {
        left1: Twice,
        right1: Twice,
        right2: Twice,
        right3: Twice,
        left4: Twice,
    },
}

impl Operations {
    /// What they make of the squeezed input and the adjusted earlier output.
    fn forward(&self, input: Tensor, previous: Tensor, pass: Pass<'_>) -> Result<Vec<Tensor>, TchError> {
        let active = input.f_relu()?;
        let active_previous = previous.f_relu()?;
        match self {
            Self::Normal {
                left1,
                right1,
                left2,
                right2,
                left5,
            } => {
                let of = |operation: &Twice, x: &Tensor| operation.forward(x, pass).map(Summand::Owned);
                let mean = mean_around(&previous, pass)?;
                Ok(vec![
                    left1.forward_plus(&active, of(right1, &active_previous)?, pass)?,
                    left2.forward_plus(&active_previous, of(right2, &active_previous)?, pass)?,
                    mean_around(&input, pass)?.f_add(&previous)?,
                    mean.f_add(&mean)?,
                    left5.forward_plus(&active, Summand::Owned(input), pass)?,
                ])
            }
            Self::Reduction {
                left1,
                right1,
                right2,
                right3,
                left4,
            } => {
                let of = |operation: &Twice, x: &Tensor| operation.forward(x, pass).map(Summand::Owned);
                // Zeros like any number: they may be the largest of a window, and count in its mean.
                let size = input.size();
                let around = Padding::<2>::Same.around(&size[2..], [3; 2], [2; 2], [1; 2]);
                let padded = input.f_constant_pad_nd(pad_list(around))?;
                let largest = MaxPool::<2>::new(3, 2).forward(&padded, pass)?;
                let mean = AveragePool::<2>::new(3, 2).forward(&padded, pass)?;
                let first = left1.forward_plus(&active, of(right1, &active_previous)?, pass)?;
                let second = right2.forward_plus(&active_previous, Summand::Kept(&largest), pass)?;
                let third = right3.forward_plus(&active_previous, Summand::Owned(mean), pass)?;
                let fourth = mean_around(&first, pass)?.f_add(&second)?;
                let fifth = left4.forward_plus(&first.f_relu()?, Summand::Owned(largest), pass)?;
                Ok(vec![second, third, fourth, fifth])
            }
        }
    }
}

/// One cell.
#[derive(Debug)]
struct Cell {
    name: String,
    /// Makes the earlier output fit; none in the first cell, whose earlier output is the input itself.
    adjust: Option<Adjust>,
    squeeze: ConvNorm<2>,
    operations: Operations,
    next: Next,
}

/// Whether the input is of use to the cell behind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Next {
    Cell,
    Head,
}

impl Layer for Cell {
    fn forward(&self, x: &Tensor, pass: Pass<'_>) -> Result<Tensor, TchError> {
        let previous = match &self.adjust {
            None => x.shallow_clone(),
            Some(adjust) => adjust.forward(&pass.take(&self.name)?, pass)?,
        };
        if self.next == Next::Cell {
            pass.carry(x);
        }
        let squeezed = self.squeeze.forward(&x.f_relu()?, pass)?;
        let mut outputs = match self.operations {
            Operations::Normal { .. } => vec![previous.shallow_clone()],
            Operations::Reduction { .. } => Vec::new(),
        };
        outputs.extend(self.operations.forward(squeezed, previous, pass)?);
        Tensor::f_cat(&outputs, 1)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Normal,
    Reduction,
}

/// A cell to be built.
#[derive(Debug, Clone)]
struct Plan {
    kind: Kind,
    id: String,
    filters: i64,
}

impl Plan {
    fn outputs(&self) -> i64 {
        match self.kind {
            Kind::Normal => 6 * self.filters,
            Kind::Reduction => 4 * self.filters,
        }
    }

    /// The layer of Keras's that its output comes from.
    fn stage(&self) -> String {
        match self.kind {
            Kind::Normal => format!("normal_concat_{}", self.id),
            Kind::Reduction => format!("reduction_concat_{}", self.id),
        }
    }
}

fn plans(config: &NasNetConfig) -> Vec<Plan> {
    let NasNetConfig { filters, repeats, .. } = *config;
    let plan = |kind, id: String, filters| Plan { kind, id, filters };
    let mut plans = vec![
        plan(Kind::Reduction, "stem_1".to_owned(), filters / 4),
        plan(Kind::Reduction, "stem_2".to_owned(), filters / 2),
    ];
    for group in 0..3 {
        let filters = filters << group;
        let first = group * repeats;
        if group > 0 {
            plans.push(plan(Kind::Reduction, format!("reduce_{first}"), filters));
        }
        // A reduction takes a number of its own.
        let first = if group > 0 { first + 1 } else { first };
        plans.extend((first..first + repeats).map(|index| plan(Kind::Normal, index.to_string(), filters)));
    }
    plans
}

fn twice(
    layers: &mut Layers<'_>,
    block: &str,
    (inputs, outputs): (i64, i64),
    kernel: i64,
    stride: i64,
) -> Result<Twice, TchError> {
    let mut conv = |index: usize, inputs, stride| {
        let names = [
            format!("separable_conv_{index}_{block}"),
            format!("separable_conv_{index}_bn_{block}"),
        ];
        layers.separable(&names[0], &names[1], (inputs, outputs), kernel, stride)
    };
    let first = conv(1, inputs, stride)?.with_activation(Activation::Relu);
    Ok(Twice(first, conv(2, outputs, 1)?))
}

/// A 1×1 convolution, initialised as by He et al.; Keras also draws again what lies beyond two standard deviations, and
/// widens the rest to the same variance.
fn squeeze(inputs: i64, outputs: i64) -> ConvConfig<2> {
    ConvConfig::new(inputs, outputs, 1).with_init(Init::HeTruncatedNormal(Fan::In))
}

fn operations(layers: &mut Layers<'_>, plan: &Plan, previous: i64) -> Result<Operations, TchError> {
    let Plan { kind, id, filters } = plan;
    let (own, earlier) = ((*filters, *filters), (previous, *filters));
    let mut of = |side: &str, channels, kernel, stride| match kind {
        Kind::Normal => twice(layers, &format!("normal_{side}_{id}"), channels, kernel, stride),
        Kind::Reduction => twice(layers, &format!("reduction_{side}_{id}"), channels, kernel, stride),
    };
    Ok(match kind {
        Kind::Normal => Operations::Normal {
            left1: of("left1", own, 5, 1)?,
            right1: of("right1", earlier, 3, 1)?,
            left2: of("left2", earlier, 5, 1)?,
            right2: of("right2", earlier, 3, 1)?,
            left5: of("left5", own, 3, 1)?,
        },
        Kind::Reduction => Operations::Reduction {
            left1: of("left1", own, 5, 2)?,
            right1: of("right1", earlier, 7, 2)?,
            right2: of("right2", earlier, 7, 2)?,
            right3: of("right3", earlier, 5, 2)?,
            left4: of("left4", own, 3, 1)?,
        },
    })
}

/// What makes an output of `inputs` channels fit for a cell, behind a cell of the kind `between`.
fn adjust(layers: &mut Layers<'_>, inputs: i64, between: Kind, cell: &Plan) -> Result<Adjust, TchError> {
    let Plan { id, filters, .. } = cell;
    let norm = format!("adjust_bn_{id}");
    Ok(match between {
        Kind::Normal => {
            let name = format!("adjust_conv_projection_{id}");
            Adjust::Project(layers.conv_norm(&name, &norm, squeeze(inputs, *filters))?)
        }
        Kind::Reduction => Adjust::Halve {
            near: layers.conv(&format!("adjust_conv_1_{id}"), squeeze(inputs, filters / 2))?,
            far: layers.conv(&format!("adjust_conv_2_{id}"), squeeze(inputs, filters / 2))?,
            norm: layers.norm(&norm, *filters)?,
        },
    })
}

/// `stem_conv1`, `stem_bn1`, `reduction_concat_stem_1`, `reduction_concat_stem_2`, `normal_concat_0` … `normal_concat_3`,
/// `reduction_concat_reduce_4`, `normal_concat_5` … `normal_concat_8`, `reduction_concat_reduce_8`, `normal_concat_9` …
/// `normal_concat_12`, `activation_187`, `global_average_pooling2d`, `predictions`.
pub(crate) fn stages(scope: &Scope<'_>, settings: &Settings, config: &NasNetConfig) -> Result<Vec<Stage>, TchError> {
    let mut layers = Layers::new(scope, norm(0.9997, 1e-3));
    let stem = ConvConfig::new(settings.channels, config.stem, 3)
        .with_stride(2)
        .with_init(Init::HeTruncatedNormal(Fan::In));
    let (conv, stem_norm) = layers.conv_norm("stem_conv1", "stem_bn1", stem)?.into_parts();
    layers.separate("stem_conv1", conv, "stem_bn1", stem_norm);

    let plans = plans(config);
    let mut inputs = config.stem;
    // The kind of the cell before, and the channels that it was given.
    let mut before: Option<(Kind, i64)> = None;
    for (index, plan) in plans.iter().enumerate() {
        let adjust = before
            .map(|(kind, channels)| adjust(&mut layers, channels, kind, plan))
            .transpose()?;
        let (conv, norm) = match plan.kind {
            Kind::Normal => ("normal_conv_1", "normal_bn_1"),
            Kind::Reduction => ("reduction_conv_1", "reduction_bn_1"),
        };
        let (conv, norm) = (format!("{conv}_{}", plan.id), format!("{norm}_{}", plan.id));
        let squeeze = layers.conv_norm(&conv, &norm, squeeze(inputs, plan.filters))?;
        let previous = if adjust.is_some() { plan.filters } else { inputs };
        let cell = Cell {
            name: plan.stage(),
            adjust,
            squeeze,
            operations: operations(&mut layers, plan, previous)?,
            next: if index + 1 < plans.len() {
                Next::Cell
            } else {
                Next::Head
            },
        };
        layers.stage(plan.stage(), cell);
        before = Some((plan.kind, inputs));
        inputs = plan.outputs();
    }
    // Keras's name for it, the 188th activation without a name of its own.
    layers.stage("activation_187", Activation::Relu);
    layers.classified("global_average_pooling2d", inputs, settings.classes)
}
