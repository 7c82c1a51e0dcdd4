//! The configuration of this room, and the orders that it passes on.

use std::{net::SocketAddr, sync::Arc};

use serde::{Deserialize, Serialize};

use crate::{
    control_call::ControlCaller,
    tls::{CertificateWithKey, TrustAnchors},
};

/// Where and how metrics and status are served.
#[derive(Debug, Clone)]
pub(crate) struct AdminSpec {
    /// `/metrics`, `/healthz`, `/readyz`, `/status`, in plain text.
    pub address: Option<SocketAddr>,
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

/// Whose sessions are to end, as an order names the user.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum SessionOwner {
    /// The user's id at the identity provider.
    User(Box<str>),
    /// The email address.
    Email(Box<str>),
}

/// The answer to such an order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct SessionsEnded {
    /// How many sessions were known to the process.
    pub ended: usize,
}

/// Passes such orders to the control thread, whose answer is the number of known sessions that it
/// ended; `None` if nobody can sign in.
pub(crate) type SessionOrders = ControlCaller<SessionOwner, Option<usize>>;

/// A value that `Debug` does not show.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Secret(pub String);

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secret(..)")
    }
}
