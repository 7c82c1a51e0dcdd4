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
    /// Where the process may be, the likeliest place first: there is always one.
    fn candidates(&self) -> Result<Vec<SocketAddr>, String> {
        if let Some(address) = self.address {
            return Ok(vec![address]);
        }
        let mut addresses = Vec::new();
        let setting = config::admin_address(self.file.path(), &Environment::of_process());
        if let AdminAddressSetting::Is(address) = setting {
            addresses.push(address);
        }
        // The running process has what the file said at its start, and the file may not be readable.
        for address in app::recorded_admin_addresses() {
            if !addresses.contains(&address) {
                addresses.push(address);
            }
        }
        match setting {
            AdminAddressSetting::Off if addresses.is_empty() => {
                Err("portcullis.admin_address is off in this configuration; set it, or use \
                     --address"
                    .to_owned())
            }
            AdminAddressSetting::Unknown(_) if addresses.is_empty() => {
                Ok(vec![DEFAULT_ADMIN_ADDRESS])
            }
            _ => Ok(addresses),
        }
    }

    /// Asks the process. The error is that of the likeliest place.
    pub(super) fn ask<T>(
        &self,
        ask: impl Fn(SocketAddr) -> Result<T, FetchError>,
    ) -> Result<T, FetchError> {
        let candidates = self.candidates().map_err(FetchError::Address)?;
        let mut first_error = None;
        for address in candidates {
            match ask(address) {
                Err(error @ FetchError::Connect(..)) => {
                    first_error.get_or_insert(error);
                }
                answered => return answered,
            }
        }
        let none = || FetchError::Address("there is no address to ask".to_owned());
        Err(first_error.unwrap_or_else(none))
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
