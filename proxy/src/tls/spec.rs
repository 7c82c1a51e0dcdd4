//! What this room needs to be told.

use std::sync::Arc;

use super::{anchors::TrustAnchors, material::CertificateWithKey, trust::ClientTrust};
use crate::route::HostMatch;

/// TLS towards clients.
#[derive(Debug, Clone)]
pub struct ServerTlsSpec {
    /// In order; the first serves clients whose name matches none.
    pub certificates: Vec<Arc<CertificateWithKey>>,
    /// What clients are asked for.
    pub client_auth: ClientAuthSpec,
    /// The HTTP versions offered by ALPN.
    pub codec: Codec,
}

/// What clients are asked for in the handshake.
#[derive(Debug, Clone, Default)]
pub struct ClientAuthSpec {
    /// Where, and what becomes of those without.
    pub mode: ClientAuthMode,
    /// What each route does with certificates.
    pub routes: Vec<RouteClientAuth>,
}

/// Where clients are asked for a certificate, and what becomes of those without.
#[derive(Debug, Clone)]
pub enum ClientAuthMode {
    /// Any certificate will do for the handshake; it is judged with the requests
    /// (`policy_with_default_deny` and `policy`).
    Request {
        /// At every host, as Pomerium does, where one CA is configured at all.
        everywhere: bool,
    },
    /// The handshake fails without a good one, at every host (`reject_connection`). Which is one
    /// that this finds good: the CAs of all routes together.
    Require(Arc<ClientTrust>),
}

impl Default for ClientAuthMode {
    fn default() -> Self {
        ClientAuthMode::Request { everywhere: false }
    }
}

/// What a route does with certificates.
#[derive(Debug, Clone)]
pub struct RouteClientAuth {
    /// Which hosts it serves.
    pub host: HostMatch,
    /// Whether what it does depends on the certificate.
    pub looks: bool,
    /// By what it judges certificates.
    pub trust: Option<Arc<ClientTrust>>,
}

/// The HTTP versions offered to clients.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Codec {
    /// Both, HTTP/2 first.
    Auto,
    /// HTTP/1.1 alone.
    Http1,
    /// HTTP/2 alone.
    Http2,
}

/// TLS towards an upstream.
#[derive(Debug, Clone)]
pub(crate) struct UpstreamTlsSpec {
    /// Sent as SNI where it is a DNS name.
    pub sni: Box<str>,
    /// The name the certificate must have: a DNS name, an IP address, or a pattern in which each
    /// `*` stands for any run of characters. Differs from `sni` only for patterns.
    pub verify_name: Box<str>,
    /// Accept any certificate (`tls_skip_verify`).
    pub skip_verify: bool,
    /// Who may have issued it.
    pub anchors: Arc<TrustAnchors>,
    /// Presented when the upstream asks.
    pub identity: Option<Arc<CertificateWithKey>>,
    /// Offer `h2` by ALPN before `http/1.1`.
    pub offer_h2: bool,
}
