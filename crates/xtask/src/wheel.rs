//! The Python wheels that libtorch is put together from, and how their parts are unpacked.
//!
//! A wheel is a zip archive. Its central directory lies at the end, so a truncated one does not even open, and every
//! member carries a CRC, so damage inside is noticed while the member is read.

use std::fmt;
use std::fs::{self, File};
use std::io::{self, BufReader, Read, Write};
use std::path::{Component, Path, PathBuf};

use anyhow::Context;
use indicatif::ProgressBar;
use zip::ZipArchive;

use crate::manifest::Entry;

/// A wheel and what is wanted of it.
#[derive(Debug)]
pub(crate) struct Wheel {
    /// The package's name.
    pub(crate) name: &'static str,
    /// Its exact version.
    pub(crate) version: &'static str,
    /// The members that are wanted.
    pub(crate) parts: Parts,
}

/// What is taken out of a wheel.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Parts {
    /// torch's headers and these of its libraries.
    Torch(&'static [&'static str]),
    /// These shared libraries, whichever folder they lie in.
    Libraries(&'static [&'static str]),
    /// All shared libraries.
    AllLibraries,
}

impl Parts {
    /// Where a member goes inside libtorch's folder; none when it is not wanted.
    ///
    /// All libraries go side by side into `lib`, where each finds the others: `$ORIGIN` is in their library path.
    fn destination(&self, member: &Path) -> Option<PathBuf> {
        if member.components().any(|part| !matches!(part, Component::Normal(_))) {
            return None;
        }
        let name = member.file_name()?.to_str()?;
        let in_lib = || Path::new("lib").join(name);
        match self {
            Self::Torch(libraries) => match member.strip_prefix("torch/include") {
                Ok(header) => Some(Path::new("include").join(header)),
                Err(_) => (member.parent()? == "torch/lib" && libraries.contains(&name)).then(in_lib),
            },
            Self::Libraries(libraries) => libraries.contains(&name).then(in_lib),
            Self::AllLibraries => (name.ends_with(".so") || name.contains(".so.")).then(in_lib),
        }
    }

    /// The libraries that must have been found.
    fn named(&self) -> &'static [&'static str] {
        match self {
            Self::Torch(libraries) | Self::Libraries(libraries) => libraries,
            Self::AllLibraries => &[],
        }
    }
}

impl Wheel {
    /// Whether a file's name says that it is this wheel for Linux on x86-64.
    pub(crate) fn is_named(&self, file: &str) -> bool {
        let prefix = format!("{}-{}-", self.name.replace('-', "_"), self.version);
        file.starts_with(&prefix) && (file.ends_with("x86_64.whl") || file.ends_with("-none-any.whl"))
    }
}

impl fmt::Display for Wheel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.name, self.version)
    }
}

/// Why a wheel could not be unpacked.
#[derive(Debug)]
pub(crate) enum UnpackError {
    /// The wheel is truncated or damaged, or lacks something: another copy may do.
    Broken(anyhow::Error),
    /// The files could not be written: another copy would not help.
    Write(anyhow::Error),
}

/// A wheel whose directory has been read.
#[derive(Debug)]
pub(crate) struct OpenWheel {
    archive: ZipArchive<BufReader<File>>,
    /// The member's number, its destination and its size.
    members: Vec<(usize, PathBuf, u64)>,
}

impl OpenWheel {
    /// Reads the directory of the wheel at a path and picks the wanted parts.
    pub(crate) fn open(path: &Path, parts: Parts) -> Result<Self, UnpackError> {
        Self::pick(path, parts)
            .context("reading its directory")
            .map_err(UnpackError::Broken)
    }

