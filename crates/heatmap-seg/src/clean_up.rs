use ndarray::{Array, ArrayView, Dimension};
use serde::{Deserialize, Serialize};

use crate::components::{keep_large, keep_largest};
use crate::convex_hull::convex_hull;
use crate::fill_holes::fill_holes;
use crate::morphology::{close, open};
use crate::{Connectivity, SegError};

/// A step that tidies a mask by its shape alone.
///
/// As JSON it reads `{"at_least":{"pixels":50}}`, `"convex_hull"` and so on; a connectivity that is left out
/// is [`Connectivity::Faces`].
///
/// ```
/// use heatmap_seg::{CleanUp, Connectivity};
/// use ndarray::array;
///
/// let mask = array![
///     [true, true, true, false, false],
///     [true, false, true, false, true],
///     [true, true, true, false, false],
/// ];
/// let largest = CleanUp::Largest { connectivity: Connectivity::Faces }.apply(mask.view())?;
/// let filled = CleanUp::FillHoles { connectivity: Connectivity::Faces }.apply(largest.view())?;
/// assert_eq!(filled.iter().filter(|&&on| on).count(), 9);
/// assert_eq!(filled, CleanUp::ConvexHull.apply(largest.view())?);
/// # Ok::<(), heatmap_seg::SegError>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum CleanUp {
    /// Keeps the components of at least so many pixels; scikit-image's `remove_small_objects`.
    AtLeast {
        /// The least size that stays.
        pixels: usize,
        /// Which pixels hang together.
        #[serde(default)]
        connectivity: Connectivity,
    },
    /// Keeps the component of the most pixels, the first in C order where several have.
    Largest {
        /// Which pixels hang together.
        #[serde(default)]
        connectivity: Connectivity,
    },
    /// Fills what the border cannot be reached from; SciPy's `binary_fill_holes`.
    FillHoles {
        /// Which pixels of the background hang together.
        #[serde(default)]
        connectivity: Connectivity,
    },
    /// Erosion, then dilation by a ball: `{x : |x − y| ≤ r, B(y, r) ⊆ M}`. What is thinner than the ball goes.
    ///
    /// The ball holds the pixels with `Σ k² ≤ r²` and is cut off at the border, as in scikit-image 0.26's
    /// `opening(mask, disk(r), mode="ignore")`.
    Open {
        /// The ball's radius in pixels.
        radius: usize,
    },
    /// Dilation, then erosion by a ball: the complement of the opening of the complement. Gaps thinner than
    /// the ball close.
    Close {
        /// The ball's radius in pixels.
        radius: usize,
    },
    /// The pixels whose centres lie in the convex hull of the mask's pixels, each taken as the middles of
    /// its sides; scikit-image's `convex_hull_image`, in integers. Up to three axes.
    ///
    /// Andrew, "Another Efficient Algorithm for Convex Hulls in Two Dimensions", 1979,
    /// [10.1016/0020-0190(79)90072-3](https://doi.org/10.1016/0020-0190(79)90072-3); in three point by point, as in
    /// Edelsbrunner, "Algorithms in Combinatorial Geometry", 1987,
    /// [10.1007/978-3-642-61568-9](https://doi.org/10.1007/978-3-642-61568-9).
    ConvexHull,
}

impl CleanUp {
    /// The mask after this step.
    ///
    /// # Shapes
    /// Any mask, an empty one too; the result has its shape. [`CleanUp::ConvexHull`] takes one to three axes.
    ///
    /// # Errors
    /// [`SegError::Axes`] for components and holes of more than eight axes and for
    /// the convex hull of anything but one to three, [`SegError::Extent`] for that of a volume
    /// of more than 2¹⁹ voxels along one.
    ///
    /// # Cost
    /// Components and holes: one visit to each pixel and its neighbours. Opening and closing: `4r + 2` steps a
    /// pixel and axis, in parallel, where trying the ball takes `r` to the number of axes. Hull: one pass, and
    /// the hull's edges or planes times the rows; in 3-D also the corners of each slice's hull times the hull's faces.
    pub fn apply<D: Dimension>(self, mask: ArrayView<'_, bool, D>) -> Result<Array<bool, D>, SegError> {
        Ok(match self {
            CleanUp::AtLeast { pixels, connectivity } => keep_large(mask, pixels, connectivity)?,
            CleanUp::Largest { connectivity } => keep_largest(mask, connectivity)?,
            CleanUp::FillHoles { connectivity } => fill_holes(mask, connectivity)?,
            CleanUp::Open { radius } => open(mask, radius),
            CleanUp::Close { radius } => close(mask, radius),
            CleanUp::ConvexHull => convex_hull(mask)?,
        })
    }
}
