use std::collections::BTreeMap;
use std::io::{BufRead, Read as _};
use std::rc::Rc;

use tch::Tensor;

use super::fault::StateDictFault;
use super::pickle::{Pickle, Value};
use super::tensors;

/// The first pickle: torch's magic number, 0x1950a86a20f9469cfc6c.
pub(super) const MAGIC: [u8; 15] = *b"\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19\x2e";
const VERSION: i64 = 1001;

/// Reads the row of pickles that torch 0.1.10 to 1.5 wrote: magic number, version, what the machine
/// was like, the state dict, the storages' keys; then each storage's count and numbers, in that order.
pub(super) fn read(
    mut reader: impl BufRead,
    length: u64,
    entry: Option<&str>,
) -> Result<BTreeMap<String, Tensor>, StateDictFault> {
    reader.read_exact(&mut [0; MAGIC.len()])?;
    let broken = |what| StateDictFault::Broken { what, offset: 0 };
    match Pickle::read(&mut reader)?.root() {
        Value::Int(VERSION) => {}
        _ => return Err(broken("a version other than 1001")),
    }
    let machine = Pickle::read(&mut reader)?;
    if machine.flag("little_endian") == Some(false) {
        return Err(StateDictFault::ByteOrder {
            order: "big".to_owned(),
        });
    }
    let pickle = Pickle::read(&mut reader)?;
    let views = tensors::views(&pickle, entry)?;
    let storages = pickle.storages()?;
    let keys = Pickle::read(&mut reader)?;
    let keys = keys
        .texts()
        .ok_or_else(|| broken("keys of storages that are no list of strings"))?;

    let mut left = length;
    let mut numbers = BTreeMap::new();
    for key in keys {
        let storage = storages
            .get(key)
            .ok_or_else(|| broken("a storage that nothing refers to"))?;
        let mut count = [0; 8];
        reader.read_exact(&mut count)?;
        let count = u64::from_le_bytes(count);
        if count != storage.numel || storage.bytes() > left {
            return Err(StateDictFault::StorageSize {
                storage: key.to_string(),
                found: left.min(count.saturating_mul(storage.kind.elt_size_in_bytes() as u64)),
                expected: storage.bytes(),
            });
        }
        left -= storage.bytes();
        let mut bytes = Vec::with_capacity(storage.bytes() as usize);
        (&mut reader).take(storage.bytes()).read_to_end(&mut bytes)?;
        numbers.insert(Rc::clone(key), storage.tensor(&bytes)?);
    }
    match storages.values().find(|storage| !numbers.contains_key(&storage.key)) {
        Some(storage) => Err(StateDictFault::StorageSize {
            storage: storage.key.to_string(),
            found: 0,
            expected: storage.bytes(),
        }),
        None => tensors::tensors(views, &numbers),
    }
}