    fn pick(path: &Path, parts: Parts) -> anyhow::Result<Self> {
        let mut archive = ZipArchive::new(BufReader::new(File::open(path)?))?;
        let mut members = Vec::new();
        for number in 0..archive.len() {
            let member = archive.by_index_raw(number)?;
            let destination = member
                .is_file()
                .then(|| parts.destination(Path::new(member.name())))
                .flatten();
            if let Some(destination) = destination {
                members.push((number, destination, member.size()));
            }
        }
        for library in parts.named() {
            let there = members.iter().any(|(_, path, _)| path.ends_with(library));
            anyhow::ensure!(there, "{library} is not in it");
        }
        anyhow::ensure!(!members.is_empty(), "it holds no library");
        Ok(Self { archive, members })
    }

    /// The bytes that unpacking will write.
    pub(crate) fn bytes(&self) -> u64 {
        self.members.iter().map(|(_, _, bytes)| bytes).sum()
    }

    /// Unpacks the wanted parts into a folder and lists them.
    pub(crate) fn unpack(mut self, into: &Path, progress: &ProgressBar) -> Result<Vec<Entry>, UnpackError> {
        let mut entries = Vec::with_capacity(self.members.len());
        let mut buffer = vec![0; 1 << 18];
        for (number, destination, bytes) in self.members {
            let mut member = self
                .archive
                .by_index(number)
                .map_err(|e| UnpackError::Broken(e.into()))?;
            let path = into.join(&destination);
            let written = copy(&mut member, &path, &mut buffer, progress)?;
            if written != bytes {
                let short = anyhow::anyhow!("{} has {written} bytes instead of {bytes}", destination.display());
                return Err(UnpackError::Broken(short));
            }
            entries.push(Entry {
                path: destination.to_string_lossy().into_owned(),
                bytes,
            });
        }
        Ok(entries)
    }
}

