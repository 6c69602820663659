//! The C++ compiler, which tch's glue to libtorch is compiled with.

use std::env;
use std::process::{Command, Stdio};

use anyhow::bail;

/// Finds out whether cargo's builds will have a C++ compiler: `$CXX`, or the command `c++`.
///
/// # Errors
/// When there is none, with what to install or set.
pub(crate) fn check() -> anyhow::Result<()> {
    let chosen = env::vars_os().any(|(name, _)| {
        name.to_str()
            .is_some_and(|name| name == "CXX" || name.starts_with("CXX_") || name.ends_with("_CXX"))
    });
    if chosen || runs("c++") {
        return Ok(());
    }
    for other in ["g++", "clang++"] {
        if runs(other) {
            bail!("No C++ compiler by the name of c++ was found, but {other} is there: set CXX={other}.");
        }
    }
    bail!(
        "No C++ compiler was found, and the glue to libtorch is C++.\nInstall one (Debian and Ubuntu: apt install g++; \
         Fedora: dnf install gcc-c++; macOS: xcode-select --install), or set CXX to yours."
    );
}

fn runs(program: &str) -> bool {
    Command::new(program)
        .arg("--version")
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success())
}
