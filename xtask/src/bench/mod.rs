//! `cargo xtask bench`: what the proxy costs and saves next to its peers, measured here and now.
//!
//! `suite` is the run from begin to end; `works` says what is measured, `peers` on what, `lab` what
//! stands around it, and `report` what came of it.

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

/// A closer look.
#[derive(clap::Subcommand)]
enum Part {
    /// Steering in the kernel, by hand-off, and none: upstream connections, and CPU for each
    /// connection. As root; runs in a network namespace of its own.
    Steering(steering::Options),
    /// The small pieces by themselves: nanoseconds and instructions.
    Micro,
    /// The instructions that the small pieces take, beside those on record.
    Instructions(instructions::Options),
    /// What the work costs without a proxy's: bare handshakes, records and a relay of bytes.
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
