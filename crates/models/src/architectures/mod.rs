//! One file a family of networks.

pub(crate) mod alexnet;
pub(crate) mod basic_unet;
pub(crate) mod convnext;
pub(crate) mod densenet;
pub(crate) mod efficientnet;
pub(crate) mod googlenet;
pub(crate) mod keras;
pub(crate) mod keras_densenet;
pub(crate) mod keras_inception_v3;
pub(crate) mod keras_mobilenet_v2;
pub(crate) mod keras_nasnet;
pub(crate) mod keras_resnet_v2;
pub(crate) mod keras_xception;
pub(crate) mod mobilenet_v2;
pub(crate) mod mobilenet_v3;
pub(crate) mod regnet;
pub(crate) mod resnet;
pub(crate) mod resnet_3d;
pub(crate) mod squeezenet;
pub(crate) mod vgg;
