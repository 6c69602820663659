//! Which of the network's outputs a heatmap explains.

use tch::{Kind, Tensor};

use crate::error::CamError;

/// What the heatmap of one sample explains.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Target {
    /// The logit of this class.
    Class(i64),
    /// The largest logit.
    Predicted,
}

/// The class of each sample.
///
/// # Shapes
/// `logits` is `[N, classes]`.
///
/// # Errors
/// [`CamError::TargetCount`] and [`CamError::Class`].
pub(crate) fn classes(targets: &[Target], logits: &Tensor) -> Result<Vec<i64>, CamError> {
    let (batch, count) = logits.size2()?;
    if targets.len() as i64 != batch {
        return Err(CamError::TargetCount {
            targets: targets.len(),
            batch,
        });
    }
    let predicted: Vec<i64> = if targets.contains(&Target::Predicted) {
        logits.f_argmax(1, false)?.try_into()?
    } else {
        Vec::new()
    };
    targets
        .iter()
        .enumerate()
        .map(|(sample, target)| match *target {
            Target::Class(class) if (0..count).contains(&class) => Ok(class),
            Target::Class(class) => Err(CamError::Class {
                sample,
                class,
                classes: count,
            }),
            Target::Predicted => Ok(predicted[sample]),
        })
        .collect()
}

/// The sum over the samples of their classes' logits. No sample's logit depends on another sample,
/// so the gradient of the sum at a sample is that of its own logit.
pub(crate) fn score(classes: &[i64], logits: &Tensor) -> Result<Tensor, CamError> {
    let index = Tensor::f_from_slice(classes)?
        .f_to_device(logits.device())?
        .f_unsqueeze(1)?;
    Ok(logits.f_gather(1, &index, false)?.f_sum(Kind::Float)?)
}
