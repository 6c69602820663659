use std::fmt;
use std::str::FromStr;

use tch::TchError;

use crate::architectures::alexnet::{self, AlexNetConfig};
use crate::architectures::basic_unet::{self, BasicUNetConfig, UNetNorm};
use crate::architectures::convnext::{self, ConvNextConfig};
use crate::architectures::densenet::{self, DenseNetConfig};
use crate::architectures::efficientnet::{self, EfficientNetConfig};
use crate::architectures::googlenet::{self, GoogLeNetConfig};
use crate::architectures::keras_densenet::{self, KerasDenseNetConfig};
use crate::architectures::keras_inception_v3::{self, InceptionV3Config};
use crate::architectures::keras_nasnet::{self, NasNetConfig};
use crate::architectures::keras_resnet_v2::{self, ResNetV2Config};
use crate::architectures::keras_xception::{self, XceptionConfig};
use crate::architectures::mobilenet_v2::{self, MobileNetV2Config};
use crate::architectures::mobilenet_v3::{self, MobileNetV3Config};
use crate::architectures::regnet::{self, RegNetConfig};
use crate::architectures::resnet::{self, ResNetConfig};
use crate::architectures::squeezenet::{self, SqueezeNetConfig};
use crate::architectures::vgg::{self, VggConfig};
use crate::architectures::{keras, keras_mobilenet_v2, resnet_3d};
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
    pub(crate) stochastic_depth: Option<f64>,
    /// Instead of the published one, where it is open ([`Open::Width`]).
    pub(crate) width: Option<f64>,
    /// Instead of the published ones, where they are open ([`Open::Levels`]).
    pub(crate) features: Option<[i64; 6]>,
    /// Instead of the published one, where it is open ([`Open::Levels`]).
    pub(crate) norm: Option<UNetNorm>,
}

/// What an architecture leaves open.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Open {
    Nothing,
    /// A width multiplier.
    Width,
    /// A U-Net's channels and norms at each level.
    Levels,
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
    /// The smallest extent of the longest axis.
    pub(crate) least_longest: i64,
    pub(crate) open: Open,
    pub(crate) stages: Stages,
}

/// What a network's logits are of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Output {
    /// Classes of the whole image, `[N, classes]`.
    Image,
    /// Classes of every pixel or voxel, `[N, classes, …]` with the input's extents.
    Pixels,
}

