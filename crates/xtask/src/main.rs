//! The commands of this workspace: `cargo xtask demo`, `test`, `lint`, `bench-peers` and `setup`.

mod bench_peers;
mod cargo;
mod compiler;
mod install;
mod libtorch;
mod manifest;
mod onnx_runtime;
mod pip;
mod progress;
mod user_libtorch;
mod wheel;
mod wheel_cache;
mod workspace;

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};

use crate::bench_peers::Suite;
use crate::install::Build;
use crate::libtorch::Libtorch;
use crate::workspace::Workspace;

/// Fetches libtorch once, then runs, tests or checks the workspace with it.
#[derive(Debug, Parser)]
#[command(
    name = "cargo xtask",
    bin_name = "cargo xtask",
    after_help = "libtorch goes into target/libtorch and the downloads into ~/.cache/camseg. To use a libtorch of your own, \
                  set LIBTORCH to its folder, or LIBTORCH_USE_PYTORCH=1 to take the one of the active Python. The tests \
                  fetch ONNX Runtime too (30 MB), unless ORT_DYLIB_PATH names its library."
)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the example sneak_attack from images to a report, on synthetic phantoms unless told otherwise.
    ///
    /// Fetches libtorch the first time (0.5 GB), builds the example and runs it. Everything after `--` goes to the
    /// example: `cargo xtask demo -- --help` lists what it takes.
    Demo {
        #[command(flatten)]
        build: BuildChoice,
        /// Arguments for the example.
        #[arg(last = true, value_name = "ARGUMENTS")]
        arguments: Vec<OsString>,
    },
    /// Run every test: unit, integration and doc tests, those of the crates that promise to work without libtorch, and those
    /// of the examples for other frameworks.
    Test,
    /// Check format, clippy and documentation; every warning is an error.
    Lint,
    /// Time this workspace and its Python peers turn by turn in one run, and say which bars hold.
    ///
    /// Makes a Python environment with the peers the first time. The table goes to target/peers.
    BenchPeers {
        #[arg(value_enum)]
        suite: Suite,
        /// A Python that has the peers already, at the versions of benches/peers/requirements.txt.
        #[arg(long, value_name = "FILE")]
        python: Option<PathBuf>,
    },
    /// Put libtorch where plain cargo commands find it. The other commands do this by themselves.
    ///
    /// Takes what is there already, of either kind, when neither --cpu nor --cuda is given, and the CPU build when
    /// nothing is there.
    Setup {
        #[command(flatten)]
        build: BuildChoice,
    },
}

#[derive(Debug, Args)]
struct BuildChoice {
    /// The build for NVIDIA GPUs (2.5 GB to download, 3.8 GB unpacked). It runs on machines without a GPU too.
    #[arg(long)]
    cuda: bool,
    /// The build for the CPU (0.5 GB to download, 0.5 GB unpacked).
    #[arg(long, conflicts_with = "cuda")]
    cpu: bool,
}

impl BuildChoice {
    fn wanted(&self) -> Option<Build> {
        match (self.cpu, self.cuda) {
            (true, _) => Some(Build::Cpu),
            (_, true) => Some(Build::Cuda),
            _ => None,
        }
    }
}

fn main() -> ExitCode {
    match run(Cli::parse()) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(cli: Cli) -> anyhow::Result<ExitCode> {
    let workspace = Workspace::find()?;
    match cli.command {
        Command::Setup { build } => {
            let libtorch = Libtorch::ready(&workspace, build.wanted())?;
            eprintln!("{libtorch}");
            Ok(ExitCode::SUCCESS)
        }
        Command::Demo { build, arguments } => {
            let libtorch = Libtorch::ready(&workspace, build.wanted())?;
            cargo::demo(&workspace, &libtorch, &arguments)
        }
        Command::Test => {
            let libtorch = Libtorch::ready(&workspace, None)?;
            let onnx_runtime = onnx_runtime::ready(&workspace)?;
            cargo::test(&workspace, &libtorch, &onnx_runtime)
        }
        Command::Lint => {
            let libtorch = Libtorch::ready(&workspace, None)?;
            cargo::lint(&workspace, &libtorch)
        }
        Command::BenchPeers { suite, python } => {
            let libtorch = Libtorch::ready(&workspace, None)?;
            bench_peers::run(&workspace, &libtorch, suite, python)
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn arguments_after_two_dashes_go_to_the_example() {
        let cli = Cli::parse_from(["cargo xtask", "demo", "--cuda", "--", "--epochs", "2"]);
        let Command::Demo { build, arguments } = cli.command else {
            panic!("not a demo: {cli:?}");
        };
        assert_eq!(build.wanted(), Some(Build::Cuda));
        assert_eq!(arguments, ["--epochs", "2"]);
    }
}
