//! `cargo xtask bench floor`: what the work would cost without a proxy's, for the report to stand
//! beside what it does cost.

use anyhow::{Context, Result};
use serde::Deserialize;

use crate::command::{cargo, said_by};

/// What one unit of a work costs on the floor.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub(crate) struct Row {
    /// What is done, in a few words.
    pub(crate) work: String,
    /// CPU time in microseconds, the median of the rounds.
    pub(crate) cpu_us: f64,
    /// The least of the rounds.
    pub(crate) least: f64,
    /// The most.
    pub(crate) most: f64,
}

/// Measures the floor, in a release build: rustls handshakes and records in memory, and a relay of
/// a small request and its response between sockets, on cores 0 and 1.
pub(crate) fn measure() -> Result<Vec<Row>> {
    let said = said_by(&mut cargo("run --release --package portcullis-bench --bin floor"))?;
    read(&said)
}

/// Measures, and prints a table in Markdown.
pub(super) fn show() -> Result<()> {
    println!("| floor | CPU µs | range |\n|---|---|---|");
    for Row { work, cpu_us, least, most } in measure()? {
        println!("| {work} | {cpu_us:.1} | {least:.1} - {most:.1} |");
    }
    Ok(())
}

/// The last line holds the result.
fn read(said: &str) -> Result<Vec<Row>> {
    let line = said.lines().next_back().context("the floor's measurement said nothing")?;
    serde_json::from_str(line).context("the floor's measurement said something else")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rows_are_read_from_the_last_line() {
        let rows =
            read("a word\n[{\"work\":\"w\",\"cpu_us\":2.5,\"least\":2,\"most\":3}]\n").unwrap();
        let row = Row { work: "w".to_owned(), cpu_us: 2.5, least: 2.0, most: 3.0 };
        assert_eq!(rows, [row]);
        assert!(read("").is_err());
    }
}
