use tch::{Kind, TchError, Tensor};

use crate::cuda_library;
use crate::scope::channels_last;
use crate::stage::is_floating;

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

    /// Channels from −1 to 1, mean and standard deviation one half: TensorFlow's way.
    ///
    /// ```
    /// use models::InputSpec;
    ///
    /// let grey = InputSpec::symmetric(1);
    /// assert_eq!((grey.channels(), grey.range()), (1, vec![(-1.0, 1.0)]));
    /// ```
    pub fn symmetric(channels: usize) -> Self {
        Self {
            size: 224,
            mean: vec![0.5; channels],
            std: vec![0.5; channels],
        }
    }

    /// With another side length.
    pub fn with_size(mut self, size: i64) -> Self {
        self.size = size;
        self
    }

    /// The number of channels.
    pub fn channels(&self) -> i64 {
        self.mean.len() as i64
    }

    /// What 0 and 1 become in each channel: (0 − mean) / std and (1 − mean) / std.
    pub fn range(&self) -> Vec<(f32, f32)> {
        let channels = self.mean.iter().zip(&self.std);
        channels.map(|(mean, std)| (-mean / std, (1.0 - mean) / std)).collect()
    }

    /// Images with values in 0..=1, grey `[N, 1, …]` or with all channels, as the network wants
    /// them: grey repeated to every channel, then normalised. Bytes are to be converted and divided by 255 first.
    ///
    /// The result lies channels-last in memory, which convolutions keep and are faster on.
    ///
    /// # Shapes
    /// Images `[N, C, H, W]` or volumes `[N, C, D, H, W]`; the same with all channels comes back.
    ///
    /// # Errors
    /// [`TchError::Kind`] for whole numbers, which are no values in 0..=1; [`TchError::Shape`] for a tensor of less than
    /// four axes, and for channels that are neither 1 nor those of the network; libtorch's own.
    pub fn prepare(&self, images: &Tensor) -> Result<Tensor, TchError> {
        let _ = cuda_library::load();
        let (found, channels, kind) = (images.size(), self.channels(), images.f_kind()?);
        if found.len() < 4 || (found[1] != 1 && found[1] != channels) {
            let expected = match channels {
                1 => "1".to_owned(),
                channels => format!("1 or {channels}"),
            };
            return Err(TchError::Shape(format!(
                "images of [N, {expected}, H, W] or [N, {expected}, D, H, W] are prepared, found {found:?}"
            )));
        }
        if !is_floating(kind) {
            return Err(TchError::Kind(format!(
                "images with values in 0..=1, in Float, BFloat16, Half or Double, are prepared, found {kind:?}"
            )));
        }
        let mut shape = vec![1; found.len()];
        shape[1] = channels;
        let channel = |values: &[f32]| {
            Tensor::f_from_slice(values)?
                .f_to_device(images.device())?
                .f_view(shape.as_slice())
        };
        let normalised = images
            .f_to_kind(Kind::Float)?
            .f_sub(&channel(&self.mean)?)?
            .f_div(&channel(&self.std)?)?;
        channels_last(&normalised)
    }
}
