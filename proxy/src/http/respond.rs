//! Answers of ours: the only place that chooses their form.

use std::{borrow::Cow, fmt::Write};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Response, StatusCode, Version, header};
use hyper::ext::ReasonPhrase;

use super::{error::Failure, request::Fault};

const INTERCEPTED: HeaderName = HeaderName::from_static("x-pomerium-intercepted-response");
const GRPC_STATUS: HeaderName = HeaderName::from_static("grpc-status");
const GRPC_MESSAGE: HeaderName = HeaderName::from_static("grpc-message");
const NO_CACHE: HeaderValue = HeaderValue::from_static("no-cache, must-revalidate");
const HTML: HeaderValue = HeaderValue::from_static("text/html; charset=utf-8");
const JSON: HeaderValue = HeaderValue::from_static("application/json");
const PLAIN: HeaderValue = HeaderValue::from_static("text/plain; charset=utf-8");
const GRPC: HeaderValue = HeaderValue::from_static("application/grpc");

/// What an answer depends on in the request, kept before its headers are forwarded. Values are
/// shared, not copied.
#[derive(Debug, Clone)]
pub(super) struct Asked {
    accept: Option<HeaderValue>,
    content_type: Option<HeaderValue>,
    user_agent: Option<HeaderValue>,
    head: bool,
    version: Version,
}

impl Asked {
    /// Reads it from a request's head.
    pub(super) fn new(method: &Method, version: Version, headers: &HeaderMap) -> Asked {
        Asked {
            accept: headers.get(header::ACCEPT).cloned(),
            content_type: headers.get(header::CONTENT_TYPE).cloned(),
            user_agent: headers.get(header::USER_AGENT).cloned(),
            head: *method == Method::HEAD,
            version,
        }
    }

    fn form(&self) -> Form {
        if self.user_agent.as_ref().is_some_and(is_kubernetes) {
            return Form::Kubernetes;
        }
        let content_type = self.content_type.as_ref().map(HeaderValue::as_bytes);
        if content_type.is_some_and(|value| value.starts_with(b"application/grpc")) {
            return Form::Grpc;
        }
        let accept = self.accept.as_ref().and_then(|value| value.to_str().ok());
        accept.map_or(Form::Html, preferred)
    }
}

/// The form of an error's answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    Html,
    Json,
    Plain,
    Grpc,
    /// The `Status` of a Kubernetes API server, whose `message` is what kubectl shows.
    Kubernetes,
}

/// Whether it is of client-go, as Pomerium tells: `kubectl/v1.32.4 (linux/amd64) kubernetes/59526cd`.
fn is_kubernetes(user_agent: &HeaderValue) -> bool {
    user_agent.as_bytes().windows(11).any(|window| window == b"kubernetes/")
}

/// An answer of ours, complete but for what every response carries.
#[derive(Debug)]
pub(super) struct Reply {
    /// Head and whole body.
    pub(super) response: Response<Bytes>,
    /// For the record.
    pub(super) details: Cow<'static, str>,
    /// For the record.
    pub(super) flags: &'static str,
}

/// The answer to a request that failed.
pub(super) fn failure(failure: &Failure, asked: &Asked, request_id: &HeaderValue) -> Reply {
    let verdict = failure.verdict();
    let mut response = match asked.form() {
        Form::Grpc => grpc(verdict.status, verdict.message),
        form => page(form, verdict.status, verdict.message, request_id),
    };
    let headers = response.headers_mut();
    headers.insert(header::CACHE_CONTROL, NO_CACHE);
    headers.insert(INTERCEPTED, HeaderValue::from_static("true"));
    match failure {
        Failure::Rejected(fault) => {
            if *fault == Fault::Connect {
                let methods = "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS, TRACE";
                headers.insert(header::ALLOW, HeaderValue::from_static(methods));
            }
            close(headers, asked);
        }
        // The rest of its body may still come.
        Failure::RequestTimeout | Failure::StreamTimeout => close(headers, asked),
        _ => {}
    }
    Reply {
        response: without_body_for_head(response, asked),
        details: verdict.details,
        flags: verdict.flags,
    }
}

/// The answer of a route that has a fixed one.
pub(super) fn direct(status: StatusCode, body: &Bytes, asked: &Asked) -> Reply {
    reply(text(status, body.clone()), asked, "direct_response")
}

/// The answer that leads elsewhere.
pub(super) fn redirect(status: StatusCode, location: HeaderValue, asked: &Asked) -> Reply {
    let mut response = Response::new(Bytes::new());
    *response.status_mut() = status;
    response.headers_mut().insert(header::LOCATION, location);
    reply(response, asked, "direct_response")
}

/// The same for the plain-HTTP listener, which serves nothing else.
pub(super) fn redirect_and_close(location: HeaderValue, asked: &Asked) -> Reply {
    let mut reply = redirect(StatusCode::MOVED_PERMANENTLY, location, asked);
    close(reply.response.headers_mut(), asked);
    reply
}

/// What we serve on every host before any route; `None` leaves the request to the routes.
pub(super) fn builtin(method: &Method, path: &str, asked: &Asked) -> Option<Reply> {
    if !matches!(path, "/ping" | "/healthz") {
        return None;
    }
    if matches!(*method, Method::GET | Method::HEAD) {
        return Some(reply(
            text(StatusCode::OK, Bytes::from_static(b"OK")),
            asked,
            "direct_response",
        ));
    }
    let mut response = text(StatusCode::METHOD_NOT_ALLOWED, Bytes::new());
    response.headers_mut().insert(header::ALLOW, HeaderValue::from_static("GET, HEAD"));
    Some(reply(response, asked, "direct_response"))
}

