//! The workspace's side of a comparison with its peers: runs the cases that it is told on its standard input.

use std::collections::BTreeMap;
use std::io::{self, BufRead as _, Write as _};
use std::time::Instant;

use anyhow::{Context as _, Result};

pub(crate) type Cases = BTreeMap<String, Box<dyn Fn() -> Result<()>>>;

/// A question that is answered with 1 for yes, and its answer.
pub(crate) type Fact = (&'static str, bool);

/// Reads the name of a case, runs it once, answers with the seconds it took, and so on to the end of the input. The name
/// of one of the facts is answered with 1 or 0.
///
/// Does nothing unless started with `--answer`: `cargo bench` and `cargo test` start every benchmark, and there is
/// nobody to answer then.
pub(crate) fn answer(cases: impl FnOnce() -> Result<Cases>, facts: &[Fact]) -> Result<()> {
    if !std::env::args().any(|argument| argument == "--answer") {
        return Ok(());
    }
    let cases = cases()?;
    let mut out = io::stdout().lock();
    writeln!(out, "ready")?;
    out.flush()?;
    for line in io::stdin().lock().lines() {
        let line = line?;
        let name = line.trim();
        let answer = match facts.iter().find(|(question, _)| *question == name) {
            Some(&(_, yes)) => f64::from(u8::from(yes)),
            None => {
                let case = cases.get(name).with_context(|| format!("there is no case {name}"))?;
                let start = Instant::now();
                case()?;
                start.elapsed().as_secs_f64()
            }
        };
        writeln!(out, "{answer}")?;
        out.flush()?;
    }
    Ok(())
}
