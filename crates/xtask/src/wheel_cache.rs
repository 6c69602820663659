//! The folder that downloaded wheels are kept in, so that the next checkout need not download them.
//!
//! A wheel enters by one rename once it is whole, so whatever lies there under a wheel's name was whole when it came.

use std::env;
use std::fs::{self, File, TryLockError};
use std::path::{Path, PathBuf};

use anyhow::Context;

use crate::pip;
use crate::wheel::Wheel;
use crate::workspace::Workspace;

/// What the names of unfinished downloads begin with.
const PARTIAL: &str = "partial-";

/// The folders that wheels are looked for in: the user's cache, then one in this checkout for when the former cannot
/// be written.
#[derive(Debug)]
pub(crate) struct WheelCache {
    folders: Vec<PathBuf>,
}

impl WheelCache {
    pub(crate) fn new(workspace: &Workspace) -> Self {
        let absolute = |name: &str| env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
        let user = absolute("XDG_CACHE_HOME").or_else(|| Some(absolute("HOME")?.join(".cache")));
        let user = user.map(|cache| cache.join("camseg/wheels"));
        Self::of(user.into_iter().chain([workspace.target().join("wheels")]).collect())
    }

    /// A cache of these folders; the first that can be written takes the downloads.
    pub(crate) fn of(folders: Vec<PathBuf>) -> Self {
        Self { folders }
    }

    /// Where a wheel lies.
    pub(crate) fn find(&self, wheel: &Wheel) -> Option<PathBuf> {
        let files = self
            .folders
            .iter()
            .filter_map(|folder| fs::read_dir(folder).ok())
            .flatten()
            .flatten();
        files.map(|file| file.path()).find(|path| {
            path.file_name()
                .and_then(|name| name.to_str())
                .is_some_and(|name| wheel.is_named(name))
                && path.is_file()
        })
    }

    /// Downloads those wheels that are missing.
    ///
    /// # Errors
    /// When no folder can be written or the download fails.
    pub(crate) fn fetch(&self, wheels: &[Wheel]) -> anyhow::Result<()> {
        let missing = || {
            wheels
                .iter()
                .filter(|wheel| self.find(wheel).is_none())
                .collect::<Vec<_>>()
        };
        if missing().is_empty() {
            return Ok(());
        }
        let (folder, _lock) = self.writable()?;
        // Another run may have downloaded them while this one waited.
        let missing = missing();
        if missing.is_empty() {
            return Ok(());
        }
        remove_partial(&folder);
        let partial = folder.join(format!("{PARTIAL}{}", std::process::id()));
        fs::create_dir_all(&partial).with_context(|| format!("cannot create {}", partial.display()))?;
        eprintln!("Downloading {} into {}", names(&missing), folder.display());
        let result = pip::download(&missing, &partial).and_then(|()| keep(&missing, &partial, &folder));
        let _ = fs::remove_dir_all(&partial);
        result
    }

    /// The first folder that can be written, locked against other runs.
    fn writable(&self) -> anyhow::Result<(PathBuf, File)> {
        let mut reasons = Vec::new();
        for folder in &self.folders {
            match lock(folder, "lock", "another download") {
                Ok(file) => return Ok((folder.clone(), file)),
                Err(error) => reasons.push(format!("{error:#}")),
            }
        }
        anyhow::bail!("No folder for the download can be written: {}.", reasons.join("; "));
    }
}

/// Holds a lock file until it is dropped, waiting for another run that holds it.
pub(crate) fn lock(folder: &Path, name: &str, other: &str) -> anyhow::Result<File> {
    fs::create_dir_all(folder).with_context(|| format!("cannot create {}", folder.display()))?;
    let path = folder.join(name);
    let file = File::options().create(true).truncate(false).write(true).open(&path);
    let file = file.with_context(|| format!("cannot write {}", path.display()))?;
    match file.try_lock() {
        Ok(()) => return Ok(file),
        Err(TryLockError::WouldBlock) => eprintln!("Waiting for {other} to finish"),
        Err(TryLockError::Error(_)) => {}
    }
    file.lock().with_context(|| format!("cannot lock {}", path.display()))?;
    Ok(file)
}

/// Clears away what interrupted runs left; the lock says that no other run is at work.
fn remove_partial(folder: &Path) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        if entry.file_name().to_str().is_some_and(|name| name.starts_with(PARTIAL)) {
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}

fn keep(wheels: &[&Wheel], from: &Path, to: &Path) -> anyhow::Result<()> {
    let mut kept = Vec::new();
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let name = entry.file_name();
        let Some(name) = name
            .to_str()
            .filter(|name| wheels.iter().any(|wheel| wheel.is_named(name)))
        else {
            continue;
        };
        fs::rename(entry.path(), to.join(name)).with_context(|| format!("cannot keep {name} in {}", to.display()))?;
        kept.push(name.to_owned());
    }
    for wheel in wheels {
        anyhow::ensure!(
            kept.iter().any(|name| wheel.is_named(name)),
            "pip reported success but left no wheel of {wheel}"
        );
    }
    Ok(())
}

fn names(wheels: &[&Wheel]) -> String {
    wheels
        .iter()
        .map(|wheel| wheel.to_string())
        .collect::<Vec<_>>()
        .join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wheel::Parts;

    const WHEEL: Wheel = Wheel {
        name: "torch",
        version: "2.11.0",
        parts: Parts::AllLibraries,
    };
    const FILE: &str = "torch-2.11.0-cp312-cp312-manylinux_2_28_x86_64.whl";

    #[test]
    fn a_download_that_was_cut_off_is_not_found_and_is_cleared_away() {
        let folder = tempfile::tempdir().unwrap();
        let partial = folder.path().join("partial-1");
        fs::create_dir(&partial).unwrap();
        fs::write(partial.join(FILE), "half").unwrap();
        let cache = WheelCache::of(vec![folder.path().to_owned()]);
        assert_eq!(cache.find(&WHEEL), None);
        remove_partial(folder.path());
        assert!(!partial.exists());
    }

    #[test]
    fn a_finished_download_enters_and_is_found() {
        let folder = tempfile::tempdir().unwrap();
        let from = tempfile::tempdir_in(folder.path()).unwrap();
        fs::create_dir(from.path().join("tmp")).unwrap();
        let cache = WheelCache::of(vec![folder.path().join("nowhere"), folder.path().to_owned()]);
        assert!(keep(&[&WHEEL], from.path(), folder.path()).is_err());
        fs::write(from.path().join(FILE), "whole").unwrap();
        keep(&[&WHEEL], from.path(), folder.path()).unwrap();
        assert_eq!(cache.find(&WHEEL), Some(folder.path().join(FILE)));
    }

    #[test]
    fn the_second_folder_serves_when_the_first_cannot_be_written() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("file");
        fs::write(&file, "").unwrap();
        let cache = WheelCache::of(vec![file.join("wheels"), folder.path().join("second")]);
        assert_eq!(cache.writable().unwrap().0, folder.path().join("second"));
    }
}
