//! A request that got no response, and whether it may be sent again.

use std::time::Duration;

use ::http::Request;

use super::{FailureKind, UpstreamError, body::SentBody};
use crate::observe::UpstreamRetry;

/// Why a request got no response.
#[derive(Debug)]
pub(crate) struct SendFailure {
    /// What happened.
    pub error: UpstreamError,
    /// What is needed to send it to another endpoint; `None` if the upstream may have processed it.
    /// Boxed: few requests fail.
    pub again: Option<Box<Resend>>,
}

impl SendFailure {
    /// Whether the endpoint takes no connections.
    pub(super) fn is_unconnected(&self) -> bool {
        let is_connecting = matches!(
            self.error.kind,
            FailureKind::Resolve
                | FailureKind::Connect
                | FailureKind::ConnectTimeout
                | FailureKind::Tls
        );
        let again = self.again.as_ref();
        is_connecting || again.is_some_and(|again| again.reason == UpstreamRetry::Connect)
    }

    /// Whether no request can reach the endpoint: it takes no connections, or one side rejects the other.
    pub(super) fn is_unreachable(&self) -> bool {
        self.error.kind == FailureKind::TlsRejected || self.is_unconnected()
    }
}

/// What is needed to send a request to another endpoint.
#[derive(Debug)]
pub(crate) struct Resend {
    /// Why it may be sent again.
    pub reason: UpstreamRetry,
    /// The request as it was made for the endpoint that failed: nothing of it was sent, or it may be sent
    /// twice.
    pub unsent: Option<Request<SentBody>>,
    /// The endpoint may have processed it, over an earlier connection that broke. Then it is idempotent
    /// and has no body (RFC 9110 section 9.2.2).
    pub was_sent: bool,
    /// The time that connecting took.
    pub spent: Duration,
}

/// Why nothing of a request was sent may make it pointless to send it elsewhere: our own limits, a
/// client's broken body, or TLS that one side rejected, which is a matter of configuration.
pub(super) fn may_go_elsewhere(kind: FailureKind) -> bool {
    match kind {
        FailureKind::Resolve
        | FailureKind::Connect
        | FailureKind::ConnectTimeout
        | FailureKind::Tls
        | FailureKind::Closed => true,
        FailureKind::TlsRejected
        | FailureKind::Overflow
        | FailureKind::Protocol
        | FailureKind::RequestBody => false,
    }
}
