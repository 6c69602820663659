//! What the networks that follow Keras's applications have in common: layers under Keras's names.
//!
//! A variable's name is its layer's name in Keras and torch's name of the variable: `weight` and `bias`, a norm's
//! `running_mean` and `running_var` too; a separable convolution has `depthwise.weight` and `pointwise.weight`. Layers
//! that were given no name have the one that Keras numbers them by in a fresh session. A stage is named after the layer
//! that it ends with. `scripts/keras_to_safetensors.py` converts weights accordingly.

use tch::{TchError, Tensor};

use crate::layers::{
    Activation, BatchNorm, BatchNormConfig, Conv, ConvConfig, ConvNorm, Flatten, GlobalAveragePool, Init, Layer,
    Linear, LinearConfig, Padding, Pass, RunningVariance, Sequence, Summand,
};
use crate::scope::Scope;
use crate::stage::Stage;

/// The layer that holds one output per class.
pub(crate) const HEAD: &str = "predictions";

/// A batch norm as Keras's: `momentum` is what stays of the running statistics, whose variance is the batch's own.
pub(crate) fn norm(momentum: f64, epsilon: f64) -> BatchNormConfig {
    BatchNormConfig::default()
        .with_momentum(1.0 - momentum)
        .with_epsilon(epsilon)
        .with_running_variance(RunningVariance::Biased)
}

/// Keras's name of the layer of this kind that comes after `index` others without a name: `conv2d`, `conv2d_1`, ….
pub(crate) fn numbered(kind: &str, index: usize) -> String {
    match index {
        0 => kind.to_owned(),
        _ => format!("{kind}_{index}"),
    }
}

/// A depthwise convolution, a 1×1 convolution over it, and the norm of that; no biases.
///
/// Chollet, [arXiv:1610.02357](https://arxiv.org/abs/1610.02357).
#[derive(Debug)]
pub(crate) struct Separable {
    depthwise: Conv<2>,
    pointwise: ConvNorm<2>,
}

impl Separable {
    /// With an activation of the norm's output.
    pub(crate) fn with_activation(mut self, activation: Activation) -> Self {
        self.pointwise = self.pointwise.with_activation(activation);
        self
    }

    /// activation(separable(x) + summand).
    pub(crate) fn forward_plus(&self, x: &Tensor, summand: Summand<'_>, pass: Pass<'_>) -> Result<Tensor, TchError> {
        self.pointwise
            .forward_plus(&self.depthwise.forward(x, pass)?, summand, pass)
    }

    /// The convolutions and the norm, as stages of their own.
    pub(crate) fn into_parts(self) -> (Sequence, BatchNorm) {
        let (pointwise, norm) = self.pointwise.into_parts();
        (Sequence::default().with(self.depthwise).with(pointwise), norm)
    }
}

impl Layer for Separable {
    fn forward(&self, x: &Tensor, pass: Pass<'_>) -> Result<Tensor, TchError> {
        self.pointwise.forward(&self.depthwise.forward(x, pass)?, pass)
    }
}

/// Layers by name, and the stages that they become.
#[derive(Debug)]
pub(crate) struct Layers<'a> {
    scope: &'a Scope<'a>,
    norm: BatchNormConfig,
    /// Of the layers made since the last stage.
    names: Vec<String>,
    stages: Vec<Stage>,
}

impl<'a> Layers<'a> {
    /// Norms are all by `norm`.
    pub(crate) fn new(scope: &'a Scope<'a>, norm: BatchNormConfig) -> Self {
        Self {
            scope,
            norm,
            names: Vec::new(),
            stages: Vec::new(),
        }
    }

    fn at(&mut self, name: &str) -> Scope<'a> {
        self.names.push(name.to_owned());
        self.scope / name
    }

    /// Weights by Glorot & Bengio unless they were given another beginning.
    fn glorot(config: ConvConfig<2>) -> ConvConfig<2> {
        match config.init {
            Init::TorchDefault => config.with_init(Init::GlorotUniform),
            _ => config,
        }
    }

    pub(crate) fn conv(&mut self, name: &str, config: ConvConfig<2>) -> Result<Conv<2>, TchError> {
        Conv::new(&self.at(name), Self::glorot(config))
    }

    pub(crate) fn norm(&mut self, name: &str, channels: i64) -> Result<BatchNorm, TchError> {
        BatchNorm::new(&self.at(name), channels, self.norm)
    }

    pub(crate) fn conv_norm(&mut self, conv: &str, norm: &str, config: ConvConfig<2>) -> Result<ConvNorm<2>, TchError> {
        ConvNorm::new(&self.at(conv), Self::glorot(config), &self.at(norm), self.norm)
    }

    /// A separable convolution padded as `same`.
    pub(crate) fn separable(
        &mut self,
        conv: &str,
        norm: &str,
        (inputs, outputs): (i64, i64),
        kernel: i64,
        stride: i64,
    ) -> Result<Separable, TchError> {
        let scope = self.at(conv);
        let depthwise = ConvConfig::new(inputs, inputs, kernel)
            .with_groups(inputs)
            .with_stride(stride)
            .with_padding(Padding::Same);
        let pointwise = Self::glorot(ConvConfig::new(inputs, outputs, 1));
        Ok(Separable {
            depthwise: Conv::new(&(&scope / "depthwise"), Self::glorot(depthwise))?,
            pointwise: ConvNorm::new(&(&scope / "pointwise"), pointwise, &self.at(norm), self.norm)?,
        })
    }

    /// A convolution and its norm, just asked for, as stages of their own.
    pub(crate) fn separate(&mut self, conv: &str, layer: impl Layer + 'static, norm: &str, norm_layer: BatchNorm) {
        self.names.clear();
        self.stages
            .extend([Stage::layer(conv, layer), Stage::layer(norm, norm_layer)]);
    }

    /// A convolution, its norm and its activation as stages of their own.
    pub(crate) fn conv_stages(
        &mut self,
        [conv, norm, activation]: [&str; 3],
        config: ConvConfig<2>,
        function: Activation,
    ) -> Result<(), TchError> {
        let (layer, norm_layer) = self.conv_norm(conv, norm, config)?.into_parts();
        self.separate(conv, layer, norm, norm_layer);
        self.stage(activation, function);
        Ok(())
    }

    /// The stage `name` is `layer`, made of the layers asked for since the stage before.
    pub(crate) fn stage(&mut self, name: impl Into<String>, layer: impl Layer + 'static) {
        let names = std::mem::take(&mut self.names);
        self.stages.push(Stage::layer(name, layer).with_variables(names));
    }

    /// All stages, with the mean over space and the classifier behind them.
    pub(crate) fn classified(mut self, pool: &str, channels: i64, classes: i64) -> Result<Vec<Stage>, TchError> {
        let config = LinearConfig::new(channels, classes)
            .with_init(Init::GlorotUniform)
            .with_bias(Init::Constant(0.0));
        let head = Linear::new(&(self.scope / HEAD), config)?;
        self.stages.extend([
            Stage::layer(pool, Sequence::default().with(GlobalAveragePool).with(Flatten)),
            Stage::layer(HEAD, head),
        ]);
        Ok(self.stages)
    }
}
