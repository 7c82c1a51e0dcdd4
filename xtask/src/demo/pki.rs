//! The demo's certificates.

use std::path::{Path, PathBuf};

use anyhow::Result;

use super::{HOST, PROXY_NAME, UPSTREAM_NAME};
use crate::mkcert::{Authority, Pair};

/// A CA and the certificates it has issued, as PEM files.
pub(super) struct Pki {
    /// The CA's certificate.
    pub(super) root: PathBuf,
    /// The proxy's certificate for clients.
    pub(super) edge: Pair,
    /// The upstream's certificate.
    pub(super) upstream: Pair,
    /// The proxy's client certificate for the upstream.
    pub(super) proxy: Pair,
    /// A user's client certificate.
    pub(super) client: Pair,
}

impl Pki {
    /// Issues new certificates.
    pub(super) fn create(directory: &Path) -> Result<Self> {
        let ca = Authority::in_directory(directory.join("ca"))?;
        let issue = |name, arguments: &[&str]| ca.issue(directory, name, arguments);
        let wildcard = HOST.split_once('.').map_or(HOST.into(), |(_, zone)| format!("*.{zone}"));
        Ok(Self {
            edge: issue("edge", &[&wildcard])?,
            upstream: issue("upstream", &[UPSTREAM_NAME])?,
            proxy: issue("proxy-client", &["-client", PROXY_NAME])?,
            client: issue("client", &["-client", "you@localhost.pomerium.io"])?,
            root: ca.certificate(),
        })
    }
}
