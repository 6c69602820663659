//! A libtorch that the user chose by tch's own variables: found, checked, never changed.

use std::env::{self, consts};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, bail, ensure};

use crate::install::Build;
use crate::libtorch::{self, VERSION};
use crate::workspace::Workspace;

/// What the user set. tch asks for the variables in this order.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Origin {
    /// `LIBTORCH_USE_PYTORCH`: the torch package of the active Python.
    PyTorch { python: &'static str },
    /// `LIBTORCH`, with the folders that hold `include` and `lib`, which may be set apart from it.
    Folder {
        folder: PathBuf,
        include: PathBuf,
        lib: PathBuf,
    },
}

/// A user's libtorch that fits.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Found {
    pub(crate) folder: PathBuf,
    pub(crate) libraries: PathBuf,
    pub(crate) version: String,
}

impl Origin {
    /// What the environment says; none when it leaves the choice to us. cargo itself sets `LIBTORCH` to
    /// `target/libtorch` where the user did not.
    ///
    /// # Errors
    /// When `LIBTORCH` is a relative path, which tch would look up in its own folder.
    pub(crate) fn from_environment(workspace: &Workspace) -> anyhow::Result<Option<Self>> {
        if env::var_os("LIBTORCH_USE_PYTORCH").is_some() {
            let python = if env::var_os("VIRTUAL_ENV").is_some() {
                "python"
            } else {
                "python3"
            };
            return Ok(Some(Self::PyTorch { python }));
        }
        let Some(folder) = env::var_os("LIBTORCH")
            .filter(|value| !value.is_empty())
            .map(PathBuf::from)
        else {
            return Ok(None);
        };
        if is_ours(&folder, &workspace.libtorch()) {
            return Ok(None);
        }
        ensure!(
            folder.is_absolute(),
            "LIBTORCH is {}, a relative path.\nSet it to the absolute path of a libtorch {VERSION}, or unset it to have \
             one fetched.",
            folder.display()
        );
        let apart = |name: &str| env::var_os(name).map_or_else(|| folder.clone(), PathBuf::from);
        Ok(Some(Self::Folder {
            include: apart("LIBTORCH_INCLUDE"),
            lib: apart("LIBTORCH_LIB"),
            folder,
        }))
    }
}

/// `target/libtorch` is ours, unless it is a link: then the user put their own there.
fn is_ours(folder: &Path, target: &Path) -> bool {
    let same =
        folder == target || fs::canonicalize(folder).is_ok_and(|f| fs::canonicalize(target).is_ok_and(|t| f == t));
    same && !target.is_symlink()
}

/// Checks that a user's libtorch is there and of the version that tch needs.
///
/// # Errors
/// With what was found, what is needed and what to do.
pub(crate) fn check(origin: &Origin, wanted: Option<Build>) -> anyhow::Result<Found> {
    let found = match origin {
        Origin::PyTorch { python } => ask_python(python)?,
        Origin::Folder { folder, include, lib } => look_into(folder, include, lib)?,
    };
    if env::var_os("LIBTORCH_BYPASS_VERSION_CHECK").is_none() && !libtorch::fits(&found.version) {
        bail!(
            "The libtorch that you chose, {}, is version {}; this workspace needs {VERSION}.\n{WHAT_TO_DO}\n\
             (LIBTORCH_BYPASS_VERSION_CHECK=1 skips this check, as it does in tch.)",
            found.folder.display(),
            found.version,
        );
    }
    if wanted == Some(Build::Cuda) && !found.libraries.join(library("torch_cuda")).exists() {
        bail!(
            "The libtorch that you chose, {}, is a build without CUDA.\nChoose one with CUDA, or unset LIBTORCH and \
             LIBTORCH_USE_PYTORCH to have one fetched.",
            found.folder.display()
        );
    }
    Ok(found)
}

const WHAT_TO_DO: &str = "Set LIBTORCH to the folder of a libtorch 2.11.0, or unset LIBTORCH and LIBTORCH_USE_PYTORCH \
                          to have one fetched.";

fn library(name: &str) -> String {
    format!("{}{name}{}", consts::DLL_PREFIX, consts::DLL_SUFFIX)
}

fn look_into(folder: &Path, include: &Path, lib: &Path) -> anyhow::Result<Found> {
    ensure!(
        folder.is_dir(),
        "LIBTORCH is {}, and no such folder exists.\n{WHAT_TO_DO}",
        folder.display()
    );
    let libraries = lib.join("lib");
    let wanted = [include.join("include/torch"), libraries.join(library("torch"))];
    let static_library = libraries.join("libtorch.a");
    for path in wanted {
        let built_statically = path.starts_with(&libraries) && static_library.exists();
        ensure!(
            path.exists() || built_statically,
            "LIBTORCH is {}, which holds no libtorch: {} is missing.\n{WHAT_TO_DO}",
            folder.display(),
            path.display()
        );
    }
    Ok(Found {
        folder: folder.to_owned(),
        libraries,
        version: version_in(folder),
    })
}

