//! What this room needs to be told.

use std::sync::Arc;

use super::{anchors::TrustAnchors, material::Identity, trust::ClientTrustSpec};

/// TLS towards clients.
#[derive(Debug, Clone)]
pub struct ServerTlsSpec {
    /// In order; the first serves clients whose name matches none.
    pub certificates: Vec<Arc<Identity>>,
    /// What clients must present (`reject_connection`: the handshake fails without it); `None`
    /// asks for nothing.
    pub client_auth: Option<ClientTrustSpec>,
    /// The HTTP versions offered by ALPN.
    pub codec: Codec,
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
pub struct UpstreamTlsSpec {
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
    pub identity: Option<Arc<Identity>>,
    /// Offer `h2` by ALPN before `http/1.1`.
    pub offer_h2: bool,
}
