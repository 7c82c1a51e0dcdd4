use http::Request;
use proptest::prelude::*;

use super::*;
use crate::http::testing::settings;

fn head(version: Version, uri: &str, headers: &[(&str, &str)]) -> Parts {
    let mut builder = Request::builder().version(version).uri(uri);
    for (name, value) in headers {
        builder = builder.header(*name, *value);
    }
    builder.body(()).unwrap().into_parts().0
}

fn read(
    version: Version,
    uri: &str,
    headers: &[(&str, &str)],
) -> Result<RequestTarget, NormalizeError> {
    normalise(&mut head(version, uri, headers), &settings())
}

fn fault(version: Version, uri: &str, headers: &[(&str, &str)]) -> InvalidRequest {
    match read(version, uri, headers) {
        Err(NormalizeError::Invalid(fault)) => fault,
        other => panic!("no fault: {other:?}"),
    }
}

const H1: Version = Version::HTTP_11;
const H2: Version = Version::HTTP_2;

#[test]
fn host_port_path_and_query_are_told_apart() {
    let target = read(H1, "/a/../b?q=/../x", &[("host", "App.Example.:8443")]).unwrap();
    assert_eq!((&*target.host, target.port), ("app.example", Some(8443)));
    assert_eq!((target.path(), target.query()), ("/b", Some("q=/../x")));
    assert_eq!(target.authority, "App.Example.:8443");
}

#[test]
fn a_request_without_exactly_one_host_is_refused() {
    assert_eq!(fault(H1, "/", &[]), InvalidRequest::MissingHost);
    assert_eq!(fault(H1, "/", &[("host", "a"), ("host", "a")]), InvalidRequest::SeveralHosts);
    assert_eq!(fault(H2, "/", &[]), InvalidRequest::MissingHost);
    assert_eq!(fault(Version::HTTP_10, "/", &[]), InvalidRequest::MissingHost);
    assert_eq!(fault(H1, "http://a.example/", &[]), InvalidRequest::MissingHost);
    assert_eq!(fault(H1, "/", &[("host", "")]), InvalidRequest::BadAuthority);
    assert_eq!(fault(H1, "/", &[("host", "a b")]), InvalidRequest::BadAuthority);
    assert_eq!(fault(H1, "/", &[("host", "u@a.example")]), InvalidRequest::UserInfo);
}

#[test]
fn an_absolute_target_must_name_the_same_host() {
    let target = read(H1, "https://A.example:443/x", &[("host", "a.example")]).unwrap();
    assert_eq!((&*target.host, target.path()), ("a.example", "/x"));
    let elsewhere = fault(H1, "http://a.example/", &[("host", "b.example")]);
    assert_eq!(elsewhere, InvalidRequest::HostMismatch);
    assert_eq!(
        fault(H1, "http://a.example/", &[("host", "a.example:443")]),
        InvalidRequest::HostMismatch
    );
    assert_eq!(fault(H1, "ftp://a.example/", &[("host", "a.example")]), InvalidRequest::BadScheme);
}

#[test]
fn an_absolute_target_without_a_path_is_for_the_root() {
    let target = read(H1, "http://a.example?q", &[("host", "a.example")]).unwrap();
    assert_eq!(target.path_and_query.as_str(), "/?q");
}

#[test]
fn http2_takes_its_authority_and_refuses_another_host_beside_it() {
    assert_eq!(&*read(H2, "https://a.example/", &[]).unwrap().host, "a.example");
    assert!(read(H2, "https://a.example/", &[("host", "a.example")]).is_ok());
    assert_eq!(
        fault(H2, "https://a.example/", &[("host", "b.example")]),
        InvalidRequest::HostMismatch
    );
    assert_eq!(&*read(H2, "/", &[("host", "a.example")]).unwrap().host, "a.example");
}

#[test]
fn connect_is_refused_as_such() {
    let mut parts = head(H1, "a.example:443", &[("host", "a.example:443")]);
    parts.method = Method::CONNECT;
    assert_eq!(
        normalise(&mut parts, &settings()).unwrap_err(),
        NormalizeError::Invalid(InvalidRequest::Connect)
    );
}

#[test]
fn the_asterisk_form_is_refused() {
    assert_eq!(fault(H1, "*", &[("host", "a.example")]), InvalidRequest::BadPath);
}

#[test]
fn http10_with_transfer_encoding_is_refused() {
    let headers = [("host", "a.example"), ("transfer-encoding", "chunked")];
    assert_eq!(fault(Version::HTTP_10, "/", &headers), InvalidRequest::TransferEncodingInHttp10);
    assert!(read(H1, "/", &headers).is_ok());
}

#[test]
fn a_transfer_coding_other_than_chunked_once_is_refused() {
    let with = |lines: &[&str]| {
        let mut headers = vec![("host", "a.example")];
        headers.extend(lines.iter().map(|line| ("transfer-encoding", *line)));
        read(H1, "/", &headers).map(drop)
    };
    for lines in [&["chunked"][..], &["Chunked"], &[", chunked"]] {
        assert_eq!(with(lines), Ok(()), "{lines:?}");
    }
    for lines in [&["gzip, chunked"][..], &["junk", "chunked"], &["identity, chunked"], &["gzip"]] {
        assert_eq!(with(lines), Err(InvalidRequest::TransferCoding.into()), "{lines:?}");
    }
    for lines in [&["chunked, CHUNKED"][..], &["chunked", "chunked"]] {
        assert_eq!(with(lines), Err(InvalidRequest::ChunkedAgain.into()), "{lines:?}");
    }
}

