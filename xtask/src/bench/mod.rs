//! `cargo xtask bench`: the cost of the proxy and its peers, measured side by side.
//!
//! `suite` runs everything from begin to end; `works` defines the measurements, `peers` the
//! proxies, `lab` their surroundings, and `report` the results.

mod cable;
mod conditions;
mod floor;
mod generator;
mod install;
pub(crate) mod instructions;
mod lab;
mod micro;
mod model;
mod namespace;
mod peers;
mod pin;
mod processes;
mod program_statistics;
mod prometheus;
mod report;
mod steering;
mod suite;
mod template;
mod works;

use anyhow::Result;

use crate::packages;

/// The proxy and its peers on the same work, or a closer look at a part.
#[derive(clap::Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct Bench {
    #[command(subcommand)]
    part: Option<Part>,
    #[command(flatten)]
    options: suite::Options,
}

/// A measurement of one part.
#[derive(clap::Subcommand)]
enum Part {
    /// Compares steering in the kernel, by hand-off, and none: upstream connections and CPU for
    /// each connection. Needs root; clients and proxy run in network namespaces of their own.
    Steering(steering::Options),
    /// Measures the small pieces alone: nanoseconds and instructions.
    Micro,
    /// Counts the instructions of the small pieces, beside the recorded counts.
    Instructions(instructions::Options),
    /// Measures the cost of the work without a proxy: handshakes, records and a relay of bytes.
    Floor,
}

/// Measures and reports.
pub(crate) fn run(bench: &Bench) -> Result<()> {
    match &bench.part {
        Some(Part::Steering(options)) => {
            packages::ensure(packages::BENCH)?;
            namespace::enter(|| steering::run(options))
        }
        Some(Part::Micro) => micro::run_all(),
        Some(Part::Instructions(options)) => instructions::run(options),
        Some(Part::Floor) => floor::show(),
        None => {
            packages::ensure(packages::BENCH)?;
            suite::run(&bench.options)
        }
    }
}
