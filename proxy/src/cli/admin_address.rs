//! Where a command finds the running process.

use std::net::SocketAddr;

use super::{
    ConfigFile,
    status::{self, FetchError},
};
use crate::{
    app::{self, RunningProcess},
    config::{self, AdminAddressSetting, DEFAULT_ADMIN_ADDRESS, Environment},
};

#[derive(Debug, clap::Args)]
pub(super) struct AdminAddress {
    /// The configuration file. Nothing but the administrative address is read from it.
    #[command(flatten)]
    file: ConfigFile,
    /// The administrative address, if it is not the configuration's.
    #[arg(long)]
    address: Option<SocketAddr>,
}

impl AdminAddress {
    /// Where the process is: what the configuration says, and if that does not tell, what a process that
    /// runs has left in its runtime directory.
    fn find(&self) -> Result<SocketAddr, String> {
        if let Some(address) = self.address {
            return Ok(address);
        }
        match config::admin_address(&self.file.location().path, &Environment::of_process()) {
            AdminAddressSetting::Is(address) => Ok(address),
            AdminAddressSetting::Off => {
                Err("portcullis.admin_address is off in this configuration; set it, or use \
                     --address"
                    .to_owned())
            }
            AdminAddressSetting::Unknown(problem) => match app::recorded_admin_addresses()[..] {
                [] => Ok(DEFAULT_ADMIN_ADDRESS),
                [address] => Ok(address),
                // An order must not reach another process than the one that is meant.
                [..] => Err(format!("{problem}; several processes run: say which by --address")),
            },
        }
    }

    /// Asks the process.
    pub(super) fn ask<T>(
        &self,
        ask: impl Fn(SocketAddr) -> Result<T, FetchError>,
    ) -> Result<T, FetchError> {
        ask(self.find().map_err(FetchError::Address)?)
    }

    /// The process that serves there, for orders: the status names it and its socket. Orders go over
    /// that, since anybody on this machine can reach the administrative address.
    pub(super) fn process(&self) -> Result<RunningProcess, String> {
        let running = self.ask(status::fetch).map_err(|error| error.to_string())?;
        let Some(socket) = running.control_socket else {
            return Err("the running process has no socket for orders: set RUNTIME_DIRECTORY or \
                XDG_RUNTIME_DIR for it"
                .to_owned());
        };
        Ok(RunningProcess { id: running.pid, socket: socket.into() })
    }
}
