//! Stand-in for the metrics of the observe room, so that `upstream` compiles alone.

use std::sync::Arc;

use super::Cell;

/// The cells of one worker.
#[derive(Debug, Default)]
pub struct WorkerMetrics {
    /// Connections and requests to upstreams.
    pub upstream: UpstreamCells,
}

/// Connections and requests to upstreams.
#[derive(Debug, Default)]
pub struct UpstreamCells {
    /// Connections begun.
    pub connects: Cell,
    /// Requests that got no response, by reason.
    pub connect_failures: UpstreamFailureCells,
    /// Requests sent over a pooled connection.
    pub requests_reused: Cell,
    /// Requests sent over a new connection.
    pub requests_fresh: Cell,
    /// Full TLS handshakes with upstreams.
    pub tls_handshakes_full: Cell,
    /// Resumed TLS handshakes with upstreams.
    pub tls_handshakes_resumed: Cell,
    /// Connections in the pool that serve no request (a gauge).
    pub idle_connections: Cell,
    /// Connections that serve a request (a gauge).
    pub active_connections: Cell,
    /// Requests sent once more on a new connection.
    pub retries: Cell,
}

/// Why an upstream gave no response.
#[derive(Debug, Clone, Copy)]
#[expect(missing_docs, reason = "a stand-in")]
pub enum UpstreamFailure {
    Resolve,
    Connect,
    ConnectTimeout,
    Tls,
    Closed,
    Protocol,
    ResponseTimeout,
    RequestBody,
}

/// Counts by reason.
#[derive(Debug, Default)]
pub struct UpstreamFailureCells(Cell);

impl UpstreamFailureCells {
    /// Counts one.
    pub fn inc(&self, _failure: UpstreamFailure) {
        self.0.inc();
    }
}

/// What one worker counts for one upstream.
#[derive(Debug, Default)]
pub struct EndpointCells {
    /// Connections begun.
    pub connects: Cell,
    /// Requests that got no response.
    pub failures: Cell,
    /// Requests sent over a pooled connection.
    pub requests_reused: Cell,
    /// Connections in the pool that serve no request (a gauge).
    pub idle_connections: Cell,
    /// Connections that serve a request (a gauge).
    pub active_connections: Cell,
}

/// The metrics of one upstream, for each worker.
#[derive(Debug)]
pub struct EndpointMetrics(Box<[EndpointCells]>);

impl EndpointMetrics {
    /// The cells that this worker alone writes; `None` for a worker that there is not.
    pub fn worker(&self, worker: usize) -> Option<&EndpointCells> {
        self.0.get(worker)
    }
}

/// The metrics of upstreams, by the upstream's authority.
#[derive(Debug)]
pub struct EndpointRegistry(usize);

impl EndpointRegistry {
    /// Nothing counted yet.
    pub fn new(workers: usize) -> Self {
        EndpointRegistry(workers)
    }

    /// The metrics under a name.
    pub fn get(&self, _name: &str) -> Arc<EndpointMetrics> {
        Arc::new(EndpointMetrics((0..self.0).map(|_| EndpointCells::default()).collect()))
    }
}

impl super::WorkerObserver {
    /// Counts into cells that nobody else sees, and logs nothing. For tests of other rooms.
    pub fn detached(worker: usize) -> super::WorkerObserver {
        super::WorkerObserver { worker, metrics: Arc::default() }
    }
}
