use http::Request;
use proptest::prelude::*;

use super::*;

fn map(fields: &[(&str, &str)]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in fields {
        headers.append(name.parse::<HeaderName>().unwrap(), value.parse().unwrap());
    }
    headers
}

fn stripped(fields: &[(&str, &str)]) -> HeaderMap {
    let mut headers = map(fields);
    strip_request(&mut headers, &HashSet::from(["x-email".into()]));
    headers
}

fn names(headers: &HeaderMap) -> Vec<&str> {
    let mut names: Vec<&str> = headers.keys().map(HeaderName::as_str).collect();
    names.sort_unstable();
    names
}

#[test]
fn hop_by_hop_headers_and_those_that_connection_names_are_removed() {
    let headers = stripped(&[
        ("connection", "keep-alive, X-Private"),
        ("connection", "x-other"),
        ("x-private", "1"),
        ("x-other", "1"),
        ("keep-alive", "timeout=5"),
        ("proxy-connection", "keep-alive"),
        ("transfer-encoding", "chunked"),
        ("upgrade", "h2c"),
        ("http2-settings", "AAMAAABkAAQAAP__"),
        ("expect", "100-continue"),
        ("accept", "*/*"),
    ]);
    assert_eq!(names(&headers), ["accept"]);
}

#[test]
fn a_connection_token_removes_nothing_that_says_what_the_message_is() {
    let headers = stripped(&[
        ("connection", "host, content-length, x-forwarded-for, x_forwarded_proto, x-request-id"),
        ("host", "a.example"),
        ("content-length", "5"),
        ("x-forwarded-for", "192.0.2.1"),
        ("x-request-id", "1"),
    ]);
    assert_eq!(names(&headers), ["content-length", "host", "x-forwarded-for", "x-request-id"]);
}

#[test]
fn of_te_only_trailers_is_passed_on() {
    assert_eq!(stripped(&[("te", "gzip, Trailers;q=1")]).get("te"), None);
    assert_eq!(stripped(&[("te", "gzip, trailers")])["te"], "trailers");
    assert_eq!(stripped(&[("connection", "te"), ("te", "trailers")])["te"], "trailers");
}

#[test]
fn a_client_can_say_nothing_that_only_a_proxy_may_say_in_any_spelling() {
    for name in [
        "x-pomerium-jwt-assertion",
        "X-Pomerium-Jwt-Assertion-For",
        "x_pomerium_jwt_assertion",
        "x-pomerium_claim-email",
        "x-pomerium-authorization",
        "x-pomerium-reproxy-policy",
        "x-email",
        "X_Email",
        "x-forwarded-client-cert",
        "x_forwarded_client_cert",
        "client-cert",
        "Client_Cert_Chain",
        "x-envoy-external-address",
        "x_forwarded_for",
        "x_forwarded-proto",
        "x_request_id",
        "content_length",
        "transfer_encoding",
    ] {
        assert_eq!(names(&stripped(&[(name, "1")])), Vec::<&str>::new(), "{name}");
    }
}

#[test]
fn trailers_may_hold_nothing_that_means_something_to_us() {
    let mut trailers = map(&[
        ("grpc-status", "0"),
        ("x-checksum", "1"),
        ("x_email", "1"),
        ("x-pomerium-jwt-assertion", "1"),
        ("x-forwarded-for", "1"),
        ("host", "1"),
        ("cookie", "1"),
        ("authorization", "1"),
    ]);
    strip_trailers(&mut trailers, &HashSet::from(["x-email".into()]));
    assert_eq!(names(&trailers), ["grpc-status", "x-checksum"]);
}

fn upgrade(version: Version, fields: &[(&str, &str)]) -> Upgrade {
    let mut request = Request::new(());
    *request.version_mut() = version;
    *request.headers_mut() = map(fields);
    requested_upgrade(&request.into_parts().0, &["websocket".into()])
}

#[test]
fn an_upgrade_is_taken_only_where_the_route_allows_it() {
    let h1 = Version::HTTP_11;
    let allowed = [("connection", "keep-alive, Upgrade"), ("upgrade", "WebSocket")];
    assert!(matches!(upgrade(h1, &allowed), Upgrade::Allowed(value) if value == "WebSocket"));
    assert_eq!(upgrade(Version::HTTP_10, &allowed), Upgrade::None);
    assert_eq!(upgrade(Version::HTTP_2, &allowed), Upgrade::None);
    assert_eq!(upgrade(h1, &[("upgrade", "websocket")]), Upgrade::None);
    assert_eq!(upgrade(h1, &[("connection", "upgrade")]), Upgrade::None);
    let one_of_two = [("connection", "upgrade"), ("upgrade", "websocket, spdy/3.1")];
    assert_eq!(upgrade(h1, &one_of_two), Upgrade::Refused);
    let spdy = [("connection", "upgrade"), ("upgrade", "spdy/3.1")];
    assert_eq!(upgrade(h1, &spdy), Upgrade::Refused);
}

#[test]
fn an_offer_of_clear_text_http2_is_ignored() {
    let fields = [("connection", "Upgrade, HTTP2-Settings"), ("upgrade", "h2c")];
    assert_eq!(upgrade(Version::HTTP_11, &fields), Upgrade::None);
}

proptest! {
    #[test]
    fn no_reserved_or_hop_by_hop_name_is_left(
        fields in proptest::collection::vec(
            ("(x[-_]pomerium[-_][a-z]{1,4}|x[-_]email|te|upgrade|client[-_]cert|x-[a-c]|host)",
             "[a-z, -]{0,12}"), 0..10),
        connection in "[a-z,-]{0,24}",
    ) {
        let mut all: Vec<(&str, &str)> =
            fields.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        all.push(("connection", &connection));
        let before = map(&all);
        let after = stripped(&all);
        for name in after.keys() {
            let folded = name.as_str().replace('_', "-");
            let ours = folded.starts_with("x-pomerium-") || folded.starts_with("client-cert")
                || matches!(&*folded, "x-email" | "upgrade" | "connection");
            prop_assert!(!ours, "{} is left", name);
        }
        prop_assert_eq!(before.contains_key("host"), after.contains_key("host"));
    }
}
