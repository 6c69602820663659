use tch::{TchError, Tensor};

/// A layer's variable in the kind of its input, through which gradients reach the variable in its own: in mixed precision
/// the two differ.
pub(crate) fn in_kind_of(x: &Tensor, variable: &Tensor) -> Result<Tensor, TchError> {
    let kind = x.f_kind()?;
    match variable.f_kind()? == kind {
        true => Ok(variable.shallow_clone()),
        false => variable.f_to_kind(kind),
    }
}
