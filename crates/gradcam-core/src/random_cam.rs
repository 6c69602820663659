//! The control every method has to beat: a heatmap that knows nothing.

use std::ops::Range;

use ndarray::{ArrayD, IxDyn};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::error::CamError;
use crate::kernel::{self, Normalised};
use crate::parallelism::Parallelism;

/// Random heatmaps of a layer's smoothness.
///
/// For each sample uniform values in 0..1 on the layer's grid, then upsampled and normalised as any
/// map is, so that only what the map shows differs from a method's heatmap, not how smooth it is.
/// (pytorch-grad-cam's `RandomCAM` is something else: the activations under random weights.)
///
/// A sample's map depends on the seed and the sample's number alone, so a batch gives each sample
/// what it would get by itself.
///
/// # Shapes
/// `grid` `[h, w]` and `size` `[H, W]` give `[samples, H, W]`; volumes alike.
///
/// # Errors
/// [`CamError::Shape`] for no samples or an empty grid, [`CamError::Size`].
///
/// # Cost
/// One random number for each place of the grid, and one upsampling.
///
/// ```
/// use gradcam_core::random_cam;
///
/// let heat = random_cam(7, 0..3, &[7, 7], &[64, 64])?;
/// assert_eq!(heat.maps.shape(), [3, 64, 64]);
/// assert!(heat.maps.iter().all(|value| (0.0..=1.0).contains(value)));
/// assert_eq!(heat, random_cam(7, 0..3, &[7, 7], &[64, 64])?);
/// # Ok::<(), gradcam_core::CamError>(())
/// ```
pub fn random_cam(
    seed: u64,
    samples: Range<u64>,
    grid: &[usize],
    size: &[usize],
) -> Result<Normalised<IxDyn>, CamError> {
    let mut shape = vec![usize::try_from(samples.end.saturating_sub(samples.start)).unwrap_or(usize::MAX)];
    shape.extend(grid);
    if !kernel::addressable(&shape) {
        return Err(CamError::Shape {
            shape,
            expected: "[N, spatial axes] of a size that can be addressed",
        });
    }
    let places = grid.iter().product::<usize>();
    let values = samples.flat_map(|sample| {
        let mut generator = ChaCha8Rng::seed_from_u64(seed);
        generator.set_stream(sample);
        (0..places).map(move |_| generator.random::<f32>())
    });
    let maps = ArrayD::from_shape_vec(IxDyn(&shape), values.collect()).map_err(|_| CamError::Shape {
        shape,
        expected: "[N, spatial axes]",
    })?;
    kernel::heatmaps(maps.view(), size, Parallelism::Rayon)
}
