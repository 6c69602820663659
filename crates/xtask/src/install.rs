//! Makes `target/libtorch` from wheels.
//!
//! Everything is unpacked into `target/libtorch.partial-<pid>`, sealed with a manifest and renamed into place, so an
//! interrupted run leaves nothing that could be taken for a libtorch.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, bail};

use crate::libtorch::VERSION;
use crate::manifest::{self, Entry};
use crate::progress;
use crate::wheel::{OpenWheel, Parts, UnpackError, Wheel};
use crate::wheel_cache::{self, WheelCache};
use crate::workspace::Workspace;

/// Whether there are wheels to fetch for this platform.
pub(crate) const HAS_WHEELS: bool = cfg!(all(target_os = "linux", target_arch = "x86_64", target_env = "gnu"));

/// Which of the two builds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Build {
    /// Without the GPU's kernels.
    Cpu,
    /// With them, and with NVIDIA's libraries.
    Cuda,
}

const TORCH_CPU: &[&str] = &[
    "libtorch.so",
    "libtorch_cpu.so",
    "libc10.so",
    "libgomp.so.1",
    "libtorch_global_deps.so",
];

const TORCH_CUDA: &[&str] = &[
    "libtorch.so",
    "libtorch_cpu.so",
    "libc10.so",
    "libgomp.so.1",
    "libtorch_global_deps.so",
    "libtorch_cuda.so",
    "libtorch_cuda_linalg.so",
    "libtorch_nvshmem.so",
    "libc10_cuda.so",
    "libcaffe2_nvrtc.so",
];

const fn nvidia(name: &'static str, version: &'static str) -> Wheel {
    Wheel {
        name,
        version,
        parts: Parts::AllLibraries,
    }
}

/// libtorch for the CPU, with the two CUDA libraries that even `libtorch_cpu.so` asks for.
const CPU: &[Wheel] = &[
    Wheel {
        name: "torch",
        version: VERSION,
        parts: Parts::Torch(TORCH_CPU),
    },
    Wheel {
        name: "nvidia-cuda-runtime",
        version: "13.0.96",
        parts: Parts::Libraries(&["libcudart.so.13"]),
    },
    Wheel {
        name: "nvidia-cuda-cupti",
        version: "13.0.85",
        parts: Parts::Libraries(&["libcupti.so.13"]),
    },
];

/// libtorch for CUDA 13, with the versions of NVIDIA's libraries that torch 2.11.0 requires.
const CUDA: &[Wheel] = &[
    Wheel {
        name: "torch",
        version: VERSION,
        parts: Parts::Torch(TORCH_CUDA),
    },
    nvidia("nvidia-cublas", "13.1.0.3"),
    nvidia("nvidia-cuda-cupti", "13.0.85"),
    nvidia("nvidia-cuda-nvrtc", "13.0.88"),
    nvidia("nvidia-cuda-runtime", "13.0.96"),
    nvidia("nvidia-cudnn-cu13", "9.19.0.56"),
    nvidia("nvidia-cufft", "12.0.0.61"),
    nvidia("nvidia-cufile", "1.15.1.6"),
    nvidia("nvidia-curand", "10.4.0.35"),
    nvidia("nvidia-cusolver", "12.0.4.66"),
    nvidia("nvidia-cusparse", "12.6.3.3"),
    nvidia("nvidia-cusparselt-cu13", "0.8.0"),
    nvidia("nvidia-nccl-cu13", "2.28.9"),
    nvidia("nvidia-nvjitlink", "13.0.88"),
    nvidia("nvidia-nvshmem-cu13", "3.4.5"),
    nvidia("nvidia-nvtx", "13.0.85"),
];

impl Build {
    fn wheels(self) -> &'static [Wheel] {
        match self {
            Self::Cpu => CPU,
            Self::Cuda => CUDA,
        }
    }

    /// The version that tch reads in `build-version`.
    fn version(self) -> String {
        match self {
            Self::Cpu => format!("{VERSION}+cpu"),
            Self::Cuda => format!("{VERSION}+cu130"),
        }
    }

    fn sizes(self) -> &'static str {
        match self {
            Self::Cpu => "0.5 GB to download once, 0.5 GB in target/libtorch",
            Self::Cuda => "2.5 GB to download once, 3.8 GB in target/libtorch",
        }
    }

    /// Whether a complete libtorch of this version is what is wanted; no wish is fulfilled by either build.
    pub(crate) fn satisfies(version: &str, wanted: Option<Self>) -> bool {
        wanted.is_none_or(|build| build.version() == version)
    }
}

