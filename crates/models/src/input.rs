use tch::{Kind, TchError, Tensor};

/// What a network expects its image batches to be: `[N, channels, height, width]`, f32, each
/// channel normalised as `(x − mean) / std` from values in 0..=1.
#[derive(Debug, Clone, PartialEq)]
pub struct InputSpec {
    /// The side length in pixels that the network was designed for; others work too.
    pub size: i64,
    /// Mean of each channel, on the 0..=1 scale.
    pub mean: Vec<f32>,
    /// Standard deviation of each channel, on the 0..=1 scale.
    pub std: Vec<f32>,
}

impl InputSpec {
    /// Three channels with the ImageNet statistics that torchvision's weights were trained with.
    pub fn imagenet() -> Self {
        Self {
            size: 224,
            mean: vec![0.485, 0.456, 0.406],
            std: vec![0.229, 0.224, 0.225],
        }
    }

    /// The number of channels.
    pub fn channels(&self) -> i64 {
        self.mean.len() as i64
    }

    /// Images with values in 0..=1, grey `[N, 1, H, W]` or with all channels, as the network wants
    /// them: grey repeated to every channel, then normalised.
    ///
    /// The result lies channels-last in memory, which convolutions keep and are faster on.
    ///
    /// # Errors
    /// libtorch's own, when the channels are neither 1 nor those of the network.
    pub fn prepare(&self, images: &Tensor) -> Result<Tensor, TchError> {
        let channel = |values: &[f32]| {
            Tensor::f_from_slice(values)?
                .f_to_device(images.device())?
                .f_view([1, self.channels(), 1, 1])
        };
        images
            .f_to_kind(Kind::Float)?
            .f_sub(&channel(&self.mean)?)?
            .f_div(&channel(&self.std)?)?
            .f_permute([0, 2, 3, 1])?
            .f_contiguous()?
            .f_permute([0, 3, 1, 2])
    }
}
