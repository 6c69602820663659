//! Which pixels of a mask hang together.

use ndarray::{Array, ArrayView, Dimension};

use crate::{Connectivity, SegError};

/// Neighbours that share a corner, and the border too, are 3 to the number of axes.
const MOST_AXES: usize = 8;

/// A grid with a border of one pixel, in which a step to a neighbour is one number and none leaves it.
#[derive(Debug)]
pub(crate) struct Bordered {
    shape: Vec<usize>,
    strides: Vec<usize>,
    len: usize,
}

impl Bordered {
    /// An error for more than eight axes.
    pub(crate) fn new(shape: &[usize]) -> Result<Bordered, SegError> {
        if shape.len() > MOST_AXES {
            return Err(SegError::Axes {
                found: shape.len(),
                expected: MOST_AXES,
            });
        }
        let mut strides = vec![1; shape.len()];
        let mut len = 1;
        for axis in (0..shape.len()).rev() {
            strides[axis] = len;
            len *= shape[axis] + 2;
        }
        Ok(Bordered {
            shape: shape.to_vec(),
            strides,
            len,
        })
    }

    /// The places of the grid's pixels, in C order.
    pub(crate) fn places(&self) -> impl Iterator<Item = usize> + '_ {
        let pixels: usize = self.shape.iter().product();
        let mut index = vec![0; self.shape.len()];
        let mut place = self.strides.iter().sum::<usize>();
        (0..pixels).map(move |_| {
            let current = place;
            for axis in (0..self.shape.len()).rev() {
                index[axis] += 1;
                place += self.strides[axis];
                if index[axis] < self.shape[axis] {
                    break;
                }
                place -= self.shape[axis] * self.strides[axis];
                index[axis] = 0;
            }
            current
        })
    }

    /// The values with a border around them.
    pub(crate) fn surround<T: Copy>(&self, values: impl Iterator<Item = T>, border: T) -> Vec<T> {
        let mut wide = vec![border; self.len];
        for (place, value) in self.places().zip(values) {
            wide[place] = value;
        }
        wide
    }

    /// What lies within the border of values made by [`Bordered::surround`].
    pub(crate) fn inner<T: Copy + Default, D: Dimension>(&self, wide: &[T], shape: D) -> Array<T, D> {
        let mut inner = Array::from_elem(shape, T::default());
        for (value, place) in inner.iter_mut().zip(self.places()) {
            *value = wide[place];
        }
        inner
    }

    pub(crate) fn steps(&self, connectivity: Connectivity) -> Vec<isize> {
        connectivity
            .steps(self.shape.len())
            .iter()
            .map(|step| {
                step.iter()
                    .zip(&self.strides)
                    .map(|(&part, &stride)| part * stride as isize)
                    .sum()
            })
            .collect()
    }
}

/// Takes the component of `start` out of `left`, and gives its places.
pub(crate) fn take_component(left: &mut [bool], start: usize, steps: &[isize]) -> Vec<usize> {
    left[start] = false;
    let mut places = vec![start];
    let mut next = 0;
    while next < places.len() {
        for &step in steps {
            let place = places[next].wrapping_add_signed(step);
            if left[place] {
                left[place] = false;
                places.push(place);
            }
        }
        next += 1;
    }
    places
}

/// The mask without its components of fewer than so many pixels.
pub(crate) fn keep_large<D: Dimension>(
    mask: ArrayView<'_, bool, D>,
    pixels: usize,
    connectivity: Connectivity,
) -> Result<Array<bool, D>, SegError> {
    let grid = Bordered::new(mask.shape())?;
    let steps = grid.steps(connectivity);
    let mut left = grid.surround(mask.iter().copied(), false);
    let mut kept = left.clone();
    for start in grid.places() {
        if left[start] {
            let places = take_component(&mut left, start, &steps);
            if places.len() < pixels {
                places.into_iter().for_each(|place| kept[place] = false);
            }
        }
    }
    Ok(grid.inner(&kept, mask.raw_dim()))
}

/// The largest component of the mask, the first in C order if several are.
pub(crate) fn keep_largest<D: Dimension>(
    mask: ArrayView<'_, bool, D>,
    connectivity: Connectivity,
) -> Result<Array<bool, D>, SegError> {
    let grid = Bordered::new(mask.shape())?;
    let steps = grid.steps(connectivity);
    let mut left = grid.surround(mask.iter().copied(), false);
    let mut largest = Vec::new();
    for start in grid.places() {
        if left[start] {
            let places = take_component(&mut left, start, &steps);
            if places.len() > largest.len() {
                largest = places;
            }
        }
    }
    // All of the mask has been taken out by now.
    largest.into_iter().for_each(|place| left[place] = true);
    Ok(grid.inner(&left, mask.raw_dim()))
}
