//! `cargo xtask bench floor`: the cost of the work without a proxy, which the report shows beside
//! the measured cost.

use anyhow::{Context, Result};

use super::model::Floor;
use crate::{
    command::{command, said_by, target},
    rig::build_load_generator,
};

/// Measures the floor with the program that was built with the load generator, on cores 0 and 1:
/// rustls handshakes and records in memory, and a relay of a small request and its response between
/// sockets.
pub(super) fn measure(is_quick: bool) -> Result<Vec<Floor>> {
    let mut floor = command(target().join("release/floor"));
    if is_quick {
        floor.args(["--rounds", "3", "--relay-seconds", "0.3"]);
    }
    read(&said_by(&mut floor)?)
}

/// Measures, and prints a table in Markdown.
pub(super) fn show() -> Result<()> {
    build_load_generator()?;
    println!("| floor | CPU µs | range |\n|---|---|---|");
    for Floor { work, cpu_us, least, most } in measure(false)? {
        println!("| {work} | {cpu_us:.1} | {least:.1} - {most:.1} |");
    }
    Ok(())
}

/// The last line holds the result.
fn read(said: &str) -> Result<Vec<Floor>> {
    let line = said.lines().next_back().context("the floor's measurement printed nothing")?;
    serde_json::from_str(line).context("the floor's measurement printed an unexpected result")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rows_are_read_from_the_last_line() {
        let rows =
            read("a word\n[{\"work\":\"w\",\"cpu_us\":2.5,\"least\":2,\"most\":3}]\n").unwrap();
        let row = Floor { work: "w".to_owned(), cpu_us: 2.5, least: 2.0, most: 3.0 };
        assert_eq!(rows, [row]);
        assert!(read("").is_err());
    }
}
