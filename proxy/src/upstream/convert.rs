//! Converts requests to the HTTP version of their connection, and tells from a response whether its
//! connection can be reused. Pure.
//!
//! Both directions are idempotent, and each undoes the other: a request that was prepared for one
//! connection and never sent may be prepared for another.

use ::http::{
    HeaderMap, HeaderValue, Method, Request, Response, StatusCode, Uri, Version,
    header::{CONNECTION, CONTENT_LENGTH, HOST, TE, TRANSFER_ENCODING, UPGRADE},
    uri::{Authority, PathAndQuery, Scheme},
};
use http_body::Body;

use crate::fields::{HOP_BY_HOP, has_token};

/// Prepares for HTTP/1.1: origin form, Host, and a body whose end can be found.
///
/// `authority` is the upstream's own, for a request without a host. With `upgrade` the request asks
/// to switch the protocol (RFC 9110 section 7.8).
pub(super) fn for_http1<B: Body>(request: &mut Request<B>, authority: &str, upgrade: bool) {
    *request.version_mut() = Version::HTTP_11;
    if !request.headers().contains_key(HOST) {
        let host = request.uri().authority().map_or(authority, Authority::as_str);
        if let Ok(host) = HeaderValue::from_str(host) {
            request.headers_mut().insert(HOST, host);
        }
    }
    if request.uri().authority().is_some() {
        *request.uri_mut() = Uri::from(path_of(request.uri()));
    }
    delimit_body(request);
    if upgrade && request.headers().contains_key(UPGRADE) {
        request.headers_mut().insert(CONNECTION, HeaderValue::from_static("upgrade"));
    }
}

/// Prepares for HTTP/2: the host and the scheme move into the URI, from which hyper makes the
/// pseudo-header fields, and connection-specific fields are removed (RFC 9113 section 8.2.2).
pub(super) fn for_http2<B>(request: &mut Request<B>, authority: &str, scheme: Scheme) {
    *request.version_mut() = Version::HTTP_2;
    let host = request.headers_mut().remove(HOST);
    let host = host.as_ref().and_then(|host| Authority::try_from(host.as_bytes()).ok());
    let host = host.or_else(|| request.uri().authority().cloned());
    if let Some(host) = host.or_else(|| Authority::try_from(authority).ok()) {
        let uri = Uri::builder().scheme(scheme).authority(host);
        if let Ok(uri) = uri.path_and_query(path_of(request.uri())).build() {
            *request.uri_mut() = uri;
        }
    }
    remove_connection_fields(request.headers_mut());
}

/// Whether the connection may carry another request once this response has been read to its end.
///
/// Not with HTTP/1.0, whose keep-alive is unreliable; not if the end of the connection ends the
/// body; and not if the response frames its body in two ways, which may be response splitting (RFC
/// 9112 section 6.3), or states content that its status does not have.
pub(super) fn leaves_connection_open<B: Body>(response: &Response<B>) -> bool {
    let headers = response.headers();
    response.version() == Version::HTTP_11
        && !has_token(headers, &CONNECTION, "close")
        && (response.body().size_hint().exact().is_some() || is_chunked(headers))
        && !(headers.contains_key(TRANSFER_ENCODING) && headers.contains_key(CONTENT_LENGTH))
        && !(response.status() == StatusCode::NO_CONTENT && states_content(headers))
}

/// Whether content may follow, by the fields alone.
fn states_content(headers: &HeaderMap) -> bool {
    headers.contains_key(TRANSFER_ENCODING)
        || headers.get_all(CONTENT_LENGTH).iter().any(|length| length != "0")
}

fn path_of(uri: &Uri) -> PathAndQuery {
    uri.path_and_query().cloned().unwrap_or_else(|| PathAndQuery::from_static("/"))
}

/// Frames the body by its own size hint. hyper would trust a Content-Length that we passed on, and
/// would drop a GET's body of unknown length. No content where a method usually has some is stated
/// (RFC 9110 section 8.6): IIS and lighttpd answer 411 otherwise.
fn delimit_body<B: Body>(request: &mut Request<B>) {
    let length = match request.body() {
        body if body.is_end_stream() => Some(0),
        body => body.size_hint().exact(),
    };
    let has_usually = matches!(*request.method(), Method::POST | Method::PUT | Method::PATCH);
    let headers = request.headers_mut();
    headers.remove(TRANSFER_ENCODING);
    match length {
        Some(0) if !has_usually && !headers.contains_key(CONTENT_LENGTH) => {}
        Some(length) => {
            headers.insert(CONTENT_LENGTH, length.into());
        }
        None => {
            headers.remove(CONTENT_LENGTH);
            headers.insert(TRANSFER_ENCODING, HeaderValue::from_static("chunked"));
        }
    }
}

