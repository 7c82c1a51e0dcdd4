//! `portcullis reload` and `portcullis upgrade`: orders to a running process.

use std::process::ExitCode;

use super::{fail, print};
use crate::app::RunningProcess;

#[derive(Debug, clap::Args)]
pub(super) struct ProcessArguments {
    /// The process, if there are several.
    #[arg(long, value_name = "PID")]
    pid: Option<u32>,
}

impl ProcessArguments {
    pub(super) fn reload(&self) -> ExitCode {
        let reloaded = RunningProcess::find(self.pid).and_then(|process| process.reload());
        match reloaded {
            Ok(generation) => {
                print(&format!("generation {generation} of the configuration is in use\n"))
            }
            Err(error) => fail(&format!("not reloaded: {error:#}")),
        }
    }

    pub(super) fn upgrade(&self) -> ExitCode {
        let upgraded = RunningProcess::find(self.pid).and_then(|process| process.upgrade());
        match upgraded {
            Ok(process) => print(&format!("process {process} serves now\n")),
            Err(error) => fail(&format!("not upgraded: {error:#}")),
        }
    }
}
