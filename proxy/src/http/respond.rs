//! Answers of ours: the only place that chooses their status and form.

use std::borrow::Cow;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Response, StatusCode, Version, header};

use super::{
    error::{FailureReport, RequestFailure},
    error_context::ErrorContext,
    error_page::{ErrorAnswer, PLAIN, grpc, page, with_type},
    negotiation::{AnswerForm, ContentNegotiation},
    request::InvalidRequest,
};
use crate::observe::{Blame, RequestRefusal};

/// Pomerium's mark of an answer that is not the upstream's.
pub(super) const INTERCEPTED: HeaderName =
    HeaderName::from_static("x-pomerium-intercepted-response");
const NO_CACHE: HeaderValue = HeaderValue::from_static("no-cache, must-revalidate");
const CLOSE: HeaderValue = HeaderValue::from_static("close");
const PROXIED_METHODS: HeaderValue =
    HeaderValue::from_static("GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS, TRACE");

/// An answer of ours (Envoy: a local reply), complete but for the headers of every response.
#[derive(Debug)]
pub(super) struct LocalReply {
    /// Head and whole body.
    pub(super) response: Response<Bytes>,
    /// Envoy's response code details, for the record.
    pub(super) details: Cow<'static, str>,
    /// Envoy's response flags, for the record.
    pub(super) flags: &'static str,
    /// Who caused the error, if it is one.
    pub(super) blame: Option<Blame>,
    /// The reason in the metrics, if it is a refusal.
    pub(super) refusal: Option<RequestRefusal>,
}

impl LocalReply {
    /// An answer that is no error.
    pub(super) fn new(response: Response<Bytes>, negotiation: &ContentNegotiation) -> LocalReply {
        LocalReply {
            response: without_body_for_head(response, negotiation),
            details: "direct_response".into(),
            flags: "",
            blame: None,
            refusal: None,
        }
    }

    /// Adds a header beside those of the same name, such as `Set-Cookie`.
    pub(super) fn with_header(mut self, name: HeaderName, value: HeaderValue) -> LocalReply {
        self.response.headers_mut().append(name, value);
        self
    }

    /// Closes an HTTP/1 connection behind the answer.
    pub(super) fn closing(self, negotiation: &ContentNegotiation) -> LocalReply {
        match negotiation.version < Version::HTTP_2 {
            true => self.with_header(header::CONNECTION, CLOSE),
            false => self,
        }
    }
}

/// The answer to a request that is not forwarded.
#[derive(Debug)]
pub(super) enum LocalAnswer {
    /// An answer that is no error. Boxed: a forwarded request passes through the same functions.
    Reply(Box<LocalReply>),
    /// An error.
    Failure(RequestFailure),
}

impl LocalAnswer {
    /// The answer as it is sent.
    pub(super) fn into_reply(
        self,
        negotiation: &ContentNegotiation,
        context: &ErrorContext<'_>,
    ) -> LocalReply {
        match self {
            LocalAnswer::Reply(reply) => *reply,
            LocalAnswer::Failure(error) => failure(&error, negotiation, context),
        }
    }
}

impl From<LocalReply> for LocalAnswer {
    fn from(reply: LocalReply) -> LocalAnswer {
        LocalAnswer::Reply(Box::new(reply))
    }
}

impl From<RequestFailure> for LocalAnswer {
    fn from(failure: RequestFailure) -> LocalAnswer {
        LocalAnswer::Failure(failure)
    }
}

