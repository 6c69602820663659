//! Which libtorch the cargo commands get: the user's, or the one in `target/libtorch`.

use std::ffi::OsString;
use std::fmt;
use std::path::PathBuf;
use std::process::Command;

use crate::install::{self, Build};
use crate::user_libtorch::{self, Origin};
use crate::workspace::Workspace;
use crate::{compiler, manifest};

/// The libtorch version that tch 0.24 is written for.
pub(crate) const VERSION: &str = "2.11.0";

/// A libtorch that was found to be whole and of the right version.
#[derive(Debug)]
pub(crate) struct Libtorch {
    folder: PathBuf,
    libraries: PathBuf,
    version: String,
    ours: bool,
}

impl Libtorch {
    /// The user's libtorch after a check, or `target/libtorch`, which is made when it is missing, incomplete or not
    /// the build that is wanted.
    ///
    /// # Errors
    /// When the user's libtorch does not fit, when no C++ compiler is found, or when libtorch cannot be made.
    pub(crate) fn ready(workspace: &Workspace, wanted: Option<Build>) -> anyhow::Result<Self> {
        compiler::check()?;
        if let Some(origin) = Origin::from_environment(workspace)? {
            let found = user_libtorch::check(&origin, wanted)?;
            return Ok(Self {
                folder: found.folder,
                libraries: found.libraries,
                version: found.version,
                ours: false,
            });
        }
        let folder = workspace.libtorch();
        let version = match manifest::complete_version(&folder) {
            Ok(version) if Build::satisfies(&version, wanted) => version,
            _ => install::run(workspace, wanted.unwrap_or(Build::Cpu))?,
        };
        Ok(Self {
            libraries: folder.join("lib"),
            folder,
            version,
            ours: true,
        })
    }

    /// Makes a cargo command, and what it starts, find this libtorch.
    ///
    /// Binaries carry an rpath, but doc tests do not, and cargo adds libtorch's folder to the library path only when
    /// that lies inside its target folder.
    pub(crate) fn give_to(&self, command: &mut Command) {
        if self.ours && std::env::var_os("LIBTORCH").is_none_or(|value| value.is_empty()) {
            command.env("LIBTORCH", &self.folder);
        }
        let name = if cfg!(target_os = "macos") {
            "DYLD_FALLBACK_LIBRARY_PATH"
        } else {
            "LD_LIBRARY_PATH"
        };
        command.env(name, self.library_path(std::env::var_os(name)));
    }

    fn library_path(&self, before: Option<OsString>) -> OsString {
        let mut path = self.libraries.clone().into_os_string();
        if let Some(before) = before.filter(|value| !value.is_empty()) {
            path.push(":");
            path.push(before);
        }
        path
    }
}

impl fmt::Display for Libtorch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let whose = if self.ours { "" } else { "your " };
        write!(
            f,
            "{whose}libtorch {} in {} is ready",
            self.version,
            self.folder.display()
        )
    }
}

/// Whether a version such as `2.11.0+cpu` is the one that tch is written for, by tch's own rule.
pub(crate) fn fits(version: &str) -> bool {
    version.trim().split('+').next() == Some(VERSION)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_local_part_of_a_version_does_not_matter() {
        assert!(fits("2.11.0"));
        assert!(fits("2.11.0+cpu\n"));
        assert!(fits("2.11.0+cu130"));
        assert!(!fits("2.10.0+cpu"));
        assert!(!fits("2.11.0.dev1"));
        assert!(!fits("2.11.1"));
        assert!(!fits(""));
    }

    #[test]
    fn libtorch_comes_first_in_the_library_path() {
        let libtorch = Libtorch {
            folder: PathBuf::from("/l"),
            libraries: PathBuf::from("/l/lib"),
            version: VERSION.to_owned(),
            ours: false,
        };
        assert_eq!(libtorch.library_path(None), "/l/lib");
        assert_eq!(libtorch.library_path(Some("/a:/b".into())), "/l/lib:/a:/b");
    }
}
