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
    /// The time that connecting took.
    pub(super) spent: Duration,
}

impl From<UpstreamError> for FailedAttempt {
    fn from(error: UpstreamError) -> FailedAttempt {
        let spent = Duration::ZERO;
        FailedAttempt { error, unsent: None, stale: false, unprocessed: false, spent }
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
        *was_sent |= self.unsent.is_none() && !self.unprocessed;
        let again = self.unsent.take().or(copy.filter(|_| self.stale));
        again.ok_or_else(|| Box::new(self.after(*was_sent)))
    }

    /// The failure as it counts for other endpoints: they do not get a request that an earlier attempt
    /// may have brought to this one.
    pub(super) fn after(mut self, was_sent: bool) -> FailedAttempt {
        if was_sent {
            self.unsent = None;
            self.unprocessed = false;
        }
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
        let FailedAttempt { error, unsent, spent, .. } = failed;
        let again = reason.map(|reason| Box::new(Resend { reason, unsent, spent }));
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
