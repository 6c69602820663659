//! What a complete libtorch in `target/libtorch` holds, so that a damaged one is noticed.
//!
//! The manifest is written last, one line `<bytes> <path>` for every file.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use anyhow::{Context, ensure};

use crate::libtorch;

/// The manifest's name inside libtorch's folder.
const MANIFEST: &str = "manifest";

/// The file that tch reads the version from.
const BUILD_VERSION: &str = "build-version";

/// One unpacked file: where it lies inside libtorch's folder, and its bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) path: String,
    pub(crate) bytes: u64,
}

/// Writes the version and, last of all, the manifest. A folder without one is no libtorch.
pub(crate) fn seal(folder: &Path, version: &str, entries: &[Entry]) -> anyhow::Result<()> {
    let write = |name: &str, text: &str| {
        let path = folder.join(name);
        fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))
    };
    write(BUILD_VERSION, &format!("{version}\n"))?;
    let mut text = String::new();
    for Entry { path, bytes } in entries {
        writeln!(text, "{bytes} {path}")?;
    }
    write(MANIFEST, &text)
}

/// The version of a complete libtorch.
///
/// # Errors
/// When the manifest is missing, a file is missing or of another size, or the version is another.
pub(crate) fn complete_version(folder: &Path) -> anyhow::Result<String> {
    let manifest = fs::read_to_string(folder.join(MANIFEST)).context("it has no manifest")?;
    ensure!(!manifest.is_empty(), "its manifest is empty");
    for line in manifest.lines() {
        let entry = line
            .split_once(' ')
            .and_then(|(bytes, path)| Some((bytes.parse::<u64>().ok()?, path)));
        let (bytes, path) = entry.with_context(|| format!("its manifest is damaged at {line:?}"))?;
        let found = fs::metadata(folder.join(path)).with_context(|| format!("{path} is missing"))?;
        ensure!(
            found.len() == bytes,
            "{path} has {} bytes instead of {bytes}",
            found.len()
        );
    }
    let version = fs::read_to_string(folder.join(BUILD_VERSION)).context("it has no build-version")?;
    let version = version.trim().to_owned();
    ensure!(libtorch::fits(&version), "it is version {version}");
    Ok(version)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sealed(version: &str) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("lib")).unwrap();
        fs::write(folder.path().join("lib/libtorch.so"), "12345").unwrap();
        let entries = [Entry {
            path: "lib/libtorch.so".to_owned(),
            bytes: 5,
        }];
        seal(folder.path(), version, &entries).unwrap();
        folder
    }

    #[test]
    fn a_sealed_folder_is_complete() {
        assert_eq!(complete_version(sealed("2.11.0+cpu").path()).unwrap(), "2.11.0+cpu");
    }

    #[test]
    fn a_folder_without_a_manifest_is_not() {
        let folder = sealed("2.11.0+cpu");
        fs::remove_file(folder.path().join(MANIFEST)).unwrap();
        assert!(complete_version(folder.path()).is_err());
        assert!(complete_version(&folder.path().join("nowhere")).is_err());
    }

    #[test]
    fn a_missing_or_shortened_file_is_noticed() {
        let folder = sealed("2.11.0+cpu");
        let library = folder.path().join("lib/libtorch.so");
        fs::write(&library, "123").unwrap();
        assert!(
            complete_version(folder.path())
                .unwrap_err()
                .to_string()
                .contains("3 bytes instead of 5")
        );
        fs::remove_file(&library).unwrap();
        assert!(
            complete_version(folder.path())
                .unwrap_err()
                .to_string()
                .contains("missing")
        );
    }

    #[test]
    fn another_version_is_made_again() {
        assert!(complete_version(sealed("2.10.0+cpu").path()).is_err());
    }

    #[test]
    fn a_manifest_cut_short_by_a_full_disk_is_noticed() {
        let folder = sealed("2.11.0+cpu");
        for text in ["", "5"] {
            fs::write(folder.path().join(MANIFEST), text).unwrap();
            assert!(complete_version(folder.path()).is_err(), "{text:?}");
        }
    }
}
