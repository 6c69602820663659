use std::io;

use tch::{Kind, TchError};
use zip::result::ZipError;

/// What is wrong with a file that is no safetensors.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StateDictFault {
    /// The bytes could not be read, or end too early.
    #[error("it cannot be read to its end: {0}")]
    Io(#[from] io::Error),
    /// No whole zip archive.
    #[error("it is no whole zip archive: {0}")]
    Zip(#[from] ZipError),
    /// The format that torch wrote before 0.1.10 (2017).
    #[error("it is in torch's oldest format, a tar archive; load it with torch and save it again")]
    Tar,
    /// A network with its code, which is more than its tensors.
    #[error("it is TorchScript, a network with its code; `Stage::torch_script` makes a stage of it")]
    TorchScript,
    /// A model or weights of Keras's, in HDF5 or a `.keras` archive.
    #[error(
        "it is HDF5 or an archive of Keras's; crates/models/scripts/keras_to_safetensors.py converts Keras's weights"
    )]
    Keras,
    /// An archive without one of the files that torch.save writes.
    #[error("the archive has no file `{name}`; expected what torch.save writes")]
    NoEntry {
        /// The file's name within the archive.
        name: String,
    },
    /// An archive that torch.save did not write, since it does not compress.
    #[error("the archive's file `{name}` is compressed; torch.save stores its files as they are")]
    Compressed {
        /// The file's name within the archive.
        name: String,
    },
    /// Numbers of a machine of the other byte order.
    #[error("its numbers are in the byte order `{order}`; expected `little`")]
    ByteOrder {
        /// The order.
        order: String,
    },
    /// A pickle that is larger than any state dict's.
    #[error("its pickle has more than {limit} {what}; no state dict has")]
    TooLarge {
        /// What there is too much of.
        what: &'static str,
        /// How much there may be.
        limit: usize,
    },
    /// An instruction of the pickle that no state dict needs.
    #[error("its pickle has the instruction 0x{opcode:02x} at byte {offset}, which no state dict needs")]
    Opcode {
        /// The instruction.
        opcode: u8,
        /// Where it is in the pickle.
        offset: usize,
    },
    /// A class or function that no state dict needs. It was not looked up, let alone run.
    #[error("its pickle asks for `{global}` at byte {offset}, which no state dict needs")]
    Global {
        /// The Python name, module first.
        global: String,
        /// Where it is in the pickle.
        offset: usize,
    },
    /// Instructions of the pickle that make no sense.
    #[error("its pickle is broken at byte {offset}: {what}")]
    Broken {
        /// What was found, and what was expected.
        what: &'static str,
        /// Where, in the pickle.
        offset: usize,
    },
    /// Something else than a dictionary where one was expected.
    #[error("{at} is {found}; expected a dictionary of tensors")]
    NotADictionary {
        /// The whole file, or an entry.
        at: String,
        /// What it is.
        found: &'static str,
    },
    /// A dictionary without the entry that was asked for.
    #[error("it has no entry `{entry}`; there are: {}", entries.join(", "))]
    NoSuchEntry {
        /// The entry asked for.
        entry: String,
        /// Those that there are.
        entries: Vec<String>,
    },
    /// A key that is no name.
    #[error("a key of the dictionary is {found}; expected a name")]
    Key {
        /// What it is.
        found: &'static str,
    },
    /// A value that is no tensor.
    #[error(
        "`{key}` is {found}; expected a tensor (where a dictionary of tensors lies within another, name its entry)"
    )]
    NotATensor {
        /// The value's name.
        key: String,
        /// What it is.
        found: &'static str,
    },
    /// A storage that is said to be one thing and another.
    #[error("the storage `{storage}` is both {} {:?} and {} {:?}", one.1, one.0, other.1, other.0)]
    TwoStorages {
        /// The storage's name.
        storage: String,
        /// The kind and count of its numbers where it is first named.
        one: (Kind, u64),
        /// The kind and count of its numbers where it is named again.
        other: (Kind, u64),
    },
    /// A storage of another size than the pickle says.
    #[error("the storage `{storage}` has {found} bytes; expected {expected}")]
    StorageSize {
        /// The storage's name.
        storage: String,
        /// Its bytes in the file.
        found: u64,
        /// Its bytes by the pickle.
        expected: u64,
    },
    /// A tensor that reaches out of its storage.
    #[error(
        "`{key}` of shape {shape:?}, strides {strides:?} and offset {offset} reaches out of its storage of {numel} numbers"
    )]
    OutOfStorage {
        /// The tensor's name.
        key: String,
        /// Its shape.
        shape: Vec<i64>,
        /// Its strides.
        strides: Vec<i64>,
        /// Where it begins.
        offset: i64,
        /// How many numbers the storage has.
        numel: u64,
    },
    /// An error of libtorch's own.
    #[error(transparent)]
    Torch(#[from] TchError),
}
