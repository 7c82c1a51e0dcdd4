//! Small rules of HTTP, each with the forms that it has to hold for.

use http::{HeaderMap, HeaderName, HeaderValue, Response};
use portcullis_tests::{
    Backend, Http2, Http2Backend, Proxy, Raw, http2::Content, raw::TlsOptions, wire::End,
};

const NAME: &str = "app.localhost.pomerium.io";

fn echo(more: &str) -> (Backend, Proxy) {
    let backend = Backend::echo();
    let proxy = Proxy::config().forward("app", &backend.url(), more).start();
    (backend, proxy)
}

fn http2(proxy: &Proxy) -> Http2 {
    Http2::connect(proxy.address(), &TlsOptions::name(NAME))
}

#[test]
fn max_forwards_of_options_and_trace_is_counted_and_ends_here() {
    let (_backend, proxy) = echo("");
    for version in ["--http1.1", "--http2"] {
        for (method, value, status, forwarded) in [
            ("OPTIONS", "0", 204, None),
            ("TRACE", "0", 405, None),
            ("OPTIONS", "1", 200, Some("0")),
            ("TRACE", "10", 200, Some("9")),
            ("OPTIONS", "x", 400, None),
            ("GET", "0", 200, Some("0")),
        ] {
            let curl = proxy.curl("app", "/").args([version, "--request", method]);
            let got = curl.header(&format!("Max-Forwards: {value}")).ok();
            assert_eq!(got.status, status, "{version} {method} {value}");
            assert_eq!(got.header("allow").is_some(), value == "0" && method != "GET");
            if status == 200 {
                assert_eq!(got.echoed().header("max-forwards").as_deref(), forwarded);
            }
        }
    }
}

#[test]
fn every_form_of_the_authority_is_the_same_host() {
    let (_backend, proxy) = echo("preserve_host_header: true");
    let port = proxy.address().port();
    for (target, host, status) in [
        ("/", format!("{NAME}:"), 200),
        ("/", format!("{NAME}:{port}"), 200),
        ("/", format!("{NAME}:00443"), 200),
        ("/", NAME.to_uppercase(), 200),
        ("/", format!("{NAME}."), 200),
        ("/", format!("  {NAME}  "), 200),
        (&*format!("https://{NAME}/"), NAME.to_owned(), 200),
        (&*format!("HTTPS://{NAME}:/"), NAME.to_owned(), 200),
        (&*format!("https://{NAME}:443"), format!("{NAME}:"), 200),
        (&*format!("http://{NAME}:80/"), NAME.to_owned(), 200),
        ("/", format!("{NAME}::"), 400),
        ("/", format!("{NAME}:4x"), 400),
        ("/", format!("a@{NAME}"), 400),
        ("/", format!("{NAME}, {NAME}"), 400),
        (&*format!("https://{NAME}/"), format!("{NAME}:8443"), 400),
        ("/", String::new(), 400),
    ] {
        let mut raw = proxy.raw("app");
        raw.send(format!("GET {target} HTTP/1.1\r\nHost: {host}\r\n\r\n"));
        let response = raw.response();
        assert_eq!(response.status, status, "{target} {host:?}: {}", response.text());
        if status == 200 {
            let seen = portcullis_tests::backend::Echoed::parse(&response.text());
            let seen = seen.header("host").expect("a host");
            assert!(!seen.ends_with(':'), "{target} {host:?}: {seen}");
        }
    }
}

/// Whether a second request is served on the connection.
fn persists(mut raw: Raw, version: &str, fields: &str) -> bool {
    raw.send(format!("GET / {version}\r\nHost: {NAME}\r\n{fields}\r\n"));
    assert_eq!(raw.response().status, 200, "{version} {fields:?}");
    raw.send(format!("GET / HTTP/1.1\r\nHost: {NAME}\r\nConnection: close\r\n\r\n"));
    let answer = raw.to_end();
    !answer.bytes.is_empty() && answer.response().status == 200
}

