use tch::{Device, Kind};

use crate::error::ModelError;
use crate::processor::has_bf16;

/// What becomes of batch norms that stand behind a convolution.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum BatchNorms {
    /// Their scale and shift go into the convolution's weights: w′ = w · γ/√(σ² + ε), b′ = β + (b − μ) · γ/√(σ² + ε).
    #[default]
    Fold,
    /// They stay.
    Keep,
}

/// In which order the numbers of a weight `[out, in, …]` lie in memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum MemoryLayout {
    /// On the processor, convolutions and linear layers have a second copy of their weight beside the one that is channels
    /// last, in the order that oneDNN multiplies in for inputs of the size seen last; with it, the sum with a shortcut and
    /// the activation are computed in the same pass over the output.
    ///
    /// The copy is made by the first pass that has no use for a graph, and made anew when the size of the inputs changes
    /// or the variable was written to. A pass that builds a graph, as a heatmap's does behind its layer, goes by the
    /// weights that are channels last. So do all where [`packs_weights`](crate::packs_weights) says no, and there and on
    /// other devices there is no copy.
    #[default]
    Packed,
    /// Channels innermost, as [`InputSpec::prepare`](crate::InputSpec::prepare) lays out images.
    ChannelsLast,
    /// Width innermost.
    Contiguous,
}

/// How [`Network::optimize_for_inference`](crate::Network::optimize_for_inference) rebuilds a network.
///
/// ```
/// use models::{Architecture, InferenceConfig, NetworkConfig};
/// use tch::{Device, Kind, Tensor};
///
/// let network = NetworkConfig::new(Architecture::ResNet18).with_classes(2).build(Device::Cpu)?;
/// let fast = network.optimize_for_inference(&InferenceConfig::default())?;
/// let image = Tensor::rand([1, 3, 64, 64], (Kind::Float, Device::Cpu));
/// let difference = (network.forward(&image)? - fast.forward(&image)?).abs().max();
/// assert!(difference.double_value(&[]) < 1e-4);
/// assert!(fast.variables().len() < network.variables().len());
/// # Ok::<(), models::ModelError>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct InferenceConfig {
    batch_norms: BatchNorms,
    layout: MemoryLayout,
    kind: Kind,
}

impl Default for InferenceConfig {
    /// Folded, packed, single precision.
    fn default() -> Self {
        Self {
            batch_norms: BatchNorms::default(),
            layout: MemoryLayout::default(),
            kind: Kind::Float,
        }
    }
}

impl InferenceConfig {
    /// The fastest way on a device that keeps the classes: as the default, and in bf16 where the device multiplies it in
    /// hardware ([`has_bf16`]). The logits then differ from those in f32 by about a hundredth of the largest.
    pub fn fastest(device: Device) -> Self {
        Self::default().with_kind(if has_bf16(device) { Kind::BFloat16 } else { Kind::Float })
    }

    /// With batch norms treated this way.
    pub fn with_batch_norms(mut self, batch_norms: BatchNorms) -> Self {
        self.batch_norms = batch_norms;
        self
    }

    /// With weights laid out this way.
    pub fn with_layout(mut self, layout: MemoryLayout) -> Self {
        self.layout = layout;
        self
    }

    /// With weights and everything between the first stage's input and the logits of this kind; input and logits stay
    /// in single precision.
    pub fn with_kind(mut self, kind: Kind) -> Self {
        self.kind = kind;
        self
    }

    /// What becomes of batch norms.
    pub fn batch_norms(&self) -> BatchNorms {
        self.batch_norms
    }

    /// How weights lie in memory.
    pub fn layout(&self) -> MemoryLayout {
        self.layout
    }

    /// The kind of the weights.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    pub(crate) fn check(&self) -> Result<(), ModelError> {
        match self.kind {
            Kind::Float | Kind::BFloat16 | Kind::Half | Kind::Double => Ok(()),
            kind => Err(ModelError::InferenceKind { kind }),
        }
    }
}
