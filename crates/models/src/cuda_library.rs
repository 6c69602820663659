//! The one place that loads a shared library by hand.
#![allow(unsafe_code)]

use std::error::Error as _;
use std::ffi::OsStr;
use std::sync::OnceLock;

use libloading::os::unix::{Library, RTLD_GLOBAL, RTLD_LAZY};

/// Loads `libtorch_cuda.so` once, if there is one, and says why if there is none.
///
/// The linker drops `libtorch_cuda` from binaries that only name symbols of `libtorch`, and
/// libtorch finds CUDA only if that library was loaded before its first CUDA question. It is
/// loaded lazily bound and global, as the linker would have; it stays loaded for good. Whatever here may be the first to
/// make libtorch compute calls this before it does.
pub(crate) fn load() -> Result<(), String> {
    static LOADED: OnceLock<Result<(), String>> = OnceLock::new();
    LOADED.get_or_init(|| open("libtorch_cuda.so")).clone()
}

/// Whether the NVIDIA driver's own library, which libtorch's needs to find a GPU, loads, and why if it does not.
pub(crate) fn driver() -> Result<(), String> {
    open("libcuda.so.1")
}

fn open(name: &str) -> Result<(), String> {
    // SAFETY: loading runs the library's initialisers. Those of `libtorch_cuda.so` register CUDA kernels
    // with the libtorch that is already loaded, found through the same run-time path, and those of
    // `libcuda.so.1` are what libtorch itself runs when it is asked for a GPU: both are made to run at any
    // time before the first use of CUDA, on any thread. The handle is leaked, so no code or data of the
    // library is ever unmapped.
    let library = unsafe { Library::open(Some(OsStr::new(name)), RTLD_LAZY | RTLD_GLOBAL) };
    match library {
        Ok(library) => {
            std::mem::forget(library);
            Ok(())
        }
        // The loader's own words, which name the file, are the source.
        Err(error) => Err(error.source().map_or(error.to_string(), ToString::to_string)),
    }
}
