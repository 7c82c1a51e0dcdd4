//! Upstream connections: chooses the endpoint, the connection and the TLS identity of each request.

mod answer_io;
mod balance;
mod body;
mod breaker;
mod cluster;
mod cluster_compiler;
mod connect;
mod connection_auth;
mod connection_share;
mod convert;
mod dns;
mod endpoint;
mod endpoint_pool;
mod endpoint_set;
mod failure;
mod frame_limit;
mod handshake;
mod hasher;
mod head_limit;
mod health;
mod interim;
mod late_upload;
mod lease;
mod meter;
mod owner;
mod pool;
mod progress;
mod reachability;
mod received_body;
mod request;
mod resilience;
mod retry;
mod send_failure;
mod setback;
mod spec;
#[cfg(test)]
mod testing;
mod tokio_connect;
mod tried;
mod upstreams;
mod worker_clusters;

use std::num::{NonZeroU16, NonZeroU32};

use ::http::Response;

pub(crate) use body::{RequestBody, ResponseBody, SentBody};
pub(crate) use breaker::CircuitBreakerSpec;
use breaker::{CircuitBreaker, CircuitPermit};
pub(crate) use cluster::{Cluster, StagedEndpoints};
pub(crate) use cluster_compiler::{ClusterCompiler, CompiledClusters, FormerCluster};
pub(crate) use dns::{DnsName, DnsNames, Resolution, Resolver};
pub(crate) use endpoint::Endpoint;
use endpoint::EndpointKey;
pub(crate) use endpoint_set::EndpointSet;
pub(crate) use failure::with_causes;
pub(crate) use health::{
    CheckHttpVersion, CheckIntervals, CheckThresholds, CheckerSpec, ClusterHealth,
    EjectionProposal, EjectionSender, Ejector, EndpointHealth, EnforcingSpec,
    FailurePercentageSpec, GrpcCheckSpec, HealthCheckSpec, HealthMonitor, HttpCheckSpec,
    NoTrafficIntervals, OutlierSpec, RequestOutcome, SuccessRateSpec, TcpCheckSpec, may_have_body,
};
pub(crate) use interim::InterimResponses;
pub(crate) use owner::ConnectionOwner;
pub(crate) use received_body::{ReceiveBodyError, ReceivedBody};
pub(crate) use resilience::ResilienceSpec;
pub(crate) use retry::{RetryReasons, RetrySpec};
pub(crate) use send_failure::{Resend, SendFailure};
pub(crate) use spec::{
    BalancePolicy, ClusterSpec, DnsFamily, DnsSpec, EndpointAddress, EndpointSpec, Protocol,
};
pub(crate) use tokio_connect::{connect_first, tls_failure_text};
pub(crate) use tried::Tried;
pub(crate) use upstreams::{RetryPermit, Upstreams};
pub(crate) use worker_clusters::ChosenEndpoint;

use crate::tls::Transport;

/// How a request is sent.
#[derive(Debug)]
pub(crate) struct SendOptions {
    /// The request asks for an upgrade: it needs HTTP/1.1 and its own connection.
    pub upgrade: bool,
    /// The most header fields that are read of an HTTP/1 response over a connection made for this
    /// request. hyper fixes the number for each connection.
    pub max_response_headers: u16,
    /// Where interim responses go; `None` drops them.
    pub interim: Option<InterimResponses>,
    /// For connecting.
    pub connecting: ConnectOptions,
    /// How long the request's body may go on if the upstream answers before its end and reads on;
    /// `None` is no limit. In few bytes, since a request keeps them for as long as it lasts.
    pub late_upload_limit_ms: Option<NonZeroU32>,
}

impl Default for SendOptions {
    fn default() -> SendOptions {
        SendOptions {
            upgrade: false,
            max_response_headers: handshake::HYPER_DEFAULT_HEADERS,
            interim: None,
            connecting: ConnectOptions::default(),
            late_upload_limit_ms: None,
        }
    }
}

/// How long a request may take to find a connection.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct ConnectOptions {
    /// The time for connecting that is left for all endpoints; `None` is the cluster's.
    pub within_ms: Option<NonZeroU32>,
    /// The time that is left for the response; `None` is no limit.
    pub response_within_ms: Option<NonZeroU32>,
    /// How many endpoints were not tried yet, this one included; `None`: all.
    pub untried: Option<NonZeroU16>,
}

/// An upstream's response.
#[derive(Debug)]
pub(crate) struct UpstreamResponse {
    /// Its response.
    pub response: Response<ResponseBody>,
    /// With status 101: the connection, which is joined with the client's once that is ready.
    pub upgraded: Option<Upgraded>,
    /// The upstream takes no more of the request's body, of which there is more.
    pub drops_request: bool,
}

/// A connection that has left HTTP.
#[derive(Debug)]
pub(crate) struct Upgraded {
    /// The connection.
    pub transport: Transport,
    /// Bytes that arrived behind the 101; they precede any that are read.
    pub received: bytes::Bytes,
    /// Counts it against the limit of its cluster, if there is one.
    circuit: Option<CircuitPermit>,
}

/// The reason why an upstream gave no response.
#[derive(Debug, thiserror::Error)]
#[error("{detail}")]
pub(crate) struct UpstreamError {
    /// For the status and the metric.
    pub kind: FailureKind,
    /// For the log only, never for the client: addresses, names, the other side's error.
    pub detail: String,
}

/// What failed, in Envoy's terms (response flags in brackets).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum FailureKind {
    /// The name does not resolve (UF).
    Resolve,
    /// No TCP connection: refused, unreachable (UF).
    Connect,
    /// No connection in time (UF).
    ConnectTimeout,
    /// The TLS handshake failed (UF).
    Tls,
    /// The same, since one side rejected the other: a certificate, a name, a version (UF).
    TlsRejected,
    /// A limit on requests or connections is reached (UO).
    Overflow,
    /// The connection ended before a response (UC).
    Closed,
    /// The response is not valid HTTP (UPE).
    Protocol,
    /// The client's request body failed: not the upstream's fault (DC).
    RequestBody,
}
