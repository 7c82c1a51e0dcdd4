//! `portcullis drain`: takes a worker out, or puts it back.

use std::process::ExitCode;

use super::{admin_address::AdminAddress, fail, not_ordered, print};

#[derive(Debug, clap::Args)]
pub(super) struct Drain {
    #[command(flatten)]
    admin: AdminAddress,
    /// The worker's number.
    #[arg(long)]
    worker: u32,
    /// Use the worker again.
    #[arg(long)]
    undo: bool,
}

impl Drain {
    pub(super) fn run(&self) -> ExitCode {
        match self.order() {
            Ok(()) if self.undo => {
                print(&format!("worker {} takes new connections again\n", self.worker))
            }
            Ok(()) => print(&format!("worker {} takes no new connections\n", self.worker)),
            Err(problem) => fail(&problem),
        }
    }

    fn order(&self) -> Result<(), String> {
        let process = self.admin.process()?;
        process.drain_worker(self.worker, !self.undo).map_err(|error| not_ordered(&process, &error))
    }
}
