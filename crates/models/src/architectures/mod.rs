//! One file a family of networks.

pub(crate) mod resnet;
pub(crate) mod squeezenet;
