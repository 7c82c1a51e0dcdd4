//! Listening sockets: one per worker and address, joined by `SO_REUSEPORT`.

use std::net::SocketAddr;

/// Where to listen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListenSpec {
    /// For clients; at least one. `:443` is `[::]:443`, which takes IPv4 too.
    pub addresses: Vec<SocketAddr>,
    /// For plain HTTP, answered with redirects to HTTPS.
    pub redirect_address: Option<SocketAddr>,
}
