use std::cell::RefCell;
use std::collections::HashSet;

use tch::{TchError, Tensor};

use crate::cuda_library;
use crate::error::ModelError;
use crate::layers::Pass;
use crate::stage::Stage;

/// A network of one's own: stages in a row, from the image batch to the logits.
///
/// ```
/// use models::{Stage, StageRow};
/// use tch::{Kind, Tensor};
///
/// let row = StageRow::new([
///     Stage::new("double", |x, _train| x.f_mul_scalar(2)),
///     Stage::new("sum", |x, _train| x.f_sum(Kind::Int64)),
/// ])?;
/// assert_eq!(row.forward(&Tensor::from_slice(&[1, 2]))?, Tensor::from(6_i64));
/// assert_eq!(row.stages()[1].name(), "sum");
/// # Ok::<(), models::ModelError>(())
/// ```
#[derive(Debug)]
pub struct StageRow {
    stages: Vec<Stage>,
}

impl StageRow {
    /// A row of stages, each with a name of its own.
    ///
    /// # Errors
    /// [`ModelError::NoStages`] and [`ModelError::SameStages`].
    pub fn new(stages: impl IntoIterator<Item = Stage>) -> Result<Self, ModelError> {
        let _ = cuda_library::load();
        let stages = Vec::from_iter(stages);
        if stages.is_empty() {
            return Err(ModelError::NoStages);
        }
        let mut names = HashSet::new();
        match stages.iter().find(|stage| !names.insert(stage.name())) {
            Some(stage) => Err(ModelError::SameStages {
                name: stage.name().to_owned(),
            }),
            None => Ok(Self { stages }),
        }
    }

    /// The stages, from the image batch to the logits.
    pub fn stages(&self) -> &[Stage] {
        &self.stages
    }

    /// The logits of a batch in evaluation mode.
    ///
    /// # Shapes
    /// A batch as the first stage takes it; what the last one puts out.
    ///
    /// # Errors
    /// Those of the stages' functions, such as libtorch's own for an input that a stage cannot take.
    pub fn forward(&self, input: &Tensor) -> Result<Tensor, TchError> {
        self.forward_t(input, false)
    }

    /// The logits of a batch, in training mode if `train`.
    ///
    /// # Shapes
    /// Those of [`StageRow::forward`].
    ///
    /// # Errors
    /// Those of [`StageRow::forward`].
    pub fn forward_t(&self, input: &Tensor, train: bool) -> Result<Tensor, TchError> {
        let carried = RefCell::default();
        let pass = Pass::new(train).carrying(&carried);
        self.stages
            .iter()
            .try_fold(input.shallow_clone(), |x, stage| stage.run(&x, pass))
    }
}
