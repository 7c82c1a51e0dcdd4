//! `cargo xtask bench micro`: the time of the small pieces.

use anyhow::Result;

use super::instructions;
use crate::command::{cargo, run};

/// Prints the time of each piece, measured by criterion in a release build, and its instructions.
pub(crate) fn run_all() -> Result<()> {
    run(&mut cargo("bench --package portcullis --features bench --bench speed"))?;
    instructions::show()
}
