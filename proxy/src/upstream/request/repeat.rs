//! Whether and how a request is sent a second time.

use std::time::Duration;

use ::http::Request;

use crate::{
    observe::UpstreamRetry,
    upstream::{
        Resend, SendFailure, UpstreamError, body::SentBody, send_failure::may_go_elsewhere,
    },
};

/// A failed attempt.
#[derive(Debug)]
pub(in crate::upstream) struct FailedAttempt {
    pub(super) error: UpstreamError,
    /// The request, if none of it was sent.
    pub(super) unsent: Option<Request<SentBody>>,
    /// The connection was gone before the upstream answered.
    pub(super) stale: bool,
    /// The upstream says that it has not processed the request.
    pub(super) unprocessed: bool,
    /// The endpoint may have processed an earlier attempt.
    pub(super) was_sent: bool,
    /// The time that connecting took.
    pub(super) spent: Duration,
}

impl From<UpstreamError> for FailedAttempt {
    fn from(error: UpstreamError) -> FailedAttempt {
        FailedAttempt {
            error,
            unsent: None,
            stale: false,
            unprocessed: false,
            was_sent: false,
            spent: Duration::ZERO,
        }
    }
}

impl From<UpstreamError> for Box<FailedAttempt> {
    fn from(error: UpstreamError) -> Box<FailedAttempt> {
        Box::new(error.into())
    }
}

impl FailedAttempt {
    /// The request to send again: the unsent request itself, or else the copy (RFC 9110 section
    /// 9.2.2). `was_sent` becomes true if the endpoint may have processed this attempt.
    pub(super) fn repeatable(
        mut self,
        copy: Option<Request<SentBody>>,
        was_sent: &mut bool,
    ) -> Result<Request<SentBody>, Box<FailedAttempt>> {
        // The detail of the failure speaks of earlier attempts, not of this one.
        let was_sent_before = *was_sent;
        *was_sent |= self.unsent.is_none() && !self.unprocessed;
        let again = self.unsent.take().or(copy.filter(|_| self.stale));
        again.ok_or_else(|| Box::new(self.after(was_sent_before)))
    }

    /// The failure after earlier attempts. If one of them may have brought the request to the endpoint, it
    /// is one that may be sent twice: no other is repeated.
    pub(super) fn after(mut self, was_sent: bool) -> FailedAttempt {
        self.was_sent |= was_sent;
        self
    }

    fn reason(&self) -> Option<UpstreamRetry> {
        if self.unsent.is_some() && may_go_elsewhere(self.error.kind) {
            Some(UpstreamRetry::Connect)
        } else {
            self.unprocessed.then_some(UpstreamRetry::RefusedStream)
        }
    }
}

impl From<FailedAttempt> for SendFailure {
    fn from(failed: FailedAttempt) -> SendFailure {
        let reason = failed.reason();
        let FailedAttempt { mut error, unsent, was_sent, spent, .. } = failed;
        if was_sent {
            error.detail.push_str("; it had been sent over an earlier connection, which broke");
        }
        let again = reason.map(|reason| Box::new(Resend { reason, unsent, was_sent, spent }));
        SendFailure { error, again }
    }
}

/// A copy of a request that may be sent twice: idempotent, and without a body, which cannot be read
/// twice. Extensions, which hold the spelling of header names (a map as large as the headers), are
/// omitted, since every request over a pooled connection is copied.
pub(super) fn copy_to_repeat(request: &Request<SentBody>) -> Option<Request<SentBody>> {
    if !request.method().is_idempotent() || request.body().upload().is_some() {
        return None;
    }
    let mut copy = Request::new(SentBody::empty());
    copy.method_mut().clone_from(request.method());
    copy.uri_mut().clone_from(request.uri());
    copy.headers_mut().clone_from(request.headers());
    Some(copy)
}
