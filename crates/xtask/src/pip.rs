//! Downloads by pip, so that the index, the mirror and the proxy that the user told pip of are the ones asked.

use std::env;
use std::fs;
use std::io::{self, IsTerminal};
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, bail, ensure};

use crate::wheel::Wheel;

/// The oldest and the newest glibc 2.x that the wheels are built for. pip does not know that the newer take the older.
const MANYLINUX: std::ops::RangeInclusive<u32> = 17..=28;

/// Lets pip download wheels into a folder. pip checks each against the checksum that the index gives.
///
/// # Errors
/// When pip is missing or fails.
pub(crate) fn download(wheels: &[&Wheel], into: &Path) -> anyhow::Result<()> {
    let mut pip = find()?;
    pip.args([
        "download",
        "--disable-pip-version-check",
        "--no-deps",
        "--only-binary=:all:",
    ]);
    // The wheel's Python does not matter, as only C++ headers and libraries are taken out: name one for all.
    pip.args(["--implementation", "cp", "--python-version", "3.12"]);
    for minor in MANYLINUX.rev() {
        pip.args(["--platform", &format!("manylinux_2_{minor}_x86_64")]);
    }
    pip.args(["--platform", "manylinux2014_x86_64"]);
    if !io::stderr().is_terminal() {
        pip.args(["--progress-bar", "off"]);
    }
    pip.arg("--dest").arg(into);
    // `===` takes no local version such as 2.11.0+cu126, which another index may offer and which needs other libraries.
    pip.args(wheels.iter().map(|wheel| format!("{}==={}", wheel.name, wheel.version)));
    // pip's temporary files lie beside the download: what an interrupted pip leaves is cleared away with it, and a small
    // /tmp does not matter.
    let temporary = into.join("tmp");
    fs::create_dir_all(&temporary).with_context(|| format!("cannot create {}", temporary.display()))?;
    pip.env("TMPDIR", &temporary);
    let status = pip
        .stdin(Stdio::null())
        .stdout(io::stderr())
        .status()
        .context("pip does not start")?;
    ensure!(
        status.success(),
        "pip could not download {} (see above).\nTry again when the network is back; `cargo xtask --help` says how to use a \
         copy of your own.",
        wheels
            .iter()
            .map(|wheel| wheel.to_string())
            .collect::<Vec<_>>()
            .join(", ")
    );
    Ok(())
}

/// The first pip that answers.
fn find() -> anyhow::Result<Command> {
    let candidates: &[&[&str]] = &[&["python3", "-m", "pip"], &["python", "-m", "pip"], &["pip3"], &["pip"]];
    for candidate in candidates {
        let command = || {
            let mut command = Command::new(candidate[0]);
            command.args(&candidate[1..]);
            command
        };
        let answer = command().arg("--version").stdin(Stdio::null()).output();
        if answer.is_ok_and(|output| output.status.success()) {
            return Ok(command());
        }
    }
    let path = env::var("PATH").unwrap_or_default();
    bail!(
        "Libraries are fetched with Python's pip, and none was found on the PATH ({path}).\nInstall it (Debian and Ubuntu: \
         apt install python3-pip; Fedora: dnf install python3-pip); `cargo xtask --help` says how to use a copy of your own."
    );
}