/// What torchvision's builders make of a tensor in the files that torchvision publishes.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Published {
    AsItIs,
    /// Its module has had this name since the file was written.
    Renamed(String),
    /// Of a module that is not built.
    Unused,
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
            least_longest: least,
            open: Open::Nothing,
            stages,
        }
    }

    fn with_input(mut self, input: InputSpec) -> Self {
        self.input = input;
        self
    }

    fn with_least_longest(mut self, least_longest: i64) -> Self {
        self.least_longest = least_longest;
        self
    }

    fn with_open(mut self, open: Open) -> Self {
        self.open = open;
        self
    }

    /// One of Keras's applications, whose images go from −1 to 1.
    fn keras(name: &'static str, size: i64, least: i64, stages: Stages) -> Self {
        Self {
            name,
            head: keras::HEAD,
            input: InputSpec::symmetric(3).with_size(size),
            axes: 2,
            least,
            least_longest: least,
            open: Open::Nothing,
            stages,
        }
    }

    /// A network of volumes with one channel from 0 to 1.
    fn volumes(name: &'static str, head: &'static str, least: i64, stages: Stages) -> Self {
        Self {
            name,
            head,
            input: InputSpec {
                size: 96,
                mean: vec![0.0],
                std: vec![1.0],
            },
            axes: 3,
            least,
            least_longest: least,
            open: Open::Nothing,
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
    /// `alexnet`, [arXiv:1404.5997](https://arxiv.org/abs/1404.5997).
    AlexNet => Blueprint::imagenet("alexnet", alexnet::HEAD, 63, |scope, settings| {
        alexnet::stages(scope, settings, &AlexNetConfig::alexnet())
    }),
    /// `vgg11`, [arXiv:1409.1556](https://arxiv.org/abs/1409.1556).
    Vgg11 => Blueprint::imagenet("vgg11", vgg::HEAD, 32, |scope, settings| {
        vgg::stages(scope, settings, &VggConfig::vgg11())
    }),
    /// `vgg11_bn`, [arXiv:1409.1556](https://arxiv.org/abs/1409.1556).
    Vgg11Bn => Blueprint::imagenet("vgg11_bn", vgg::HEAD, 32, |scope, settings| {
        vgg::stages(scope, settings, &VggConfig::vgg11().with_batch_norm())
    }),
    /// `vgg13`, [arXiv:1409.1556](https://arxiv.org/abs/1409.1556).
    Vgg13 => Blueprint::imagenet("vgg13", vgg::HEAD, 32, |scope, settings| {
        vgg::stages(scope, settings, &VggConfig::vgg13())
    }),
    /// `vgg13_bn`, [arXiv:1409.1556](https://arxiv.org/abs/1409.1556).
    Vgg13Bn => Blueprint::imagenet("vgg13_bn", vgg::HEAD, 32, |scope, settings| {
        vgg::stages(scope, settings, &VggConfig::vgg13().with_batch_norm())
    }),
    /// `vgg16`, [arXiv:1409.1556](https://arxiv.org/abs/1409.1556).
    Vgg16 => Blueprint::imagenet("vgg16", vgg::HEAD, 32, |scope, settings| {
        vgg::stages(scope, settings, &VggConfig::vgg16())
    }),
    /// `vgg16_bn`, [arXiv:1409.1556](https://arxiv.org/abs/1409.1556).
    Vgg16Bn => Blueprint::imagenet("vgg16_bn", vgg::HEAD, 32, |scope, settings| {
        vgg::stages(scope, settings, &VggConfig::vgg16().with_batch_norm())
    }),
    /// `vgg19`, [arXiv:1409.1556](https://arxiv.org/abs/1409.1556).
    Vgg19 => Blueprint::imagenet("vgg19", vgg::HEAD, 32, |scope, settings| {
        vgg::stages(scope, settings, &VggConfig::vgg19())
    }),
    /// `vgg19_bn`, [arXiv:1409.1556](https://arxiv.org/abs/1409.1556).
    Vgg19Bn => Blueprint::imagenet("vgg19_bn", vgg::HEAD, 32, |scope, settings| {
        vgg::stages(scope, settings, &VggConfig::vgg19().with_batch_norm())
    }),
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
    /// `densenet121`, [arXiv:1608.06993](https://arxiv.org/abs/1608.06993).
    DenseNet121 => Blueprint::imagenet("densenet121", densenet::HEAD, 29, |scope, settings| {
        densenet::stages(scope, settings, &DenseNetConfig::densenet121())
    }),
    /// `densenet161`, [arXiv:1608.06993](https://arxiv.org/abs/1608.06993).
    DenseNet161 => Blueprint::imagenet("densenet161", densenet::HEAD, 29, |scope, settings| {
        densenet::stages(scope, settings, &DenseNetConfig::densenet161())
    }),
    /// `densenet169`, [arXiv:1608.06993](https://arxiv.org/abs/1608.06993).
    DenseNet169 => Blueprint::imagenet("densenet169", densenet::HEAD, 29, |scope, settings| {
        densenet::stages(scope, settings, &DenseNetConfig::densenet169())
    }),
    /// `densenet201`, [arXiv:1608.06993](https://arxiv.org/abs/1608.06993).
    DenseNet201 => Blueprint::imagenet("densenet201", densenet::HEAD, 29, |scope, settings| {
        densenet::stages(scope, settings, &DenseNetConfig::densenet201())
    }),
    /// `googlenet`, [arXiv:1409.4842](https://arxiv.org/abs/1409.4842).
    GoogLeNet => Blueprint::imagenet("googlenet", googlenet::HEAD, 15, |scope, settings| {
        googlenet::stages(scope, settings, &GoogLeNetConfig::googlenet())
    })
    .with_input(InputSpec::symmetric(3)),
    /// `mobilenet_v2`, [arXiv:1801.04381](https://arxiv.org/abs/1801.04381).
    MobileNetV2 => Blueprint::imagenet("mobilenet_v2", mobilenet_v2::HEAD, 1, |scope, settings| {
        mobilenet_v2::stages(scope, settings, &MobileNetV2Config::mobilenet_v2())
    })
    .with_open(Open::Width),
    /// `mobilenet_v3_small`, [arXiv:1905.02244](https://arxiv.org/abs/1905.02244).
    MobileNetV3Small => Blueprint::imagenet("mobilenet_v3_small", mobilenet_v3::HEAD, 1, |scope, settings| {
        mobilenet_v3::stages(scope, settings, &MobileNetV3Config::small())
    })
    .with_open(Open::Width),
    /// `mobilenet_v3_large`, [arXiv:1905.02244](https://arxiv.org/abs/1905.02244).
    MobileNetV3Large => Blueprint::imagenet("mobilenet_v3_large", mobilenet_v3::HEAD, 1, |scope, settings| {
        mobilenet_v3::stages(scope, settings, &MobileNetV3Config::large())
    })
    .with_open(Open::Width),
    /// `efficientnet_b0`, [arXiv:1905.11946](https://arxiv.org/abs/1905.11946).
    EfficientNetB0 => Blueprint::imagenet("efficientnet_b0", efficientnet::HEAD, 1, |scope, settings| {
        efficientnet::stages(scope, settings, &EfficientNetConfig::b0())
    }),
    /// `efficientnet_b1`, [arXiv:1905.11946](https://arxiv.org/abs/1905.11946).
    EfficientNetB1 => Blueprint::imagenet("efficientnet_b1", efficientnet::HEAD, 1, |scope, settings| {
        efficientnet::stages(scope, settings, &EfficientNetConfig::b1())
    })
    .with_input(InputSpec::imagenet().with_size(240)),
    /// `efficientnet_b2`, [arXiv:1905.11946](https://arxiv.org/abs/1905.11946).
    EfficientNetB2 => Blueprint::imagenet("efficientnet_b2", efficientnet::HEAD, 1, |scope, settings| {
        efficientnet::stages(scope, settings, &EfficientNetConfig::b2())
    })
    .with_input(InputSpec::imagenet().with_size(288)),
    /// `efficientnet_b3`, [arXiv:1905.11946](https://arxiv.org/abs/1905.11946).
    EfficientNetB3 => Blueprint::imagenet("efficientnet_b3", efficientnet::HEAD, 1, |scope, settings| {
        efficientnet::stages(scope, settings, &EfficientNetConfig::b3())
    })
    .with_input(InputSpec::imagenet().with_size(300)),
    /// `regnet_y_400mf`, [arXiv:2003.13678](https://arxiv.org/abs/2003.13678).
    RegNetY400Mf => Blueprint::imagenet("regnet_y_400mf", regnet::HEAD, 1, |scope, settings| {
        regnet::stages(scope, settings, &RegNetConfig::y_400mf())
    }),
    /// `convnext_tiny`, [arXiv:2201.03545](https://arxiv.org/abs/2201.03545).
    ConvNextTiny => Blueprint::imagenet("convnext_tiny", convnext::HEAD, 32, |scope, settings| {
        convnext::stages(scope, settings, &ConvNextConfig::tiny())
    }),
    /// `convnext_small`, [arXiv:2201.03545](https://arxiv.org/abs/2201.03545).
    ConvNextSmall => Blueprint::imagenet("convnext_small", convnext::HEAD, 32, |scope, settings| {
        convnext::stages(scope, settings, &ConvNextConfig::small())
    }),
    /// `keras_xception`, [arXiv:1610.02357](https://arxiv.org/abs/1610.02357).
    KerasXception => Blueprint::keras("keras_xception", 299, 71, |scope, settings| {
        keras_xception::stages(scope, settings, &XceptionConfig::xception())
    }),
    /// `keras_inception_v3`, [arXiv:1512.00567](https://arxiv.org/abs/1512.00567).
    KerasInceptionV3 => Blueprint::keras("keras_inception_v3", 299, 75, |scope, settings| {
        keras_inception_v3::stages(scope, settings, &InceptionV3Config::inception_v3())
    }),
    /// `keras_densenet121`, [arXiv:1608.06993](https://arxiv.org/abs/1608.06993).
    KerasDenseNet121 => Blueprint::imagenet("keras_densenet121", keras::HEAD, 32, |scope, settings| {
        keras_densenet::stages(scope, settings, &KerasDenseNetConfig::densenet121())
    }),
    /// `keras_resnet50_v2`, [arXiv:1603.05027](https://arxiv.org/abs/1603.05027).
    KerasResNet50V2 => Blueprint::keras("keras_resnet50_v2", 224, 32, |scope, settings| {
        keras_resnet_v2::stages(scope, settings, &ResNetV2Config::resnet50_v2())
    }),
    /// `keras_nasnet_mobile`, [arXiv:1707.07012](https://arxiv.org/abs/1707.07012).
    KerasNasNetMobile => Blueprint::keras("keras_nasnet_mobile", 224, 32, |scope, settings| {
        keras_nasnet::stages(scope, settings, &NasNetConfig::mobile())
    }),
    /// `keras_mobilenet_v2`, [arXiv:1801.04381](https://arxiv.org/abs/1801.04381).
    KerasMobileNetV2 => Blueprint::keras("keras_mobilenet_v2", 224, 32, |scope, settings| {
        keras_mobilenet_v2::stages(scope, settings, &MobileNetV2Config::mobilenet_v2())
    })
    .with_open(Open::Width),
    /// `resnet10_3d` over volumes, [arXiv:1711.09577](https://arxiv.org/abs/1711.09577).
    ResNet10_3d => Blueprint::volumes("resnet10_3d", resnet_3d::HEAD, 1, |scope, settings| {
        resnet_3d::stages(scope, settings, ResNetConfig::resnet10())
    }),
    /// `resnet18_3d` over volumes, [arXiv:1711.09577](https://arxiv.org/abs/1711.09577).
    ResNet18_3d => Blueprint::volumes("resnet18_3d", resnet_3d::HEAD, 1, |scope, settings| {
        resnet_3d::stages(scope, settings, ResNetConfig::resnet18())
    }),
    /// `resnet34_3d` over volumes, [arXiv:1711.09577](https://arxiv.org/abs/1711.09577).
    ResNet34_3d => Blueprint::volumes("resnet34_3d", resnet_3d::HEAD, 1, |scope, settings| {
        resnet_3d::stages(scope, settings, ResNetConfig::resnet34())
    }),
    /// `resnet50_3d` over volumes, [arXiv:1711.09577](https://arxiv.org/abs/1711.09577).
    ResNet50_3d => Blueprint::volumes("resnet50_3d", resnet_3d::HEAD, 1, |scope, settings| {
        resnet_3d::stages(scope, settings, ResNetConfig::resnet50())
    }),
    /// `basic_unet_2d`, a segmentation instead of a class, [arXiv:1505.04597](https://arxiv.org/abs/1505.04597).
    BasicUNet2d => Blueprint::imagenet("basic_unet_2d", basic_unet::HEAD, 16, |scope, settings| {
        basic_unet::stages::<2>(scope, settings, &BasicUNetConfig::basic_unet())
    })
    .with_least_longest(basic_unet::LEAST_LONGEST)
    .with_open(Open::Levels),
    /// `basic_unet_3d` over volumes, a segmentation instead of a class,
    /// [arXiv:1505.04597](https://arxiv.org/abs/1505.04597).
    BasicUNet3d => Blueprint::volumes("basic_unet_3d", basic_unet::HEAD, 16, |scope, settings| {
        basic_unet::stages::<3>(scope, settings, &BasicUNetConfig::basic_unet())
    })
    .with_least_longest(basic_unet::LEAST_LONGEST)
    .with_open(Open::Levels),
}

impl Architecture {
    /// torchvision's name; Keras's behind `keras_`; MONAI's before the axes.
    pub fn name(self) -> &'static str {
        self.blueprint().name
    }

    /// The path of the layer that holds one output per class.
    pub fn head(self) -> &'static str {
        self.blueprint().head
    }

    /// What torchvision's builder makes of a tensor in the file that it publishes for this network.
    pub(crate) fn published(self, name: &str) -> Published {
        match self {
            Self::DenseNet121 | Self::DenseNet161 | Self::DenseNet169 | Self::DenseNet201 => {
                densenet::renamed(name).map_or(Published::AsItIs, Published::Renamed)
            }
            Self::GoogLeNet if googlenet::is_auxiliary(name) => Published::Unused,
            _ => Published::AsItIs,
        }
    }

    /// The input of the published weights.
    pub fn input(self) -> InputSpec {
        self.blueprint().input
    }

    /// What the logits are of.
    ///
    /// ```
    /// use models::{Architecture, Output};
    ///
    /// assert_eq!(Architecture::KerasXception.output(), Output::Image);
    /// assert_eq!(Architecture::BasicUNet3d.output(), Output::Pixels);
    /// ```
    pub fn output(self) -> Output {
        match self {
            Self::BasicUNet2d | Self::BasicUNet3d => Output::Pixels,
            _ => Output::Image,
        }
    }

    /// How many axes of space the network looks at: 2 for images `[N, C, H, W]`, 3 for volumes `[N, C, D, H, W]`.
    pub fn axes(self) -> usize {
        self.blueprint().axes
    }

    /// The smallest extent along any axis of space that the network takes, in pixels. U-Nets as published need twice that
    /// along one axis: their instance norms, more than one place at the lowest resolution.
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn torchvisions_published_names_are_todays() {
        for architecture in Architecture::ALL {
            let published = |name: &str| architecture.published(name);
            let dense = architecture.name().starts_with("densenet");
            for (then, today) in [
                ("norm.1.running_var", "norm1.running_var"),
                ("conv.2.weight", "conv2.weight"),
            ] {
                let name = |leaf| format!("features.denseblock4.denselayer16.{leaf}");
                let expected = match dense {
                    true => Published::Renamed(name(today)),
                    false => Published::AsItIs,
                };
                assert_eq!(published(&name(then)), expected, "{architecture}");
                assert_eq!(published(&name(today)), Published::AsItIs, "{architecture}");
            }
            for name in [
                "features.transition1.norm.weight",
                "norm.1.weight",
                "layer1.0.conv.1.weight",
            ] {
                assert_eq!(published(name), Published::AsItIs, "{architecture}");
            }
            let auxiliary = published("aux2.fc1.bias");
            let unused = architecture == Architecture::GoogLeNet;
            assert_eq!(auxiliary == Published::Unused, unused, "{architecture}");
        }
    }

    #[test]
    fn every_architecture_is_found_by_its_name() {
        for architecture in Architecture::ALL {
            assert_eq!(architecture.name().parse::<Architecture>().unwrap(), architecture);
        }
        let message = "resnet19".parse::<Architecture>().unwrap_err().to_string();
        assert!(
            message.contains("resnet19") && message.contains("resnet18, resnet34"),
            "{message}"
        );
    }
}
