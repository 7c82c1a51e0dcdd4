//! The settings of this room.

use std::sync::Arc;

use super::{anchors::TrustAnchors, material::CertificateWithKey, trust::ClientTrust};
use crate::route::HostMatch;

/// TLS towards clients.
#[derive(Debug, Clone)]
pub struct ServerTlsSpec {
    /// The certificates in order; the first serves clients whose name matches none.
    pub certificates: Vec<Arc<CertificateWithKey>>,
    /// The client authentication.
    pub client_auth: ClientAuthSpec,
    /// The HTTP versions offered by ALPN.
    pub codec: Codec,
}

/// The client authentication of handshakes.
#[derive(Debug, Clone, Default)]
pub struct ClientAuthSpec {
    /// Which hosts ask, and how clients without a certificate are handled.
    pub mode: ClientAuthMode,
    /// The use of certificates by each route.
    pub routes: Vec<RouteClientAuth>,
}

/// Which hosts ask for a certificate, and how clients without one are handled.
#[derive(Debug, Clone)]
pub enum ClientAuthMode {
    /// The handshake accepts any certificate; requests verify it (`policy_with_default_deny` and
    /// `policy`).
    Request {
        /// Every host asks if any CA is configured, as in Pomerium.
        everywhere: bool,
    },
    /// The handshake fails without a valid certificate, at every host (`reject_connection`). This
    /// trust holds the CAs of all routes together.
    Require(Arc<ClientTrust>),
}

impl Default for ClientAuthMode {
    fn default() -> Self {
        ClientAuthMode::Request { everywhere: false }
    }
}

/// The use of certificates by one route.
#[derive(Debug, Clone)]
pub struct RouteClientAuth {
    /// The hosts that it serves.
    pub host: HostMatch,
    /// Whether its decisions depend on the certificate.
    pub looks: bool,
    /// The trust that verifies certificates.
    pub trust: Option<Arc<ClientTrust>>,
}

/// The HTTP versions offered to clients.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Codec {
    /// Both, HTTP/2 first.
    Auto,
    /// Only HTTP/1.1.
    Http1,
    /// Only HTTP/2.
    Http2,
}

/// TLS towards an upstream.
#[derive(Debug, Clone)]
pub(crate) struct UpstreamTlsSpec {
    /// Sent as SNI if it is a DNS name.
    pub sni: Box<str>,
    /// The name the certificate must have: a DNS name, an IP address, or a pattern in which each
    /// `*` stands for any run of characters. Differs from `sni` only for patterns.
    pub verify_name: Box<str>,
    /// Accept any certificate (`tls_skip_verify`).
    pub skip_verify: bool,
    /// The trusted issuers.
    pub anchors: Arc<TrustAnchors>,
    /// The client certificate, sent if the upstream asks for one.
    pub identity: Option<Arc<CertificateWithKey>>,
    /// Offer `h2` by ALPN before `http/1.1`.
    pub offer_h2: bool,
}
