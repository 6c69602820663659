use ndarray::{ArrayView, Dimension};
use serde::{Deserialize, Serialize};

use crate::{SegError, Threshold};

/// Where a heatmap is sure: foreground above one threshold, background up to another, open between them.
///
/// Both are any [`Threshold`]; a lower one that comes out above the upper counts as equal to it, which leaves
/// nothing open. [`RandomWalker`](crate::RandomWalker) and [`Watershed`](crate::Watershed) decide what is open.
///
/// ```
/// use heatmap_seg::{Seeds, Threshold};
///
/// let seeds = Seeds::new(Threshold::Fixed(0.2), Threshold::Percentile(95.0));
/// let json = r#"{"background":{"fixed":0.2},"foreground":{"percentile":95.0}}"#;
/// assert_eq!(serde_json::to_string(&seeds)?, json);
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Seeds {
    background: Threshold,
    foreground: Threshold,
}

impl Default for Seeds {
    /// Background up to 0.2, foreground above 0.7.
    fn default() -> Seeds {
        Seeds::new(Threshold::Fixed(0.2), Threshold::Fixed(0.7))
    }
}

impl Seeds {
    /// Background up to the first threshold, foreground above the second.
    pub fn new(background: Threshold, foreground: Threshold) -> Seeds {
        Seeds { background, foreground }
    }

    /// What each pixel is sure to be, in C order: Some(true) for foreground.
    pub(crate) fn of<D: Dimension>(self, heatmap: ArrayView<'_, f32, D>) -> Result<Vec<Option<bool>>, SegError> {
        let foreground = self.foreground.value(heatmap.view())?;
        let background = self.background.value(heatmap.view())?.min(foreground);
        let seed = |&value: &f32| match value {
            value if value > foreground => Some(true),
            value if value <= background => Some(false),
            _ => None,
        };
        let seeds: Vec<_> = heatmap.iter().map(seed).collect();
        if seeds.iter().all(Option::is_none) {
            return Err(SegError::NoSeeds { background, foreground });
        }
        Ok(seeds)
    }
}