fn name(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

fn copy(from: &mut impl Read, to: &Path, buffer: &mut [u8], progress: &ProgressBar) -> Result<u64, UnpackError> {
    let cannot_write = |error: io::Error| {
        UnpackError::Write(anyhow::Error::new(error).context(format!("cannot write {}", to.display())))
    };
    if let Some(parent) = to.parent() {
        fs::create_dir_all(parent).map_err(cannot_write)?;
    }
    let mut file = File::create(to).map_err(cannot_write)?;
    let mut written = 0;
    loop {
        // The end of the member is where its CRC is compared.
        let count = match from.read(buffer) {
            Ok(0) => return Ok(written),
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => {
                return Err(UnpackError::Broken(
                    anyhow::Error::new(error).context(format!("reading {}", name(to))),
                ));
            }
        };
        file.write_all(&buffer[..count]).map_err(cannot_write)?;
        written += count as u64;
        progress.inc(count as u64);
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use std::io::Seek;

    use zip::ZipWriter;
    use zip::write::SimpleFileOptions;

    use super::*;

    /// Writes a wheel of these members.
    pub(crate) fn write_wheel(path: &Path, members: &[(&str, &[u8])]) {
        let mut writer = ZipWriter::new(File::create(path).unwrap());
        for (name, content) in members {
            writer.start_file(*name, SimpleFileOptions::default()).unwrap();
            writer.write_all(content).unwrap();
        }
        writer.finish().unwrap();
    }

    fn unpack(path: &Path, parts: Parts, into: &Path) -> Result<Vec<Entry>, UnpackError> {
        OpenWheel::open(path, parts)?.unpack(into, &ProgressBar::hidden())
    }

    const PARTS: Parts = Parts::Torch(&["libtorch.so"]);

    /// Bytes that do not compress, so that a place in the archive is a place in the content.
    fn noise(length: usize) -> Vec<u8> {
        let mut state = 1_u32;
        let next = || {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 24) as u8
        };
        std::iter::repeat_with(next).take(length).collect()
    }

    fn torch_wheel(folder: &Path) -> PathBuf {
        let path = folder.join("torch-2.11.0-cp312-cp312-manylinux_2_28_x86_64.whl");
        let library = noise(100_000);
        write_wheel(
            &path,
            &[
                ("torch/include/ATen/ATen.h", b"header"),
                ("torch/lib/libtorch.so", &library),
                ("torch/lib/libtorch_python.so", b"not wanted"),
                ("torch/lib/sub/libtorch.so", b"not wanted"),
                ("torch/__init__.py", b"not wanted"),
            ],
        );
        path
    }

    #[test]
    fn only_the_wanted_parts_are_unpacked() {
        let folder = tempfile::tempdir().unwrap();
        let into = folder.path().join("into");
        let entries = unpack(&torch_wheel(folder.path()), PARTS, &into).unwrap();
        let paths: Vec<_> = entries.iter().map(|entry| (entry.path.as_str(), entry.bytes)).collect();
        assert_eq!(paths, [("include/ATen/ATen.h", 6), ("lib/libtorch.so", 100_000)]);
        assert_eq!(fs::read(into.join("include/ATen/ATen.h")).unwrap(), b"header");
        assert_eq!(fs::read_dir(into.join("lib")).unwrap().count(), 1);
    }

    #[test]
    fn a_truncated_wheel_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = torch_wheel(folder.path());
        let whole = fs::metadata(&path).unwrap().len();
        for length in [0, 10, whole / 2, whole - 1] {
            File::options()
                .write(true)
                .open(&path)
                .unwrap()
                .set_len(length)
                .unwrap();
            let result = unpack(&path, PARTS, &folder.path().join("into"));
            assert!(
                matches!(result, Err(UnpackError::Broken(_))),
                "{length} of {whole} bytes: {result:?}"
            );
            torch_wheel(folder.path());
        }
    }

    #[test]
    fn a_changed_byte_is_noticed() {
        let folder = tempfile::tempdir().unwrap();
        let path = torch_wheel(folder.path());
        let mut file = File::options().read(true).write(true).open(&path).unwrap();
        file.seek(io::SeekFrom::Start(50_000)).unwrap();
        let mut byte = [0];
        file.read_exact(&mut byte).unwrap();
        file.seek(io::SeekFrom::Start(50_000)).unwrap();
        file.write_all(&[byte[0] ^ 1]).unwrap();
        let result = unpack(&path, PARTS, &folder.path().join("into"));
        assert!(matches!(result, Err(UnpackError::Broken(_))), "{result:?}");
    }

    #[test]
    fn a_wheel_that_lacks_a_library_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = torch_wheel(folder.path());
        let result = OpenWheel::open(&path, Parts::Torch(&["libtorch.so", "libc10.so"]));
        assert!(matches!(result, Err(UnpackError::Broken(_))));
    }

    #[test]
    fn a_member_cannot_leave_the_folder() {
        assert_eq!(PARTS.destination(Path::new("torch/include/../../../x")), None);
        assert_eq!(Parts::AllLibraries.destination(Path::new("/lib/x.so")), None);
    }

    #[test]
    fn libraries_lie_side_by_side() {
        let member = Path::new("nvidia/cudnn/lib/libcudnn.so.9");
        assert_eq!(
            Parts::AllLibraries.destination(member),
            Some(PathBuf::from("lib/libcudnn.so.9"))
        );
        assert_eq!(Parts::Libraries(&["libcudart.so.13"]).destination(member), None);
        assert_eq!(
            Parts::AllLibraries.destination(Path::new("nvidia/cudnn/include/cudnn.h")),
            None
        );
    }

    #[test]
    fn a_wheel_is_known_by_its_exact_version() {
        let wheel = Wheel {
            name: "nvidia-cuda-cupti",
            version: "13.0.85",
            parts: Parts::AllLibraries,
        };
        assert!(wheel.is_named("nvidia_cuda_cupti-13.0.85-py3-none-manylinux_2_25_x86_64.whl"));
        assert!(!wheel.is_named("nvidia_cuda_cupti-13.0.8-py3-none-manylinux_2_25_x86_64.whl"));
        assert!(!wheel.is_named("nvidia_cuda_cupti-13.0.85-py3-none-manylinux_2_25_aarch64.whl"));
        assert!(!wheel.is_named("nvidia_cuda_cupti-13.0.85+x-py3-none-manylinux_2_25_x86_64.whl"));
    }
}
