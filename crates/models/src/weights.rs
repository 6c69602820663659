use std::collections::BTreeMap;
use std::fs::Permissions;
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use tch::{Device, TchError, Tensor, nn};

use crate::error::{Mismatches, ModelError};

/// How the name of a file begins that [`Network::save`](crate::Network::save) has not finished.
///
/// It is written beside the file that it will become. A process that is killed meanwhile leaves it
/// behind: once nothing writes there any more, files of this prefix can be deleted.
pub const TEMPORARY_PREFIX: &str = ".models-unfinished-";

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
    let file: BTreeMap<String, Tensor> = Tensor::read_safetensors(path)
        .map_err(|source| ModelError::Read {
            path: path.to_owned(),
            source,
        })?
        .into_iter()
        .collect();
    let targets: BTreeMap<String, Tensor> = variables.variables().into_iter().collect();

    let in_head = |name: &str| name.strip_prefix(head).is_some_and(|rest| rest.starts_with('.'));
    let mut mismatches = Mismatches::default();
    let mut head_replaced = false;
    let mut copies = Vec::with_capacity(targets.len());
    for (name, target) in &targets {
        let Some(source) = file.get(name) else {
            mismatches.missing.push(name.clone());
            continue;
        };
        let (found, expected) = (source.size(), target.size());
        if !source.is_floating_point() {
            mismatches.wrong_kind.push((name.clone(), source.kind()));
            continue;
        }
        if found == expected {
            copies.push((name, target, source));
        } else if rule == Head::Replace && in_head(name) && found.get(1..) == expected.get(1..) {
            head_replaced = true;
        } else {
            mismatches.misshapen.push((name.clone(), found, expected));
        }
    }
    mismatches.unexpected = file
        .keys()
        .filter(|name| !targets.contains_key(*name) && !name.ends_with(".num_batches_tracked"))
        .cloned()
        .collect();
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
        for (_, target, source) in copies {
            target.shallow_clone().f_copy_(source)?;
        }
        Ok::<(), TchError>(())
    })?;
    Ok(Loaded { tensors, head_replaced })
}

pub(crate) fn save(variables: &nn::VarStore, path: &Path) -> Result<(), ModelError> {
    let failed = |source| ModelError::Write {
        path: path.to_owned(),
        source,
    };
    let tensors = variables
        .variables()
        .into_iter()
        .map(|(name, tensor)| Ok((name, tensor.f_detach()?.f_to_device(Device::Cpu)?.f_contiguous()?)))
        .collect::<Result<BTreeMap<_, _>, TchError>>()?;
    let folder = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    // As any new file, less what the umask takes; temporary ones are private.
    let file = tempfile::Builder::new()
        .prefix(TEMPORARY_PREFIX)
        .permissions(Permissions::from_mode(0o666))
        .tempfile_in(folder.unwrap_or(Path::new(".")))
        .map_err(failed)?;
    Tensor::write_safetensors(&Vec::from_iter(tensors), file.path())
        .map_err(|error| failed(io::Error::other(error)))?;
    file.as_file().sync_all().map_err(failed)?;
    file.persist(path).map_err(|error| failed(error.error))?;
    Ok(())
}
