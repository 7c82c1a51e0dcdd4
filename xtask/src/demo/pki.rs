//! A development PKI by mkcert, with a CA of its own that is installed nowhere.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};

use super::{HOST, PROXY_NAME, UPSTREAM_NAME};
use crate::command::{command, shown};

/// A CA and what it has issued, as PEM files.
pub(super) struct Pki {
    /// The CA's certificate.
    pub(super) root: PathBuf,
    /// What the proxy shows to clients.
    pub(super) edge: Pair,
    /// What the upstream shows to the proxy.
    pub(super) upstream: Pair,
    /// What the proxy shows to the upstream.
    pub(super) proxy: Pair,
    /// What a user shows to the proxy.
    pub(super) client: Pair,
}

/// A certificate and its private key.
pub(super) struct Pair {
    pub(super) certificate: PathBuf,
    pub(super) key: PathBuf,
}

impl Pki {
    /// Issues new certificates; the CA is kept where there is one, since a browser may know it.
    pub(super) fn create(directory: &Path) -> Result<Self> {
        let ca = directory.join("ca");
        std::fs::create_dir_all(&ca).with_context(|| format!("cannot make {}", ca.display()))?;
        let wildcard = HOST.split_once('.').map_or(HOST.into(), |(_, zone)| format!("*.{zone}"));
        Ok(Self {
            edge: issue(&ca, directory, "edge", &[&wildcard])?,
            upstream: issue(&ca, directory, "upstream", &[UPSTREAM_NAME])?,
            proxy: issue(&ca, directory, "proxy-client", &["-client", PROXY_NAME])?,
            client: issue(&ca, directory, "client", &["-client", "you@localhost.pomerium.io"])?,
            root: ca.join("rootCA.pem"),
        })
    }
}

fn issue(ca: &Path, directory: &Path, name: &str, arguments: &[&str]) -> Result<Pair> {
    let certificate = directory.join(format!("{name}.pem"));
    let key = directory.join(format!("{name}-key.pem"));
    let mut mkcert = command("mkcert");
    mkcert.env("CAROOT", ca).args(["-ecdsa", "-cert-file"]).arg(&certificate);
    let output = mkcert.arg("-key-file").arg(&key).args(arguments).output()?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{} failed: {said}", shown(&mkcert));
    Ok(Pair { certificate, key })
}
