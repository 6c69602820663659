//! The cargo commands behind `demo`, `test` and `lint`.

use std::env;
use std::ffi::{OsStr, OsString};
use std::path::Path;
use std::process::{Command, ExitCode, ExitStatus};
use std::time::Instant;

use anyhow::Context;

use crate::libtorch::Libtorch;
use crate::workspace::Workspace;

/// The crates that promise to build and pass their tests without libtorch when their default features are off.
const WITHOUT_LIBTORCH: &[&str] = &[
    "gradcam-core",
    "heatmap-filter",
    "heatmap-seg",
    "scan-data",
    "seg-metrics",
];

/// One cargo command.
#[derive(Debug)]
struct Step<'a> {
    arguments: Vec<OsString>,
    /// None makes libtorch impossible to find, so that any use of it fails.
    libtorch: Option<&'a Libtorch>,
    environment: Vec<(&'static str, OsString)>,
}

impl<'a> Step<'a> {
    fn new(libtorch: Option<&'a Libtorch>, arguments: &str) -> Self {
        let arguments = arguments.split_whitespace().map(OsString::from).collect();
        Self {
            arguments,
            libtorch,
            environment: Vec::new(),
        }
    }

    /// A step over the crates that do without libtorch, in a world where there is none.
    fn without_libtorch(verb: &str, rest: &str) -> Self {
        let packages: String = WITHOUT_LIBTORCH.iter().map(|name| format!(" -p {name}")).collect();
        Self::new(None, &format!("{verb}{packages} --no-default-features {rest}"))
    }

    /// A step over the examples for other frameworks, a workspace of its own that does without libtorch.
    fn other_frameworks(verb: &str, rest: &str) -> Self {
        Self::new(
            None,
            &format!("{verb} --manifest-path examples/other_frameworks/Cargo.toml {rest}"),
        )
    }

    fn with(mut self, name: &'static str, value: impl AsRef<OsStr>) -> Self {
        self.environment.push((name, value.as_ref().to_owned()));
        self
    }

    fn run(&self, workspace: &Workspace) -> anyhow::Result<ExitStatus> {
        let mut command = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
        command.args(&self.arguments).current_dir(workspace.root());
        match self.libtorch {
            Some(libtorch) => libtorch.give_to(&mut command),
            None => {
                command.env("LIBTORCH", workspace.target().join("no-libtorch"));
                command.env_remove("LIBTORCH_USE_PYTORCH");
            }
        }
        command.envs(self.environment.iter().map(|(name, value)| (name, value)));
        let mut line: Vec<_> = self
            .environment
            .iter()
            .map(|(name, value)| format!("{name}={value:?}"))
            .collect();
        line.extend(
            self.libtorch
                .is_none()
                .then(|| "LIBTORCH=target/no-libtorch".to_owned()),
        );
        line.push("cargo".to_owned());
        line.extend(
            self.arguments
                .iter()
                .map(|argument| argument.to_string_lossy().into_owned()),
        );
        eprintln!("$ {}", line.join(" "));
        command.status().context("cargo does not start")
    }
}

/// Runs steps in order, with their times, up to the first that fails.
fn run_all(workspace: &Workspace, steps: &[Step<'_>]) -> anyhow::Result<ExitCode> {
    let start = Instant::now();
    for step in steps {
        let begin = Instant::now();
        let status = step.run(workspace)?;
        let seconds = begin.elapsed().as_secs_f64();
        if !status.success() {
            eprintln!("failed after {seconds:.0} s: {status}");
            return Ok(exit_code(status));
        }
        eprintln!("passed in {seconds:.0} s\n");
    }
    eprintln!("all passed in {:.0} s", start.elapsed().as_secs_f64());
    Ok(ExitCode::SUCCESS)
}

/// The exit code to pass on; a process ended by a signal has none of its own.
pub(crate) fn exit_code(status: ExitStatus) -> ExitCode {
    status
        .code()
        .and_then(|code| u8::try_from(code).ok())
        .map_or(ExitCode::FAILURE, ExitCode::from)
}

/// Builds and runs the example.
pub(crate) fn demo(workspace: &Workspace, libtorch: &Libtorch, arguments: &[OsString]) -> anyhow::Result<ExitCode> {
    eprintln!(
        "Building the example (about 4 minutes on 2 cores the first time), then running it (about 3 minutes unless told \
         otherwise). It says at the end where its report lies."
    );
    let mut step = Step::new(Some(libtorch), "run --release --example sneak_attack --");
    step.arguments.extend_from_slice(arguments);
    Ok(exit_code(step.run(workspace)?))
}

/// Runs every test.
pub(crate) fn test(workspace: &Workspace, libtorch: &Libtorch, onnx_runtime: &Path) -> anyhow::Result<ExitCode> {
    run_all(
        workspace,
        &[
            Step::new(Some(libtorch), "test --workspace --all-targets"),
            Step::new(Some(libtorch), "test --workspace --doc"),
            Step::without_libtorch("test", ""),
            Step::other_frameworks("test", "--workspace").with("ORT_DYLIB_PATH", onnx_runtime),
        ],
    )
}

/// Checks format, lints and documentation.
pub(crate) fn lint(workspace: &Workspace, libtorch: &Libtorch) -> anyhow::Result<ExitCode> {
    run_all(
        workspace,
        &[
            Step::new(Some(libtorch), "fmt --all --check"),
            Step::new(Some(libtorch), "clippy --workspace --all-targets -- -D warnings"),
            Step::without_libtorch("clippy", "--all-targets -- -D warnings"),
            Step::other_frameworks("fmt", "--all --check"),
            Step::other_frameworks("clippy", "--workspace --all-targets -- -D warnings"),
            Step::new(Some(libtorch), "doc --workspace --no-deps").with("RUSTDOCFLAGS", "-D warnings"),
        ],
    )
}
