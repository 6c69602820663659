use std::collections::HashMap;
use std::fmt;
use std::ops::Div;

use tch::{Device, Kind, TchError, Tensor, nn};

use crate::layers::Distribution;
use crate::onednn::OneDnn;

/// Where layers get their variables from, and what the names of those begin with.
///
/// An architecture is written once, as a function of a scope. A fresh scope makes new variables in a store. A scope
/// of an existing network takes that network's by name and prepares them for inference: batch norms folded into
/// convolutions, another memory layout, another precision.
#[derive(Debug, Clone)]
pub(crate) struct Scope<'a> {
    path: nn::Path<'a>,
    existing: Option<&'a Existing>,
    full_precision: bool,
}

/// The variables of a network and what is to be done to them.
#[derive(Debug)]
pub(crate) struct Existing {
    pub(crate) variables: HashMap<String, Tensor>,
    pub(crate) kind: Kind,
    pub(crate) channels_last: bool,
    pub(crate) fold: bool,
    pub(crate) pack: bool,
}

impl<'a> Scope<'a> {
    /// New variables in `store`.
    pub(crate) fn fresh(store: &'a nn::VarStore) -> Self {
        Self {
            path: store.root(),
            existing: None,
            full_precision: false,
        }
    }

    /// The variables of a network, prepared, in `store`.
    pub(crate) fn of_existing(store: &'a nn::VarStore, existing: &'a Existing) -> Self {
        Self {
            path: store.root(),
            existing: Some(existing),
            full_precision: false,
        }
    }

    /// The same scope, whose variables are never in half precision: libtorch takes statistics in single precision for
    /// inputs in half.
    pub(crate) fn in_full_precision(&self) -> Self {
        Self {
            full_precision: true,
            ..self.clone()
        }
    }

    /// Whether a batch norm behind a convolution is to be folded into it.
    pub(crate) fn folds(&self) -> bool {
        self.existing.is_some_and(|existing| existing.fold)
    }

    /// The precision that images of any are converted to.
    pub(crate) fn converts(&self) -> Option<Kind> {
        self.existing.map(|existing| existing.kind)
    }

    /// What packs the weights of convolutions and linear layers, if they are to be packed and can be.
    pub(crate) fn packs(&self) -> Option<&'static OneDnn> {
        let existing = self.existing.filter(|existing| existing.pack)?;
        match self.path.device() {
            Device::Cpu => OneDnn::of(existing.kind),
            _ => None,
        }
    }

    /// A variable that training changes.
    pub(crate) fn trainable(&self, name: &str, shape: &[i64], from: Distribution) -> Result<Tensor, TchError> {
        match self.existing {
            Some(_) => self.prepared(name, &self.taken(name)?),
            None => Ok(self.path.add(name, from.draw(shape, self.path.device())?, true)),
        }
    }

    /// A variable that an optimiser leaves alone, the same number everywhere at the start.
    pub(crate) fn buffer(&self, name: &str, shape: &[i64], value: f64) -> Result<Tensor, TchError> {
        if self.existing.is_some() {
            return self.prepared(name, &self.taken(name)?);
        }
        let tensor = Distribution::Constant(value).draw(shape, self.path.device())?;
        Ok(self.path.add(name, tensor, false))
    }

    /// The existing network's variable as it is.
    pub(crate) fn taken(&self, name: &str) -> Result<Tensor, TchError> {
        let name = self.path.path(name);
        self.existing
            .and_then(|existing| existing.variables.get(&name))
            .map(Tensor::f_detach)
            .unwrap_or_else(|| Err(TchError::TensorNameNotFound(name, "the network".to_owned())))
    }

    /// Keeps `tensor` in the precision and layout asked for.
    pub(crate) fn prepared(&self, name: &str, tensor: &Tensor) -> Result<Tensor, TchError> {
        let mut tensor = tensor.f_detach()?;
        if let Some(existing) = self.existing {
            // A copy, so that the other network can go on training.
            let kind = match existing.kind {
                Kind::Half | Kind::BFloat16 if self.full_precision => Kind::Float,
                kind => kind,
            };
            tensor = tensor.f_to_dtype(kind, false, true)?;
            if existing.channels_last {
                tensor = channels_last(&tensor)?;
            }
        }
        Ok(self.path.add(name, tensor, false))
    }
}

/// The same `[N, C, …]` with channels innermost in memory; tensors of other rank as they are.
pub(crate) fn channels_last(tensor: &Tensor) -> Result<Tensor, TchError> {
    let rank = tensor.dim() as i64;
    if !(4..=5).contains(&rank) {
        return Ok(tensor.shallow_clone());
    }
    let outward: Vec<i64> = [0].into_iter().chain(2..rank).chain([1]).collect();
    let back: Vec<i64> = [0, rank - 1].into_iter().chain(1..rank - 1).collect();
    tensor.f_permute(outward)?.f_contiguous()?.f_permute(back)
}

impl<'a, T: fmt::Display> Div<T> for &Scope<'a> {
    type Output = Scope<'a>;

    /// The scope of the names that begin with `name`, which may hold several parts with dots between.
    fn div(self, name: T) -> Scope<'a> {
        let name = name.to_string();
        Scope {
            path: name.split('.').fold(self.path.clone(), |path, part| path.sub(part)),
            existing: self.existing,
            full_precision: self.full_precision,
        }
    }
}

impl<'a, T: fmt::Display> Div<T> for Scope<'a> {
    type Output = Scope<'a>;

    fn div(self, name: T) -> Scope<'a> {
        &self / name
    }
}
