use ndarray::Array2;
use tch::{Kind, TchError, Tensor};

use super::fit::Classifier;
use crate::error::FilterError;

/// The probability of each class, by softmax of the logits in evaluation mode.
///
/// # Shapes
/// `images` `[N, C, H, W]` to `[N, K]`, run `batch` images at a time.
///
/// # Errors
/// [`FilterError::Setting`] for a batch of 0; libtorch's own.
pub fn predict(classifier: Classifier<'_>, images: &Tensor, batch: usize) -> Result<Array2<f32>, FilterError> {
    if batch == 0 {
        return Err(FilterError::Setting {
            name: "batch",
            value: 0.0,
            expected: "a number above 0",
        });
    }
    Ok(softmax(&logits(classifier, images, batch)?)?)
}

pub(crate) fn logits(classifier: Classifier<'_>, images: &Tensor, batch: usize) -> Result<Tensor, TchError> {
    let device = classifier.variables.device();
    let parts = images
        .f_split(batch as i64, 0)?
        .iter()
        .map(|part| tch::no_grad(|| (classifier.forward)(&part.f_to_device(device)?, false)))
        .collect::<Result<Vec<_>, TchError>>()?;
    Tensor::f_cat(&parts, 0)
}

pub(crate) fn softmax(logits: &Tensor) -> Result<Array2<f32>, TchError> {
    let probabilities = logits.f_softmax(-1, Kind::Float)?;
    let (rows, columns) = probabilities.size2()?;
    let values = Vec::<f32>::try_from(&probabilities.f_contiguous()?.f_view([-1])?)?;
    Array2::from_shape_vec((rows as usize, columns as usize), values)
        .map_err(|error| TchError::Convert(error.to_string()))
}
