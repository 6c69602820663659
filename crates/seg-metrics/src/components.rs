use std::ops::Range;

use ndarray::{Array, ArrayView, Dimension};

use crate::{Connectivity, MetricError};

/// The neighbours that share a corner are 3 to the number of axes.
const MOST_AXES: usize = 8;

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
/// Up to eight axes; the labels have the mask's shape.
///
/// # Errors
/// [`MetricError::TooManyAxes`]; [`MetricError::Components`] if the mask has more runs of voxels along its last axis than `u32` can number.
///
/// # Cost
/// One pass that finds the runs of voxels along the last axis and joins each with those it touches in earlier
/// rows (union-find), and one that writes the numbers.
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
    if shape.len() > MOST_AXES {
        return Err(MetricError::TooManyAxes {
            found: shape.len(),
            most: MOST_AXES,
        });
    }
    let mut labels = Array::<u32, D>::zeros(mask.raw_dim());
    let width = shape.last().copied().unwrap_or(1);
    if labels.is_empty() {
        return Ok(Components {
            labels,
            sizes: Vec::new(),
        });
    }
    let standard = mask.as_standard_layout();
    let (Some(mask), Some(flat)) = (standard.as_slice(), labels.as_slice_mut()) else {
        unreachable!("both are in standard order");
    };
    let rows = &shape[..shape.len().saturating_sub(1)];
    let neighbours = earlier_rows(rows, connectivity);
    let mut runs: Vec<Run> = Vec::new();
    // Where the runs of each row start, and those of the last row end.
    let mut starts = vec![0];
    let mut index = vec![0_usize; rows.len()];
    for (row, voxels) in mask.chunks_exact(width).enumerate() {
        find_runs(voxels, &mut runs)?;
        let own = starts[row]..runs.len();
        starts.push(runs.len());
        if !own.is_empty() {
            for (steps, back, reach) in &neighbours {
                let inside = steps
                    .iter()
                    .zip(&index)
                    .zip(rows)
                    .all(|((&step, &at), &length)| at.checked_add_signed(step).is_some_and(|at| at < length));
                if inside {
                    let other = starts[row - back]..starts[row - back + 1];
                    join_rows(&mut runs, own.clone(), other, *reach);
                }
            }
        }
        for (at, &length) in index.iter_mut().zip(rows).rev() {
            *at += 1;
            if *at < length {
                break;
            }
            *at = 0;
        }
    }

    let mut numbers = vec![0_u32; runs.len()];
    let mut sizes = Vec::new();
    for (row, voxels) in flat.chunks_exact_mut(width).enumerate() {
        for run in starts[row]..starts[row + 1] {
            let root = root(&mut runs, run as u32) as usize;
            if numbers[root] == 0 {
                sizes.push(0);
                numbers[root] = sizes.len() as u32;
            }
            let (from, to) = (runs[run].from, runs[run].to);
            voxels[from..to].fill(numbers[root]);
            sizes[numbers[root] as usize - 1] += to - from;
        }
    }
    Ok(Components { labels, sizes })
}

/// Voxels of the mask one after the other along the last axis.
#[derive(Debug, Clone, Copy)]
struct Run {
    from: usize,
    to: usize,
    /// An earlier run that this one hangs together with, or the run itself.
    parent: u32,
}

fn find_runs(voxels: &[bool], runs: &mut Vec<Run>) -> Result<(), MetricError> {
    let mut at = 0;
    while let Some(skip) = voxels[at..].iter().position(|&inside| inside) {
        let from = at + skip;
        let length = voxels[from..].iter().position(|&inside| !inside);
        let to = length.map_or(voxels.len(), |length| from + length);
        let parent = u32::try_from(runs.len()).unwrap_or(u32::MAX);
        if parent == u32::MAX {
            return Err(MetricError::Components {
                runs: runs.len() + 1,
                most: u32::MAX as usize,
            });
        }
        runs.push(Run { from, to, parent });
        at = to;
    }
    Ok(())
}

/// Joins the runs of a row with those of another that they touch, where ends may be `reach` apart.
fn join_rows(runs: &mut [Run], own: Range<usize>, other: Range<usize>, reach: usize) {
    let (mut left, mut right) = (own.start, other.start);
    while left < own.end && right < other.end {
        let (a, b) = (runs[left], runs[right]);
        if a.from < b.to + reach && b.from < a.to + reach {
            let (a, b) = (root(runs, left as u32), root(runs, right as u32));
            runs[a.max(b) as usize].parent = a.min(b);
        }
        // The one that ends first touches nothing further on.
        if a.to < b.to {
            left += 1;
        } else {
            right += 1;
        }
    }
}

/// The rows that come before a row and hold neighbours: their steps along the axes, how many rows earlier
/// they are, and how far neighbours may be apart along the row.
fn earlier_rows(rows: &[usize], connectivity: Connectivity) -> Vec<(Vec<isize>, usize, usize)> {
    let rank = match connectivity {
        Connectivity::Corners => rows.len() + 1,
        Connectivity::Faces | Connectivity::Edges => connectivity.rank(),
    };
    let mut neighbours = Vec::new();
    for code in 0..3_usize.pow(rows.len() as u32) {
        let mut rest = code;
        let mut steps = vec![0_isize; rows.len()];
        for step in steps.iter_mut().rev() {
            *step = (rest % 3) as isize - 1;
            rest /= 3;
        }
        let differ = steps.iter().filter(|&&step| step != 0).count();
        let before = steps
            .iter()
            .zip(rows)
            .fold(0, |at, (&step, &length)| at * length as isize + step);
        if steps.iter().find(|&&step| step != 0) == Some(&-1) && differ <= rank {
            neighbours.push((steps, before.unsigned_abs(), usize::from(differ < rank)));
        }
    }
    neighbours
}

fn root(runs: &mut [Run], mut run: u32) -> u32 {
    while runs[run as usize].parent != run {
        let above = runs[runs[run as usize].parent as usize].parent;
        runs[run as usize].parent = above;
        run = above;
    }
    run
}
