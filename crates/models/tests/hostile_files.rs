//! Weights files that were cut short, that rotted, or that somebody made to do harm: the answer is an error that names
//! the file, or the weights, never a panic, and costs neither much memory nor time.
//!
//! `src/state_dict` has tests of its own for what torch's files can hold.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use models::{Architecture, LoadRules, ModelError, Network, NetworkConfig};
use tch::Device;

/// What reading a file of some kilobytes may take beyond what the network itself has.
const MEMORY: u64 = 64 << 20;
/// It takes less than a thousandth of this, but the machine may have other things to do.
const TIME: Duration = Duration::from_secs(5);

fn golden(name: &str) -> Vec<u8> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/goldens/state_dicts");
    fs::read(folder.join(name)).unwrap()
}

/// The most address space that this process ever had, in bytes, where the system tells it.
fn peak() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmPeak:"));
    let kilobytes = line.and_then(|line| line.trim().strip_suffix(" kB"));
    kilobytes.map_or(0, |text| text.parse::<u64>().unwrap() << 10)
}

struct Victim {
    network: Network,
    rules: LoadRules,
    path: PathBuf,
    _folder: tempfile::TempDir,
    peak: u64,
    read: usize,
}

impl Victim {
    /// A network, and the rules by which it reads this file, once.
    fn new(architecture: Architecture, rules: LoadRules, whole: &[u8]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let network = NetworkConfig::new(architecture)
            .with_classes(5)
            .build(Device::Cpu)
            .unwrap();
        let mut victim = Self {
            network,
            rules,
            path: folder.path().join("weights"),
            _folder: folder,
            peak: 0,
            read: 0,
        };
        let _ = victim.load("whole", whole);
        victim.peak = peak();
        victim
    }

    fn load(&mut self, what: &str, bytes: &[u8]) -> Result<(), ModelError> {
        // Anew, since to write over a file makes some file systems wait for the disk.
        let _absent = fs::remove_file(&self.path);
        fs::write(&self.path, bytes).unwrap();
        let start = Instant::now();
        let loaded = self.network.load(&self.path, self.rules.clone());
        assert!(start.elapsed() < TIME, "{what} took {:?}", start.elapsed());
        if self.peak > 0 {
            let more = peak() - self.peak;
            assert!(more < MEMORY, "{what} took {more} bytes");
        }
        self.read += 1;
        if let Err(error) = &loaded {
            let message = error.to_string();
            assert!(message.contains(self.path.to_str().unwrap()), "{what}: {message}");
        }
        loaded.map(drop)
    }

    /// Every beginning of the file, or as many as asked for.
    fn cut(&mut self, name: &str, whole: &[u8], step: usize) {
        for end in (0..whole.len()).step_by(step) {
            let what = format!("{name} cut at {end}");
            assert!(self.load(&what, &whole[..end]).is_err(), "{what}");
        }
    }

    /// Bits, bytes and sizes that are not what they were, at every place or at as many as asked for.
    fn rot(&mut self, name: &str, whole: &[u8], step: usize) {
        for at in (0..whole.len()).step_by(step) {
            let mut changed = |what: &str, new: &[u8]| {
                let mut bytes = whole.to_vec();
                let end = bytes.len().min(at + new.len());
                bytes[at..end].copy_from_slice(&new[..end - at]);
                let _either = self.load(&format!("{name} with {what} at {at}"), &bytes);
            };
            changed("one bit flipped", &[whole[at] ^ 1 << (at % 8)]);
            changed("a last digit or opcode", &[b"09.]}\x80\xff\0"[at / step % 8]]);
            changed("a huge 32-bit number", &(u32::MAX >> (at / step % 3)).to_le_bytes());
            changed("a huge 64-bit number", &(u64::MAX >> (at / step % 3)).to_le_bytes());
        }
    }
}

/// In one test, since the memory is that of the whole process.
#[test]
fn files_that_are_not_whole_are_refused_at_no_cost() {
    let mut read = 0;
    for name in [
        "kinds.pth",
        "kinds-row.pth",
        "kinds-protocol4.pth",
        "kinds-python2.pth",
        "attributes.pth",
        "kinds.safetensors",
    ] {
        let whole = golden(name);
        let mut victim = Victim::new(Architecture::SqueezeNet1_1, LoadRules::default(), &whole);
        victim.cut(name, &whole, 3);
        victim.rot(name, &whole, 7);
        read += victim.read;
    }
    let whole = golden("resnet18.pth");
    let mut victim = Victim::new(Architecture::ResNet18, LoadRules::default(), &whole);
    assert!(victim.load("whole", &whole).is_ok());
    victim.cut("resnet18.pth", &whole, 197);
    victim.rot("resnet18.pth", &whole, 189);
    read += victim.read;

    let whole = golden("checkpoint.pth");
    let rules = LoadRules::default()
        .with_entry("model")
        .with_stripped("module")
        .with_passed_over("projector");
    let mut victim = Victim::new(Architecture::ResNet18, rules, &whole);
    assert!(victim.load("whole", &whole).is_ok());
    victim.cut("checkpoint.pth", &whole, 97);
    victim.rot("checkpoint.pth", &whole, 93);
    read += victim.read;

    let mut victim = Victim::new(Architecture::SqueezeNet1_1, LoadRules::default(), &[]);
    let largest = u64::MAX;
    for (header, data) in [
        (format!(r#"{{"a":{{"dtype":"U8","shape":[{largest}],"data_offsets":[0,{largest}]}}}}"#), 0),
        (format!(r#"{{"a":{{"dtype":"U8","shape":[{}],"data_offsets":[0,{}]}}}}"#, largest - 7, largest - 7), 8),
        (r#"{"a":{"dtype":"F32","shape":[0,9223372036854775808],"data_offsets":[0,0]}}"#.into(), 0),
        (r#"{"a":{"dtype":"F32","shape":[9223372036854775807,0,9],"data_offsets":[0,0]}}"#.into(), 0),
        (r#"{"a":{"dtype":"F32","shape":[4294967296,4294967296],"data_offsets":[0,0]}}"#.into(), 0),
        (r#"{"a":{"dtype":"F32","shape":[2],"data_offsets":[8,0]}}"#.into(), 8),
        (r#"{"a":{"dtype":"F32","shape":[2],"data_offsets":[4,12]}}"#.into(), 12),
        (r#"{"a":{"dtype":"F32","shape":[-2],"data_offsets":[0,8]}}"#.into(), 8),
        (r#"{"a":{"dtype":"I32","shape":[1],"data_offsets":[0,4]},"a":{"dtype":"F32","shape":[2],"data_offsets":[4,12]}}"#.into(), 12),
        (format!(r#"{{"a":{}"#, "[".repeat(1_000_000)), 0),
        (format!(r#"{{"a":{}"#, r#"{"a":"#.repeat(1_000_000)), 0),
        ("{}".into(), 0),
        (String::new(), 0),
    ] {
        let length = (header.len() as u64).to_le_bytes();
        let file = [&length, header.as_bytes(), &vec![0; data]].concat();
        let what = &header[..header.len().min(120)];
        assert!(victim.load(what, &file).is_err(), "{what}");
    }
    for length in [u64::MAX, u64::MAX - 7, i64::MAX as u64, 100_000_000, 99] {
        let file = [length.to_le_bytes().as_slice(), b"{}"].concat();
        assert!(victim.load("a header's length", &file).is_err(), "{length}");
    }
    read += victim.read;
    println!("{read} files");
    assert!(read > 15_000);
}
