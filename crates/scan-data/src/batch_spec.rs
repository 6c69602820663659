use crate::DataError;

/// What a network expects of an image batch: its size, channels and normalisation.
///
/// # Units
/// Pixels; means and standard deviations on the scale of the images, 0..=1.
#[derive(Debug, Clone, PartialEq)]
pub struct BatchSpec {
    height: usize,
    width: usize,
    channels: usize,
    mean: Vec<f32>,
    std: Vec<f32>,
}

impl Default for BatchSpec {
    /// 224 × 224, three channels with the ImageNet statistics of torchvision's weights.
    fn default() -> Self {
        Self {
            height: 224,
            width: 224,
            channels: 3,
            mean: vec![0.485, 0.456, 0.406],
            std: vec![0.229, 0.224, 0.225],
        }
    }
}

impl BatchSpec {
    /// A size and 1 or 3 channels, without normalisation (mean 0, standard deviation 1).
    pub fn new(height: usize, width: usize, channels: usize) -> Self {
        // A number of channels that is not allowed is reported by the check; it asks for no memory here.
        let statistics = channels.min(3);
        Self {
            height,
            width,
            channels,
            mean: vec![0.0; statistics],
            std: vec![1.0; statistics],
        }
    }

    /// The size in pixels.
    pub fn with_size(mut self, height: usize, width: usize) -> Self {
        (self.height, self.width) = (height, width);
        self
    }

    /// Values become `(x − mean) / std`, one of each per channel.
    pub fn with_normalisation(mut self, mean: Vec<f32>, std: Vec<f32>) -> Self {
        (self.mean, self.std) = (mean, std);
        self
    }

    /// Rows.
    pub fn height(&self) -> usize {
        self.height
    }

    /// Columns.
    pub fn width(&self) -> usize {
        self.width
    }

    /// 1 or 3.
    pub fn channels(&self) -> usize {
        self.channels
    }

    /// The mean of each channel.
    pub fn mean(&self) -> &[f32] {
        &self.mean
    }

    /// The standard deviation of each channel.
    pub fn std(&self) -> &[f32] {
        &self.std
    }

    pub(crate) fn check(&self) -> Result<(), DataError> {
        let &Self {
            height,
            width,
            channels,
            ..
        } = self;
        if height == 0 || width == 0 {
            return Err(DataError::InputSize { height, width });
        }
        if !matches!(channels, 1 | 3) {
            return Err(DataError::InputChannels { channels });
        }
        let (mean, std) = (self.mean.len(), self.std.len());
        if mean != channels || std != channels {
            return Err(DataError::InputStatistics { channels, mean, std });
        }
        for (channel, (&mean, &std)) in self.mean.iter().zip(&self.std).enumerate() {
            if !mean.is_finite() || !std.is_finite() || std <= 0.0 {
                return Err(DataError::InputNormalisation { channel, mean, std });
            }
        }
        Ok(())
    }
}
