//! `http_health_check` and `grpc_health_check`: the request, and the judgement of its response.

use std::{future::poll_fn, pin::Pin};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Request, StatusCode, Uri, header, uri::Scheme};
use http_body::Body;
use hyper::body::Incoming;

use super::{
    failure::CheckFailure,
    grpc,
    http_connection::{CheckBody, HttpConnection},
    spec::{CheckHttpVersion, GrpcCheckSpec, HttpCheckSpec},
    stream::{CheckStage, MAX_ANSWER_BYTES},
    tcp::has_blocks,
};
use crate::{
    tls::UpstreamTls,
    upstream::failure::{exchange_text, with_causes},
};

const USER_AGENT: HeaderValue =
    HeaderValue::from_static(concat!("portcullis-health-check/", env!("CARGO_PKG_VERSION")));

/// A check that sends a request.
#[derive(Debug, Clone, Copy)]
pub(super) enum HttpChecker<'a> {
    Http(&'a HttpCheckSpec),
    Grpc(&'a GrpcCheckSpec),
}

/// Where requests go.
#[derive(Debug, Clone, Copy)]
pub(super) struct HttpOrigin<'a> {
    /// The endpoint's own authority.
    pub(super) authority: &'a str,
    pub(super) is_tls: bool,
    /// The TLS of its connection, for the meaning of an alert.
    pub(super) tls: Option<&'a UpstreamTls>,
    pub(super) version: CheckHttpVersion,
}

/// How an exchange has ended.
pub(super) enum HttpExchange {
    /// The response was judged.
    Judged(Result<(), CheckFailure>),
    /// No response came.
    Unanswered(CheckFailure),
}

impl HttpChecker<'_> {
    /// Sends the request and judges the response. `Judged` with a failure or without says nothing about
    /// the connection, which may serve again if it is open.
    pub(super) async fn exchange(
        self,
        connection: &mut HttpConnection,
        origin: HttpOrigin<'_>,
        stage: &CheckStage,
    ) -> HttpExchange {
        let unanswered = |text: String| HttpExchange::Unanswered(CheckFailure::counted(text));
        let Some(request) = self.request(origin) else {
            return unanswered("the request of the check cannot be made".to_owned());
        };
        stage.set("waiting for the response");
        let response = match connection.send(request).await {
            Ok(response) => response,
            Err(error) => {
                let refusal = |error: &_| origin.tls?.certificate_refusal(error);
                return unanswered(exchange_text(&error, refusal));
            }
        };
        stage.set("reading the response");
        let (head, body) = response.into_parts();
        HttpExchange::Judged(match self {
            HttpChecker::Http(spec) => judge_http(spec, head.status, body).await,
            HttpChecker::Grpc(_) => judge_grpc(head.status, &head.headers, body).await,
        })
    }

    fn request(self, origin: HttpOrigin<'_>) -> Option<Request<CheckBody>> {
        match self {
            HttpChecker::Http(spec) => http_request(spec, origin),
            HttpChecker::Grpc(spec) => grpc_request(spec, origin),
        }
    }
}

fn http_request(spec: &HttpCheckSpec, origin: HttpOrigin<'_>) -> Option<Request<CheckBody>> {
    let host = spec.host.as_deref().unwrap_or(origin.authority);
    let body = Bytes::copy_from_slice(&spec.send);
    let mut request = request(spec.method.clone(), host, &spec.path, origin, body)?;
    for name in &spec.request_headers_to_remove {
        request.headers_mut().remove(name);
    }
    Some(request)
}

