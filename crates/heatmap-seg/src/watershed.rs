use std::cmp::Reverse;
use std::collections::BinaryHeap;

use ndarray::{Array, ArrayView, Dimension};
use serde::{Deserialize, Serialize};

use crate::components::Bordered;
use crate::image::check;
use crate::lanes::{ABREAST, add_weighted, pass_along};
use crate::mirror::mirrored;
use crate::{Connectivity, Image, Seeds, SegError};

/// The watershed: foreground and background grow from their seeds and meet on the edges of the image.
///
/// The edges are the Sobel gradient `√(mean over axes and channels of (S_a I)²)`, `S_a` the difference along an axis
/// smoothed by (1, 2, 1)/4 along the others, as scikit-image 0.26's `sobel`. Pixels are flooded from the
/// [`Seeds`] in the order of their gradient, those of the same gradient in the order in which they were
/// reached, as `watershed(sobel(image), seeds)`.
///
/// With seeds of one kind only, all is flooded by it.
///
/// Beucher and Meyer, "The Morphological Approach to Segmentation: the Watershed Transformation", 1993;
/// Meyer's flooding as in Soille and Ansoult, 1990,
/// [10.1016/0165-1684(90)90020-Y](https://doi.org/10.1016/0165-1684(90)90020-Y).
///
/// ```
/// use heatmap_seg::Watershed;
/// use ndarray::array;
///
/// let heatmap = array![0.1_f32, 0.3, 0.4, 0.5, 0.6, 0.6, 0.9];
/// let image = array![0.0_f32, 0.1, 0.0, 0.1, 1.0, 1.1, 1.0];
/// let mask = Watershed::default().apply(heatmap.view(), image.view())?;
/// assert_eq!(mask, array![false, false, false, false, true, true, true]);
/// # Ok::<(), heatmap_seg::SegError>(())
/// ```
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Watershed {
    seeds: Seeds,
    connectivity: Connectivity,
}

impl Watershed {
    /// Where the heatmap is sure.
    pub fn with_seeds(self, seeds: Seeds) -> Watershed {
        Watershed { seeds, ..self }
    }

    /// Over which neighbours the seeds grow.
    pub fn with_connectivity(self, connectivity: Connectivity) -> Watershed {
        Watershed { connectivity, ..self }
    }

    /// The mask of what the foreground's seeds flood.
    ///
    /// # Shapes
    /// Any heatmap, one pixel or more, and an [`Image`] of its shape; the mask has it too.
    ///
    /// # Errors
    /// [`SegError::Shapes`]; [`SegError::Empty`]; [`SegError::Value`]; [`SegError::Image`]; those of the seeds'
    /// thresholds; [`SegError::NoSeeds`]; [`SegError::Axes`] for more than eight axes.
    ///
    /// # Cost
    /// `2 a²` passes of three steps for the gradient over `a` axes, in parallel, and one visit to each pixel
    /// and its neighbours with a heap of the flooded front.
    pub fn apply<'a, D: Dimension>(
        self,
        heatmap: ArrayView<'_, f32, D>,
        image: impl Into<Image<'a, D>>,
    ) -> Result<Array<bool, D>, SegError> {
        let image = image.into();
        check(&heatmap, &image)?;
        let seeds = self.seeds.of(heatmap.view())?;
        let grid = Bordered::new(heatmap.shape())?;
        let steps = grid.steps(self.connectivity);
        // Gradients are not negative, so their bits are in the order of their values.
        let levels = grid.surround(sobel(&image).into_iter().map(f64::to_bits), 0);
        let mut open = grid.surround(seeds.iter().map(Option::is_none), false);
        let mut flooded = grid.surround(seeds.iter().map(|&seed| seed == Some(true)), false);
        // A key holds the level, how many pixels were reached before, and the place. Seeds within seeds flood nothing.
        let key = |level: u64, reached: u64, place: usize| {
            Reverse((u128::from(level) << 64) | (u128::from(reached) << 32) | place as u128)
        };
        let mut front: BinaryHeap<Reverse<u128>> = (grid.places().zip(&seeds))
            .filter(|(place, seed)| seed.is_some() && steps.iter().any(|&step| open[place.wrapping_add_signed(step)]))
            .map(|(place, _)| key(levels[place], 0, place))
            .collect();
        let mut reached = 0;
        while let Some(Reverse(first)) = front.pop() {
            let place = first as u32 as usize;
            for &step in &steps {
                let other = place.wrapping_add_signed(step);
                if open[other] {
                    open[other] = false;
                    flooded[other] = flooded[place];
                    reached += 1;
                    front.push(key(levels[other], reached, other));
                }
            }
        }
        Ok(grid.inner(&flooded, heatmap.raw_dim()))
    }
}

/// The root mean square over the axes and the channels of the image's smoothed slopes.
fn sobel<D: Dimension>(image: &Image<'_, D>) -> Vec<f64> {
    let shape = image.pixels();
    let planes = image.planes();
    let mut squares = vec![0.0; shape.iter().product()];
    for plane in &planes {
        for along in 0..shape.len() {
            let mut slopes = plane.clone();
            for axis in 0..shape.len() {
                let weights = if axis == along {
                    [-1.0, 0.0, 1.0]
                } else {
                    [0.25, 0.5, 0.25]
                };
                pass_along(&mut slopes, shape, axis, |lanes, smooth| {
                    for (smooth, around) in smooth.iter_mut().zip(mirrored(lanes, 1).windows(3)) {
                        *smooth = [0.0; ABREAST];
                        for (values, weight) in around.iter().zip(weights) {
                            add_weighted(smooth, weight, values);
                        }
                    }
                });
            }
            squares
                .iter_mut()
                .zip(slopes)
                .for_each(|(square, slope)| *square += slope * slope);
        }
    }
    let terms = (shape.len() * planes.len()).max(1) as f64;
    squares.into_iter().map(|square| (square / terms).sqrt()).collect()
}
