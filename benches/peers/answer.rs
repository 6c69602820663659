//! The workspace's side of a comparison with its peers: runs the cases that it is told on its standard input.

use std::collections::BTreeMap;
use std::io::{self, BufRead as _, Write as _};
use std::time::Instant;

use anyhow::{Context as _, Result};

pub(crate) type Cases = BTreeMap<String, Box<dyn Fn() -> Result<()>>>;

/// Reads the name of a case, runs it once, answers with the seconds it took, and so on to the end of the input.
///
/// Does nothing unless started with `--answer`: `cargo bench` and `cargo test` start every benchmark, and there is
/// nobody to answer then.
pub(crate) fn answer(cases: impl FnOnce() -> Result<Cases>) -> Result<()> {
    if !std::env::args().any(|argument| argument == "--answer") {
        return Ok(());
    }
    let cases = cases()?;
    let mut out = io::stdout().lock();
    writeln!(out, "ready")?;
    out.flush()?;
    for line in io::stdin().lock().lines() {
        let name = line?;
        let case = cases
            .get(name.trim())
            .with_context(|| format!("there is no case {name}"))?;
        let start = Instant::now();
        case()?;
        writeln!(out, "{}", start.elapsed().as_secs_f64())?;
        out.flush()?;
    }
    Ok(())
}
