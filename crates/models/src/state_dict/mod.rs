//! State dicts as `torch.save` writes them, read without running a pickle.
//!
//! Both of torch's formats are read: the zip archive of torch 1.6 and later (`data.pkl` beside one
//! file for each storage) and the row of pickles of 0.1.10 to 1.5. What they say is taken only as far
//! as tensors by name go; sizes are believed only as far as the file has the bytes.

mod archive;
mod fault;
mod pickle;
mod row;
mod tensors;

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufRead, BufReader, Read as _, Seek};

use tch::Tensor;

pub use fault::StateDictFault;

/// What a weights file is by its first bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Format {
    Safetensors,
    /// torch's zip archive.
    Archive,
    /// torch's row of pickles.
    Row,
    /// torch's tar archive, which is not read.
    Tar,
    /// What Keras writes, which is not read.
    Hdf5,
}

impl Format {
    fn of(head: &[u8]) -> Self {
        match head {
            _ if head.starts_with(b"PK\x03\x04") => Self::Archive,
            _ if head.starts_with(&row::MAGIC) => Self::Row,
            _ if head.starts_with(b"\x89HDF\r\n\x1a\n") => Self::Hdf5,
            _ if head.get(257..262) == Some(b"ustar") => Self::Tar,
            _ => Self::Safetensors,
        }
    }
}

/// The tensors of a state dict, or of the `entry` of a dictionary that holds it; `None` for a file
/// that is not torch's.
pub(crate) fn read(file: File, entry: Option<&str>) -> Result<Option<BTreeMap<String, Tensor>>, StateDictFault> {
    let length = file.metadata()?.len();
    read_from(BufReader::new(file), length, entry)
}

