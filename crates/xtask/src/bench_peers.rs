//! `cargo xtask bench-peers`: this workspace and its Python peers, timed in one run.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use anyhow::{Context, ensure};
use clap::ValueEnum;

use crate::cargo::exit_code;
use crate::libtorch::Libtorch;
use crate::workspace::Workspace;

/// What is timed. Each has a script of its name in `benches/peers`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Suite {
    /// Heatmaps, against pytorch-grad-cam, torch-cam and captum.
    Gradcam,
    /// Networks in inference and training, against PyTorch and torchvision.
    Models,
    /// Scores of masks, against MONAI, surface-distance, MedPy, mikan-rs and SciPy.
    Metrics,
    /// Heatmaps to masks, against scikit-image and pydensecrf.
    Segmentation,
}

impl Suite {
    fn name(self) -> &'static str {
        match self {
            Self::Gradcam => "gradcam",
            Self::Models => "models",
            Self::Metrics => "metrics",
            Self::Segmentation => "segmentation",
        }
    }
}

/// Runs the suite with a Python that has its peers: the one given, or one made for it.
pub(crate) fn run(
    workspace: &Workspace,
    libtorch: &Libtorch,
    suite: Suite,
    python: Option<PathBuf>,
) -> anyhow::Result<ExitCode> {
    let folder = workspace.root().join("benches/peers");
    let python = match python {
        Some(python) => python,
        None => environment(workspace, &folder.join("requirements.txt"))?,
    };
    let mut command = Command::new(&python);
    command
        .arg(folder.join(format!("{}.py", suite.name())))
        .current_dir(workspace.root());
    libtorch.give_to(&mut command);
    let status = command
        .status()
        .with_context(|| format!("{} does not start", python.display()))?;
    Ok(exit_code(status))
}

/// The Python of a virtual environment with what `requirements` lists, made unless it is there.
fn environment(workspace: &Workspace, requirements: &Path) -> anyhow::Result<PathBuf> {
    let folder = workspace.target().join("peers/venv");
    let python = folder.join("bin/python");
    let done = folder.join("requirements.txt");
    let wanted = fs::read_to_string(requirements).with_context(|| format!("cannot read {}", requirements.display()))?;
    if fs::read_to_string(&done).is_ok_and(|found| found == wanted) {
        return Ok(python);
    }
    eprintln!(
        "Making a Python environment with the peers in {} (about 3 GB to download and 6 GB on disk).",
        folder.display()
    );
    // What an interrupted pip left may look whole to the next one.
    match fs::remove_dir_all(&folder) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            return Err(error).with_context(|| format!("cannot remove {}", folder.display()));
        }
        _ => {}
    }
    step(Command::new("python3").args(["-m", "venv"]).arg(&folder))?;
    step(
        Command::new(&python)
            .args(["-m", "pip", "install", "--disable-pip-version-check", "--requirement"])
            .arg(requirements),
    )?;
    fs::write(&done, wanted).with_context(|| format!("cannot write {}", done.display()))?;
    Ok(python)
}

fn step(command: &mut Command) -> anyhow::Result<()> {
    let program = command.get_program().to_string_lossy().into_owned();
    let status = command.status().with_context(|| format!("{program} does not start"))?;
    ensure!(status.success(), "{program} failed: {status} (see above)");
    Ok(())
}
