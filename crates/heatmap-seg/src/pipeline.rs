use ndarray::{Array, ArrayView, Dimension};
use serde::{Deserialize, Serialize};

use crate::{
    CleanUp, DenseCrf, GuidedFilter, Hysteresis, Image, LocalThreshold, RandomWalker, SegError, SuperpixelVoting,
    Threshold, Watershed,
};

/// How a heatmap becomes a mask, for [`Pipeline`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Segmentation {
    /// One threshold.
    Threshold(Threshold),
    /// A threshold of each pixel's own.
    Local(LocalThreshold),
    /// Two thresholds, joined.
    Hysteresis(Hysteresis),
    /// The random walker, which needs the image.
    RandomWalker(RandomWalker),
    /// The watershed, which needs the image.
    Watershed(Watershed),
    /// Superpixel voting, which needs the image.
    SuperpixelVoting(SuperpixelVoting),
    /// The dense conditional random field, which needs the image.
    DenseCrf(DenseCrf),
}

/// From a heatmap to a clean mask, as one value that can be saved.
///
/// The steps apply in this order, whatever the order of the `with_…` calls or of the fields in JSON:
///
/// 1. the guided filter on the heatmap, if there is one (needs the image);
/// 2. the segmentation of what it gives, Otsu's threshold unless another is asked for;
/// 3. the clean-up steps on the mask, in the order in which they were added.
///
/// ```
/// use heatmap_seg::{CleanUp, Connectivity, Pipeline, Segmentation, Threshold};
/// use ndarray::array;
///
/// let pipeline = Pipeline::default()
///     .with_segmentation(Segmentation::Threshold(Threshold::Fixed(0.5)))
///     .with_clean_up(CleanUp::Largest { connectivity: Connectivity::Faces });
/// let heatmap = array![[0.9_f32, 0.1, 0.8], [0.1, 0.1, 0.7]];
/// let mask = pipeline.apply(heatmap.view(), None)?;
/// assert_eq!(mask, array![[false, false, true], [false, false, true]]);
///
/// let json = r#"{"segmentation":{"threshold":{"fixed":0.5}},"clean_up":[{"largest":{}}]}"#;
/// assert_eq!(serde_json::from_str::<Pipeline>(json)?, pipeline);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Pipeline {
    guided_filter: Option<GuidedFilter>,
    segmentation: Segmentation,
    clean_up: Vec<CleanUp>,
}

impl Default for Pipeline {
    /// Otsu's threshold and nothing else.
    fn default() -> Pipeline {
        Pipeline {
            guided_filter: None,
            segmentation: Segmentation::Threshold(Threshold::Otsu),
            clean_up: Vec::new(),
        }
    }
}

impl Pipeline {
    /// A filter that the heatmap goes through first.
    pub fn with_guided_filter(self, filter: GuidedFilter) -> Pipeline {
        Pipeline {
            guided_filter: Some(filter),
            ..self
        }
    }

    /// How the heatmap becomes a mask.
    pub fn with_segmentation(self, segmentation: Segmentation) -> Pipeline {
        Pipeline { segmentation, ..self }
    }

    /// One more step on the mask, after those added before.
    pub fn with_clean_up(mut self, step: CleanUp) -> Pipeline {
        self.clean_up.push(step);
        self
    }

    /// Whether [`Pipeline::apply`] needs an image.
    pub fn needs_image(&self) -> bool {
        let segmentation = match self.segmentation {
            Segmentation::Threshold(_) | Segmentation::Local(_) | Segmentation::Hysteresis(_) => false,
            Segmentation::RandomWalker(_)
            | Segmentation::Watershed(_)
            | Segmentation::SuperpixelVoting(_)
            | Segmentation::DenseCrf(_) => true,
        };
        segmentation || self.guided_filter.is_some()
    }

    /// The mask after all steps.
    ///
    /// # Shapes
    /// Any heatmap, one pixel or more, and, where [`Pipeline::needs_image`], an [`Image`] of its shape; the mask
    /// has it too. An image that is not needed is not looked at.
    ///
    /// # Errors
    /// [`SegError::NoImage`] if an image is needed and none is given; those of the steps.
    ///
    /// # Cost
    /// That of the steps.
    pub fn apply<D: Dimension>(
        &self,
        heatmap: ArrayView<'_, f32, D>,
        image: Option<Image<'_, D>>,
    ) -> Result<Array<bool, D>, SegError> {
        let image = || image.as_ref().map(Image::view).ok_or(SegError::NoImage);
        let filtered = match self.guided_filter {
            Some(filter) => Some(filter.apply(heatmap.view(), image()?)?),
            None => None,
        };
        let heatmap = filtered.as_ref().map_or(heatmap.view(), |filtered| filtered.view());
        let mask = match &self.segmentation {
            Segmentation::Threshold(rule) => rule.apply(heatmap)?,
            Segmentation::Local(rule) => rule.apply(heatmap)?,
            Segmentation::Hysteresis(rule) => rule.apply(heatmap)?,
            Segmentation::RandomWalker(walker) => walker.apply(heatmap, image()?)?,
            Segmentation::Watershed(watershed) => watershed.apply(heatmap, image()?)?,
            Segmentation::SuperpixelVoting(voting) => voting.apply(heatmap, image()?)?,
            Segmentation::DenseCrf(crf) => crf.apply(heatmap, image()?)?,
        };
        self.clean_up
            .iter()
            .try_fold(mask, |mask, step| step.apply(mask.view()))
    }
}