/// The answer to a request that failed.
pub(super) fn failure(
    failure: &RequestFailure,
    negotiation: &ContentNegotiation,
    context: &ErrorContext<'_>,
) -> LocalReply {
    let report = failure.report();
    let retry_after_s = failure.retry_after_s();
    let answer = ErrorAnswer {
        problem: failure.certificate_problem(),
        retry_after_s,
        ..ErrorAnswer::new(report.status, report.message)
    };
    let response = match negotiation.form() {
        AnswerForm::Grpc => grpc(report.status, report.message),
        form => page(form, answer, context),
    };
    let reply = LocalReply::new(response, negotiation)
        .with_header(header::CACHE_CONTROL, NO_CACHE)
        .with_header(INTERCEPTED, HeaderValue::from_static("true"));
    let reply = match retry_after_s {
        Some(seconds) => reply.with_header(header::RETRY_AFTER, HeaderValue::from(seconds)),
        None => reply,
    };
    let FailureReport { details, flags, blame, refusal, .. } = report;
    let reply = LocalReply { details, flags, blame: Some(blame), refusal, ..reply };
    match failure {
        RequestFailure::Rejected(InvalidRequest::Connect) => {
            reply.with_header(header::ALLOW, PROXIED_METHODS).closing(negotiation)
        }
        RequestFailure::TokenRequired => {
            reply.with_header(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"))
        }
        // After a time-out the rest of the request's body may still come.
        RequestFailure::Rejected(_)
        | RequestFailure::RequestTimeout
        | RequestFailure::StreamTimeout => reply.closing(negotiation),
        _ => reply,
    }
}

/// Says in an HTTP/1 response that the connection closes behind it (RFC 9112 section 9.6).
pub(super) fn announce_close(headers: &mut HeaderMap) {
    headers.insert(header::CONNECTION, CLOSE);
}

/// An answer with this text.
pub(super) fn direct(
    status: StatusCode,
    body: &Bytes,
    negotiation: &ContentNegotiation,
) -> LocalReply {
    LocalReply::new(with_type(status, PLAIN, body.clone()), negotiation)
}

/// A redirect.
pub(super) fn redirect(
    status: StatusCode,
    location: HeaderValue,
    negotiation: &ContentNegotiation,
) -> LocalReply {
    let mut response = Response::new(Bytes::new());
    *response.status_mut() = status;
    LocalReply::new(response, negotiation).with_header(header::LOCATION, location)
}

/// The answer to a health check.
pub(super) fn health(method: &Method, negotiation: &ContentNegotiation) -> LocalReply {
    if matches!(*method, Method::GET | Method::HEAD) {
        return direct(StatusCode::OK, &Bytes::from_static(b"OK"), negotiation);
    }
    direct(StatusCode::METHOD_NOT_ALLOWED, &Bytes::new(), negotiation)
        .with_header(header::ALLOW, HeaderValue::from_static("GET, HEAD"))
}

/// The answer to OPTIONS and TRACE requests that must not be passed on. A TRACE is not reflected: the
/// client's proxies may have added credentials to it.
pub(super) fn last_recipient(method: &Method, negotiation: &ContentNegotiation) -> LocalReply {
    let status = match *method {
        Method::TRACE => StatusCode::METHOD_NOT_ALLOWED,
        _ => StatusCode::NO_CONTENT,
    };
    direct(status, &Bytes::new(), negotiation).with_header(header::ALLOW, PROXIED_METHODS)
}

/// The robots.txt of a route that needs an authorized user.
pub(super) fn robots(negotiation: &ContentNegotiation) -> LocalReply {
    let body = Bytes::from_static(b"User-agent: *\nDisallow: /");
    direct(StatusCode::OK, &body, negotiation)
}

/// Removes the body from an answer that must not have one: hyper's HTTP/2 server would send it.
fn without_body_for_head(
    mut response: Response<Bytes>,
    negotiation: &ContentNegotiation,
) -> Response<Bytes> {
    let bodiless = matches!(response.status(), StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED);
    if negotiation.head && !bodiless {
        let length = HeaderValue::from(response.body().len());
        response.headers_mut().insert(header::CONTENT_LENGTH, length);
    }
    if negotiation.head || bodiless {
        *response.body_mut() = Bytes::new();
    }
    response
}

#[cfg(test)]
mod tests;
