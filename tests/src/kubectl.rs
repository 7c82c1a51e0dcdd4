//! The real kubectl.

use std::{net::SocketAddr, process::Command};

use crate::{
    pki::{Pair, pki},
    process::{Finished, run},
    tempdir::TempDir,
    tools::need,
};

/// Requests a path from the API server at `https://localhost` and this address's port, with a
/// client certificate. It trusts [`crate::Pki::ca`].
pub fn get_raw(address: SocketAddr, client: &Pair, path: &str) -> Finished {
    get_raw_with(address, path, |command| {
        command.arg("--client-certificate").arg(&client.cert).arg("--client-key").arg(&client.key);
    })
}

/// The same with a bearer token, such as one of an exec credential plugin.
pub fn get_raw_with_token(address: SocketAddr, token: &str, path: &str) -> Finished {
    get_raw_with(address, path, |command| {
        command.arg(format!("--token={token}"));
    })
}

fn get_raw_with(
    address: SocketAddr,
    path: &str,
    credentials: impl FnOnce(&mut Command),
) -> Finished {
    let home = TempDir::new("kubectl");
    let mut command = Command::new(need("kubectl"));
    command.env_clear().env("HOME", home.path());
    command.env("PATH", std::env::var_os("PATH").unwrap_or_default());
    command.arg(format!("--server=https://localhost:{}", address.port()));
    command.arg("--certificate-authority").arg(pki().ca());
    credentials(&mut command);
    run(command.args(["get", "--raw", path]), b"")
}
