use ndarray::{Array, ArrayView, Axis, Dimension};

use crate::SegError;
use crate::threshold::with_checked_values;

/// The image that a heatmap is refined against: grey, or of several channels.
///
/// A view of the heatmap's dimension is grey by itself, [`Image::Channels`] is said. Channels are taken as they are: all
/// have the same units, and whoever wants distances in another colour space converts to it before.
///
/// ```
/// use heatmap_seg::{GuidedFilter, Image};
/// use ndarray::{Array3, array};
///
/// let heatmap = array![[0.0_f32, 0.4], [0.6, 1.0]];
/// let grey = array![[0.1_f32, 0.1], [0.9, 0.9]];
/// let filter = GuidedFilter::default().with_epsilon(1e-6);
/// let guided = filter.apply(heatmap.view(), grey.view())?;
///
/// // Red like the grey image, nothing in green and blue.
/// let rgb = Array3::from_shape_fn((2, 2, 3), |(y, x, channel)| if channel == 0 { grey[(y, x)] } else { 0.0 });
/// let by_colour = filter.apply(heatmap.view(), Image::Channels(rgb.view()))?;
/// assert!((by_colour - guided).iter().all(|difference| difference.abs() < 1e-6));
/// # Ok::<(), heatmap_seg::SegError>(())
/// ```
#[derive(Debug, Clone)]
pub enum Image<'a, D: Dimension> {
    /// One value a pixel, of the heatmap's shape.
    Grey(ArrayView<'a, f32, D>),
    /// The heatmap's shape and one more axis, the last, over the channels: `[H, W, 3]` for RGB.
    Channels(ArrayView<'a, f32, D::Larger>),
}

impl<'a, D: Dimension> From<ArrayView<'a, f32, D>> for Image<'a, D> {
    fn from(grey: ArrayView<'a, f32, D>) -> Image<'a, D> {
        Image::Grey(grey)
    }
}

impl<D: Dimension> Image<'_, D> {
    /// The same image, for one more look at it.
    pub fn view(&self) -> Image<'_, D> {
        match self {
            Image::Grey(image) => Image::Grey(image.view()),
            Image::Channels(image) => Image::Channels(image.view()),
        }
    }

    /// How many channels it has, 1 if grey.
    pub fn channels(&self) -> usize {
        match self {
            Image::Grey(_) => 1,
            Image::Channels(image) => image.shape().last().copied().unwrap_or(0),
        }
    }

    /// Its shape without the channels.
    pub(crate) fn pixels(&self) -> &[usize] {
        match self {
            Image::Grey(image) => image.shape(),
            Image::Channels(image) => &image.shape()[..image.ndim().saturating_sub(1)],
        }
    }

    /// The same as a dimension.
    pub(crate) fn dimension(&self) -> D {
        let mut dimension = D::zeros(self.pixels().len());
        dimension.slice_mut().copy_from_slice(self.pixels());
        dimension
    }

    /// Whether it has pixels, all of them finite.
    pub(crate) fn check(&self) -> Result<(), SegError> {
        match self {
            Image::Grey(image) => check_values(image),
            Image::Channels(image) => check_values(image),
        }
    }

    /// The values of each channel in f64 and in C order.
    pub(crate) fn planes(&self) -> Vec<Vec<f64>> {
        match self {
            Image::Grey(image) => vec![in_f64(image)],
            Image::Channels(image) => {
                let last = Axis(image.ndim() - 1);
                image.axis_iter(last).map(|channel| in_f64(&channel)).collect()
            }
        }
    }
}

/// Whether an image is of a heatmap's shape, the heatmap's values in 0..=1 and the image's finite.
pub(crate) fn check<D: Dimension>(heatmap: &ArrayView<'_, f32, D>, image: &Image<'_, D>) -> Result<(), SegError> {
    if heatmap.shape() != image.pixels() {
        return Err(SegError::Shapes {
            left: heatmap.shape().to_vec(),
            right: image.pixels().to_vec(),
        });
    }
    with_checked_values(heatmap, |_, _, _| ())?;
    image.check()
}

fn check_values<D: Dimension>(image: &ArrayView<'_, f32, D>) -> Result<(), SegError> {
    if image.is_empty() {
        return Err(SegError::Empty {
            shape: image.shape().to_vec(),
        });
    }
    match image.iter().find(|value| !value.is_finite()) {
        Some(&value) => Err(SegError::Image { value }),
        None => Ok(()),
    }
}

/// The values in f64 and in C order.
pub(crate) fn in_f64<D: Dimension>(array: &ArrayView<'_, f32, D>) -> Vec<f64> {
    array.iter().map(|&value| f64::from(value)).collect()
}

/// Values in C order as an array.
pub(crate) fn shaped<T: Clone, D: Dimension>(values: impl IntoIterator<Item = T>, shape: D, zero: T) -> Array<T, D> {
    let mut array = Array::from_elem(shape, zero);
    array.iter_mut().zip(values).for_each(|(to, value)| *to = value);
    array
}

/// Where the foreground is likelier than the background.
pub(crate) fn likelier<D: Dimension>(probabilities: Array<f32, D>) -> Array<bool, D> {
    probabilities.mapv(|probability| probability > 0.5)
}
