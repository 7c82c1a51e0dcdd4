use http::Request;
use proptest::prelude::*;

use super::*;
use crate::http::spec::{HeaderRules, HeaderTemplate};

fn map(fields: &[(&str, &str)]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in fields {
        headers.append(name.parse::<HeaderName>().unwrap(), value.parse().unwrap());
    }
    headers
}

fn stripped(fields: &[(&str, &str)]) -> HeaderMap {
    stripped_for(&HeaderRules::default(), fields)
}

fn stripped_for(rules: &HeaderRules, fields: &[(&str, &str)]) -> HeaderMap {
    cleaned(rules, fields, strip_request)
}

fn stripped_trailers(rules: &HeaderRules, fields: &[(&str, &str)]) -> HeaderMap {
    cleaned(rules, fields, strip_trailers)
}

fn cleaned(
    rules: &HeaderRules,
    fields: &[(&str, &str)],
    strip: impl FnOnce(&mut HeaderMap, Reserved<'_>),
) -> HeaderMap {
    let mut headers = map(fields);
    let (identity, rules) = (identity(), RequestRules::new(rules));
    let reserved = Reserved {
        identity: &identity,
        cookies: &OwnCookies::default(),
        rules: &rules,
        bearer: false,
        odd_names: true,
        forwarding: PassedForwarding::Named(&[HeaderName::from_static("x-real-ip")]),
    };
    strip(&mut headers, reserved);
    headers
}

fn identity() -> HashSet<Box<str>> {
    identity_names(&["x-email", "x-pomerium-jwt-assertion"].map(HeaderName::from_static))
}

/// A route that sets `X-User-Id` and `x_dn`, and removes `X-Debug`.
fn rules() -> HeaderRules {
    let name = HeaderName::from_static;
    let value = || HeaderTemplate(Vec::new());
    HeaderRules {
        remove: vec![name("x-debug")],
        set: vec![(name("x-user-id"), value()), (name("x_dn"), value())],
    }
}

fn names(headers: &HeaderMap) -> Vec<&str> {
    let mut names: Vec<&str> = headers.keys().map(HeaderName::as_str).collect();
    names.sort_unstable();
    names
}

#[test]
fn hop_by_hop_headers_and_connections_tokens_are_removed() {
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
fn a_connection_token_removes_no_framing_header() {
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
fn no_spelling_of_a_proxys_header_passes_from_a_client() {
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
        "SSL_CLIENT_CERT",
        "SSL_CLIENT_S_DN",
        "ssl-client-verify",
        "X-SSL-Client-DN",
        "X_SSL-CERT",
        "X-Client-Cert",
        "X-Client-Certificate",
        "X-ARR-ClientCert",
        "X-Amzn-Mtls-Clientcert-Leaf",
        "X-Forwarded-Tls-Client-Cert-Info",
        "x-envoy-external-address",
        "x_forwarded_for",
        "x_forwarded-proto",
        "x_request_id",
        "content_length",
        "transfer_encoding",
        "X.Pomerium.Claim.Email",
        "x+ssl+client+verify",
        "Client.Cert",
        "x*email",
        "x-forwarded|for",
        "Proxy",
        "WL-Proxy-Client-Cert",
        "wl.proxy.ssl",
        "$WSCC",
        "$wsru",
        "_ws_ru",
    ] {
        assert_eq!(names(&stripped(&[(name, "1")])), Vec::<&str>::new(), "{name}");
    }
}

#[test]
fn trailers_may_hold_nothing_that_means_something_to_us() {
    let fields = [
        ("grpc-status", "0"),
        ("x-checksum", "1"),
        ("x_email", "1"),
        ("x-pomerium-jwt-assertion", "1"),
        ("x-forwarded-for", "1"),
        ("host", "1"),
        ("cookie", "1"),
        ("authorization", "1"),
        ("client-cert", "1"),
        ("x_ssl_client_verify", "1"),
        ("x-user_id", "1"),
        ("x-dn", "1"),
        ("x-debug", "1"),
        ("x.user.id", "1"),
        ("content-length", "1"),
        ("content-type", "1"),
        ("range", "1"),
        ("if-match", "1"),
        ("forwarded", "1"),
        ("max-forwards", "1"),
    ];
    assert_eq!(names(&stripped_trailers(&rules(), &fields)), ["grpc-status", "x-checksum"]);
}

#[test]
fn what_a_route_sets_or_removes_has_no_other_spelling() {
    let fields = [
        ("x-user-id", "own"),
        ("x_user_id", "1"),
        ("x-user_id", "1"),
        ("x_dn", "own"),
        ("x-dn", "1"),
        ("x-debug", "own"),
        ("x_debug", "1"),
        ("x.user.id", "1"),
        ("x-user~id", "1"),
        ("x-userid", "another"),
    ];
    let headers = stripped_for(&rules(), &fields);
    // In the rules' spelling they are the rules' business, which a template may read before.
    assert_eq!(names(&headers), ["x-debug", "x-user-id", "x-userid", "x_dn"]);
}

#[test]
fn only_names_that_are_not_reserved_anyway_are_looked_up() {
    assert_eq!(identity(), HashSet::from(["x-email".into()]));
}

#[test]
fn names_that_only_resemble_those_of_certificates_are_passed_on() {
    for name in [
        "client-certainty",
        "client-cert-id",
        "clientcert",
        "ssl-clientele",
        "x-client",
        "x-client-id",
        "x-ssl-protocol",
        "x-amzn-trace-id",
        "proxy-status",
        "wl-client",
        "x-original",
        "x-real-ip-of",
        "x-",
        "c",
    ] {
        assert_eq!(names(&stripped(&[(name, "1")])), [name]);
    }
}

#[test]
fn what_proxies_say_of_a_client_is_removed_unless_it_is_passed_on() {
    let fields = [
        "forwarded",
        "true-client-ip",
        "x-client-ip",
        "x-cluster-client-ip",
        "x-forwarded-port",
        "x-forwarded-prefix",
        "x-forwarded-server",
        "x-forwarded-ssl",
        "x-forwarded-user",
        "x-original-host",
        "x-original-uri",
        "x-original-url",
        "x-rewrite-url",
        "x_real_ip",
        "x-real-ip",
    ]
    .map(|name| (name, "1"));
    assert_eq!(names(&stripped(&fields)), ["x-real-ip"]);

    let (mut headers, identity, rules) = (map(&fields), identity(), RequestRules::default());
    let reserved = Reserved {
        identity: &identity,
        cookies: &OwnCookies::default(),
        rules: &rules,
        bearer: false,
        odd_names: false,
        forwarding: PassedForwarding::All,
    };
    strip_request(&mut headers, reserved);
    assert_eq!(headers.len(), fields.len(), "a trusted proxy says all of it");
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
    let fields = [("connection", "Upgrade, HTTP2-RequestSettings"), ("upgrade", "h2c")];
    assert_eq!(upgrade(Version::HTTP_11, &fields), Upgrade::None);
}

/// A reserved name, each letter in either case, and in place of each dash any sign of a name.
fn misspelt() -> impl Strategy<Value = String> {
    const NAMES: &[&str] = &[
        "client-cert",
        "client-cert-chain",
        "x-forwarded-client-cert",
        "x-forwarded-tls-client-cert",
        "ssl-client-s-dn",
        "x-ssl-client-verify",
        "x-client-cert",
        "x-arr-clientcert",
        "x-amzn-mtls-clientcert-leaf",
        "x-pomerium-claim-email",
        "x-email",
        "wl-proxy-client-cert",
    ];
    const SIGNS: &[char] = &['_', '.', '!', '#', '$', '%', '&', '\'', '*', '+', '^', '`', '|', '~'];
    let choices = proptest::collection::vec(proptest::option::of(0..SIGNS.len()), 32);
    (proptest::sample::select(NAMES), choices).prop_map(|(name, choices)| {
        let spelt = name.chars().zip(choices).map(|(char, other)| match (char, other) {
            ('-', Some(sign)) => SIGNS[sign],
            (char, Some(_)) => char.to_ascii_uppercase(),
            (char, None) => char,
        });
        spelt.collect()
    })
}

proptest! {
    #[test]
    fn no_spelling_of_a_reserved_name_passes(
        name in misspelt(),
        nominated: bool,
        times in 1..3_usize,
    ) {
        let mut fields = vec![(name.as_str(), "forged"); times];
        if nominated {
            fields.push(("connection", &name));
        }
        prop_assert!(stripped(&fields).is_empty());
        prop_assert!(stripped_trailers(&HeaderRules::default(), &fields).is_empty());
    }

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
