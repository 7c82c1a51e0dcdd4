//! Runs one check after another; announces, times and records each.

use std::time::Instant;

use anyhow::{Result, bail};

use super::summary::Summary;
use crate::command::{cargo, run, shown};

/// The checks that failed so far.
#[derive(Default)]
pub(super) struct Steps {
    failed: Vec<String>,
}

impl Steps {
    /// Runs cargo with arguments separated by blanks.
    pub(super) fn cargo(&mut self, arguments: &str) {
        let mut cargo = cargo(arguments);
        self.run(&shown(&cargo), || run(&mut cargo));
    }

    /// Runs one check.
    pub(super) fn run(&mut self, name: &str, check: impl FnOnce() -> Result<()>) {
        println!("\n==> {name}");
        let start = Instant::now();
        let outcome = check();
        let seconds = start.elapsed().as_secs_f32();
        match outcome {
            Ok(()) => println!("<== ok, {seconds:.1} s"),
            Err(error) => {
                println!("<== FAILED, {seconds:.1} s: {error:#}");
                self.failed.push(name.to_owned());
            }
        }
    }

    /// The last lines: checks that were not run, failed checks, and the number of passed tests.
    pub(super) fn conclude(self, summary: &Summary) -> Result<()> {
        println!();
        for reason in &summary.not_run {
            println!("not run: {reason}");
        }
        for name in &self.failed {
            println!("failed: {name}");
        }
        println!("{summary}");
        if !self.failed.is_empty() {
            bail!("{} of the checks failed", self.failed.len());
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failed_check_fails_the_whole_and_the_next_check_still_runs() {
        let mut steps = Steps::default();
        let mut ran = false;
        steps.run("breaks", || bail!("broken"));
        steps.run("works", || {
            ran = true;
            Ok(())
        });
        assert!(ran);
        assert!(steps.conclude(&Summary::default()).is_err());
    }

    #[test]
    fn checks_that_all_pass_conclude_well() {
        let mut steps = Steps::default();
        steps.run("works", || Ok(()));
        assert!(steps.conclude(&Summary::default()).is_ok());
    }
}