#[test]
fn header_names_with_other_signs_are_treated_like_those_with_underscores() {
    for name in ["x.a", "x+a", "$wsru", "x|a", "x~a", "x^a", "x`a", "!x", "#", "x*", "x'a", "x&a"] {
        let headers = [("host", "a.example"), (name, "1"), ("x-a1", "2")];
        for version in [H1, H2] {
            assert_eq!(fault(version, "/", &headers), InvalidRequest::OddHeaderName, "{name}");
        }
        for (underscores, left) in [(Underscores::Drop, 2), (Underscores::Allow, 3)] {
            let mut parts = head(H1, "/", &headers);
            normalise(&mut parts, &RequestSettings { underscores, ..settings() }).unwrap();
            assert_eq!(parts.headers.len(), left, "{name}");
        }
    }
}

#[test]
fn values_of_http2_lose_the_white_space_around_them() {
    let headers = [("host", "a.example"), ("x-a", " b \t"), ("x-a", "c")];
    let mut parts = head(H2, "/", &headers);
    normalise(&mut parts, &settings()).unwrap();
    assert_eq!(parts.headers.get_all("x-a").iter().collect::<Vec<_>>(), ["b", "c"]);
}

#[test]
fn an_empty_port_is_none() {
    let target = read(H1, "/", &[("host", "A.example:")]).unwrap();
    assert_eq!((&*target.host, target.port), ("a.example", None));
    assert_eq!(target.authority, "A.example");
    let target = read(H1, "http://a.example:/x", &[("host", "a.example:80")]).unwrap();
    assert_eq!((target.port, target.authority.to_str().unwrap()), (None, "a.example"));
    let target = read(H1, "/", &[("host", "[::1]:")]).unwrap();
    assert_eq!((&*target.host, target.authority.to_str().unwrap()), ("::1", "[::1]"));
}

#[test]
fn header_names_with_underscores_are_refused_passed_or_dropped() {
    let headers = [("host", "a.example"), ("x_a", "1"), ("x_b", "2"), ("x-a", "3")];
    assert_eq!(fault(H1, "/", &headers), InvalidRequest::Underscore);

    let mut parts = head(H1, "/", &headers);
    normalise(&mut parts, &RequestSettings { underscores: Underscores::Drop, ..settings() })
        .unwrap();
    assert_eq!(parts.headers.len(), 2);
    assert_eq!(parts.headers["x-a"], "3");

    let mut parts = head(H1, "/", &headers);
    normalise(&mut parts, &RequestSettings { underscores: Underscores::Allow, ..settings() })
        .unwrap();
    assert_eq!(parts.headers.len(), 4);
}

#[test]
fn more_header_fields_than_allowed_are_refused() {
    let mut headers = vec![("host", "a.example")];
    headers.extend([("x", "1"); 100]);
    assert_eq!(fault(H2, "/", &headers), InvalidRequest::TooManyHeaders);
    headers.pop();
    assert!(read(H2, "/", &headers).is_ok());
}

#[test]
fn cookies_count_as_one_field_however_they_are_sent() {
    let mut headers = vec![("host", "a.example")];
    headers.extend([("cookie", "a=1"); 180]);
    headers.extend([("x", "1"); 98]);
    assert!(read(H2, "/", &headers).is_ok());
    headers.push(("x", "1"));
    assert_eq!(fault(H2, "/", &headers), InvalidRequest::TooManyHeaders);
}

#[test]
fn escaped_slashes_can_send_the_client_to_the_unescaped_path() {
    let redirect = RequestSettings { escaped_slashes: EscapedSlashes::Redirect, ..settings() };
    let mut parts = head(H1, "/a%2F..%2Fb?x=%2F", &[("host", "a.example")]);
    match normalise(&mut parts, &redirect).unwrap_err() {
        NormalizeError::Redirect(target) => assert_eq!(target.path_and_query, "/b?x=%2F"),
        other => panic!("{other:?}"),
    }
    assert_eq!(fault(H1, "/a%2Fb", &[("host", "a.example")]), InvalidRequest::EscapedSlashes);
}

#[test]
fn an_ordinary_target_shares_the_clients_bytes() {
    let parts = head(H1, "/some/path?and=query", &[("host", "a.example")]);
    let (normal, _) = path_and_query(&parts, &settings()).unwrap();
    assert!(std::ptr::eq(normal.as_str(), parts.uri.path_and_query().unwrap().as_str()));
}

proptest! {
    #[test]
    fn a_normalised_request_normalises_to_itself(
        host in "[a-zA-Z0-9.:@\\[\\]_-]{0,12}",
        target in "/[ -~]{0,20}",
        version in prop_oneof![Just(H1), Just(H2)],
    ) {
        let Ok(uri) = target.parse::<http::Uri>() else { return Ok(()) };
        let mut parts = head(version, "/", &[("host", &host)]);
        parts.uri = uri;
        let Ok(first) = normalise(&mut parts, &settings()) else { return Ok(()) };
        prop_assert!(!path::has_dot_segment(first.path()));
        parts.uri = first.path_and_query.clone().into();
        parts.headers.insert(header::HOST, HeaderValue::from_str(&match first.host.contains(':') {
            true => format!("[{}]", first.host),
            false => first.host.to_string(),
        }).unwrap());
        let again = normalise(&mut parts, &settings()).unwrap();
        prop_assert_eq!(again.host, first.host);
        prop_assert_eq!(again.path_and_query, first.path_and_query);
    }
}