/// Makes `target/libtorch` and returns its version.
///
/// # Errors
/// On a platform without wheels, without pip or a network, or when the disk is full.
pub(crate) fn run(workspace: &Workspace, build: Build) -> anyhow::Result<String> {
    if !HAS_WHEELS {
        bail!(
            "libtorch is fetched for Linux on x86-64 (with glibc) only, and this is {} on {}.\nInstall libtorch {VERSION} \
             and set LIBTORCH to its folder, or install torch=={VERSION} in Python and set LIBTORCH_USE_PYTORCH=1.",
            std::env::consts::OS,
            std::env::consts::ARCH
        );
    }
    let target = workspace.target();
    let _lock = wheel_cache::lock(
        &target,
        "libtorch.lock",
        "another `cargo xtask` that makes target/libtorch",
    )?;
    let place = workspace.libtorch();
    let version = build.version();
    match manifest::complete_version(&place) {
        // Another run made it while this one waited.
        Ok(found) if found == version => return Ok(version),
        Ok(found) => eprintln!("target/libtorch is {found}; replacing it by {version}"),
        Err(reason) if place.exists() => eprintln!("target/libtorch is not complete ({reason:#}); making it again"),
        Err(_) => {}
    }
    eprintln!("Fetching libtorch {version}: {}", build.sizes());
    let had_cuda = place.join("lib/libtorch_cuda.so").exists();
    remove_leftovers(&target);
    let partial = target.join(format!("{PARTIAL}{}", std::process::id()));
    let made = assemble(&WheelCache::new(workspace), build.wheels(), &partial)
        .and_then(|entries| manifest::seal(&partial, &version, &entries))
        .and_then(|()| put_in_place(&partial, &place));
    if made.is_err() {
        let _ = fs::remove_dir_all(&partial);
    }
    made?;
    if had_cuda && build == Build::Cpu {
        forget_linked_cuda(workspace);
    }
    Ok(version)
}

const PARTIAL: &str = "libtorch.partial-";
const OLD: &str = "libtorch.old-";

