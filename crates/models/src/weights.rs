use std::collections::BTreeMap;
use std::fs::{File, Permissions};
use std::io::{self, Read as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use tch::{Device, Kind, TchError, Tensor, nn};

use crate::architecture::{Architecture, Published};
use crate::error::{Mismatches, ModelError};
use crate::load_rules::{Head, LoadRules, Stem, below};
use crate::state_dict;

/// How the name of a file begins that [`Network::save`](crate::Network::save) has not finished.
///
/// It is written beside the file that it will become. A process that is killed meanwhile leaves it
/// behind: once nothing writes there any more, files of this prefix can be deleted.
pub const TEMPORARY_PREFIX: &str = ".models-unfinished-";

/// What [`Network::load`](crate::Network::load) did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Loaded {
    /// How many tensors were read.
    pub tensors: usize,
    /// Whether the file's head was another or absent, so that the head is fresh.
    pub head_replaced: bool,
    /// The variables whose weights were summed from three channels to one.
    pub summed: Vec<String>,
    /// The file's tensors that the rules passed over, those of a head that was replaced, batch norms' counters, and
    /// GoogLeNet's auxiliary heads.
    pub passed_over: Vec<String>,
}

/// The tensors of a weights file by name, whichever format its content is in.
fn read(path: &Path, entry: Option<&str>) -> Result<BTreeMap<String, Tensor>, ModelError> {
    let fault = |fault| ModelError::StateDict {
        path: path.to_owned(),
        fault: Box::new(fault),
    };
    let file = open(path).map_err(|source| ModelError::Open {
        path: path.to_owned(),
        source,
    })?;
    match (state_dict::read(file, entry).map_err(fault)?, entry) {
        (Some(tensors), _) => Ok(tensors),
        (None, None) => read_safetensors(path).map_err(|source| ModelError::Read {
            path: path.to_owned(),
            source,
        }),
        (None, Some(entry)) => Err(ModelError::NoEntries {
            path: path.to_owned(),
            entry: entry.to_owned(),
        }),
    }
}

fn open(path: &Path) -> io::Result<File> {
    let file = File::open(path)?;
    match file.metadata()?.is_dir() {
        true => Err(io::ErrorKind::IsADirectory.into()),
        false => Ok(file),
    }
}

fn read_safetensors(path: &Path) -> Result<BTreeMap<String, Tensor>, TchError> {
    // The reader adds a header's length to where its tensors end before it compares the sum with the file's length. The
    // largest numbers there are would overflow, which stops a program that is built to notice.
    let file = File::open(path)?;
    let length = file.metadata()?.len();
    if let Some(end) = farthest_end(file, length)?
        && end > length
    {
        return Err(TchError::FileFormat(format!("a tensor ends at byte {end} of {length}")));
    }
    Ok(Tensor::read_safetensors(path)?.into_iter().collect())
}

/// Where the last tensor of a safetensors file ends by its header; `None` where the header is none, which is the
/// reader's to say.
fn farthest_end(mut file: File, length: u64) -> io::Result<Option<u64>> {
    let mut size = [0; 8];
    if length < 8 {
        return Ok(None);
    }
    file.read_exact(&mut size)?;
    let size = u64::from_le_bytes(size);
    if size > length - 8 {
        return Ok(None);
    }
    let mut header = Vec::new();
    file.take(size).read_to_end(&mut header)?;
    let Ok(header) = serde_json::from_slice::<BTreeMap<String, serde_json::Value>>(&header) else {
        return Ok(None);
    };
    let ends = header.values().map(|tensor| tensor["data_offsets"][1].as_u64());
    Ok(ends.flatten().max())
}

pub(crate) fn load(
    variables: &nn::VarStore,
    path: &Path,
    architecture: Architecture,
    rules: &LoadRules,
) -> Result<Loaded, ModelError> {
    let mut mismatches = Mismatches::default();
    let mut passed_over = Vec::new();
    let mut file = BTreeMap::new();
    for (key, tensor) in read(path, rules.entry.as_deref())? {
        let name = rules.strip(&key).to_owned();
        let name = match architecture.published(&name) {
            _ if rules.passes_over(&name) => None,
            Published::Unused => None,
            Published::Renamed(today) => Some(today),
            Published::AsItIs => Some(name),
        };
        match name {
            None => passed_over.push(key),
            Some(name) => {
                if file.insert(name.clone(), (key, tensor)).is_some() {
                    mismatches.twice.push(name);
                }
            }
        }
    }
    let mut targets: BTreeMap<String, Tensor> = variables.variables().into_iter().collect();

    let in_head = |name: &str| below(name, architecture.head()).is_some();
    let head_replaced = rules.head == Head::Replace && {
        let found = file.iter().map(|(name, (_, tensor))| (name, tensor));
        let shapes = |(name, tensor): (_, &Tensor)| (name, tensor.size());
        let found = found.filter(|(name, _)| in_head(name)).map(shapes);
        !found.eq(targets.iter().filter(|(name, _)| in_head(name)).map(shapes))
    };
    if head_replaced {
        targets.retain(|name, _| !in_head(name));
        let unused = file.extract_if(.., |name, _| in_head(name));
        passed_over.extend(unused.map(|(_, (key, _))| key));
    }
    let mut summed = Vec::new();
    let mut copies = Vec::with_capacity(targets.len());
    for (name, target) in &targets {
        let Some((_, source)) = file.get(name) else {
            mismatches.missing.push(name.clone());
            continue;
        };
        let (found, expected) = (source.size(), target.size());
        if !source.is_floating_point() {
            mismatches.wrong_kind.push((name.clone(), source.kind()));
        } else if found == expected {
            copies.push((target, source.shallow_clone()));
        } else if rules.stem == Stem::Summed && three_to_one(&found, &expected) {
            copies.push((target, source.f_sum_dim_intlist([1].as_slice(), true, Kind::Double)?));
            summed.push(name.clone());
        } else {
            mismatches.misshapen.push((name.clone(), found, expected));
        }
    }
    mismatches.unexpected = file
        .keys()
        .filter(|name| !targets.contains_key(*name))
        .cloned()
        .collect();
    if !mismatches.is_empty() {
        return Err(ModelError::Weights {
            path: path.to_owned(),
            mismatches: Box::new(mismatches),
        });
    }

    let tensors = copies.len();
    tch::no_grad(|| {
        for (target, source) in copies {
            target.shallow_clone().f_copy_(&source)?;
        }
        Ok::<(), TchError>(())
    })?;
    Ok(Loaded {
        tensors,
        head_replaced,
        summed,
        passed_over,
    })
}

/// Whether a convolution's weights are for three channels, and for one channel would fit.
fn three_to_one(found: &[i64], expected: &[i64]) -> bool {
    matches!((found, expected), ([o, 3, kernel @ ..], [p, 1, wanted @ ..]) if o == p && kernel == wanted && !kernel.is_empty())
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
