//! Bytes of any kind where requests, their paths and responses are expected. For fuzzing.

use std::{
    cell::RefCell,
    collections::HashSet,
    convert::Infallible,
    future::{Future, poll_fn},
    pin::{Pin, pin},
    sync::Arc,
};

use http::{
    HeaderMap, HeaderValue, Method, Request, Response, StatusCode, header,
    request::Parts as RequestParts, response::Parts as ResponseParts,
};
use http_body::Body as _;
use hyper::{body::Incoming, client, server, service::service_fn};

use super::{
    headers::{self, ResponseRules},
    path, request,
    request_config::{RequestConfig, Route},
    spec::{EscapedSlashes, RequestSettings, RouteSpec},
};
use crate::{
    observe::RouteMetrics,
    route::Matcher,
    rt::{MemoryStream, poll_to_end},
};

type Probed = Result<(), String>;

/// Takes text as a path. A path in its normal form has the same form under the same settings, and none
/// of what the settings take out of it.
pub(crate) fn probe_path(path: &str, settings: &RequestSettings) -> Probed {
    let Ok(normal) = path::normalise(path, settings) else { return Ok(()) };
    let normal = normal.path;
    let again = path::normalise(&normal, settings);
    if again.as_ref().map(|again| &again.path) != Ok(&normal) {
        return Err(format!("{path:?} becomes {normal:?}, and that {again:?}"));
    }
    check_path(&normal, settings).map_err(|has| format!("{path:?} becomes {normal:?}: {has}"))
}

fn check_path(path: &str, settings: &RequestSettings) -> Result<(), &'static str> {
    let folded = path.to_ascii_lowercase();
    let has_escaped_slash = folded.contains("%2f") || folded.contains("%5c");
    if !path.starts_with('/') {
        return Err("no slash at its beginning");
    }
    if folded.contains("%00") {
        return Err("an escaped NUL");
    }
    if settings.escaped_slashes != EscapedSlashes::Keep && has_escaped_slash {
        return Err("an escaped slash");
    }
    if settings.normalize_path && path::has_dot_segment(path) {
        return Err("a dot segment");
    }
    if settings.merge_slashes && path.contains("//") {
        return Err("two slashes");
    }
    Ok(())
}

/// Takes bytes as requests of one connection, as hyper reads them. What is left of a request for the
/// upstream has no field of the client's connection, and none that only a proxy may write.
pub(crate) fn probe_request(bytes: &[u8], probe: &RequestProbe) -> Probed {
    let fault = RefCell::new(None);
    let serve = service_fn(|request: Request<Incoming>| {
        let (mut parts, body) = request.into_parts();
        if let Err(found) = probe.check(&mut parts) {
            fault.borrow_mut().get_or_insert(found);
        }
        drop(body);
        async { Ok::<_, Infallible>(Response::new(String::new())) }
    });
    let connection = server::conn::http1::Builder::new()
        .preserve_header_case(true)
        .serve_connection(MemoryStream::new(bytes), serve);
    // A malformed request ends the connection.
    let _ = poll_to_end(connection, 100 + 2 * bytes.len());
    fault.into_inner().map_or(Ok(()), Err)
}

/// A configuration with one route.
pub(crate) struct RequestProbe(RequestConfig);

impl RequestProbe {
    pub(crate) fn new(settings: RequestSettings, spec: RouteSpec, matcher: Matcher) -> Self {
        let metrics = || Arc::new(RouteMetrics::new(1));
        let route = Route { spec, matcher, cluster: None, metrics: metrics() };
        RequestProbe(RequestConfig::new(settings, [route], metrics(), Arc::default()))
    }

    fn check(&self, parts: &mut RequestParts) -> Probed {
        let RequestProbe(config) = self;
        let Ok(target) = request::normalise(parts, &config.settings) else { return Ok(()) };
        check_path(target.path(), &config.settings).map_err(|has| format!("{target:?}: {has}"))?;
        if target.host.is_empty() || target.host.bytes().any(|byte| byte.is_ascii_uppercase()) {
            return Err(format!("{target:?}"));
        }
        let Some(route) = config.find(&target) else { return Ok(()) };
        let nominated = nominated(&parts.headers);
        headers::strip_request(&mut parts.headers, route.reserved(config));
        for (name, value) in &parts.headers {
            let folded = name.as_str().replace('_', "-");
            if nominated.contains(name.as_str()) || is_forbidden(&folded) {
                return Err(format!("{name} passes"));
            }
            if name == header::TE && value != "trailers" {
                return Err(format!("TE: {value:?} passes"));
            }
        }
        Ok(())
    }
}

