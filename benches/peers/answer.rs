//! The workspace's side of a comparison with its peers: runs the cases that it is told on its standard input.

use std::collections::BTreeMap;
use std::io::{self, BufRead as _, Write as _};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};

pub(crate) type Cases = BTreeMap<String, Box<dyn Fn() -> Result<()>>>;

/// A question that is answered with 1 for yes, and its answer.
pub(crate) type Fact = (&'static str, bool);

/// How long a case is run before the clock is looked at, and then again. As in `interleave.py`, which says why.
const WARM: Duration = Duration::from_millis(20);

/// Reads the name of a case, runs it until it is warm, answers with the seconds it takes from then on, and so on to the
/// end of the input. The name of one of the facts is answered with 1 or 0.
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
                for_a_while(case)?;
                let mut times = for_a_while(case)?;
                times.sort_unstable();
                times[times.len() / 2].as_secs_f64()
            }
        };
        writeln!(out, "{answer}")?;
        out.flush()?;
    }
    Ok(())
}

/// The times of as many runs as begin within [`WARM`], at least one.
fn for_a_while(case: impl Fn() -> Result<()>) -> Result<Vec<Duration>> {
    let mut times = Vec::new();
    let begin = Instant::now();
    let mut start = begin;
    while times.is_empty() || start - begin < WARM {
        case()?;
        let end = Instant::now();
        times.push(end - start);
        start = end;
    }
    Ok(times)
}