/// As [`read`], from a reader of so many bytes.
fn read_from(
    mut reader: impl BufRead + Seek,
    length: u64,
    entry: Option<&str>,
) -> Result<Option<BTreeMap<String, Tensor>>, StateDictFault> {
    let mut head = Vec::new();
    reader.by_ref().take(512).read_to_end(&mut head)?;
    reader.rewind()?;
    match Format::of(&head) {
        Format::Safetensors => Ok(None),
        Format::Archive => archive::read(reader, length, entry).map(Some),
        Format::Row => row::read(reader, length, entry).map(Some),
        Format::Tar => Err(StateDictFault::Tar),
        Format::Hdf5 => Err(StateDictFault::Keras),
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Cursor, Write as _};
    use std::path::{Path, PathBuf};

    use proptest::prelude::*;
    use tch::Kind;
    use zip::write::SimpleFileOptions;
    use zip::{CompressionMethod, ZipWriter};

    use super::pickle::Pickle;
    use super::*;

    fn golden(name: &str) -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("tests/goldens/state_dicts")
            .join(name)
    }

    fn open(name: &str) -> File {
        File::open(golden(name)).unwrap()
    }

    fn bytes(name: &str) -> Vec<u8> {
        std::fs::read(golden(name)).unwrap()
    }

    fn read_bytes(bytes: &[u8], entry: Option<&str>) -> Result<Option<BTreeMap<String, Tensor>>, StateDictFault> {
        read_from(Cursor::new(bytes), bytes.len() as u64, entry)
    }

    /// An archive as torch writes it, with this pickle and storages of these bytes.
    fn archive(pickle: &[u8], storages: &[(&str, &[u8])], method: CompressionMethod) -> Vec<u8> {
        let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
        let options = SimpleFileOptions::default().compression_method(method);
        zip.start_file("archive/data.pkl", options).unwrap();
        zip.write_all(pickle).unwrap();
        for (key, bytes) in storages {
            zip.start_file(format!("archive/data/{key}"), options).unwrap();
            zip.write_all(bytes).unwrap();
        }
        zip.finish().unwrap().into_inner()
    }

    /// The pickle of `{"w": tensor}` as torch writes it.
    fn pickle_of_tensor(numel: i32, offset: i32, size: i32, stride: i32) -> Vec<u8> {
        let int = |value: i32| [b"J".as_slice(), &value.to_le_bytes()].concat();
        [
            b"\x80\x02}X\x01\0\0\0w".as_slice(),
            b"ctorch._utils\n_rebuild_tensor_v2\n(",
            b"(X\x07\0\0\0storagectorch\nFloatStorage\nX\x01\0\0\x000X\x03\0\0\0cpu",
            &int(numel),
            b"tQ",
            &int(offset),
            &int(size),
            b"\x85",
            &int(stride),
            b"\x85\x89ccollections\nOrderedDict\n)RtRs.",
        ]
        .concat()
    }

    fn refused(pickle: &[u8]) -> StateDictFault {
        read_bytes(&archive(pickle, &[], CompressionMethod::Stored), None).unwrap_err()
    }

    #[test]
    fn every_kind_and_view_is_read_from_either_format() {
        let expected: BTreeMap<String, Tensor> = Tensor::read_safetensors(golden("kinds.safetensors"))
            .unwrap()
            .into_iter()
            .collect();
        for name in ["kinds.pth", "kinds-row.pth", "kinds-protocol4.pth"] {
            let tensors = read(open(name), None).unwrap().unwrap();
            assert_eq!(
                tensors.keys().collect::<Vec<_>>(),
                expected.keys().collect::<Vec<_>>(),
                "{name}"
            );
            for (key, tensor) in &tensors {
                let expected = &expected[key];
                assert_eq!(
                    (tensor.kind(), tensor.size()),
                    (expected.kind(), expected.size()),
                    "{name}: {key}"
                );
                assert!(tensor.equal(expected), "{name}: {key}");
            }
        }
        // bfloat16 and truth values came later.
        let tensors = read(open("kinds-python2.pth"), None).unwrap().unwrap();
        assert_eq!(tensors.len(), expected.len() - 2);
        for (key, tensor) in &tensors {
            assert_eq!(tensor.kind(), expected[key].kind(), "{key}");
            assert!(tensor.equal(&expected[key]), "{key}: {tensor}");
        }
        let tensors = read(open("attributes.pth"), None).unwrap().unwrap();
        for name in ["tensor", "parameter"] {
            assert_eq!(Vec::<f32>::try_from(&tensors[name]).unwrap(), [0.0, 1.0, 2.0, 3.0]);
        }
        assert!(
            read(open("kinds.safetensors"), None).unwrap().is_none(),
            "left to another reader"
        );
    }

    #[test]
    fn an_entry_is_read_from_between_others() {
        let checkpoint = || open("checkpoint.pth");
        let tensors = read(checkpoint(), Some("model")).unwrap().unwrap();
        assert_eq!(tensors["module.fc.weight"].size(), [5, 512]);
        let message = |entry| read(checkpoint(), entry).unwrap_err().to_string();
        assert!(
            message(Some("weights")).contains("no entry `weights`; there are: best, classes, epoch, model, optimizer")
        );
        assert!(message(Some("epoch")).contains("the entry `epoch` is an integer"));
        let whole = message(None);
        assert!(whole.contains("`best` is a number; expected a tensor"), "{whole}");
    }

    #[test]
    fn what_is_no_state_dict_is_refused_by_name() {
        let message = read(open("module.pth"), None).unwrap_err().to_string();
        assert!(message.contains("torch.nn.modules.linear.Linear"), "{message}");
        let message = refused(b"\x80\x02cposix\nsystem\nX\x04\0\0\0true\x85R.").to_string();
        assert_eq!(
            message,
            "its pickle asks for `posix.system` at byte 2, which no state dict needs"
        );
        let by_stack = refused(b"\x80\x04\x8c\x02os\x8c\x06system\x93.").to_string();
        assert!(by_stack.contains("`os.system` at byte 14"), "{by_stack}");
        let instruction = refused(b"\x80\x02}i").to_string();
        assert_eq!(
            instruction,
            "its pickle has the instruction 0x69 at byte 3, which no state dict needs"
        );
        assert!(matches!(
            refused(b"\x80\x02K\x01."),
            StateDictFault::NotADictionary { .. }
        ));
        assert!(matches!(
            refused(b"\x80\x02}K\x01K\x02s."),
            StateDictFault::Key { found: "an integer" }
        ));
        let attributes = refused(b"\x80\x02K\x01}b.").to_string();
        assert!(attributes.contains("no dictionary"), "{attributes}");
        let rebuilt_within = refused(
            b"\x80\x02ctorch._tensor\n_rebuild_from_type_v2\n(ctorch._tensor\n_rebuild_from_type_v2\nctorch\nTensor\n)}tR.",
        );
        assert!(matches!(rebuilt_within, StateDictFault::Broken { .. }));
        let mut tar = vec![0; 512];
        tar[257..262].copy_from_slice(b"ustar");
        assert!(matches!(read_bytes(&tar, None), Err(StateDictFault::Tar)));
        let hdf5 = read_bytes(b"\x89HDF\r\n\x1a\n\0\0\0\0", None);
        assert!(matches!(hdf5, Err(StateDictFault::Keras)));
        let mut keras = ZipWriter::new(Cursor::new(Vec::new()));
        for name in ["metadata.json", "config.json", "model.weights.h5"] {
            keras.start_file(name, SimpleFileOptions::default()).unwrap();
        }
        let keras = keras.finish().unwrap().into_inner();
        assert!(matches!(read_bytes(&keras, None), Err(StateDictFault::Keras)));
        let script = std::fs::read(golden("../torch_script/trunk.pt")).unwrap();
        assert!(matches!(read_bytes(&script, None), Err(StateDictFault::TorchScript)));
    }

    #[test]
    fn a_made_archive_is_read_and_wrong_sizes_are_named() {
        let floats: Vec<u8> = (0..6_u8).flat_map(|value| f32::from(value).to_le_bytes()).collect();
        let read = |pickle: &[u8], bytes: &[u8], method| read_bytes(&archive(pickle, &[("0", bytes)], method), None);
        let tensors = read(&pickle_of_tensor(6, 1, 3, 2), &floats, CompressionMethod::Stored)
            .unwrap()
            .unwrap();
        assert_eq!(
            Vec::<f32>::try_from(tensors["w"].contiguous()).unwrap(),
            [1.0, 3.0, 5.0]
        );
        assert_eq!(tensors["w"].kind(), Kind::Float);

        let fault = |pickle: &[u8]| read(pickle, &floats, CompressionMethod::Stored).unwrap_err();
        for (offset, size, stride) in [(2, 3, 2), (-1, 1, 1), (0, -1, 1), (0, 2, -1), (0, 7, 1), (6, 1, 0)] {
            assert!(
                matches!(
                    fault(&pickle_of_tensor(6, offset, size, stride)),
                    StateDictFault::OutOfStorage { .. }
                ),
                "{offset} {size} {stride}"
            );
        }
        for numel in [5, 7, i32::MAX] {
            assert!(matches!(
                fault(&pickle_of_tensor(numel, 0, 1, 1)),
                StateDictFault::StorageSize { found: 24, .. }
            ));
        }
        assert!(matches!(
            fault(&pickle_of_tensor(-1, 0, 1, 1)),
            StateDictFault::Broken { .. }
        ));
        let missing = read_bytes(
            &archive(&pickle_of_tensor(6, 0, 1, 1), &[], CompressionMethod::Stored),
            None,
        );
        assert!(matches!(missing, Err(StateDictFault::NoEntry { name }) if name == "archive/data/0"));
        let compressed = read(&pickle_of_tensor(6, 0, 1, 1), &floats, CompressionMethod::Deflated);
        assert!(matches!(compressed, Err(StateDictFault::Compressed { .. })));
    }

    #[test]
    fn deep_circular_and_endless_pickles_are_refused_at_no_cost() {
        // A tuple in a tuple in a tuple, a million times.
        let deep = [b"\x80\x02)".as_slice(), &[0x85; 1_000_000], b"."].concat();
        assert!(matches!(
            refused(&deep),
            StateDictFault::NotADictionary { found: "a tuple", .. }
        ));
        // A dictionary that holds itself.
        let circular = refused(b"\x80\x02}q\0X\x01\0\0\0wh\0s.");
        assert!(matches!(
            circular,
            StateDictFault::NotATensor {
                found: "a dictionary",
                ..
            }
        ));
        let endless = [b"\x80\x02".as_slice(), &[b'N'; (1 << 22) + 1]].concat();
        assert!(matches!(
            refused(&endless),
            StateDictFault::TooLarge { what: "values", .. }
        ));
        // A list of many references to one pair, made a dictionary again and again; and as the shape of a size.
        let ordered_dict = b"ccollections\nOrderedDict\nq\0";
        let pairs = [
            b"]q\x01(X\x01\0\0\0wN\x86q\x02".as_slice(),
            &b"h\x02".repeat(1 << 20),
            b"e",
        ]
        .concat();
        let calls = b"h\0h\x01\x85R".repeat(8);
        let copies = [b"\x80\x02".as_slice(), ordered_dict, &pairs, &calls, b"."].concat();
        assert!(matches!(
            refused(&copies),
            StateDictFault::TooLarge { what: "values", .. }
        ));
        let long_size = [
            b"\x80\x02ctorch\nSize\n(".as_slice(),
            &b"K\x01".repeat(1000),
            b"t\x85R.",
        ]
        .concat();
        assert!(matches!(refused(&long_size), StateDictFault::Broken { .. }));
        let long_string = refused(b"\x80\x02X\xff\xff\xff\xff");
        assert!(matches!(long_string, StateDictFault::TooLarge { .. }));
    }

    #[test]
    fn an_archive_of_many_faulty_directories_is_given_up() {
        const FILES: u16 = 2000;
        // A directory that is one file short; behind it thousands of ends, each of which says that it is whole.
        let entry = [b"PK\x01\x02".as_slice(), &[0; 42]].concat();
        let counts = [(FILES + 1).to_le_bytes(); 2].concat();
        let place = 4_u32.to_le_bytes();
        let end = [b"PK\x05\x06\0\0\0\0".as_slice(), &counts, &[0; 4], &place, &[0; 2]].concat();
        let bytes = [
            b"PK\x03\x04".as_slice(),
            &entry.repeat(FILES.into()),
            &end.repeat(10_000),
        ]
        .concat();
        let start = std::time::Instant::now();
        let fault = read_bytes(&bytes, None).unwrap_err();
        assert!(matches!(fault, StateDictFault::Zip(_)), "{fault}");
        // A quarter of a minute if each were searched, and four times that for a file twice as long.
        assert!(start.elapsed().as_secs() < 5, "{:?}", start.elapsed());
    }

    #[test]
    fn numbers_in_the_other_byte_order_are_refused() {
        let mut row = bytes("kinds-row.pth");
        let at = row.windows(13).position(|window| window == b"little_endian").unwrap();
        let value = (at..).find(|&index| row[index] == 0x88).unwrap();
        row[value] = 0x89;
        assert!(matches!(read_bytes(&row, None), Err(StateDictFault::ByteOrder { .. })));
    }

    #[test]
    fn a_file_that_ends_early_is_an_error_wherever_it_ends() {
        for name in ["kinds.pth", "kinds-row.pth", "kinds-python2.pth"] {
            let whole = bytes(name);
            for end in 0..whole.len() {
                match read_bytes(&whole[..end], None) {
                    Err(_) => {}
                    Ok(None) => assert!(end < 15, "{name} is torch's by its first bytes"),
                    Ok(Some(_)) => panic!("{name} was read from its first {end} bytes"),
                }
            }
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig {
            cases: 4000,
            rng_seed: prop::test_runner::RngSeed::Fixed(7),
            failure_persistence: None,
            ..ProptestConfig::default()
        })]

        /// Whatever stands in a file, the answer is a value: tensors that lie in their storages, or an error.
        #[test]
        fn changed_files_are_read_or_refused(
            name in prop::sample::select(vec!["kinds.pth", "kinds-row.pth", "kinds-python2.pth"]),
            changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
        ) {
            let mut bytes = bytes(name);
            for (at, value) in changes {
                let at = at.index(bytes.len());
                bytes[at] = value;
            }
            if let Ok(Some(tensors)) = read_bytes(&bytes, None) {
                for tensor in tensors.values().filter(|tensor| tensor.numel() < 10_000) {
                    let _whole = tensor.f_contiguous().unwrap();
                }
            }
        }

        #[test]
        fn any_pickle_is_read_or_refused(
            bytes in prop::collection::vec(prop::sample::select(b"\x80\x02\x04.N\x88\x89JKM\x8aGUX\x8c()t\x85\x86\x87]ae}suqr\x94hjc\x93QRb\0\x01\n0w".to_vec()), 0..60),
        ) {
            let _ = Pickle::read(&mut bytes.as_slice());
        }
    }
}
