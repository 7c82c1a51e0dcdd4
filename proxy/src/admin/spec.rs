//! The configuration of this room.

use std::{net::SocketAddr, sync::Arc};

use crate::tls::{CertificateWithKey, TrustAnchors};

/// Where and how metrics and status are served.
#[derive(Debug, Clone)]
pub(crate) struct AdminSpec {
    /// `/metrics`, `/healthz`, `/readyz`, `/status`, in plain text.
    pub address: Option<SocketAddr>,
    /// The names by which clients may address it, besides IP addresses and `localhost`; `*` is any.
    pub hosts: Vec<String>,
    /// Pomerium's `metrics_address`: `/metrics` alone.
    pub metrics: Option<MetricsListenerSpec>,
}

/// Pomerium's metrics listener.
#[derive(Debug, Clone)]
pub(crate) struct MetricsListenerSpec {
    /// Where to listen.
    pub address: SocketAddr,
    /// The `user:password` that clients must present, from `metrics_basic_auth`.
    pub basic_auth: Option<Secret>,
    /// The certificate for TLS; `None` serves plain text.
    pub identity: Option<Arc<CertificateWithKey>>,
    /// The CAs of which clients must present a certificate.
    pub client_anchors: Option<Arc<TrustAnchors>>,
}

/// A value that `Debug` does not show.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Secret(pub String);

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secret(..)")
    }
}
