//! `portcullis health`: whether the running process is ready, for container runtimes and scripts.

use std::process::ExitCode;

use super::{
    admin_address::AdminAddress,
    fail, print,
    status::{self, FetchError},
};

#[derive(Debug, clap::Args)]
pub(super) struct Health {
    #[command(flatten)]
    admin: AdminAddress,
}

impl Health {
    pub(super) fn run(&self) -> ExitCode {
        match self.admin.ask(status::fetch_readiness) {
            Ok(()) => print("ready\n"),
            Err(FetchError::Answer(_, answer)) => fail(&format!("not ready: {answer}")),
            Err(error) => fail(&error.to_string()),
        }
    }
}
