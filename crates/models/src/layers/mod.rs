//! The layers that networks are made of, one a file.

pub(crate) mod activation;
pub(crate) mod batch_norm;
pub(crate) mod conv;
pub(crate) mod conv_norm;
pub(crate) mod dropout;
pub(crate) mod flatten;
pub(crate) mod init;
pub(crate) mod instance_norm;
pub(crate) mod layer;
pub(crate) mod layer_norm;
pub(crate) mod linear;
pub(crate) mod mixed_precision;
pub(crate) mod pool;
pub(crate) mod sequence;
pub(crate) mod squeeze_excitation;
pub(crate) mod stochastic_depth;
pub(crate) mod transposed_conv;

pub(crate) use activation::Activation;
pub(crate) use batch_norm::{BatchNorm, BatchNormConfig, RunningVariance};
pub(crate) use conv::{Conv, Conv2d, ConvConfig, Padding, pad_list};
pub(crate) use conv_norm::ConvNorm;
pub(crate) use dropout::Dropout;
pub(crate) use flatten::Flatten;
pub(crate) use init::{Distribution, Fan, Init};
pub(crate) use instance_norm::InstanceNorm;
pub(crate) use layer::{Layer, Pass};
pub(crate) use layer_norm::{LayerNorm, LayerNorm2d};
pub(crate) use linear::{Linear, LinearConfig};
pub(crate) use mixed_precision::in_kind_of;
pub(crate) use pool::{AdaptiveAveragePool, AveragePool, GlobalAveragePool, MaxPool};
pub(crate) use sequence::Sequence;
pub(crate) use squeeze_excitation::SqueezeExcitation;
pub(crate) use stochastic_depth::StochasticDepth;
pub(crate) use transposed_conv::TransposedConv;
