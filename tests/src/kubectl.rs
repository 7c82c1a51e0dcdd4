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
    let home = TempDir::new("kubectl");
    let mut command = Command::new(need("kubectl"));
    command.env_clear().env("HOME", home.path());
    command.env("PATH", std::env::var_os("PATH").unwrap_or_default());
    command.arg(format!("--server=https://localhost:{}", address.port()));
    command.arg("--certificate-authority").arg(pki().ca());
    command.arg("--client-certificate").arg(&client.cert).arg("--client-key").arg(&client.key);
    run(command.args(["get", "--raw", path]), b"")
}
