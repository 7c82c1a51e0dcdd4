//! The configuration of active health checks, in Envoy's terms.

use std::{ops::Range, time::Duration};

use crate::digest::Digest;

/// One item of `health_checks`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct HealthCheckSpec {
    /// What is sent, and which answer is good.
    pub checker: CheckerSpec,
    /// How long a check may take, with its connection.
    pub timeout: Duration,
    /// The results in a row that change the verdict.
    pub thresholds: CheckThresholds,
    /// The times between checks.
    pub intervals: CheckIntervals,
    /// Whether a connection serves more than one check.
    pub reuse_connection: bool,
}

/// The results in a row that change the verdict, each at least 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct CheckThresholds {
    /// Failures until an endpoint is down.
    pub unhealthy: u32,
    /// Successes until it is up again.
    pub healthy: u32,
}

/// The times between the end of a check and the next check of an endpoint.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct CheckIntervals {
    /// After a success.
    pub interval: Duration,
    /// After a failure.
    pub unhealthy: Duration,
    /// After a failure that brings an endpoint nearer to being down.
    pub unhealthy_edge: Duration,
    /// After a success that brings an endpoint nearer to being up.
    pub healthy_edge: Duration,
    /// Instead of all others while the cluster has not been used.
    pub no_traffic: Option<NoTrafficIntervals>,
    /// The first check waits for a random time of at most this.
    pub initial_jitter: Duration,
    /// Each check waits for a random time of at most this longer.
    pub jitter: Duration,
    /// The same in percent of the interval.
    pub jitter_percent: u8,
}

/// The times between two checks while no request has used the cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct NoTrafficIntervals {
    /// Of an endpoint that is up.
    pub healthy: Duration,
    /// Of any other.
    pub other: Duration,
}

/// What is sent, and which answer is good.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum CheckerSpec {
    /// A request, and the status of its response.
    Http(HttpCheckSpec),
    /// A connection, with bytes that are sent and expected.
    Tcp(TcpCheckSpec),
    /// `grpc.health.v1.Health/Check`.
    Grpc(GrpcCheckSpec),
}

/// `http_health_check`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct HttpCheckSpec {
    /// The Host; `None` is the endpoint's own.
    pub host: Option<Box<str>>,
    /// The target of the request, which begins with a slash.
    pub path: Box<str>,
    /// The method.
    pub method: http::Method,
    /// The body of the request, often empty.
    pub send: Box<[u8]>,
    /// Blocks that the response's body must have, in this order.
    pub receive: Box<[Box<[u8]>]>,
    /// How much of the body is looked at for that, in bytes.
    pub response_buffer_bytes: usize,
    /// The statuses that are good; half-open ranges.
    pub expected_statuses: Vec<Range<u16>>,
    /// The statuses that count as one failure; any other makes the endpoint unhealthy at once.
    pub retriable_statuses: Vec<Range<u16>>,
    /// The HTTP version; `None` is that of the endpoint's URL.
    pub version: Option<CheckHttpVersion>,
    /// Header fields that are not sent.
    pub request_headers_to_remove: Vec<http::HeaderName>,
}

/// The HTTP version of checks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum CheckHttpVersion {
    /// HTTP/1.1.
    Http1,
    /// HTTP/2, with prior knowledge if there is no TLS.
    Http2,
}

/// `tcp_health_check`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct TcpCheckSpec {
    /// Sent once connected, if not empty.
    pub send: Box<[u8]>,
    /// Blocks that must come, in this order. If there is none, to connect is enough.
    pub receive: Box<[Box<[u8]>]>,
}

/// `grpc_health_check`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct GrpcCheckSpec {
    /// The service that is asked for; empty is the server as a whole.
    pub service_name: Box<str>,
    /// The `:authority`; `None` is the endpoint's own.
    pub authority: Option<Box<str>>,
}

impl HealthCheckSpec {
    /// Tells checks apart: what is known of an endpoint by one of them says nothing about another.
    pub(super) fn digest(&self) -> [u8; 32] {
        let mut digest = Digest::default();
        digest.field(format!("{self:?}").as_bytes());
        digest.finish()
    }
}

impl CheckerSpec {
    /// For the log and status.
    pub(super) fn name(&self) -> &'static str {
        match self {
            CheckerSpec::Http(_) => "http",
            CheckerSpec::Tcp(_) => "tcp",
            CheckerSpec::Grpc(_) => "grpc",
        }
    }
}

impl HttpCheckSpec {
    /// What Envoy does without these keys, with a path.
    pub(crate) fn get(path: &str) -> HttpCheckSpec {
        HttpCheckSpec {
            host: None,
            path: path.into(),
            method: http::Method::GET,
            send: Box::default(),
            receive: Box::default(),
            response_buffer_bytes: 1024,
            expected_statuses: std::iter::once(200..201).collect(),
            retriable_statuses: Vec::new(),
            version: None,
            request_headers_to_remove: Vec::new(),
        }
    }
}
