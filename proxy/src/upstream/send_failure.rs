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
    /// Whether the endpoint takes no connections. That is so for a request too that went over an earlier
    /// connection, and is not sent again.
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
}

/// What is needed to send a request to another endpoint.
#[derive(Debug)]
pub(crate) struct Resend {
    /// Why it may be sent again.
    pub reason: UpstreamRetry,
    /// The request, if nothing of it was sent: as it was made for the endpoint that failed.
    pub unsent: Option<Request<SentBody>>,
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