/// Paths that are ours on every host, whatever the routes say: sign-in and its keys live there.
pub(super) fn is_reserved(path: &str) -> bool {
    ["/.pomerium", "/.well-known/pomerium"].iter().any(|own| {
        path.strip_prefix(own).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    })
}

/// What robots are told of a site that does not let them in.
pub(super) fn robots(asked: &Asked) -> Reply {
    let body = Bytes::from_static(b"User-agent: *\nDisallow: /");
    reply(text(StatusCode::OK, body), asked, "direct_response")
}

fn reply(response: Response<Bytes>, asked: &Asked, details: &'static str) -> Reply {
    Reply { response: without_body_for_head(response, asked), details: details.into(), flags: "" }
}

/// hyper's HTTP/2 server would send the body of an answer to HEAD.
fn without_body_for_head(mut response: Response<Bytes>, asked: &Asked) -> Response<Bytes> {
    let bodiless = matches!(response.status(), StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED);
    if asked.head && !bodiless {
        let length = HeaderValue::from(response.body().len());
        response.headers_mut().insert(header::CONTENT_LENGTH, length);
    }
    if asked.head || bodiless {
        *response.body_mut() = Bytes::new();
    }
    response
}

fn close(headers: &mut HeaderMap, asked: &Asked) {
    if asked.version < Version::HTTP_2 {
        headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
}

fn text(status: StatusCode, body: Bytes) -> Response<Bytes> {
    with_type(status, PLAIN, body)
}

fn with_type(status: StatusCode, content_type: HeaderValue, body: Bytes) -> Response<Bytes> {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, content_type);
    if let Some(reason) = reason(status) {
        response.extensions_mut().insert(reason);
    }
    response
}

/// The reason phrase of statuses that no registry names (HTTP/1.1 only).
fn reason(status: StatusCode) -> Option<ReasonPhrase> {
    match status.as_u16() {
        495 => Some(ReasonPhrase::from_static(b"SSL Certificate Error")),
        _ => None,
    }
}

fn page(form: Form, status: StatusCode, message: &str, id: &HeaderValue) -> Response<Bytes> {
    let id = id.to_str().unwrap_or_default();
    let code = status.as_u16();
    match form {
        Form::Json => {
            let body = format!(
                "{{\"error\":\"{}\",\"request_id\":\"{}\"}}\n",
                json_escaped(message),
                json_escaped(id)
            );
            with_type(status, JSON, body.into())
        }
        Form::Kubernetes => with_type(status, JSON, kubernetes_status(code, message).into()),
        Form::Html => {
            let (message, id) = (html_escaped(message), html_escaped(id));
            let body = format!(
                "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
                 <meta name=\"viewport\" content=\"width=device-width\">\n\
                 <title>{code} {message}</title>\n</head>\n<body>\n<h1>{code} {message}</h1>\n\
                 <p>Request id: <code>{id}</code></p>\n</body>\n</html>\n"
            );
            with_type(status, HTML, body.into())
        }
        Form::Plain | Form::Grpc => {
            with_type(status, PLAIN, format!("{code} {message}\nrequest id: {id}\n").into())
        }
    }
}

/// `Status` of `k8s.io/apimachinery/pkg/apis/meta/v1`, with the reasons that client-go itself would
/// take from an answer without it.
fn kubernetes_status(code: u16, message: &str) -> String {
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
         \"message\":\"{}\",\"reason\":\"{reason}\",\"code\":{code}}}\n",
        json_escaped(message)
    )
}

/// A gRPC status alone (Trailers-Only, gRPC over HTTP/2), by the mapping that gRPC clients
/// themselves use for HTTP statuses.
fn grpc(status: StatusCode, message: &'static str) -> Response<Bytes> {
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

/// The form an `Accept` header prefers: by quality, then by how precisely it is named, in doubt
/// HTML as in Pomerium.
fn preferred(accept: &str) -> Form {
    let offers = [
        (Form::Html, "text", "html"),
        (Form::Json, "application", "json"),
        (Form::Plain, "text", "plain"),
    ];
    let mut best = ((0, 0), Form::Html);
    for (form, kind, subkind) in offers {
        let quality = quality(accept, kind, subkind);
        if quality.0 > 0 && quality > best.0 {
            best = (quality, form);
        }
    }
    best.1
}

/// The quality in thousandths that an `Accept` header gives to a type by its most specific range
/// (RFC 9110 section 12.5.1), and how specific that is.
fn quality(accept: &str, kind: &str, subkind: &str) -> (u16, u8) {
    let (mut best, mut best_quality) = (0, 0);
    for range in accept.split(',') {
        let mut parts = range.split(';').map(str::trim);
        let Some((range_kind, range_subkind)) = parts.next().and_then(|r| r.split_once('/')) else {
            continue;
        };
        let specificity = match (range_kind, range_subkind) {
            ("*", "*") => 1,
            (k, "*") if k.eq_ignore_ascii_case(kind) => 2,
            (k, s) if k.eq_ignore_ascii_case(kind) && s.eq_ignore_ascii_case(subkind) => 3,
            _ => continue,
        };
        let quality = parts.find_map(|p| p.strip_prefix("q=").or(p.strip_prefix("Q=")));
        if specificity > best {
            (best, best_quality) = (specificity, quality.map_or(1000, thousandths));
        }
    }
    (best_quality, best)
}

fn thousandths(quality: &str) -> u16 {
    match quality.parse::<f32>() {
        Ok(quality) if (0.0..=1.0).contains(&quality) => (quality * 1000.0) as u16,
        _ => 0,
    }
}

fn html_escaped(text: &str) -> String {
    text.chars().fold(String::with_capacity(text.len()), |mut out, character| {
        match character {
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '&' => out.push_str("&amp;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            other => out.push(other),
        }
        out
    })
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
mod tests;
