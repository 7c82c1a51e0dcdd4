//! `cargo xtask bench`: what the proxy costs and saves, measured here and now.

mod model;
mod namespace;
mod prometheus;
mod report;
mod steering;

use anyhow::Result;

use crate::packages;

/// What to measure.
#[derive(clap::Subcommand)]
pub(crate) enum Work {
    /// Steering in the kernel, by hand-off, and none: upstream connections, and CPU for each
    /// connection. As root; runs in a network namespace of its own.
    Steering(steering::Options),
}

/// Measures and prints tables in Markdown.
pub(crate) fn run(work: &Work) -> Result<()> {
    packages::ensure(packages::BENCH)?;
    match work {
        Work::Steering(options) => namespace::enter(|| steering::run(options)),
    }
}
