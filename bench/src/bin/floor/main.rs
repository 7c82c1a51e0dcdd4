//! The floor of a proxy's costs: the CPU time of one thread that rustls alone takes for handshakes
//! and records, and that a relay without TLS and HTTP takes for the same bytes.
//!
//! The last line on stdout is JSON: `[{"work":"...","cpu_us":1.5,"least":1.4,"most":1.7}]`, the
//! median over the rounds with the least and the most.
#![expect(clippy::print_stdout, reason = "the result goes to standard output")]

mod relay;
mod tls;

use std::time::Duration;

use anyhow::Result;
use clap::Parser;
use rustix::time::{ClockId, clock_gettime};
use serde::Serialize;

/// Measures the floor of a proxy's costs.
#[derive(Debug, Parser)]
struct Arguments {
    /// The number of rounds; each measures everything.
    #[arg(long, default_value_t = 7, value_parser = clap::value_parser!(u32).range(1..))]
    rounds: u32,
    /// Connections through the relay.
    #[arg(long, default_value_t = 50)]
    connections: usize,
    /// The duration of the relay's measurement in each round, in seconds.
    #[arg(long, default_value_t = 1.0)]
    relay_seconds: f64,
    /// Length of a request through the relay, in bytes.
    #[arg(long, default_value_t = 128)]
    request_bytes: usize,
    /// Length of a response through the relay, head included, in bytes.
    #[arg(long, default_value_t = 1024 + 256)]
    response_bytes: usize,
}

/// The cost of one unit of a work.
#[derive(Debug, Serialize)]
struct Row {
    work: &'static str,
    /// The median of the rounds, in microseconds.
    cpu_us: f64,
    least: f64,
    most: f64,
}

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    let mut costs = Vec::new();
    for _ in 0..arguments.rounds {
        let mut round = tls::costs()?;
        round.push(("relay of a request and its response", relay::cost(&arguments)?));
        costs.push(round);
    }
    println!("{}", serde_json::to_string(&rows(&costs))?);
    Ok(())
}

/// Summarizes the rounds, each of which has the same works in the same order.
fn rows(rounds: &[Vec<(&'static str, f64)>]) -> Vec<Row> {
    let works = rounds.first().into_iter().flatten().enumerate();
    works
        .map(|(index, (work, _))| {
            let of_round = |round: &Vec<(_, f64)>| round.get(index).map(|(_, cost)| *cost);
            let mut costs: Vec<f64> = rounds.iter().filter_map(of_round).collect();
            costs.sort_by(f64::total_cmp);
            let at = |place: usize| costs.get(place).copied().unwrap_or(f64::NAN);
            Row { work, cpu_us: at(costs.len() / 2), least: at(0), most: at(costs.len() - 1) }
        })
        .collect()
}

/// The CPU time of the calling thread.
fn cpu_time() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec.unsigned_abs(), time.tv_nsec.unsigned_abs() as u32)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_is_the_median_of_the_rounds_between_its_extremes() {
        let rounds = [3.0, 9.0, 1.0].map(|cost| vec![("one", cost), ("other", 7.0)]);
        let rows = rows(&rounds);
        assert_eq!((rows[0].work, rows[0].cpu_us), ("one", 3.0));
        assert_eq!((rows[0].least, rows[0].most), (1.0, 9.0));
        assert_eq!((rows[1].work, rows[1].cpu_us), ("other", 7.0));
    }
}
