use ndarray::{Array, Dimension};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use crate::components::Bordered;
use crate::image::shaped;
use crate::{Connectivity, Image, SegError};

/// SLIC superpixels: small connected patches of like grey or colour.
///
/// Centres start on a regular grid of step `S`. A pixel at `p` of grey `g` goes to the centre within two steps along
/// each axis that is nearest by `|p − c|² / S² + (g − m)² / compactness²`; a centre `c` and its grey `m` become the
/// means of their pixels; and so on. With several channels the squares of their differences add up. At last every connected piece smaller than half a superpixel's fair share joins
/// a neighbour, and one larger than three shares is cut. The image is scaled to 0..=1 before.
///
/// The superpixels are those of scikit-image 0.26, `slic(image, n_segments, compactness, max_num_iter,
/// channel_axis=None)`, pixel by pixel, and with several channels those of `channel_axis=-1, convert2lab=False`. As there, and other than in the paper, centres start on the grid, not where
/// the gradient is least near it, and the first round goes by distance alone.
///
/// Achanta, Shaji, Smith, Lucchi, Fua and Süsstrunk, "SLIC Superpixels Compared to State-of-the-Art Superpixel
/// Methods", 2012, [10.1109/TPAMI.2012.120](https://doi.org/10.1109/TPAMI.2012.120).
///
/// ```
/// use heatmap_seg::Slic;
/// use ndarray::array;
///
/// let image = array![[0.0_f32, 0.1, 0.0, 0.0, 1.0, 0.9], [0.0, 0.0, 0.1, 0.0, 1.0, 1.0]];
/// let superpixels = Slic::default().with_segments(2).superpixels(image.view())?;
/// assert_eq!(superpixels, array![[0, 0, 0, 0, 1, 1], [0, 0, 0, 0, 1, 1]]);
/// # Ok::<(), heatmap_seg::SegError>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Slic {
    segments: usize,
    compactness: f64,
    iterations: usize,
}

impl Default for Slic {
    /// About 400 superpixels, a compactness of 0.1 and 10 iterations.
    fn default() -> Slic {
        Slic {
            segments: 400,
            compactness: 0.1,
            iterations: 10,
        }
    }
}

impl Slic {
    /// About how many superpixels, 1 or more.
    pub fn with_segments(self, segments: usize) -> Slic {
        Slic { segments, ..self }
    }

    /// The difference in grey, of an image in 0..=1, that counts as much as one step of the grid: the greater, the
    /// squarer the superpixels.
    pub fn with_compactness(self, compactness: f64) -> Slic {
        Slic { compactness, ..self }
    }

    /// How often pixels are assigned to centres, 1 or more; fewer are made once nothing changes.
    pub fn with_iterations(self, iterations: usize) -> Slic {
        Slic { iterations, ..self }
    }

