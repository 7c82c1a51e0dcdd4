//! Upstream connections: which endpoint, over which connection, as whom.

mod body;
mod spec;

use std::{rc::Rc, sync::Arc, time::Duration};

use ::http::{Request, Response};

pub use body::{ClientBody, RequestBody, ResponseBody};
pub use spec::{
    BalancePolicy, ClusterSpec, DnsFamily, DnsSpec, EndpointAddress, EndpointSpec, Protocol,
};

use crate::{observe::WorkerObserver, tls::Transport};

/// A route's upstreams, compiled once for all workers.
#[derive(Debug)]
pub struct Cluster {}

/// One upstream of a cluster.
#[derive(Debug)]
pub struct Endpoint {
    /// As configured.
    pub spec: EndpointSpec,
}

/// A worker's connections to all upstreams.
#[derive(Debug)]
pub struct Upstreams {}

impl Upstreams {
    /// No connections yet.
    pub fn new(_observer: Rc<WorkerObserver>) -> Upstreams {
        Upstreams {}
    }

    /// Chooses the endpoint for a request of the client that hashes to `client_hash`.
    pub fn pick(&self, _cluster: &Cluster, _client_hash: u64) -> Arc<Endpoint> {
        unimplemented!()
    }

    /// Sends a request over a pooled or a new connection and waits for the response's head.
    ///
    /// The request has its final path (origin form), Host header and end-to-end headers; this
    /// turns them into what the connection's HTTP version wants. A request that failed on a pooled
    /// connection which the upstream had closed meanwhile is sent once more on a new connection,
    /// where that is safe (RFC 9110 section 9.2.2).
    pub async fn send(
        &self,
        _cluster: &Arc<Cluster>,
        _endpoint: &Arc<Endpoint>,
        _request: Request<RequestBody>,
        _options: SendOptions,
    ) -> Result<Reply, UpstreamError> {
        unimplemented!()
    }
}

/// How a request is sent.
#[derive(Debug, Clone, Copy, Default)]
pub struct SendOptions {
    /// The request asks for an upgrade: HTTP/1.1, on a connection of its own.
    pub upgrade: bool,
    /// The longest the response's head may take from now; `None` is no limit.
    pub response_timeout: Option<Duration>,
}

/// What an upstream answered.
#[derive(Debug)]
pub struct Reply {
    /// Its response.
    pub response: Response<ResponseBody>,
    /// With status 101: the connection, to be taken over once the client's side is ready.
    pub upgraded: Option<Upgraded>,
}

/// A connection that has left HTTP.
#[derive(Debug)]
pub struct Upgraded {
    /// The connection.
    pub transport: Transport,
    /// Bytes that arrived behind the 101 and come first.
    pub received: bytes::Bytes,
}

/// Why an upstream gave no response.
#[derive(Debug, thiserror::Error)]
#[error("{detail}")]
pub struct UpstreamError {
    /// For the status and the metric.
    pub kind: FailureKind,
    /// For the log: addresses, names, what the other side said. Never for the client.
    pub detail: String,
}

/// What failed, in Envoy's terms (response flags in brackets).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum FailureKind {
    /// The name does not resolve (UF).
    Resolve,
    /// No TCP connection: refused, unreachable (UF).
    Connect,
    /// No connection in time (UF).
    ConnectTimeout,
    /// The TLS handshake failed (UF).
    Tls,
    /// The connection ended before a response (UC).
    Closed,
    /// What came is not HTTP (UPE).
    Protocol,
    /// No response in time (UT).
    ResponseTimeout,
    /// The client's request body failed: not the upstream's fault (DC).
    RequestBody,
}