#[test]
fn every_form_of_persistence_holds_for_clients() {
    let (_backend, proxy) = echo("");
    for (version, fields, expected) in [
        ("HTTP/1.1", "", true),
        ("HTTP/1.1", "Connection: keep-alive\r\n", true),
        ("HTTP/1.1", "Connection: close\r\n", false),
        ("HTTP/1.1", "Connection: Close\r\n", false),
        ("HTTP/1.1", "Connection: x-a,close\r\nX-A: 1\r\n", false),
        ("HTTP/1.1", "Connection: keep-alive\r\nConnection: close\r\n", false),
        ("HTTP/1.1", "Connection: close\r\nConnection: keep-alive\r\n", false),
        ("HTTP/1.1", "Proxy-Connection: close\r\n", true),
        ("HTTP/1.0", "", false),
        ("HTTP/1.0", "Connection: Keep-Alive\r\n", true),
        ("HTTP/1.0", "Connection: keep-alive, close\r\n", false),
        ("HTTP/1.0", "Proxy-Connection: keep-alive\r\n", false),
    ] {
        assert_eq!(persists(proxy.raw("app"), version, fields), expected, "{version} {fields:?}");
    }
}

#[test]
fn white_space_before_the_colon_of_a_response_is_removed() {
    let backend = Backend::plain(|conn| {
        while let Some(head) = conn.request() {
            let line = match head.target.as_str() {
                "/space" => "X-Old : a",
                "/tab" => "X-Old\t \t: a",
                "/length" => "X-Old: a\r\nContent-Length : 2",
                _ => "X-Old: a\r\n b",
            };
            let length = if head.target == "/length" { "" } else { "Content-Length: 2\r\n" };
            conn.send(format!("HTTP/1.1 200 OK\r\n{line}\r\n{length}\r\nhi"));
        }
    });
    let proxy = Proxy::config().forward("app", &backend.url(), "").start();
    for version in ["--http1.1", "--http2"] {
        for path in ["/space", "/tab", "/length"] {
            let got = proxy.curl("app", path).args([version]).ok();
            assert_eq!((got.status, got.header("x-old")), (200, Some("a")), "{version} {path}");
            assert_eq!(got.text(), "hi");
        }
        assert_eq!(proxy.curl("app", "/folded").args([version]).ok().status, 502);
    }
}

#[test]
fn a_response_may_have_as_many_fields_as_configured() {
    let lines = |count: usize| "X-A: 1\r\n".repeat(count);
    let http1 = Backend::plain(move |conn| {
        while let Some(head) = conn.request() {
            let count = head.target[1..].parse::<usize>().expect("a number") - 1;
            conn.send(format!("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n{}\r\n", lines(count)));
        }
    });
    let http2 = Http2Backend::start(|request| {
        let count = request.uri().path()[1..].parse::<usize>().expect("a number");
        let mut response = Response::new(Content::default());
        for _ in 0..count {
            response.headers_mut().append("x-a", HeaderValue::from_static("1"));
        }
        response
    });
    for (config, most) in
        [(Proxy::config(), 100), (Proxy::config().own("max_response_headers", "150"), 150)]
    {
        let proxy = config.forward("app", &http1.url(), "").forward("h2", &http2.url(), "").start();
        for host in ["app", "h2"] {
            assert_eq!(proxy.curl(host, &format!("/{most}")).ok().status, 200, "{host} {most}");
            assert_eq!(proxy.curl(host, &format!("/{}", most + 1)).ok().status, 502, "{host}");
        }
    }
}

#[test]
fn cookies_in_many_fields_are_one_for_limits_and_upstreams() {
    let (_backend, proxy) = echo("");
    let cookies: Vec<_> = (0..180).map(|number| format!("c{number}=v")).collect();
    let mut client = http2(&proxy);
    let mut request = client.request("GET", "/");
    for cookie in &cookies {
        let value = HeaderValue::from_str(cookie).expect("a value");
        request.headers_mut().append("cookie", value);
    }
    let response = client.send(request, Content::default()).expect("a whole response");
    assert_eq!(response.status(), 200);
    let body = response.into_body().data.unwrap_or_default();
    let echoed = portcullis_tests::backend::Echoed::parse(&String::from_utf8_lossy(&body));
    assert_eq!(echoed.all("cookie"), [cookies.join("; ")]);
}

