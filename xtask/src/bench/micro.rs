//! `cargo xtask bench micro`: the small pieces by themselves.

use anyhow::Result;

use super::instructions;
use crate::command::{cargo, run};

/// Prints how long each piece takes, as criterion finds it in a release build, and how many
/// instructions.
pub(crate) fn run_all() -> Result<()> {
    run(&mut cargo("bench --package portcullis --features bench --bench speed"))?;
    instructions::show()
}
