//! The configuration of this room: where to connect, and with which TLS identity.

use std::{path::PathBuf, sync::Arc, time::Duration};

use super::ResilienceSpec;
use crate::tls::UpstreamTlsSpec;

/// The upstreams of a route. Routes with the same upstreams may share it.
#[derive(Debug, Clone)]
pub(crate) struct ClusterSpec {
    /// At least one. Clusters share equal endpoints.
    pub endpoints: Box<[Arc<EndpointSpec>]>,
    /// How an endpoint is chosen.
    pub balance: BalancePolicy,
    /// How long a connection may take to be established, TLS included.
    pub connect_timeout: Duration,
    /// What is configured for endpoints that fail; `None` if nothing is.
    pub resilience: Option<Arc<ResilienceSpec>>,
}

/// One upstream.
#[derive(Debug, Clone)]
pub(crate) struct EndpointSpec {
    /// The host as the `to` URL names it, with its port where it is not the scheme's own: the
    /// Host header of forwarded requests.
    pub authority: Box<str>,
    /// Where to connect.
    pub address: EndpointAddress,
    /// Relative share of the requests, at least 1.
    pub weight: u32,
    /// TLS to the upstream; `None` is plain text.
    pub tls: Option<Arc<UpstreamTlsSpec>>,
    /// The HTTP version.
    pub protocol: Protocol,
}

/// Where an upstream listens.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum EndpointAddress {
    /// A name to resolve (`localhost` has become `127.0.0.1` before) and a port.
    Name(Box<str>, u16),
    /// An address.
    Ip(std::net::SocketAddr),
    /// A Unix stream socket.
    Unix(PathBuf),
}

/// The HTTP version spoken with an upstream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Protocol {
    /// HTTP/2 if ALPN chooses it, HTTP/1.1 otherwise.
    Auto,
    /// HTTP/2 without negotiation (`h2c://`).
    Http2PriorKnowledge,
}

/// How an upstream is chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum BalancePolicy {
    /// In turn, by weight.
    RoundRobin,
    /// The one with fewer requests of two drawn at random (by weight).
    LeastRequest,
    /// At random, by weight.
    Random,
    /// By hash of the client on a ring (Ketama).
    RingHash,
    /// By hash of the client in a Maglev table (Eisenbud et al., NSDI 2016).
    Maglev,
}

/// How upstream names are resolved.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct DnsSpec {
    /// The address families to look up, and their order.
    pub family: DnsFamily,
}

/// Pomerium's `dns_lookup_family`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum DnsFamily {
    /// IPv4, or IPv6 if there is none.
    V4Preferred,
    /// Only IPv4.
    V4Only,
    /// Only IPv6.
    V6Only,
    /// IPv6, or IPv4 if there is none.
    Auto,
    /// Both.
    All,
}
