use ndarray::{Array, ArrayView, Dimension};

use crate::{Connectivity, MetricError};

/// The connected components of a mask, numbered from 1 in the order in which their first voxels come.
///
/// Made by [`components`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Components<D: Dimension> {
    labels: Array<u32, D>,
    sizes: Vec<usize>,
}

impl<D: Dimension> Components<D> {
    /// How many components there are.
    pub fn count(&self) -> usize {
        self.sizes.len()
    }

    /// The component of each voxel, 0 outside the mask.
    pub fn labels(&self) -> ArrayView<'_, u32, D> {
        self.labels.view()
    }

    /// The number of voxels of component 1, 2, ….
    pub fn sizes(&self) -> &[usize] {
        &self.sizes
    }
}

/// The connected components of a mask.
///
/// Components and their numbers are those of `scipy.ndimage.label` with
/// `generate_binary_structure(axes, rank)`; see [`Connectivity`].
///
/// # Shapes
/// Any number of axes; the labels have the mask's shape.
///
/// # Errors
/// [`MetricError::Components`] if there are more than `u32` can number.
///
/// # Cost
/// One pass that joins each voxel with its earlier neighbours (union-find), and one that numbers them.
///
/// ```
/// use ndarray::array;
/// use seg_metrics::{Connectivity, components};
///
/// let mask = array![[true, true, false, false], [false, false, false, true]];
/// let found = components(mask.view(), Connectivity::Faces)?;
/// assert_eq!(found.labels(), array![[1, 1, 0, 0], [0, 0, 0, 2]]);
/// assert_eq!(found.sizes(), [2, 1]);
/// # Ok::<(), seg_metrics::MetricError>(())
/// ```
pub fn components<D: Dimension>(
    mask: ArrayView<'_, bool, D>,
    connectivity: Connectivity,
) -> Result<Components<D>, MetricError> {
    let shape = mask.shape().to_vec();
    let neighbours = earlier_neighbours(&shape, connectivity);
    let mut labels = Array::<u32, D>::zeros(mask.raw_dim());
    let Some(flat) = labels.as_slice_mut() else {
        unreachable!("an array of our own is in standard order");
    };
    // The smallest number that a provisional number is joined with; 0 is the background.
    let mut parents: Vec<u32> = vec![0];
    let mut index = vec![0_usize; shape.len()];
    for (position, &inside) in mask.iter().enumerate() {
        if inside {
            let mut own = 0;
            for (steps, back) in &neighbours {
                let there = steps.iter().zip(&index).zip(&shape).all(|((&step, &at), &length)| {
                    let at = at as isize + step;
                    at >= 0 && (at as usize) < length
                });
                if !there || flat[position - back] == 0 {
                    continue;
                }
                let other = root(&mut parents, flat[position - back]);
                if own == 0 {
                    own = other;
                } else if own != other {
                    let (low, high) = (own.min(other), own.max(other));
                    parents[high as usize] = low;
                    own = low;
                }
            }
            if own == 0 {
                own = u32::try_from(parents.len()).map_err(|_| MetricError::Components { most: u32::MAX })?;
                parents.push(own);
            }
            flat[position] = own;
        }
        for (at, &length) in index.iter_mut().zip(&shape).rev() {
            *at += 1;
            if *at < length {
                break;
            }
            *at = 0;
        }
    }
    let mut numbers = vec![0_u32; parents.len()];
    let mut sizes = Vec::new();
    for label in flat.iter_mut().filter(|label| **label > 0) {
        let root = root(&mut parents, *label) as usize;
        if numbers[root] == 0 {
            sizes.push(0);
            numbers[root] = sizes.len() as u32;
        }
        *label = numbers[root];
        sizes[*label as usize - 1] += 1;
    }
    Ok(Components { labels, sizes })
}

/// The neighbours that come before a voxel: their steps along the axes, and how many voxels earlier.
fn earlier_neighbours(shape: &[usize], connectivity: Connectivity) -> Vec<(Vec<isize>, usize)> {
    let mut neighbours = Vec::new();
    for code in 0..3_usize.pow(shape.len() as u32) {
        let mut rest = code;
        let mut steps = vec![0_isize; shape.len()];
        for step in steps.iter_mut().rev() {
            *step = (rest % 3) as isize - 1;
            rest /= 3;
        }
        let differ = steps.iter().filter(|&&step| step != 0).count();
        let before = steps
            .iter()
            .zip(shape)
            .fold(0, |at, (&step, &length)| at * length as isize + step);
        let first = steps.iter().find(|&&step| step != 0);
        if first == Some(&-1) && (differ <= connectivity.rank() || connectivity == Connectivity::Corners) {
            neighbours.push((steps, before.unsigned_abs()));
        }
    }
    neighbours
}

fn root(parents: &mut [u32], mut label: u32) -> u32 {
    while parents[label as usize] != label {
        let above = parents[parents[label as usize] as usize];
        parents[label as usize] = above;
        label = above;
    }
    label
}