/// What `Connection` names, but for the fields that frame or route the message.
fn nominated(headers: &HeaderMap) -> HashSet<String> {
    let values = headers.get_all(header::CONNECTION).into_iter();
    let tokens = values.flat_map(|value| value.as_bytes().split(|byte| *byte == b','));
    let names = tokens.map(|token| String::from_utf8_lossy(token.trim_ascii()).to_lowercase());
    names
        .filter(|name| {
            let name = name.replace('_', "-");
            !matches!(&*name, "close" | "te" | "host" | "content-length" | "x-request-id")
                && !name.starts_with("x-forwarded-")
        })
        .collect()
}

/// In lower case, with dashes.
fn is_forbidden(name: &str) -> bool {
    matches!(
        name,
        "connection"
            | "keep-alive"
            | "proxy-connection"
            | "proxy-authorization"
            | "upgrade"
            | "http2-settings"
            | "client-cert"
            | "x-forwarded-client-cert"
    ) || name.starts_with("x-pomerium-")
        || name.starts_with("x-envoy-")
}

/// Takes bytes as an upstream's response, as hyper reads it. It has no more content than bytes came,
/// none where its status or the method allows none, and the client gets no field of the upstream's
/// connection.
pub fn probe_response(bytes: &[u8]) -> Probed {
    for method in [Method::GET, Method::HEAD] {
        let Some((mut head, content)) = read_response(bytes, method.clone()) else { continue };
        let status = head.status;
        if status.is_informational() && status != StatusCode::SWITCHING_PROTOCOLS {
            return Err(format!("{status} is passed on as a response"));
        }
        let is_empty = method == Method::HEAD
            || matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED);
        if is_empty && content > 0 || content > bytes.len() {
            return Err(format!("{content} bytes of content with {status}"));
        }
        let id = HeaderValue::from_static("id");
        let rules = ResponseRules { rewrite: &[], set: &[], request_id: &id };
        if headers::forward_response(&mut head.headers, status, rules).is_err() {
            continue;
        }
        let passes = |name: &&&str| head.headers.contains_key(**name);
        // A 101 has a `Connection` of ours.
        let is_switching = status == StatusCode::SWITCHING_PROTOCOLS;
        let fields = ["keep-alive", "proxy-connection", "transfer-encoding", "connection"];
        let fields = &fields[..fields.len() - usize::from(is_switching)];
        if let Some(name) = fields.iter().find(passes) {
            return Err(format!("{name} passes"));
        }
    }
    Ok(())
}

/// The head of the response, and the length of its content; `None` if it is malformed or cut off.
fn read_response(bytes: &[u8], method: Method) -> Option<(ResponseParts, usize)> {
    let mut request = Request::new(String::new());
    *request.method_mut() = method;
    request.headers_mut().insert(header::HOST, HeaderValue::from_static("app.example"));
    let exchange = async {
        let (mut sender, mut connection) = client::conn::http1::Builder::new()
            .preserve_header_case(true)
            .handshake(MemoryStream::answering(bytes))
            .await
            .ok()?;
        let mut is_over = false;
        let mut read = pin!(async move {
            let (head, mut body) = sender.send_request(request).await.ok()?.into_parts();
            let mut content = 0;
            while let Some(frame) = poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await {
                content += frame.ok()?.data_ref().map_or(0, bytes::Bytes::len);
            }
            Some((head, content))
        });
        poll_fn(|cx| {
            let polled = read.as_mut().poll(cx);
            is_over = is_over || Pin::new(&mut connection).poll(cx).is_ready();
            polled
        })
        .await
    };
    // Each poll moves at least a byte, or ends.
    poll_to_end(exchange, 100 + 2 * bytes.len()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_response_is_read_to_its_end() {
        let read = |bytes: &[u8], method| {
            let (head, content) = read_response(bytes, method)?;
            Some((head.status.as_u16(), content))
        };
        let response = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nhi";
        assert_eq!(read(response, Method::GET), Some((200, 2)));
        assert_eq!(read(response, Method::HEAD), Some((200, 0)));
        assert_eq!(read(&response[..response.len() - 1], Method::GET), None);
        assert_eq!(read(b"SSH-2.0\r\n", Method::GET), None);
    }
}