/// The version by the file of a libtorch archive or by that of a Python package. tch asks only the first and takes a
/// folder without it as it is; so does this check when neither is there.
fn version_in(folder: &Path) -> String {
    if let Ok(text) = fs::read_to_string(folder.join("build-version")) {
        return text.trim().to_owned();
    }
    let of_package = fs::read_to_string(folder.join("version.py")).ok().and_then(|text| {
        let line = text.lines().find_map(|line| line.strip_prefix("__version__ = "))?;
        Some(line.trim_matches(['\'', '"', ' ']).to_owned())
    });
    of_package.unwrap_or_else(|| VERSION.to_owned())
}

const QUESTION: &str = "import os, torch; print(torch.__version__); print(os.path.dirname(torch.__file__))";

fn ask_python(python: &str) -> anyhow::Result<Found> {
    let output = Command::new(python)
        .args(["-c", QUESTION])
        .output()
        .with_context(|| format!("LIBTORCH_USE_PYTORCH is set, but {python} does not start.\n{WHAT_TO_DO}"))?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let mut lines = text.lines().rev();
    let (Some(folder), Some(version), true) = (lines.next(), lines.next(), output.status.success()) else {
        let errors = String::from_utf8_lossy(&output.stderr);
        bail!(
            "LIBTORCH_USE_PYTORCH is set, but {python} has no PyTorch that can be imported: {}\nInstall torch=={VERSION} \
             there, or unset LIBTORCH_USE_PYTORCH to have libtorch fetched.",
            errors.lines().last().unwrap_or("it said nothing")
        );
    };
    let folder = PathBuf::from(folder.trim());
    Ok(Found {
        libraries: folder.join("lib"),
        folder,
        version: version.trim().to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder_with(version_file: &str, text: &str) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir_all(folder.path().join("include/torch")).unwrap();
        fs::create_dir_all(folder.path().join("lib")).unwrap();
        fs::write(folder.path().join("lib").join(library("torch")), "").unwrap();
        fs::write(folder.path().join(version_file), text).unwrap();
        folder
    }

    fn check_folder(folder: &Path) -> anyhow::Result<Found> {
        check(
            &Origin::Folder {
                folder: folder.to_owned(),
                include: folder.to_owned(),
                lib: folder.to_owned(),
            },
            None,
        )
    }

    #[test]
    fn the_right_version_is_taken() {
        let folder = folder_with("build-version", "2.11.0+cpu\n");
        let found = check_folder(folder.path()).unwrap();
        assert_eq!(found.version, "2.11.0+cpu");
        assert_eq!(found.libraries, folder.path().join("lib"));
    }

    #[test]
    fn the_version_of_a_python_package_is_read() {
        let folder = folder_with("version.py", "import x\n__version__ = '2.11.0+cu130'\ndebug = False\n");
        assert_eq!(check_folder(folder.path()).unwrap().version, "2.11.0+cu130");
    }

    #[test]
    fn a_wrong_version_is_refused_with_both_versions() {
        let folder = folder_with("build-version", "2.9.1+cpu");
        let message = check_folder(folder.path()).unwrap_err().to_string();
        assert!(message.contains("2.9.1+cpu") && message.contains(VERSION), "{message}");
    }

    #[test]
    fn a_missing_library_is_named() {
        let folder = folder_with("build-version", "2.11.0");
        fs::remove_file(folder.path().join("lib").join(library("torch"))).unwrap();
        let message = check_folder(folder.path()).unwrap_err().to_string();
        assert!(message.contains(&library("torch")), "{message}");
        let gone = folder.path().join("gone");
        assert!(check_folder(&gone).unwrap_err().to_string().contains("no such folder"));
    }

    #[test]
    fn a_build_without_cuda_does_not_do_for_cuda() {
        let folder = folder_with("build-version", "2.11.0+cpu");
        let path = folder.path().to_owned();
        let origin = Origin::Folder {
            folder: path.clone(),
            include: path.clone(),
            lib: path,
        };
        assert!(
            check(&origin, Some(Build::Cuda))
                .unwrap_err()
                .to_string()
                .contains("without CUDA")
        );
    }

    #[test]
    fn a_link_at_our_place_is_the_users() {
        let place = tempfile::tempdir().unwrap();
        let theirs = folder_with("build-version", "2.11.0");
        let ours = place.path().join("libtorch");
        assert!(is_ours(&ours, &ours));
        std::os::unix::fs::symlink(theirs.path(), &ours).unwrap();
        assert!(!is_ours(&ours, &ours));
    }
}
