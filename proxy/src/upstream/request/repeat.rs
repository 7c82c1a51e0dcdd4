//! Whether and how a request is sent a second time.

use ::http::Request;

use crate::upstream::{UpstreamError, body::SentBody};

/// A failed attempt.
#[derive(Debug)]
pub(super) struct FailedAttempt {
    pub(super) error: UpstreamError,
    /// The request, if none of it was sent.
    pub(super) unsent: Option<Request<SentBody>>,
    /// The connection was gone before the upstream answered.
    pub(super) stale: bool,
}

impl From<UpstreamError> for FailedAttempt {
    fn from(error: UpstreamError) -> FailedAttempt {
        FailedAttempt { error, unsent: None, stale: false }
    }
}

impl FailedAttempt {
    /// The request to send again: the unsent request itself, or else the copy (RFC 9110 section
    /// 9.2.2).
    pub(super) fn repeatable(
        self,
        copy: Option<Request<SentBody>>,
    ) -> Result<Request<SentBody>, UpstreamError> {
        self.unsent.or(copy.filter(|_| self.stale)).ok_or(self.error)
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