    /// The number of the superpixel that each pixel is in, from 0 on without a gap.
    ///
    /// # Shapes
    /// An [`Image`] of up to 3 axes, one pixel or more; the result has its shape, without the channels.
    ///
    /// # Errors
    /// [`SegError::Segments`]; [`SegError::Compactness`]; [`SegError::Iterations`]; [`SegError::Axes`];
    /// [`SegError::Empty`]; [`SegError::Image`].
    ///
    /// # Cost
    /// An iteration measures about `4^axes` distances a pixel, in parallel and in f64, and takes the means in one
    /// pass; then one visit to each pixel and its neighbours.
    pub fn superpixels<'a, D: Dimension>(self, image: impl Into<Image<'a, D>>) -> Result<Array<usize, D>, SegError> {
        self.check()?;
        let image = image.into();
        let pixels = image.pixels();
        if pixels.len() > 3 {
            return Err(SegError::Axes {
                found: pixels.len(),
                expected: 3,
            });
        }
        image.check()?;
        let mut shape = [1; 3];
        shape[3 - pixels.len()..].copy_from_slice(pixels);
        let grid = axes_of_grid(shape, self.segments);
        let (labels, centres) = self.assigned(&self.scaled(&image), shape, grid);
        let (joined, bordered) = connected(&labels, pixels, centres)?;
        let places = bordered.places().map(|place| joined[place] - 1);
        Ok(shaped(places, image.dimension(), 0))
    }

    fn check(self) -> Result<(), SegError> {
        if self.segments == 0 {
            return Err(SegError::Segments);
        }
        if !(self.compactness.is_finite() && self.compactness > 0.0) {
            return Err(SegError::Compactness {
                compactness: self.compactness,
            });
        }
        if self.iterations == 0 {
            return Err(SegError::Iterations);
        }
        Ok(())
    }

    /// The image's channels in units of the compactness, in C order.
    fn scaled<D: Dimension>(self, image: &Image<'_, D>) -> Vec<Vec<f64>> {
        let mut planes = image.planes();
        let values = planes.iter().flatten();
        let (least, greatest) = values.fold((f64::MAX, f64::MIN), |(least, greatest), &value| {
            (least.min(value), greatest.max(value))
        });
        let range = if greatest > least { greatest - least } else { 1.0 };
        // scikit-image's order of operations, so that no tie falls otherwise.
        let ratio = 1.0 / self.compactness;
        for value in planes.iter_mut().flatten() {
            *value = (*value - least) / range * ratio;
        }
        planes
    }

    /// The nearest centre of each pixel after all iterations, and how many centres there are.
    fn assigned(self, planes: &[Vec<f64>], shape: [usize; 3], grid: [GridAxis; 3]) -> (Vec<usize>, usize) {
        let [depth, height, width] = shape;
        let mut centres = Vec::new();
        for z in (grid[0].start..depth).step_by(grid[0].step) {
            for y in (grid[1].start..height).step_by(grid[1].step) {
                for x in (grid[2].start..width).step_by(grid[2].step) {
                    centres.push(Centre {
                        at: [z, y, x].map(|at| at as f64),
                        colour: vec![0.0; planes.len()],
                    });
                }
            }
        }
        let step = grid.iter().map(|axis| axis.step).max().unwrap_or(1) as f64;
        let nearness = 1.0 / (step * step);
        // The search goes by the steps of a grid of as many points as there came to be.
        let reach = axes_of_grid(shape, centres.len()).map(|axis| 2.0 * axis.step as f64);
        let window = |centre: &Centre, axis: usize| {
            let from = (centre.at[axis] - reach[axis]).max(0.0) as usize;
            let to = (centre.at[axis] + reach[axis] + 1.0).min(shape[axis] as f64) as usize;
            from..to
        };
        let mut labels = vec![0; shape.iter().product()];
        for _ in 0..self.iterations {
            let before = labels.clone();
            labels.par_chunks_mut(width).enumerate().for_each_init(
                || (vec![0.0; width], vec![0.0; width]),
                |(nearest, distances), (row, labels)| {
                    let (z, y) = (row / height, row % height);
                    nearest.fill(f64::INFINITY);
                    for (label, centre) in centres.iter().enumerate() {
                        if !(window(centre, 0).contains(&z) && window(centre, 1).contains(&y)) {
                            continue;
                        }
                        let across = (centre.at[0] - z as f64).powi(2) + (centre.at[1] - y as f64).powi(2);
                        let range = window(centre, 2);
                        let distances = &mut distances[range.clone()];
                        distances.fill(0.0);
                        for (plane, colour) in planes.iter().zip(&centre.colour) {
                            let values = &plane[row * width..][range.clone()];
                            for (distance, value) in distances.iter_mut().zip(values) {
                                *distance += (value - colour) * (value - colour);
                            }
                        }
                        for (x, distance) in range.clone().zip(&mut *distances) {
                            let along = centre.at[2] - x as f64;
                            *distance += (across + along * along) * nearness;
                        }
                        let pixels = labels[range.clone()].iter_mut().zip(&mut nearest[range]);
                        for ((nearest, least), &distance) in pixels.zip(&*distances) {
                            if distance < *least {
                                (*nearest, *least) = (label, distance);
                            }
                        }
                    }
                },
            );
            if labels == before {
                break;
            }
            move_to_means(&mut centres, &labels, planes, shape);
        }
        (labels, centres.len())
    }
}