/// Clears away what interrupted runs left; the lock says that no other run is at work.
fn remove_leftovers(target: &Path) {
    for entry in fs::read_dir(target).into_iter().flatten().flatten() {
        let name = entry.file_name();
        if name
            .to_str()
            .is_some_and(|name| name.starts_with(PARTIAL) || name.starts_with(OLD))
        {
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}

/// Unpacks the wheels into a folder. A broken one is thrown away and fetched again, once.
pub(crate) fn assemble(cache: &WheelCache, wheels: &[Wheel], into: &Path) -> anyhow::Result<Vec<Entry>> {
    let mut second_try = false;
    loop {
        cache.fetch(wheels)?;
        let (path, reason) = match unpack_all(cache, wheels, into)? {
            Ok(entries) => return Ok(entries),
            Err(broken) => broken,
        };
        let _ = fs::remove_dir_all(into);
        fs::remove_file(&path).with_context(|| format!("{} is broken and cannot be removed", path.display()))?;
        if second_try {
            return Err(reason.context(format!("{} was just downloaded and is broken", path.display())));
        }
        eprintln!("Threw away {}, which is broken: {reason:#}", path.display());
        second_try = true;
    }
}

/// A wheel that turned out to be broken, and how.
type Broken = (PathBuf, anyhow::Error);

fn unpack_all(cache: &WheelCache, wheels: &[Wheel], into: &Path) -> anyhow::Result<Result<Vec<Entry>, Broken>> {
    let mut open = Vec::new();
    for wheel in wheels {
        let path = cache
            .find(wheel)
            .with_context(|| format!("the wheel of {wheel} has disappeared"))?;
        match OpenWheel::open(&path, wheel.parts) {
            Ok(archive) => open.push((path, archive)),
            Err(UnpackError::Broken(reason)) => return Ok(Err((path, reason))),
            Err(UnpackError::Write(error)) => return Err(error),
        }
    }
    let bytes = open.iter().map(|(_, archive)| archive.bytes()).sum();
    eprintln!("Unpacking {:.0} MB", bytes as f64 / 1e6);
    let bar = progress::bytes(bytes);
    let mut entries = Vec::new();
    for (path, archive) in open {
        match archive.unpack(into, &bar) {
            Ok(more) => entries.extend(more),
            Err(UnpackError::Broken(reason)) => return Ok(Err((path, reason))),
            Err(UnpackError::Write(error)) => {
                return Err(error.context("a wheel cannot be unpacked; is the disk full?"));
            }
        }
    }
    bar.finish_and_clear();
    Ok(Ok(entries))
}

/// Renames the finished folder into place. What was there moves aside first and is removed last.
fn put_in_place(finished: &Path, place: &Path) -> anyhow::Result<()> {
    let old = place.with_file_name(format!("{OLD}{}", std::process::id()));
    if place.symlink_metadata().is_ok() {
        fs::rename(place, &old).with_context(|| format!("cannot move {} aside", place.display()))?;
    }
    fs::rename(finished, place).with_context(|| format!("cannot put {} in place", place.display()))?;
    let _ = fs::remove_dir_all(&old);
    Ok(())
}

/// After a change from CUDA to CPU: builds of before would ask the linker for the CUDA library that is gone.
fn forget_linked_cuda(workspace: &Workspace) {
    for profile in ["dev", "release"] {
        let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
        let _ = Command::new(cargo)
            .args(["clean", "--quiet", "--package", "torch-sys", "--profile", profile])
            .current_dir(workspace.root())
            .status();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wheel::tests::write_wheel;

    const SMALL: &[Wheel] = &[nvidia("some-package", "1.0")];
    const SMALL_FILE: &str = "some_package-1.0-py3-none-any.whl";

    /// A checkout whose own wheel folder holds one small wheel, and its cache.
    fn checkout() -> (tempfile::TempDir, PathBuf, WheelCache) {
        let root = tempfile::tempdir().unwrap();
        let wheels = root.path().join("wheels");
        fs::create_dir_all(&wheels).unwrap();
        write_wheel(
            &wheels.join(SMALL_FILE),
            &[("nvidia/lib/liba.so.1", b"library"), ("x.py", b"")],
        );
        let cache = WheelCache::of(vec![wheels.clone()]);
        (root, wheels, cache)
    }

    #[test]
    fn what_is_assembled_sealed_and_put_in_place_is_complete() {
        let (root, _, cache) = checkout();
        let partial = root.path().join("libtorch.partial-1");
        let place = root.path().join("libtorch");
        fs::create_dir(&place).unwrap();
        fs::write(place.join("old"), "").unwrap();
        let entries = assemble(&cache, SMALL, &partial).unwrap();
        manifest::seal(&partial, &Build::Cpu.version(), &entries).unwrap();
        put_in_place(&partial, &place).unwrap();
        assert_eq!(manifest::complete_version(&place).unwrap(), "2.11.0+cpu");
        assert!(!place.join("old").exists());
        let names: Vec<_> = fs::read_dir(root.path())
            .unwrap()
            .map(|entry| entry.unwrap().file_name())
            .collect();
        assert_eq!(names.len(), 2, "only the wheels and libtorch remain: {names:?}");
    }

    #[test]
    fn an_interrupted_unpacking_is_not_taken_and_is_cleared_away() {
        let (root, _, cache) = checkout();
        let partial = root.path().join("libtorch.partial-1");
        // Unpacked but not sealed: even under the right name it is no libtorch.
        assemble(&cache, SMALL, &partial).unwrap();
        let place = root.path().join("libtorch");
        fs::rename(&partial, &place).unwrap();
        assert!(manifest::complete_version(&place).is_err());
        fs::rename(&place, &partial).unwrap();
        remove_leftovers(root.path());
        assert!(!partial.exists());
    }

    #[test]
    fn a_truncated_wheel_is_reported_as_broken() {
        let (root, wheels, cache) = checkout();
        let wheel = wheels.join(SMALL_FILE);
        fs::File::options()
            .write(true)
            .open(&wheel)
            .unwrap()
            .set_len(40)
            .unwrap();
        let (path, _) = unpack_all(&cache, SMALL, &root.path().join("partial"))
            .unwrap()
            .unwrap_err();
        assert_eq!(path, wheel);
    }

    #[test]
    fn either_build_will_do_unless_one_is_wanted() {
        assert!(Build::satisfies("2.11.0+cu130", None));
        assert!(Build::satisfies("2.11.0+cpu", Some(Build::Cpu)));
        assert!(!Build::satisfies("2.11.0+cpu", Some(Build::Cuda)));
        assert!(!Build::satisfies("2.11.0+cu130", Some(Build::Cpu)));
    }
}
