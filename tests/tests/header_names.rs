//! Names of header fields that upstreams would believe or misread, from clients of both versions.

use http::{HeaderMap, HeaderName, HeaderValue};
use portcullis_tests::{Backend, Http2, Proxy, backend::Echoed, http2::Content, raw::TlsOptions};

const NAME: &str = "app.localhost.pomerium.io";

/// Names that some server reads like `X-User`.
const ODD: [&str; 9] =
    ["x.user", "x+user", "x|user", "x~user", "x^user", "x!user", "x$user", "x'user", "x_user"];

fn proxy(backend: &Backend, action: &str) -> Proxy {
    Proxy::config()
        .global(&format!("headers_with_underscores_action: {action}"))
        .forward("app", &backend.url(), "")
        .start()
}

/// The status and what the upstream got, for a request with these fields and trailers.
fn over_http2(proxy: &Proxy, fields: &[(&str, &str)], trailers: &[&str]) -> (u16, Option<Echoed>) {
    let mut client = Http2::connect(proxy.address(), &TlsOptions::name(NAME));
    let mut request = client.request("POST", "/");
    for (name, value) in fields {
        let name = HeaderName::from_bytes(name.as_bytes()).expect("a name");
        request.headers_mut().append(name, HeaderValue::from_str(value).expect("a value"));
    }
    let mut content = Content::data("body");
    let mut last = HeaderMap::new();
    for name in trailers {
        let name = HeaderName::from_bytes(name.as_bytes()).expect("a name");
        last.append(name, HeaderValue::from_static(" last "));
    }
    content.trailers = (!last.is_empty()).then_some(last);
    let response = client.send(request, content).expect("a whole response");
    let status = response.status().as_u16();
    let body = response.into_body().data.unwrap_or_default();
    let echoed = (status == 200).then(|| Echoed::parse(&String::from_utf8_lossy(&body)));
    (status, echoed)
}

fn over_http1(proxy: &Proxy, fields: &[(&str, &str)]) -> (u16, Option<Echoed>) {
    let lines: Vec<_> = fields.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
    let mut raw = proxy.raw("app");
    raw.send(format!("GET / HTTP/1.1\r\nHost: {NAME}\r\n{}\r\n", lines.concat()));
    let response = raw.response();
    let echoed = (response.status == 200).then(|| Echoed::parse(&response.text()));
    (response.status, echoed)
}

#[test]
fn a_name_with_an_odd_sign_is_refused_dropped_or_passed_as_configured() {
    let backend = Backend::echo();
    for (action, status, left) in
        [("reject_request", 400, false), ("drop_header", 200, false), ("allow", 200, true)]
    {
        let proxy = proxy(&backend, action);
        for name in ODD {
            let fields = [(name, "1"), ("x-kept", "1")];
            for (got, echoed) in [over_http1(&proxy, &fields), over_http2(&proxy, &fields, &[])] {
                assert_eq!(got, status, "{action} {name}");
                if let Some(echoed) = echoed {
                    assert_eq!(!echoed.all(name).is_empty(), left, "{action} {name}");
                    assert_eq!(echoed.all("x-kept"), ["1"]);
                }
            }
        }
        let (_, echoed) = over_http2(&proxy, &[("trailer", "x.user, x-sum")], &["x.user", "x-sum"]);
        let trailers = echoed.expect("trailers are no reason to refuse").trailers();
        let expected = if left { 2 } else { 1 };
        assert_eq!(trailers.len(), expected, "{action}: {trailers:?}");
        assert!(trailers.iter().all(|(_, value)| value == "last"), "{trailers:?}");
    }
}

#[test]
fn no_spelling_of_a_reserved_name_arrives_where_all_signs_are_allowed() {
    let backend = Backend::echo();
    let proxy = proxy(&backend, "allow");
    // Unit tests have all reserved names, and all signs.
    for name in ["X.Pomerium.Claim.Email", "wl-proxy-client-cert", "$WSRU", "x~real~ip"] {
        let lower = name.to_lowercase();
        for (status, echoed) in [
            over_http1(&proxy, &[(name, "forged")]),
            over_http2(&proxy, &[(&lower, "forged")], &[]),
        ] {
            let text = echoed.expect("an echo").0.to_string();
            assert_eq!((status, text.contains("forged")), (200, false), "{name}: {text}");
        }
    }
}

/// Some of the fields by which proxies describe a client; unit tests have all of them.
const FORWARDING: [&str; 4] = ["forwarded", "x-forwarded-port", "x-original-url", "x-real-ip"];

#[test]
fn what_a_client_says_as_a_proxy_arrives_only_if_it_is_trusted_or_passed_on() {
    let backend = Backend::echo();
    let start = |global: &str, passed: &str| {
        let config = Proxy::config().global(global).forward("app", &backend.url(), "");
        config.own("pass_forwarding_headers", passed).start()
    };
    for (proxy, arrives) in [
        (start("xff_num_trusted_hops: 0", "[]"), &[][..]),
        (start("xff_num_trusted_hops: 1", "[]"), &FORWARDING[..]),
        (start("xff_num_trusted_hops: 0", "[X-Real-IP, Forwarded]"), &["forwarded", "x-real-ip"]),
    ] {
        let fields = FORWARDING.map(|name| (name, "203.0.113.9"));
        for (_, echoed) in [over_http1(&proxy, &fields), over_http2(&proxy, &fields, &[])] {
            let echoed = echoed.expect("an echo");
            let arrived: Vec<_> =
                FORWARDING.into_iter().filter(|name| !echoed.all(name).is_empty()).collect();
            assert_eq!(arrived, arrives);
        }
    }
}

#[test]
fn values_of_http2_have_no_white_space_around_them() {
    let backend = Backend::echo();
    let proxy = proxy(&backend, "reject_request");
    let (_, echoed) = over_http2(&proxy, &[("x-a", " b c\t"), ("x-a", "  ")], &[]);
    assert_eq!(echoed.expect("an echo").all("x-a"), ["b c", ""]);
}