#[test]
fn raw_signs_of_markup_are_escaped_in_a_path_or_refused() {
    let (_backend, proxy) = echo("");
    let get = |target: &str| {
        let mut raw = proxy.raw("app");
        raw.send(format!("GET {target} HTTP/1.1\r\nHost: {NAME}\r\nConnection: close\r\n\r\n"));
        raw.to_end().response()
    };
    let echoed = portcullis_tests::backend::Echoed::parse(&get("/a\"b?c=%22").text());
    assert_eq!(echoed.text("target"), "/a%22b?c=%22");
    for refused in ["/?a=\"b\"", "/?a=<b", "/?a=b>", "/<", "/>"] {
        assert_eq!(get(refused).status, 400, "{refused}");
    }
}

#[test]
fn trailers_of_a_response_are_cleaned_for_both_versions() {
    let backend = Http2Backend::start(|_| {
        let mut trailers = HeaderMap::new();
        for name in
            ["grpc-status", "x-sum", "set-cookie", "x-frame-options", "x-request-id", "location"]
        {
            let value = HeaderValue::from_static(" 7 ");
            trailers.append(HeaderName::from_static(name), value);
        }
        let mut content = Content::data("data");
        content.trailers = Some(trailers);
        Response::builder().header("trailer", "x-sum, location").body(content).expect("a response")
    });
    let proxy = Proxy::config().forward("app", &backend.url(), "").start();
    let mut client = http2(&proxy);
    let response = client.send(client.request("GET", "/"), Content::default());
    let trailers = response.expect("a whole response").into_body().trailers.expect("trailers");
    let expected = [("grpc-status", "7"), ("x-sum", "7")];
    let expected = expected
        .map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)));
    assert_eq!(trailers, HeaderMap::from_iter(expected));
    let mut raw = proxy.raw("app");
    raw.send(format!(
        "GET / HTTP/1.1\r\nHost: {NAME}\r\nTE: trailers\r\nConnection: close\r\n\r\n"
    ));
    let answer = raw.to_end();
    assert_eq!(answer.end, End::Clean);
    let text = String::from_utf8_lossy(&answer.bytes).into_owned();
    assert!(text.ends_with("0\r\nx-sum: 7\r\n\r\n"), "{text}");
}

#[test]
fn values_of_an_http2_upstream_have_no_white_space_around_them() {
    let backend = Http2Backend::start(|_| {
        Response::builder().header("x-a", " b ").body(Content::data("data")).expect("a response")
    });
    let more = "set_response_headers: {X-Ours: ' c '}";
    let proxy = Proxy::config().forward("app", &backend.url(), more).start();
    let mut client = http2(&proxy);
    let response = client.send(client.request("GET", "/"), Content::default());
    let response = response.expect("a whole response");
    assert_eq!(response.headers()["x-a"], "b");
    assert_eq!(response.headers()["x-ours"], "c");
}

#[test]
fn the_departures_from_standards_are_those_in_the_documents() {
    let (_backend, proxy) = echo("");
    let long = format!("/{}", "a".repeat(65_534));
    for (line, status) in [
        ("GET / HTTP/1.2", 400),
        ("OPTIONS * HTTP/1.1", 400),
        ("CONNECT app.localhost.pomerium.io:443 HTTP/1.1", 405),
        (&*format!("GET {long} HTTP/1.1"), 414),
        ("GET / HTTP/1.1", 200),
    ] {
        let mut raw = proxy.raw("app");
        raw.send(format!("{line}\r\nHost: {NAME}\r\nConnection: close\r\n\r\n"));
        let response = raw.to_end().response();
        assert_eq!(response.status, status, "{}", &line[..line.len().min(60)]);
        assert!(!response.text().contains("\"via\""), "{}", response.text());
    }
}
