//! One file a family of networks.

pub(crate) mod alexnet;
pub(crate) mod convnext;
pub(crate) mod densenet;
pub(crate) mod efficientnet;
pub(crate) mod googlenet;
pub(crate) mod mobilenet_v2;
pub(crate) mod mobilenet_v3;
pub(crate) mod regnet;
pub(crate) mod resnet;
pub(crate) mod squeezenet;
pub(crate) mod vgg;