/// Removes the fields that `for_http1` may have set. Fields named by Connection were removed
/// before: requests come with end-to-end fields only.
fn remove_connection_fields(headers: &mut HeaderMap) {
    let trailers = has_token(headers, &TE, "trailers");
    for name in &HOP_BY_HOP {
        headers.remove(name);
    }
    if trailers {
        headers.insert(TE, HeaderValue::from_static("trailers"));
    }
}

/// As hyper reads it: with any other coding, the body ends with the connection.
fn is_chunked(headers: &HeaderMap) -> bool {
    let codings = headers.get_all(TRANSFER_ENCODING).iter().next_back();
    let last = codings.and_then(|codings| codings.to_str().ok()?.rsplit(',').next());
    last.is_some_and(|coding| coding.trim().eq_ignore_ascii_case("chunked"))
}

#[cfg(test)]
mod tests {
    use std::{
        convert::Infallible,
        pin::Pin,
        task::{Context, Poll},
    };

    use ::http::HeaderName;
    use bytes::Bytes;
    use http_body::{Frame, SizeHint};
    use proptest::prelude::*;

    use super::*;

    /// A body that has a size hint and no data.
    struct Sized(Option<u64>);

    impl Body for Sized {
        type Data = Bytes;
        type Error = Infallible;
        fn poll_frame(
            self: Pin<&mut Self>,
            _cx: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
            Poll::Ready(None)
        }
        fn is_end_stream(&self) -> bool {
            self.0 == Some(0)
        }
        fn size_hint(&self) -> SizeHint {
            self.0.map_or_else(SizeHint::default, SizeHint::with_exact)
        }
    }

    fn request(fields: &[(&'static str, &'static str)], length: Option<u64>) -> Request<Sized> {
        let mut request = Request::new(Sized(length));
        *request.uri_mut() = Uri::from_static("/a/b?c=d");
        for (name, value) in fields {
            request.headers_mut().append(*name, HeaderValue::from_static(value));
        }
        request
    }

