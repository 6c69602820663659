use std::cell::RefCell;

use tch::{TchError, Tensor};

use crate::onednn::OneDnn;
use crate::scope::Scope;

/// A second copy of a layer's weight, as oneDNN wants it for the size of input that was seen last.
#[derive(Debug)]
pub(crate) struct Packed {
    onednn: &'static OneDnn,
    /// Boxed, for a network that is not rebuilt has none.
    weight: RefCell<Option<Box<PackedFor>>>,
}

#[derive(Debug)]
struct PackedFor {
    size: Vec<i64>,
    /// Where the plain weight's numbers lay, and how often they had been written to.
    place: usize,
    version: i64,
    weight: Tensor,
}

impl Packed {
    /// Nothing packed yet; none where the scope packs nothing.
    pub(crate) fn new(scope: &Scope<'_>) -> Option<Self> {
        let onednn = scope.packs()?;
        Some(Self {
            onednn,
            weight: RefCell::new(None),
        })
    }

    pub(crate) fn onednn(&self) -> &'static OneDnn {
        self.onednn
    }

    /// `plain` for inputs of this size, and padding if any, by `pack` if it was another one the last time or the numbers
    /// have changed since: written over, or others put in their place. Writes through [`Tensor::data`] are not seen.
    /// Where sizes alternate, each change costs about what a weight that is not packed costs at each pass.
    pub(crate) fn weight(
        &self,
        plain: &Tensor,
        size: &[i64],
        pack: impl FnOnce(&OneDnn) -> Result<Tensor, TchError>,
    ) -> Result<Tensor, TchError> {
        let mut kept = self.weight.borrow_mut();
        let (place, version) = (plain.data_ptr() as usize, plain.f_internal_version()?);
        if let Some(packed) = &*kept
            && packed.size == size
            && (packed.place, packed.version) == (place, version)
        {
            return Ok(packed.weight.shallow_clone());
        }
        // The one before goes first: there are never two.
        *kept = None;
        let weight = pack(self.onednn)?;
        *kept = Some(Box::new(PackedFor {
            size: size.to_vec(),
            place,
            version,
            weight: weight.shallow_clone(),
        }));
        Ok(weight)
    }
}

/// `x` without a graph, if what is computed from it now gets none.
pub(crate) fn without_graph(x: &Tensor) -> Result<Option<Tensor>, TchError> {
    if !x.requires_grad() {
        return Ok(Some(x.shallow_clone()));
    }
    // Where gradients are switched off, what comes from a tensor that asks for them does not.
    let alias = x.f_alias()?;
    Ok((!alias.requires_grad()).then_some(alias))
}

/// Whether what is computed from these now gets a graph.
pub(crate) fn asks_for_gradient(weight: &Tensor, bias: Option<&Tensor>) -> Result<bool, TchError> {
    Ok(without_graph(weight)?.is_none() || bias.map(without_graph).transpose()?.is_some_and(|bias| bias.is_none()))
}
