use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::io::Write as _;
use std::path::Path;

use safetensors::tensor::{Dtype, SafeTensorError, SafeTensors, View};
use tch::{Kind, TchError, Tensor, nn};

use crate::error::{Mismatches, ModelError};

/// What to do with a head, the layer with one output per class, whose class count differs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Head {
    /// It must fit like every other layer.
    Exact,
    /// It keeps the network's fresh weights.
    Replace,
}

/// What [`Network::load`](crate::Network::load) did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Loaded {
    /// How many tensors were read.
    pub tensors: usize,
    /// Whether the file's head had another class count, so that the head is fresh.
    pub head_replaced: bool,
}

pub(crate) fn load(variables: &nn::VarStore, path: &Path, head: &str, rule: Head) -> Result<Loaded, ModelError> {
    let bytes = fs::read(path).map_err(|source| ModelError::Read {
        path: path.to_owned(),
        source,
    })?;
    let format = |source| ModelError::Format {
        path: path.to_owned(),
        source,
    };
    let file = SafeTensors::deserialize(&bytes).map_err(format)?;
    let targets: BTreeMap<String, Tensor> = variables.variables().into_iter().collect();

    let in_head = |name: &str| name.strip_prefix(head).is_some_and(|rest| rest.starts_with('.'));
    let mut mismatches = Mismatches::default();
    let mut head_replaced = false;
    let mut copies = Vec::with_capacity(targets.len());
    for (name, target) in &targets {
        let Ok(view) = file.tensor(name) else {
            mismatches.missing.push(name.clone());
            continue;
        };
        let found: Vec<i64> = view.shape().iter().map(|&length| length as i64).collect();
        let expected = target.size();
        let Some(kind) = float_kind(view.dtype()) else {
            mismatches
                .wrong_kind
                .push((name.clone(), format!("{:?}", view.dtype())));
            continue;
        };
        if found == expected {
            copies.push((name, target, view.data(), found, kind));
        } else if rule == Head::Replace && in_head(name) && found.get(1..) == expected.get(1..) {
            head_replaced = true;
        } else {
            mismatches.misshapen.push((name.clone(), found, expected));
        }
    }
    mismatches.unexpected = file
        .names()
        .into_iter()
        .filter(|name| !targets.contains_key(*name) && !name.ends_with(".num_batches_tracked"))
        .map(str::to_owned)
        .collect();
    mismatches.unexpected.sort();
    if !mismatches.is_empty() {
        return Err(ModelError::Weights {
            path: path.to_owned(),
            mismatches: Box::new(mismatches),
        });
    }

    if head_replaced {
        copies.retain(|(name, ..)| !in_head(name));
    }
    let tensors = copies.len();
    tch::no_grad(|| {
        for (_, target, data, shape, kind) in copies {
            let source = Tensor::f_from_data_size(data, &shape, kind)?;
            target.shallow_clone().f_copy_(&source)?;
        }
        Ok::<(), TchError>(())
    })?;
    Ok(Loaded { tensors, head_replaced })
}

fn float_kind(dtype: Dtype) -> Option<Kind> {
    match dtype {
        Dtype::F16 => Some(Kind::Half),
        Dtype::BF16 => Some(Kind::BFloat16),
        Dtype::F32 => Some(Kind::Float),
        Dtype::F64 => Some(Kind::Double),
        _ => None,
    }
}

pub(crate) fn save(variables: &nn::VarStore, path: &Path) -> Result<(), ModelError> {
    let failed = |source| ModelError::Write {
        path: path.to_owned(),
        source,
    };
    let tensors = variables
        .variables()
        .into_iter()
        .map(|(name, tensor)| Ok((name, FloatTensor::new(&tensor)?)))
        .collect::<Result<BTreeMap<_, _>, TchError>>()?;
    let metadata = HashMap::from([("format".to_owned(), "pt".to_owned())]);
    let bytes = safetensors::serialize(tensors, Some(metadata)).map_err(|source| ModelError::Format {
        path: path.to_owned(),
        source,
    })?;
    let folder = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    let mut file = tempfile::NamedTempFile::new_in(folder.unwrap_or(Path::new("."))).map_err(failed)?;
    file.write_all(&bytes).map_err(failed)?;
    file.as_file().sync_all().map_err(failed)?;
    file.persist(path).map_err(|error| failed(error.error))?;
    Ok(())
}

/// A tensor's values as little-endian f32.
struct FloatTensor {
    shape: Vec<usize>,
    bytes: Vec<u8>,
}

impl FloatTensor {
    fn new(tensor: &Tensor) -> Result<Self, TchError> {
        let flat = tensor
            .f_detach()?
            .f_to_kind(Kind::Float)?
            .f_contiguous()?
            .f_view([-1])?;
        let values = Vec::<f32>::try_from(&flat)?;
        Ok(Self {
            shape: tensor.size().iter().map(|&length| length as usize).collect(),
            bytes: values.iter().flat_map(|value| value.to_le_bytes()).collect(),
        })
    }
}

impl View for FloatTensor {
    fn dtype(&self) -> Dtype {
        Dtype::F32
    }

    fn shape(&self) -> &[usize] {
        &self.shape
    }

    fn data(&self) -> Cow<'_, [u8]> {
        Cow::Borrowed(&self.bytes)
    }

    fn data_len(&self) -> usize {
        self.bytes.len()
    }
}

/// Kept out of `error.rs` so that the format's crate appears in one file.
pub(crate) type FormatError = SafeTensorError;
