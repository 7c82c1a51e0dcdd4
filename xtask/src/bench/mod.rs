//! `cargo xtask bench`: what the proxy costs and saves, measured here and now.

mod floor;
pub(crate) mod instructions;
mod micro;
mod model;
mod namespace;
mod prometheus;
mod steering;

use anyhow::Result;

use crate::packages;

/// What to measure.
#[derive(clap::Subcommand)]
pub(crate) enum Work {
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

/// Measures and prints tables in Markdown.
pub(crate) fn run(work: &Work) -> Result<()> {
    match work {
        Work::Steering(options) => {
            packages::ensure(packages::BENCH)?;
            namespace::enter(|| steering::run(options))
        }
        Work::Micro => micro::run_all(),
        Work::Instructions(options) => instructions::run(options),
        Work::Floor => floor::show(),
    }
}
