//! Runs the works under callgrind.
//!
//! Runs valgrind itself instead of gungraun, which does the same: building gungraun's runner, in
//! exactly the version of its library, takes minutes and would be the slowest step of `cargo xtask
//! test`.

use std::{fs, path::Path};

use anyhow::{Context, Result, ensure};

use super::record::Counts;
use crate::command::{cargo, said_by, target};

/// Builds the works, runs each once and gives the instructions for one unit of it.
pub(super) fn count() -> Result<Counts> {
    let directory = target().join("callgrind");
    // The files of an earlier run with more works must not be read as files of this one.
    if directory.exists() {
        fs::remove_dir_all(&directory)?;
    }
    fs::create_dir_all(&directory)?;
    let out = directory.join("out");
    let said = said_by(
        // Builds the whole workspace with the profile of its tests, so that both share all other
        // crates.
        cargo("bench --workspace --features portcullis/bench --bench instructions --profile dev")
            .args(["--config", "proxy/benches/instructions.toml", "--config"])
            .arg(runner(&out))
            .env("CARGO_INCREMENTAL", "0"),
    )?;
    let totals = (1..).map(|part| total_in(&out.with_extension(part.to_string())));
    counts(said.lines().zip(totals))
}

/// The setting that makes cargo run its binary under callgrind.
fn runner(out: &Path) -> String {
    let out = format!("--callgrind-out-file={}", out.display());
    let valgrind = [
        "valgrind",
        "--quiet",
        "--tool=callgrind",
        "--toggle-collect=*::counted",
        "--dump-after=*::written_down",
        &out,
    ];
    format!("target.'cfg(all())'.runner={valgrind:?}")
}

/// Reads lines of the program, each a number of units and a name, and the count of callgrind for
/// each line.
fn counts<'a>(works: impl Iterator<Item = (&'a str, Result<u64>)>) -> Result<Counts> {
    let mut counts = Counts::new();
    for (line, total) in works {
        let (units, name) = line.split_once('\t').context("a line that names no work")?;
        let units: u64 = units.parse().context("a line without units")?;
        counts.insert(name.to_owned(), (total? + units / 2) / units);
    }
    ensure!(counts.values().any(|count| *count > 0), "callgrind counted nothing");
    Ok(counts)
}

/// The total in one of callgrind's files.
fn total_in(path: &Path) -> Result<u64> {
    let text =
        fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    total(&text).with_context(|| format!("no total in {}", path.display()))
}

fn total(text: &str) -> Option<u64> {
    text.lines().find_map(|line| line.strip_prefix("totals: "))?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_count_is_the_total_over_the_units() {
        let works = [("128\troute match", Ok(12_800)), ("16\thandshake", Ok(1_607))];
        let counts = counts(works.into_iter()).unwrap();
        assert_eq!((counts["route match"], counts["handshake"]), (100, 100));
    }

    #[test]
    fn a_run_in_which_nothing_was_counted_is_an_error() {
        assert!(counts([("128\troute match", Ok(0))].into_iter()).is_err());
        assert!(counts([].into_iter()).is_err());
    }

    #[test]
    fn the_total_is_read_where_callgrind_writes_it() {
        assert_eq!(total("events: Ir\nfn=(1) a\n1 20\n\ntotals: 4711\n"), Some(4711));
        assert_eq!(total("events: Ir\n"), None);
    }
}
