use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, BufReader, Read, Seek, SeekFrom};

use tch::Tensor;
use zip::read::ZipFile;
use zip::result::ZipError;
use zip::{CompressionMethod, ZipArchive};

use super::fault::StateDictFault;
use super::pickle::Pickle;
use super::tensors;

/// A reader that fails once it has read several times what the file has: of an archive, each byte is read once or twice,
/// but one made to do harm can have thousands of directories, each to be searched to its faulty end.
struct Patient<R> {
    reader: R,
    left: u64,
}

impl<R: Read> Read for Patient<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.reader.read(buffer)?;
        match self.left.checked_sub(read as u64) {
            Some(left) => self.left = left,
            None => return Err(io::Error::other("it has to be read over and over")),
        }
        Ok(read)
    }
}

impl<R: Seek> Seek for Patient<R> {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.reader.seek(to)
    }
}

/// Reads the zip archive of torch 1.6 and later: `NAME/data.pkl`, and `NAME/data/KEY` for each storage.
pub(super) fn read(
    reader: impl Read + Seek,
    length: u64,
    entry: Option<&str>,
) -> Result<BTreeMap<String, Tensor>, StateDictFault> {
    let left = length.saturating_mul(4).saturating_add(1 << 20);
    let mut archive = ZipArchive::new(Patient { reader, left })?;
    if archive.file_names().any(|name| name == "model.weights.h5") {
        return Err(StateDictFault::Keras);
    }
    if archive.file_names().any(|name| name.ends_with("/constants.pkl")) {
        return Err(StateDictFault::TorchScript);
    }
    let pickles = archive.file_names().filter(|name| {
        let folder = name.strip_suffix("/data.pkl");
        folder.is_some_and(|folder| !folder.contains('/'))
    });
    let folder = match pickles.min() {
        Some(name) => name.trim_end_matches("data.pkl").to_owned(),
        None => {
            return Err(StateDictFault::NoEntry {
                name: "*/data.pkl".to_owned(),
            });
        }
    };
    match file(&mut archive, format!("{folder}byteorder")) {
        Ok(file) => {
            let mut order = String::new();
            file.take(16).read_to_string(&mut order)?;
            if order != "little" {
                return Err(StateDictFault::ByteOrder { order });
            }
        }
        // Written since torch 2.1; before that, in the order of the machine, of which all were little.
        Err(StateDictFault::NoEntry { .. }) => {}
        Err(fault) => return Err(fault),
    }
    let pickle = Pickle::read(&mut BufReader::new(file(&mut archive, format!("{folder}data.pkl"))?))?;
    let views = tensors::views(&pickle, entry)?;

    let used: BTreeSet<&str> = views.values().map(|view| &*view.storage.key).collect();
    let mut left = length;
    let mut numbers = BTreeMap::new();
    for (key, storage) in pickle.storages()?.into_iter().filter(|(key, _)| used.contains(&**key)) {
        let file = file(&mut archive, format!("{folder}data/{key}"))?;
        // Files that overlap could hold many times what the archive has bytes for.
        let expected = storage.bytes();
        if file.size() != expected || expected > left {
            return Err(StateDictFault::StorageSize {
                storage: key.to_string(),
                found: file.size().min(left),
                expected,
            });
        }
        left -= expected;
        let mut bytes = Vec::with_capacity(expected as usize);
        file.take(expected).read_to_end(&mut bytes)?;
        numbers.insert(key, storage.tensor(&bytes)?);
    }
    tensors::tensors(views, &numbers)
}

fn file<R: Read + Seek>(archive: &mut ZipArchive<R>, name: String) -> Result<ZipFile<'_, R>, StateDictFault> {
    match archive.by_name(&name) {
        Ok(file) if file.compression() == CompressionMethod::Stored => Ok(file),
        Ok(_) | Err(ZipError::UnsupportedArchive(_)) => Err(StateDictFault::Compressed { name }),
        Err(ZipError::FileNotFound) => Err(StateDictFault::NoEntry { name }),
        Err(error) => Err(error.into()),
    }
}
