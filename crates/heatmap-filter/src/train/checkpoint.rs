use std::collections::BTreeMap;
use std::fs::Permissions;
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use serde::{Deserialize, Serialize};
use tch::{Device, TchError, Tensor};

use super::adamw::AdamW;
use super::fit::Epoch;
use super::settings::TrainSettings;
use crate::error::FilterError;

/// How the name of a checkpoint begins that [`fit`](super::fit()) has not finished.
///
/// It is written beside the file that it will become. A process that is killed meanwhile leaves it
/// behind: once nothing writes there any more, files of this prefix can be deleted.
pub const TEMPORARY_PREFIX: &str = ".heatmap-filter-unfinished-";

/// The key of the [`Record`], as JSON in bytes, among the tensors.
const RECORD: &str = "training";

/// What a training is and how far it has come.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Record {
    pub(crate) settings: TrainSettings,
    pub(crate) data: String,
    pub(crate) history: Vec<Epoch>,
    pub(crate) best: usize,
    pub(crate) steps: i32,
}

/// A copy of variables by name.
pub(crate) type Snapshot = BTreeMap<String, Tensor>;

pub(crate) fn snapshot(variables: &BTreeMap<String, Tensor>) -> Result<Snapshot, TchError> {
    variables
        .iter()
        .map(|(name, variable)| Ok((name.clone(), variable.f_detach_copy()?)))
        .collect()
}

/// Puts a snapshot's values, found under `prefix`, into variables.
pub(crate) fn restore(
    variables: &BTreeMap<String, Tensor>,
    tensors: &Snapshot,
    prefix: &str,
    path: &Path,
) -> Result<(), FilterError> {
    for (name, variable) in variables {
        let key = format!("{prefix}{name}");
        let found = tensors.get(&key).map(Tensor::size);
        if found.as_deref() != Some(&variable.size()) {
            return Err(FilterError::OtherCheckpoint {
                path: path.to_owned(),
                found: found.map_or("absent".to_owned(), |shape| format!("{shape:?}")),
                expected: format!("{:?}", variable.size()),
                what: format!("the shape of {key}"),
            });
        }
        tch::no_grad(|| variable.shallow_clone().f_copy_(&tensors[&key]))?;
    }
    Ok(())
}

/// Writes a training's state to one file, which appears whole or not at all. A training that has
/// ended (`state` is `None`) keeps only its best weights.
pub(crate) fn write(
    path: &Path,
    record: &Record,
    best: &Snapshot,
    state: Option<(&BTreeMap<String, Tensor>, &AdamW)>,
) -> Result<(), FilterError> {
    let failed = |source| FilterError::Checkpoint {
        action: "write",
        path: path.to_owned(),
        source,
    };
    let json = serde_json::to_vec(record).map_err(|error| failed(error.into()))?;
    let mut tensors = vec![(RECORD.to_owned(), Tensor::f_from_slice(&json)?)];
    let mut add = |prefix: &str, name: &str, tensor: &Tensor| {
        let tensor = tensor.f_detach()?.f_to_device(Device::Cpu)?.f_contiguous()?;
        tensors.push((format!("{prefix}{name}"), tensor));
        Ok::<(), TchError>(())
    };
    for (name, tensor) in best {
        add("best.", name, tensor)?;
    }
    if let Some((variables, optimiser)) = state {
        for (name, tensor) in variables {
            add("now.", name, tensor)?;
        }
        for (name, moments) in &optimiser.moments {
            add("first.", name, &moments.first)?;
            add("second.", name, &moments.second)?;
        }
    }
    let folder = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    // As any new file, less what the umask takes; temporary ones are private.
    let file = tempfile::Builder::new()
        .prefix(TEMPORARY_PREFIX)
        .permissions(Permissions::from_mode(0o666))
        .tempfile_in(folder.unwrap_or(Path::new(".")))
        .map_err(failed)?;
    Tensor::write_safetensors(&tensors, file.path()).map_err(|error| failed(io::Error::other(error)))?;
    file.as_file().sync_all().map_err(failed)?;
    file.persist(path).map_err(|error| failed(error.error))?;
    Ok(())
}

/// Reads a training's state, if there is one, and checks that it is this training's.
pub(crate) fn read(
    path: &Path,
    settings: &TrainSettings,
    data: &str,
) -> Result<Option<(Record, Snapshot)>, FilterError> {
    let failed = |source| FilterError::Checkpoint {
        action: "read",
        path: path.to_owned(),
        source,
    };
    if !path.try_exists().map_err(failed)? {
        return Ok(None);
    }
    let tensors: Snapshot = Tensor::read_safetensors(path)
        .map_err(|error| failed(io::Error::other(error)))?
        .into_iter()
        .collect();
    let record = tensors
        .get(RECORD)
        .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, format!("it holds no `{RECORD}`")))
        .and_then(|json| Vec::<u8>::try_from(json).map_err(io::Error::other))
        .and_then(|json| Ok(serde_json::from_slice::<Record>(&json)?))
        .map_err(failed)?;
    let other = |what: &str, found: String, expected: String| FilterError::OtherCheckpoint {
        path: path.to_owned(),
        what: what.to_owned(),
        found,
        expected,
    };
    if record.settings != *settings {
        return Err(other(
            "its settings",
            format!("{:?}", record.settings),
            format!("{settings:?}"),
        ));
    }
    if record.data != data {
        return Err(other("its data", record.data, data.to_owned()));
    }
    Ok(Some((record, tensors)))
}
