//! The bodies of errors' answers.

use std::fmt::Write;

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Response, StatusCode, header};
use hyper::ext::ReasonPhrase;

use super::{error_context::ErrorContext, negotiation::AnswerForm};
use crate::pages::{CertificateProblem, ErrorPage};

const GRPC_STATUS: HeaderName = HeaderName::from_static("grpc-status");
const GRPC_MESSAGE: HeaderName = HeaderName::from_static("grpc-message");
const JSON: HeaderValue = HeaderValue::from_static("application/json");
/// The media type of plain text.
pub(super) const PLAIN: HeaderValue = HeaderValue::from_static("text/plain; charset=utf-8");
const GRPC: HeaderValue = HeaderValue::from_static("application/grpc");

/// A response with a body of this type.
pub(super) fn with_type(
    status: StatusCode,
    content_type: HeaderValue,
    body: Bytes,
) -> Response<Bytes> {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, content_type);
    with_reason(response)
}

/// Adds the reason phrase of a status that is not registered.
fn with_reason(mut response: Response<Bytes>) -> Response<Bytes> {
    if let Some(reason) = reason(response.status()) {
        response.extensions_mut().insert(reason);
    }
    response
}

/// The reason phrase of a status that is not registered (HTTP/1.1 only).
fn reason(status: StatusCode) -> Option<ReasonPhrase> {
    match status.as_u16() {
        495 => Some(ReasonPhrase::from_static(b"SSL Certificate Error")),
        _ => None,
    }
}

/// What an answer to a failed request says.
pub(super) struct ErrorAnswer<'a> {
    pub(super) status: StatusCode,
    pub(super) message: &'a str,
    /// What is wrong with the client's certificate, if that is the reason.
    pub(super) problem: Option<CertificateProblem>,
    /// After how many seconds another try may succeed, if that is known.
    pub(super) retry_after_s: Option<u64>,
}

impl<'a> ErrorAnswer<'a> {
    /// One that says no more than this.
    pub(super) fn new(status: StatusCode, message: &'a str) -> ErrorAnswer<'a> {
        ErrorAnswer { status, message, problem: None, retry_after_s: None }
    }
}

/// The answer that says what went wrong, and the id to report.
pub(super) fn page(
    form: AnswerForm,
    answer: ErrorAnswer<'_>,
    context: &ErrorContext<'_>,
) -> Response<Bytes> {
    let ErrorAnswer { status, message, problem, retry_after_s } = answer;
    let id = context.id();
    let code = status.as_u16();
    match form {
        AnswerForm::Json => {
            let body = format!(
                "{{\"error\":\"{}\",\"request_id\":\"{}\"}}\n",
                json_escaped(message),
                json_escaped(id)
            );
            with_type(status, JSON, body.into())
        }
        AnswerForm::Kubernetes => {
            with_type(status, JSON, kubernetes_status(code, message, id).into())
        }
        AnswerForm::Html => {
            let visitor = context.visitor;
            let page = ErrorPage { status, message, problem, retry_after_s, visitor };
            with_reason(page.response(&context.page()))
        }
        AnswerForm::Plain | AnswerForm::Grpc => {
            with_type(status, PLAIN, format!("{code} {message}\nrequest id: {id}\n").into())
        }
    }
}

/// `Status` of `k8s.io/apimachinery/pkg/apis/meta/v1`, with the reasons that client-go derives from
/// the HTTP status. kubectl shows the message alone, so the request's ID is a part of it.
fn kubernetes_status(code: u16, message: &str, id: &str) -> String {
    let reason = match code {
        400 => "BadRequest",
        401 | 495 => "Unauthorized",
        403 => "Forbidden",
        404 => "NotFound",
        500 => "InternalError",
        503 => "ServiceUnavailable",
        504 => "Timeout",
        _ => "", // StatusReasonUnknown
    };
    format!(
        "{{\"kind\":\"Status\",\"apiVersion\":\"v1\",\"status\":\"Failure\",\
         \"message\":\"{} (request ID: {})\",\"reason\":\"{reason}\",\"code\":{code}}}\n",
        json_escaped(message),
        json_escaped(id)
    )
}

/// A gRPC status without a message (Trailers-Only, gRPC over HTTP/2), mapped from the HTTP status as
/// gRPC clients map it.
pub(super) fn grpc(status: StatusCode, message: &'static str) -> Response<Bytes> {
    let code = match status.as_u16() {
        400 | 431 => 13,             // INTERNAL
        401 | 495 => 16,             // UNAUTHENTICATED
        403 => 7,                    // PERMISSION_DENIED
        404 => 12,                   // UNIMPLEMENTED
        429 | 502 | 503 | 504 => 14, // UNAVAILABLE
        _ => 2,                      // UNKNOWN
    };
    let mut response = with_type(StatusCode::OK, GRPC, Bytes::new());
    response.headers_mut().insert(GRPC_STATUS, HeaderValue::from(code));
    response.headers_mut().insert(GRPC_MESSAGE, HeaderValue::from_static(message));
    response
}

fn json_escaped(text: &str) -> String {
    text.chars().fold(String::with_capacity(text.len()), |mut out, character| {
        match character {
            '"' | '\\' => out.extend(['\\', character]),
            control if control.is_control() => {
                let _ = write!(out, "\\u{:04x}", u32::from(control));
            }
            other => out.push(other),
        }
        out
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const ID: HeaderValue = HeaderValue::from_static("id-1");

    #[test]
    fn status_495_has_a_reason_phrase() {
        let status = StatusCode::from_u16(495).unwrap();
        let answer = ErrorAnswer::new(status, "a valid client certificate is required");
        let response = page(AnswerForm::Html, answer, &ErrorContext::bare(&ID));
        let reason = response.extensions().get::<ReasonPhrase>().unwrap();
        assert_eq!(reason.as_bytes(), b"SSL Certificate Error");
    }

    proptest! {
        #[test]
        fn json_stays_json_whatever_the_id(id in "[ -~]{0,20}") {
            let id = HeaderValue::from_str(&id).unwrap();
            let answer = ErrorAnswer::new(StatusCode::NOT_FOUND, "not \"found\"");
            let response = page(AnswerForm::Json, answer, &ErrorContext::bare(&id));
            let json: serde_json::Value = serde_json::from_slice(response.body()).unwrap();
            prop_assert_eq!(json["request_id"].as_str().unwrap(), id.to_str().unwrap());
        }
    }
}