    fn field<'a>(request: &'a Request<Sized>, name: &str) -> Option<&'a str> {
        request.headers().get(name).map(|value| value.to_str().unwrap())
    }

    fn http1(fields: &[(&'static str, &'static str)], length: Option<u64>) -> Request<Sized> {
        let mut request = request(fields, length);
        for_http1(&mut request, "up.example:8443", false);
        request
    }

    fn http2(fields: &[(&'static str, &'static str)]) -> Request<Sized> {
        let mut request = request(fields, Some(0));
        for_http2(&mut request, "up.example:8443", Scheme::HTTPS);
        request
    }

    #[test]
    fn the_host_becomes_the_authority_of_http2() {
        let request = http2(&[("host", "app.example:444")]);
        assert_eq!(request.uri().to_string(), "https://app.example:444/a/b?c=d");
        assert_eq!(field(&request, "host"), None);
        assert_eq!(request.version(), Version::HTTP_2);
    }

    #[test]
    fn a_request_without_a_host_names_the_upstream() {
        assert_eq!(field(&http1(&[], Some(0)), "host"), Some("up.example:8443"));
        assert_eq!(http2(&[]).uri().authority().unwrap(), "up.example:8443");
    }

    #[test]
    fn a_request_prepared_for_http2_can_still_go_over_http1() {
        let mut request = http2(&[("host", "app.example")]);
        for_http1(&mut request, "up.example:8443", false);
        assert_eq!(request.uri(), "/a/b?c=d");
        assert_eq!(field(&request, "host"), Some("app.example"));
        assert_eq!(request.version(), Version::HTTP_11);
    }

    #[test]
    fn the_asterisk_of_options_stays() {
        let mut request = request(&[("host", "app.example")], Some(0));
        *request.method_mut() = Method::OPTIONS;
        *request.uri_mut() = Uri::from_static("*");
        for_http2(&mut request, "up", Scheme::HTTP);
        for_http1(&mut request, "up", false);
        assert_eq!(request.uri(), "*");
    }

    #[test]
    fn http2_hears_nothing_about_connections() {
        let request = http2(&[
            ("connection", "upgrade"),
            ("keep-alive", "timeout=5"),
            ("proxy-connection", "close"),
            ("transfer-encoding", "chunked"),
            ("upgrade", "websocket"),
            ("te", "gzip"),
            ("x-kept", "1"),
        ]);
        let left: Vec<_> = request.headers().keys().map(HeaderName::as_str).collect();
        assert_eq!(left, ["x-kept"]);
    }

    #[test]
    fn trailers_may_be_asked_for_over_http2_and_nothing_else() {
        assert_eq!(field(&http2(&[("te", "gzip, trailers")]), "te"), Some("trailers"));
    }

    #[test]
    fn a_body_of_unknown_length_is_chunked_whatever_the_method() {
        let request = http1(&[("content-length", "5")], None);
        assert_eq!(request.method(), Method::GET);
        assert_eq!(field(&request, "transfer-encoding"), Some("chunked"));
        assert_eq!(field(&request, "content-length"), None);
    }

    #[test]
    fn the_body_knows_its_length_better_than_a_header() {
        let request = http1(&[("content-length", "5"), ("transfer-encoding", "chunked")], Some(3));
        assert_eq!(field(&request, "content-length"), Some("3"));
        assert_eq!(field(&request, "transfer-encoding"), None);
    }

    #[test]
    fn an_empty_body_gets_no_length_that_it_did_not_have() {
        assert_eq!(field(&http1(&[], Some(0)), "content-length"), None);
        assert_eq!(field(&http1(&[("content-length", "0")], Some(0)), "content-length"), Some("0"));
        assert_eq!(field(&http1(&[("content-length", "7")], Some(0)), "content-length"), Some("0"));
    }

    #[test]
    fn no_content_is_stated_where_a_method_usually_has_some() {
        for (method, expected) in [
            (Method::POST, Some("0")),
            (Method::PUT, Some("0")),
            (Method::PATCH, Some("0")),
            (Method::GET, None),
            (Method::HEAD, None),
            (Method::DELETE, None),
            (Method::OPTIONS, None),
        ] {
            let mut request = request(&[], Some(0));
            *request.method_mut() = method;
            for_http1(&mut request, "up.example", false);
            assert_eq!(field(&request, "content-length"), expected, "{}", request.method());
            assert_eq!(field(&request, "transfer-encoding"), None);
        }
    }

    #[test]
    fn an_upgrade_is_asked_of_the_connection() {
        let mut asked = request(&[("upgrade", "websocket")], Some(0));
        for_http1(&mut asked, "up", true);
        assert_eq!(field(&asked, "connection"), Some("upgrade"));
        assert_eq!(field(&http1(&[("upgrade", "websocket")], Some(0)), "connection"), None);
    }

    fn response(
        version: Version,
        fields: &[(&'static str, &'static str)],
        length: Option<u64>,
    ) -> Response<Sized> {
        let mut response = Response::new(Sized(length));
        *response.status_mut() = StatusCode::OK;
        *response.version_mut() = version;
        for (name, value) in fields {
            response.headers_mut().append(*name, HeaderValue::from_static(value));
        }
        response
    }

    #[test]
    fn a_delimited_response_leaves_the_connection_open() {
        let open =
            |fields, length| leaves_connection_open(&response(Version::HTTP_11, fields, length));
        assert!(open(&[], Some(0)));
        assert!(open(&[("content-length", "5")], Some(5)));
        assert!(open(&[("transfer-encoding", "gzip, Chunked")], None));
    }

    #[test]
    fn a_response_ended_by_the_connections_end_does_not() {
        let open = |fields| leaves_connection_open(&response(Version::HTTP_11, fields, None));
        assert!(!open(&[]));
        assert!(!open(&[("transfer-encoding", "chunked, gzip")]));
        assert!(!open(&[("transfer-encoding", "gzip")]));
    }

    #[test]
    fn neither_does_one_that_ends_in_two_ways() {
        let both: &[_] = &[("transfer-encoding", "chunked"), ("content-length", "5")];
        assert!(!leaves_connection_open(&response(Version::HTTP_11, both, None)));
    }

    #[test]
    fn neither_does_one_that_states_content_and_has_none() {
        let open = |fields| {
            let mut response = response(Version::HTTP_11, fields, Some(0));
            *response.status_mut() = StatusCode::NO_CONTENT;
            leaves_connection_open(&response)
        };
        assert!(open(&[]));
        assert!(open(&[("content-length", "0")]));
        assert!(!open(&[("content-length", "5")]));
        assert!(!open(&[("transfer-encoding", "chunked")]));
    }

    #[test]
    fn neither_does_http10_nor_close() {
        let keep_alive: &[_] = &[("connection", "keep-alive")];
        assert!(!leaves_connection_open(&response(Version::HTTP_10, keep_alive, Some(5))));
        let close: &[_] = &[("connection", "x-a, Close")];
        assert!(!leaves_connection_open(&response(Version::HTTP_11, close, Some(5))));
    }

    proptest! {
        #[test]
        fn preparing_twice_changes_nothing(
            length: Option<u8>,
            fields in prop::collection::vec(prop::sample::select(vec![
                ("host", "a.example"), ("te", "trailers"), ("te", "gzip"),
                ("connection", "x-a"), ("x-a", "1"), ("content-length", "9"),
                ("transfer-encoding", "chunked"), ("upgrade", "websocket"),
            ]), 0..6),
            upgrade: bool,
        ) {
            let look = |request: &Request<Sized>| {
                (request.uri().clone(), request.headers().clone(), request.version())
            };
            let mut request = request(&fields, length.map(u64::from));
            for_http1(&mut request, "up.example", upgrade);
            let once = look(&request);
            for_http1(&mut request, "up.example", upgrade);
            prop_assert_eq!(once, look(&request));
            for_http2(&mut request, "up.example", Scheme::HTTP);
            let once = look(&request);
            for_http2(&mut request, "up.example", Scheme::HTTP);
            prop_assert_eq!(once, look(&request));
        }
    }
}
