use std::fmt;
use std::str::FromStr;

use tch::TchError;

use crate::architectures::resnet::{self, ResNetConfig};
use crate::architectures::squeezenet::{self, SqueezeNetConfig};
use crate::error::ModelError;
use crate::input::InputSpec;
use crate::scope::Scope;
use crate::stage::Stage;

/// What every architecture is asked for.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Settings {
    pub(crate) channels: i64,
    pub(crate) classes: i64,
    /// Instead of the published one.
    pub(crate) dropout: Option<f64>,
    /// Instead of the published one.
    #[allow(dead_code)]
    pub(crate) stochastic_depth: Option<f64>,
}

/// What there is to know about an architecture before it is built.
pub(crate) struct Blueprint {
    pub(crate) name: &'static str,
    /// The layer that holds one output per class.
    pub(crate) head: &'static str,
    /// The input of the published weights.
    pub(crate) input: InputSpec,
    /// How many axes of space: 2 for images, 3 for volumes.
    pub(crate) axes: usize,
    /// The smallest extent of any axis.
    pub(crate) least: i64,
    pub(crate) stages: Stages,
}

/// From a scope of variables to the row of stages.
pub(crate) type Stages = fn(&Scope<'_>, &Settings) -> Result<Vec<Stage>, TchError>;

impl Blueprint {
    /// A network of images with ImageNet's statistics at 224×224.
    fn imagenet(name: &'static str, head: &'static str, least: i64, stages: Stages) -> Self {
        Self {
            name,
            head,
            input: InputSpec::imagenet(),
            axes: 2,
            least,
            stages,
        }
    }
}

macro_rules! architectures {
    ($($(#[$doc:meta])* $variant:ident => $blueprint:expr,)*) => {
        /// The architectures this crate knows by name.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        pub enum Architecture {
            $($(#[$doc])* $variant,)*
        }

        impl Architecture {
            /// Every architecture.
            pub const ALL: [Self; [$(Self::$variant),*].len()] = [$(Self::$variant),*];

            pub(crate) fn blueprint(self) -> Blueprint {
                match self {
                    $(Self::$variant => $blueprint,)*
                }
            }
        }
    };
}

architectures! {
    /// `squeezenet1_0`, [arXiv:1602.07360](https://arxiv.org/abs/1602.07360).
    SqueezeNet1_0 => Blueprint::imagenet("squeezenet1_0", squeezenet::HEAD, 21, |scope, settings| {
        squeezenet::stages(scope, settings, &SqueezeNetConfig::squeezenet1_0())
    }),
    /// `squeezenet1_1`, [arXiv:1602.07360](https://arxiv.org/abs/1602.07360).
    SqueezeNet1_1 => Blueprint::imagenet("squeezenet1_1", squeezenet::HEAD, 17, |scope, settings| {
        squeezenet::stages(scope, settings, &SqueezeNetConfig::squeezenet1_1())
    }),
    /// `resnet18`, [arXiv:1512.03385](https://arxiv.org/abs/1512.03385).
    ResNet18 => Blueprint::imagenet("resnet18", resnet::HEAD, 1, |scope, settings| {
        resnet::stages(scope, settings, &ResNetConfig::resnet18())
    }),
    /// `resnet34`, [arXiv:1512.03385](https://arxiv.org/abs/1512.03385).
    ResNet34 => Blueprint::imagenet("resnet34", resnet::HEAD, 1, |scope, settings| {
        resnet::stages(scope, settings, &ResNetConfig::resnet34())
    }),
    /// `resnet50`, [arXiv:1512.03385](https://arxiv.org/abs/1512.03385).
    ResNet50 => Blueprint::imagenet("resnet50", resnet::HEAD, 1, |scope, settings| {
        resnet::stages(scope, settings, &ResNetConfig::resnet50())
    }),
    /// `resnet101`, [arXiv:1512.03385](https://arxiv.org/abs/1512.03385).
    ResNet101 => Blueprint::imagenet("resnet101", resnet::HEAD, 1, |scope, settings| {
        resnet::stages(scope, settings, &ResNetConfig::resnet101())
    }),
    /// `resnet152`, [arXiv:1512.03385](https://arxiv.org/abs/1512.03385).
    ResNet152 => Blueprint::imagenet("resnet152", resnet::HEAD, 1, |scope, settings| {
        resnet::stages(scope, settings, &ResNetConfig::resnet152())
    }),
    /// `resnext50_32x4d`, [arXiv:1611.05431](https://arxiv.org/abs/1611.05431).
    ResNeXt50_32x4d => Blueprint::imagenet("resnext50_32x4d", resnet::HEAD, 1, |scope, settings| {
        resnet::stages(scope, settings, &ResNetConfig::resnext50_32x4d())
    }),
    /// `wide_resnet50_2`, [arXiv:1605.07146](https://arxiv.org/abs/1605.07146).
    WideResNet50_2 => Blueprint::imagenet("wide_resnet50_2", resnet::HEAD, 1, |scope, settings| {
        resnet::stages(scope, settings, &ResNetConfig::wide_resnet50_2())
    }),
}

impl Architecture {
    /// torchvision's name.
    pub fn name(self) -> &'static str {
        self.blueprint().name
    }

    /// The path of the layer that holds one output per class.
    pub fn head(self) -> &'static str {
        self.blueprint().head
    }

    /// The input of the published weights.
    pub fn input(self) -> InputSpec {
        self.blueprint().input
    }

    /// How many axes of space the network looks at: 2 for images `[N, C, H, W]`, 3 for volumes `[N, C, D, H, W]`.
    pub fn axes(self) -> usize {
        self.blueprint().axes
    }

    /// The smallest extent along any axis of space that the network takes, in pixels.
    ///
    /// ```
    /// use models::Architecture;
    ///
    /// assert_eq!(Architecture::SqueezeNet1_1.least_extent(), 17);
    /// ```
    pub fn least_extent(self) -> i64 {
        self.blueprint().least
    }
}

impl fmt::Display for Architecture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Architecture {
    type Err = ModelError;

    fn from_str(name: &str) -> Result<Self, ModelError> {
        Self::ALL
            .into_iter()
            .find(|architecture| architecture.name() == name)
            .ok_or_else(|| ModelError::UnknownArchitecture { name: name.to_owned() })
    }
}
