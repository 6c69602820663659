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
/// loaded lazily bound and global, as the linker would have; it stays loaded for good.
pub(crate) fn load() -> Result<(), String> {
    static LOADED: OnceLock<Result<(), String>> = OnceLock::new();
    LOADED
        .get_or_init(|| {
            // SAFETY: loading runs the library's initialisers, which register CUDA kernels with
            // the libtorch that is already loaded, found through the same run-time path: they are
            // made to run at any time before the first use of CUDA, on any thread. The handle is
            // leaked, so no code or data of the library is ever unmapped.
            let library = unsafe { Library::open(Some(OsStr::new("libtorch_cuda.so")), RTLD_LAZY | RTLD_GLOBAL) };
            match library {
                Ok(library) => {
                    std::mem::forget(library);
                    Ok(())
                }
                // The loader's own words, which name the file, are the source.
                Err(error) => Err(error.source().map_or(error.to_string(), ToString::to_string)),
            }
        })
        .clone()
}