#[derive(Debug, Clone)]
struct Centre {
    at: [f64; 3],
    colour: Vec<f64>,
}

/// Puts each centre in the middle of its pixels. One without pixels is nearest to none from then on.
fn move_to_means(centres: &mut [Centre], labels: &[usize], planes: &[Vec<f64>], [_, height, width]: [usize; 3]) {
    let mut counts = vec![0.0; centres.len()];
    for centre in &mut *centres {
        centre.at = [0.0; 3];
        centre.colour.fill(0.0);
    }
    for (pixel, &label) in labels.iter().enumerate() {
        let centre = &mut centres[label];
        let row = pixel / width;
        for (sum, at) in centre.at.iter_mut().zip([row / height, row % height, pixel % width]) {
            *sum += at as f64;
        }
        for (sum, plane) in centre.colour.iter_mut().zip(planes) {
            *sum += plane[pixel];
        }
        counts[label] += 1.0;
    }
    for (centre, count) in centres.iter_mut().zip(counts) {
        // NaN for one without pixels, and so its distances, which are less than no other.
        centre.at = centre.at.map(|sum| sum / count);
        centre.colour.iter_mut().for_each(|sum| *sum /= count);
    }
}

/// One axis of a regular grid.
#[derive(Debug, Clone, Copy)]
struct GridAxis {
    start: usize,
    step: usize,
}

/// The grid of about so many points with equal steps along all axes, but along those too short for one, in which it
/// has one point: scikit-image's `regular_grid`.
fn axes_of_grid(shape: [usize; 3], points: usize) -> [GridAxis; 3] {
    if shape.iter().product::<usize>() <= points {
        return [GridAxis { start: 0, step: 1 }; 3];
    }
    let mut order = [0, 1, 2];
    order.sort_by_key(|&axis| shape[axis]);
    let mut steps = [0.0; 3];
    for (place, &axis) in order.iter().enumerate() {
        let left = order[place..].iter().map(|&axis| shape[axis] as f64).product::<f64>();
        let step = (left / points as f64).powf(1.0 / (3 - place) as f64);
        if shape[axis] as f64 >= step {
            order[place..].iter().for_each(|&axis| steps[axis] = step);
            break;
        }
        steps[axis] = shape[axis] as f64;
    }
    steps.map(|step| GridAxis {
        start: (step / 2.0).floor() as usize,
        step: step.round_ties_even() as usize,
    })
}

/// The labels from 1 on of connected pieces, with the small ones joined to neighbours and the large ones cut, within
/// a border.
fn connected(labels: &[usize], shape: &[usize], centres: usize) -> Result<(Vec<usize>, Bordered), SegError> {
    let grid = Bordered::new(shape)?;
    let share = labels.len() as f64 / centres as f64;
    let (least, most) = ((0.5 * share) as usize, (3.0 * share) as usize);
    // The order in which scikit-image looks around, for the cuts go by it: the last axis first, forwards first.
    let mut steps = grid.steps(Connectivity::Faces);
    steps.sort_by_key(|step| (step.abs(), *step < 0));
    let labels = grid.surround(labels.iter().map(|label| label + 1), 0);
    let mut joined = vec![0; labels.len()];
    let mut next = 1;
    let mut piece = Vec::new();
    for start in grid.places() {
        if joined[start] > 0 {
            continue;
        }
        joined[start] = next;
        piece.clear();
        piece.push(start);
        let mut neighbour = next;
        let mut visited = 0;
        while visited < piece.len() && piece.len() < most {
            for &step in &steps {
                let place = piece[visited].wrapping_add_signed(step);
                if labels[place] == labels[start] && joined[place] == 0 {
                    joined[place] = next;
                    piece.push(place);
                    if piece.len() >= most {
                        break;
                    }
                } else if joined[place] > 0 && joined[place] != next {
                    neighbour = joined[place];
                }
            }
            visited += 1;
        }
        if piece.len() < least {
            // The very first piece has no neighbour yet and shares its number with the next, which touches it.
            piece.iter().for_each(|&place| joined[place] = neighbour);
        } else {
            next += 1;
        }
    }
    Ok((joined, grid))
}
