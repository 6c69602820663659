//! The library of ONNX Runtime that `examples/other_frameworks` loads: the user's, or the one in `target/onnxruntime`.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail, ensure};

use crate::install;
use crate::wheel::{Parts, Wheel};
use crate::wheel_cache::{self, WheelCache};
use crate::workspace::Workspace;

/// The library's name in its wheel, which names the version too.
pub(crate) const LIBRARY: &str = "libonnxruntime.so.1.32.0";

const WHEELS: &[Wheel] = &[Wheel {
    name: "onnxruntime",
    version: "1.32.0",
    parts: Parts::Libraries(&[LIBRARY]),
}];

/// The library that the user's `ORT_DYLIB_PATH` names, or ours, which is fetched when it is missing. cargo itself sets
/// the variable to ours where the user did not.
///
/// # Errors
/// When the user's is no file, or when ours cannot be fetched.
pub(crate) fn ready(workspace: &Workspace) -> anyhow::Result<PathBuf> {
    let ours = workspace.onnx_runtime();
    let named = env::var_os("ORT_DYLIB_PATH").map(PathBuf::from);
    if let Some(path) = named.filter(|path| !path.as_os_str().is_empty() && *path != ours) {
        ensure!(
            path.is_file(),
            "ORT_DYLIB_PATH is {}, which is no file.\nSet it to the library of ONNX Runtime, or unset it to have one \
             fetched.",
            path.display()
        );
        return Ok(path);
    }
    if ours.is_file() {
        return Ok(ours);
    }
    if !install::HAS_WHEELS {
        bail!(
            "ONNX Runtime is fetched for Linux on x86-64 (with glibc) only.\nInstall {} in Python and set ORT_DYLIB_PATH \
             to the library in its folder onnxruntime/capi.",
            WHEELS[0]
        );
    }
    fetch(&WheelCache::new(workspace), &workspace.target(), &ours)?;
    Ok(ours)
}

fn fetch(cache: &WheelCache, target: &Path, library: &Path) -> anyhow::Result<()> {
    let _lock = wheel_cache::lock(
        target,
        "onnxruntime.lock",
        "another `cargo xtask` that makes target/onnxruntime",
    )?;
    // Another run may have made it while this one waited.
    if library.is_file() {
        return Ok(());
    }
    eprintln!("Fetching ONNX Runtime: 30 MB to download once, 35 MB in target/onnxruntime");
    // What an interrupted run left goes first; the lock says that no other run is at work.
    let partial = target.join("onnxruntime.partial");
    let _ = fs::remove_dir_all(&partial);
    install::assemble(cache, WHEELS, &partial)?;
    let place = library.parent().context("a library lies in a folder")?;
    fs::create_dir_all(place).with_context(|| format!("cannot create {}", place.display()))?;
    // Under its name only once it is whole.
    fs::rename(partial.join("lib").join(LIBRARY), library)
        .with_context(|| format!("cannot put {} in place", library.display()))?;
    let _ = fs::remove_dir_all(&partial);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wheel::tests::write_wheel;

    #[test]
    fn the_library_alone_is_taken_from_its_wheel_and_what_was_left_is_cleared_away() {
        let root = tempfile::tempdir().unwrap();
        let wheels = root.path().join("wheels");
        fs::create_dir(&wheels).unwrap();
        write_wheel(
            &wheels.join("onnxruntime-1.32.0-cp312-cp312-manylinux_2_28_x86_64.whl"),
            &[
                ("onnxruntime/capi/libonnxruntime.so.1.32.0", b"library"),
                ("onnxruntime/capi/libonnxruntime_providers_shared.so", b"not wanted"),
            ],
        );
        let target = root.path().join("target");
        fs::create_dir_all(target.join("onnxruntime.partial/lib")).unwrap();
        fs::write(target.join("onnxruntime.partial/lib").join(LIBRARY), "half").unwrap();
        let library = target.join("onnxruntime").join(LIBRARY);

        fetch(&WheelCache::of(vec![wheels]), &target, &library).unwrap();
        assert_eq!(fs::read(&library).unwrap(), b"library");
        assert_eq!(fs::read_dir(target.join("onnxruntime")).unwrap().count(), 1);
        assert!(!target.join("onnxruntime.partial").exists());
    }

    #[test]
    fn cargo_points_to_it() {
        let config = include_str!("../../../.cargo/config.toml");
        let value = format!("ORT_DYLIB_PATH = {{ value = \"target/onnxruntime/{LIBRARY}\", relative = true }}");
        assert!(config.contains(&value), "{config}");
    }
}