fn grpc_request(spec: &GrpcCheckSpec, origin: HttpOrigin<'_>) -> Option<Request<CheckBody>> {
    let authority = spec.authority.as_deref().unwrap_or(origin.authority);
    let body = grpc::request(&spec.service_name);
    let mut request = request(Method::POST, authority, grpc::PATH, origin, body)?;
    let fields = [(header::CONTENT_TYPE, "application/grpc"), (header::TE, "trailers")];
    for (name, value) in fields {
        request.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    Some(request)
}

/// In the form of its HTTP version.
fn request(
    method: Method,
    host: &str,
    path: &str,
    origin: HttpOrigin<'_>,
    body: Bytes,
) -> Option<Request<CheckBody>> {
    let path: Uri = path.parse().ok()?;
    let mut builder = Request::builder().method(method).header(header::USER_AGENT, USER_AGENT);
    builder = match origin.version {
        CheckHttpVersion::Http1 => builder.uri(path).header(header::HOST, host),
        CheckHttpVersion::Http2 => {
            let scheme = if origin.is_tls { Scheme::HTTPS } else { Scheme::HTTP };
            let uri = Uri::builder().scheme(scheme).authority(host);
            builder.uri(uri.path_and_query(path.path_and_query()?.clone()).build().ok()?)
        }
    };
    builder.body(CheckBody::new(body)).ok()
}

async fn judge_http(
    spec: &HttpCheckSpec,
    status: StatusCode,
    body: Incoming,
) -> Result<(), CheckFailure> {
    let code = status.as_u16();
    let is_in = |ranges: &[std::ops::Range<u16>]| ranges.iter().any(|range| range.contains(&code));
    if !is_in(&spec.expected_statuses) {
        let text = format!("status {code}");
        return Err(match is_in(&spec.retriable_statuses) {
            true => CheckFailure::counted(text),
            false => CheckFailure::for_sure(text),
        });
    }
    // A long page is as good as a short one. Only one without an end is not.
    let is_long = body.size_hint().exact().is_some_and(|bytes| bytes > MAX_ANSWER_BYTES as u64 / 2);
    if is_long && spec.receive.is_empty() {
        return Ok(());
    }
    let found = |bytes: &[u8]| {
        let looked_at = bytes.get(..spec.response_buffer_bytes).unwrap_or(bytes);
        has_blocks(looked_at, &spec.receive)
    };
    let (bytes, _) = read(body, |bytes| is_long && found(bytes)).await?;
    match found(&bytes) {
        true => Ok(()),
        false => Err(CheckFailure::for_sure("the body does not have the expected blocks")),
    }
}

async fn judge_grpc(
    status: StatusCode,
    headers: &HeaderMap,
    body: Incoming,
) -> Result<(), CheckFailure> {
    let (bytes, trailers) = read(body, |bytes| !grpc::may_be_response(bytes)).await?;
    grpc::judge(status, headers, &bytes, trailers.as_ref())
}

/// Reads a body to its end, or until enough has come. The stream limits its length.
async fn read(
    mut body: Incoming,
    is_enough: impl Fn(&[u8]) -> bool,
) -> Result<(Vec<u8>, Option<HeaderMap>), CheckFailure> {
    let mut bytes = Vec::new();
    while let Some(frame) = poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await {
        let frame = frame.map_err(|error| CheckFailure::counted(with_causes(&error)))?;
        match frame.into_data() {
            Ok(data) => bytes.extend_from_slice(&data),
            Err(frame) => return Ok((bytes, frame.into_trailers().ok())),
        }
        if is_enough(&bytes) {
            break;
        }
    }
    Ok((bytes, None))
}

/// Whether a request of this method may have a body.
pub(crate) fn may_have_body(method: &Method) -> bool {
    matches!(*method, Method::POST | Method::PUT | Method::PATCH | Method::OPTIONS)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn origin(version: CheckHttpVersion) -> HttpOrigin<'static> {
        HttpOrigin { authority: "up.example:8443", is_tls: true, tls: None, version }
    }

    #[test]
    fn a_request_names_the_endpoint_unless_the_check_names_another() {
        let spec = HttpCheckSpec::get("/ready?deep=1");
        let http1 = http_request(&spec, origin(CheckHttpVersion::Http1)).unwrap();
        assert_eq!(http1.uri(), "/ready?deep=1");
        assert_eq!(http1.headers()["host"], "up.example:8443");
        let http2 = http_request(&spec, origin(CheckHttpVersion::Http2)).unwrap();
        assert_eq!(http2.uri(), "https://up.example:8443/ready?deep=1");
        assert!(!http2.headers().contains_key("host"));
        let spec = HttpCheckSpec { host: Some("app.example".into()), ..spec };
        let named = http_request(&spec, origin(CheckHttpVersion::Http1)).unwrap();
        assert_eq!(named.headers()["host"], "app.example");
    }

    #[test]
    fn fields_that_the_check_removes_are_not_sent() {
        let removed = vec![header::USER_AGENT];
        let spec = HttpCheckSpec { request_headers_to_remove: removed, ..HttpCheckSpec::get("/x") };
        let request = http_request(&spec, origin(CheckHttpVersion::Http1)).unwrap();
        assert!(!request.headers().contains_key(header::USER_AGENT));
    }

    #[test]
    fn a_grpc_request_asks_for_its_service() {
        let spec = GrpcCheckSpec { service_name: "a".into(), authority: Some("b".into()) };
        let request = grpc_request(&spec, origin(CheckHttpVersion::Http2)).unwrap();
        assert_eq!(request.uri(), "https://b/grpc.health.v1.Health/Check");
        assert_eq!(request.headers()["te"], "trailers");
        assert_eq!(request.body().size_hint().exact(), Some(8));
    }
}
