//! The changes to a request on its way to the upstream, and to the response on its way back.

use portcullis_tests::{Backend, Proxy, curl::Fetched, nginx::Nginx, pki};

/// The elements of a list header, over all its lines.
fn elements(values: &[String]) -> Vec<String> {
    values.iter().flat_map(|value| value.split(',')).map(|item| item.trim().to_owned()).collect()
}

#[test]
fn a_request_reaches_the_upstream_by_both_http_versions() {
    let backend = Backend::echo();
    let proxy = Proxy::config().forward("app", &backend.url(), "").start();
    for version in ["--http1.1", "--http2"] {
        let fetched = proxy
            .curl("app", "/a/b%20c?x=1&y=%2F")
            .args([version, "--request", "PUT"])
            .post("some body")
            .ok();
        assert_eq!(fetched.version, if version == "--http2" { "2" } else { "1.1" });
        let echoed = fetched.echoed();
        assert_eq!(echoed.text("method"), "PUT");
        assert_eq!(echoed.text("target"), "/a/b%20c?x=1&y=%2F");
        assert_eq!(echoed.text("body"), "some body");
        assert_eq!(echoed.text("version"), "HTTP/1.1");
    }
}

#[test]
fn http2_without_alpn_is_not_assumed() {
    let backend = Backend::text("one");
    let proxy = Proxy::config().forward("app", &backend.url(), "").start();
    let fetched = proxy.curl("app", "/").args(["--no-alpn"]).ok();
    assert_eq!((fetched.version.as_str(), fetched.text().as_str()), ("1.1", "one"));
}

#[test]
fn codec_type_limits_what_clients_may_speak() {
    let backend = Backend::text("one");
    let config = |codec: &str| {
        Proxy::config().global(&format!("codec_type: {codec}")).forward("app", &backend.url(), "")
    };
    let only_1 = config("http1").start();
    assert_eq!(only_1.curl("app", "/").http2().ok().version, "1.1");
    let only_2 = config("HTTP2").start();
    assert_eq!(only_2.curl("app", "/").http2().ok().version, "2");
    assert_ne!(only_2.curl("app", "/").http1().run().status, 200);
}

#[test]
fn the_upstream_gets_its_own_host_and_the_original_one() {
    let backend = Backend::echo();
    let proxy = Proxy::config().forward("app", &backend.url(), "").start();
    for version in ["--http1.1", "--http2"] {
        let echoed = proxy.curl("app", "/").args([version]).ok().echoed();
        assert_eq!(echoed.all("host"), [backend.address().to_string()]);
        assert_eq!(echoed.all("x-forwarded-host"), ["app.localhost.pomerium.io"]);
        assert_eq!(echoed.all("x-forwarded-proto"), ["https"]);
    }
}

#[test]
fn the_host_can_be_preserved_or_rewritten() {
    let backend = Backend::echo();
    let url = backend.url();
    let proxy = Proxy::config()
        .forward("keep", &url, "preserve_host_header: true")
        .forward("literal", &url, "host_rewrite: other.test")
        .forward("header", &url, "host_rewrite_header: X-Host")
        .forward(
            "path",
            &url,
            "host_path_regex_rewrite_pattern: '^/([a-z]+)/.*$'\n\
             host_path_regex_rewrite_substitution: '\\1.test'",
        )
        .start();
    let keep = proxy.curl("keep", "/").ok().echoed();
    assert_eq!(keep.all("host"), ["keep.localhost.pomerium.io"]);
    assert!(keep.all("x-forwarded-host").is_empty());
    assert_eq!(proxy.curl("literal", "/").ok().echoed().all("host"), ["other.test"]);
    let header = proxy.curl("header", "/").header("X-Host: third.test").ok().echoed();
    assert_eq!(header.all("host"), ["third.test"]);
    assert_eq!(proxy.curl("path", "/fourth/x").ok().echoed().all("host"), ["fourth.test"]);
}

#[test]
fn the_clients_address_is_appended_to_x_forwarded_for() {
    let backend = Backend::echo();
    let proxy = Proxy::config().forward("app", &backend.url(), "").start();
    let none = proxy.curl("app", "/").ok().echoed();
    assert_eq!(elements(&none.all("x-forwarded-for")), ["127.0.0.1"]);
    let some = proxy
        .curl("app", "/")
        .header("X-Forwarded-For: 192.0.2.7")
        .header("X-Forwarded-Proto: http")
        .ok()
        .echoed();
    assert_eq!(elements(&some.all("x-forwarded-for")), ["192.0.2.7", "127.0.0.1"]);
    assert_eq!(some.all("x-forwarded-proto"), ["https"]);
}

#[test]
fn skip_xff_append_leaves_x_forwarded_for_as_it_came() {
    let backend = Backend::echo();
    let proxy =
        Proxy::config().global("skip_xff_append: true").forward("app", &backend.url(), "").start();
    let echoed = proxy.curl("app", "/").header("X-Forwarded-For: 192.0.2.7").ok().echoed();
    assert_eq!(elements(&echoed.all("x-forwarded-for")), ["192.0.2.7"]);
}

#[test]
fn the_client_behind_trusted_proxies_is_the_one_they_saw() {
    let backend = Backend::echo();
    for (hops, client) in [(0, "127.0.0.1"), (1, "192.0.2.2"), (2, "192.0.2.1")] {
        let proxy = Proxy::config()
            .global(&format!("xff_num_trusted_hops: {hops}\naccess_log_fields: [path, ip]"))
            .forward("app", &backend.url(), "")
            .start();
        let echoed = proxy
            .curl("app", "/seen")
            .header("X-Forwarded-For: 203.0.113.9, 192.0.2.1, 192.0.2.2")
            .header("X-Forwarded-Proto: http")
            .ok()
            .echoed();
        assert_eq!(proxy.wait_for_access("/seen")["ip"], client, "{hops} hops");
        let passed_on = elements(&echoed.all("x-forwarded-for"));
        assert_eq!(passed_on, ["203.0.113.9", "192.0.2.1", "192.0.2.2", "127.0.0.1"]);
        let scheme = if hops == 0 { "https" } else { "http" };
        assert_eq!(echoed.all("x-forwarded-proto"), [scheme], "{hops} hops");
    }
}

#[test]
fn the_request_id_is_equal_upstream_downstream_and_in_the_log() {
    let backend = Backend::echo();
    let proxy = Proxy::config().forward("app", &backend.url(), "").start();
    let fetched = proxy.curl("app", "/id").ok();
    let id = fetched.header("x-request-id").expect("a request id").to_owned();
    assert_eq!(fetched.echoed().all("x-request-id").join(" "), id);
    assert_eq!(proxy.wait_for_access("/id")["request-id"], id.as_str());
    let again = proxy.curl("app", "/id").ok();
    assert_ne!(again.header("x-request-id"), Some(id.as_str()));
}

#[test]
fn hop_by_hop_headers_end_at_the_proxy() {
    let backend = Backend::plain(|conn| {
        while let Some(head) = conn.request() {
            let kept = ["te", "keep-alive", "proxy-connection", "x-hop", "proxy-authorization"]
                .map(|name| head.header(name).is_some().to_string())
                .join(" ");
            let length = kept.len();
            conn.send(format!(
                "HTTP/1.1 200 OK\r\nConnection: X-Back\r\nX-Back: 1\r\nKeep-Alive: timeout=5\r\n\
                 X-Stays: 1\r\nContent-Length: {length}\r\n\r\n{kept}"
            ));
        }
    });
    let proxy = Proxy::config().forward("app", &backend.url(), "").start();
    let fetched = proxy
        .curl("app", "/")
        .http1()
        .header("Connection: X-Hop, keep-alive")
        .header("X-Hop: 1")
        .header("Keep-Alive: 300")
        .header("Proxy-Connection: keep-alive")
        .header("TE: gzip")
        .ok();
    assert_eq!(fetched.text(), "false false false false false");
    assert_eq!(fetched.header("x-back"), None);
    assert_eq!(fetched.header("keep-alive"), None);
    assert_eq!(fetched.header("x-stays"), Some("1"));
}

#[test]
fn a_connection_header_cannot_take_our_own_headers_away() {
    let backend = Backend::echo();
    let proxy = Proxy::config()
        .forward("app", &backend.url(), "set_request_headers: {X-Ours: ours}")
        .start();
    let echoed = proxy
        .curl("app", "/")
        .http1()
        .header("Connection: X-Ours, X-Forwarded-For, X-Forwarded-Proto, Host")
        .ok()
        .echoed();
    assert_eq!(echoed.all("x-ours"), ["ours"]);
    assert_eq!(elements(&echoed.all("x-forwarded-for")), ["127.0.0.1"]);
    assert_eq!(echoed.all("x-forwarded-proto"), ["https"]);
    assert_eq!(echoed.all("host").len(), 1);
}

#[test]
fn identity_that_a_client_made_up_is_removed() {
    let backend = Backend::echo();
    let proxy = Proxy::config()
        .global("jwt_claims_headers: {X-Mail: email}")
        .forward("app", &backend.url(), "")
        .start();
    let echoed = proxy
        .curl("app", "/")
        .header("X-Pomerium-Jwt-Assertion: forged")
        .header("X-Pomerium-Jwt-Assertion-For: forged")
        .header("X-Pomerium-Authorization: forged")
        .header("X-Mail: admin@example.com")
        .header("Authorization: Pomerium forged")
        .header("Cookie: a=1; _pomerium=forged; b=2")
        .ok()
        .echoed();
    let text = echoed.0.to_string();
    assert!(!text.contains("forged") && !text.contains("admin@"), "{text}");
    assert_eq!(echoed.all("cookie"), ["a=1; b=2"]);
    let other = proxy.curl("app", "/").header("Authorization: Basic kept").ok().echoed();
    assert_eq!(other.all("authorization"), ["Basic kept"]);
}

#[test]
fn request_headers_are_removed_and_set() {
    let backend = Backend::echo();
    let proxy = Proxy::config()
        .forward(
            "app",
            &backend.url(),
            "remove_request_headers: [X-Gone, X-Both, X-Forwarded-Host]\n\
             set_request_headers:\n  X-Set: new\n  X-Both: back\n  \
             X-Copy: '<${pomerium.request.headers[\"X-From\"]}>'\n  X-Unknown: 'a${pomerium.jwt}b'",
        )
        .start();
    let echoed = proxy
        .curl("app", "/")
        .header("X-Gone: 1")
        .header("X-Both: 1")
        .header("X-Set: old")
        .header("X-From: it")
        .ok()
        .echoed();
    assert!(echoed.all("x-gone").is_empty());
    assert!(echoed.all("x-forwarded-host").is_empty());
    assert_eq!(echoed.all("x-both"), ["back"]);
    assert_eq!(echoed.all("x-set"), ["new"]);
    assert_eq!(echoed.all("x-copy"), ["<it>"]);
    assert_eq!(echoed.all("x-unknown"), ["ab"]);
}

#[test]
fn security_headers_are_on_every_response_unless_told_otherwise() {
    let backend = Backend::text("x");
    let proxy = Proxy::config()
        .forward("app", &backend.url(), "")
        .forward(
            "more",
            &backend.url(),
            "set_response_headers: {X-More: '1', X-Frame-Options: DENY}",
        )
        .forward("none", &backend.url(), "set_response_headers: {disable: 'true'}")
        .start();
    let app = proxy.curl("app", "/").ok();
    assert_eq!(app.header("x-frame-options"), Some("SAMEORIGIN"));
    assert_eq!(app.header("x-xss-protection"), Some("1; mode=block"));
    let hsts = "max-age=31536000; includeSubDomains; preload";
    assert_eq!(app.header("strict-transport-security"), Some(hsts));
    let local = proxy.curl("nobody", "/").ok();
    assert_eq!(local.status, 404);
    assert_eq!(local.header("strict-transport-security"), Some(hsts));
    let more = proxy.curl("more", "/").ok();
    assert_eq!(more.header("x-more"), Some("1"));
    assert_eq!(more.header("x-frame-options"), Some("DENY"));
    let none = proxy.curl("none", "/").ok();
    assert_eq!(none.header("x-frame-options"), None);
    assert_eq!(none.header("strict-transport-security"), None);
}

#[test]
fn global_response_headers_replace_the_defaults() {
    let backend = Backend::text("x");
    let proxy = Proxy::config()
        .global("set_response_headers: {X-House: ours}")
        .forward("app", &backend.url(), "")
        .start();
    let fetched = proxy.curl("app", "/").ok();
    assert_eq!(fetched.header("x-house"), Some("ours"));
    assert_eq!(fetched.header("x-frame-options"), None);
}

#[test]
fn response_header_prefixes_are_rewritten() {
    let backend = Backend::plain(|conn| {
        while conn.request().is_some() {
            conn.send(
                "HTTP/1.1 302 Found\r\nLocation: http://inside.test/x\r\nContent-Length: 0\r\n\r\n",
            );
        }
    });
    let proxy = Proxy::config()
        .forward(
            "app",
            &backend.url(),
            "rewrite_response_headers:\n  - header: Location\n    prefix: http://inside.test/\n    \
             value: https://app.localhost.pomerium.io/",
        )
        .start();
    let fetched = proxy.curl("app", "/").ok();
    assert_eq!(fetched.status, 302);
    assert_eq!(fetched.header("location"), Some("https://app.localhost.pomerium.io/x"));
}

#[test]
fn paths_are_rewritten_by_prefix_expression_and_upstream_path() {
    let backend = Backend::echo();
    let url = backend.url();
    let proxy = Proxy::config()
        .forward("prefix", &url, "prefix: /old/\nprefix_rewrite: /new/")
        .forward(
            "regex",
            &url,
            "regex_rewrite_pattern: '^/users/([0-9]+)$'\n\
             regex_rewrite_substitution: '/u?id=\\1'",
        )
        .forward("path", &format!("{url}/base"), "prefix: /app")
        .start();
    let target = |host, path: &str| proxy.curl(host, path).ok().echoed().text("target").to_owned();
    assert_eq!(target("prefix", "/old/a?q=1"), "/new/a?q=1");
    assert!(target("regex", "/users/42").starts_with("/u"));
    assert_eq!(target("path", "/app/x?q"), "/base/x?q");
}

#[test]
fn redirects_and_direct_responses_need_no_upstream() {
    let from = |host: &str| format!("from: https://{host}.localhost.pomerium.io\n");
    let proxy = Proxy::config()
        .route(&(from("away") + "redirect: {host_redirect: other.test, response_code: 308}"))
        .route(&(from("path") + "redirect: {path_redirect: /there, strip_query: true}"))
        .route(&(from("prefix") + "prefix: /a/\nredirect: {prefix_rewrite: /b/}"))
        .route(&(from("said") + "response: {status: 418, body: short}"))
        .start();
    let location = |fetched: &Fetched| fetched.header("location").unwrap_or_default().to_owned();
    let away = proxy.curl("away", "/x?y=1").ok();
    assert_eq!(away.status, 308);
    assert_eq!(location(&away), "https://other.test/x?y=1");
    let path = proxy.curl("path", "/x?y=1").ok();
    assert_eq!(path.status, 301);
    assert!(location(&path).ends_with("/there"), "{path:?}");
    let prefix = proxy.curl("prefix", "/a/x?y").ok();
    assert!(location(&prefix).ends_with("/b/x?y"), "{prefix:?}");
    let said = proxy.curl("said", "/").ok();
    assert_eq!((said.status, said.text().as_str()), (418, "short"));
}

#[test]
fn bodiless_responses_stay_bodiless_and_keep_their_length() {
    let backend = Backend::plain(|conn| {
        while let Some(head) = conn.request() {
            conn.send(match head.target.as_str() {
                "/204" => "HTTP/1.1 204 No Content\r\n\r\n",
                "/304" => "HTTP/1.1 304 Not Modified\r\nETag: \"a\"\r\nContent-Length: 7\r\n\r\n",
                _ => "HTTP/1.1 200 OK\r\nContent-Length: 1234\r\n\r\n",
            });
        }
    });
    let proxy = Proxy::config().forward("app", &backend.url(), "").start();
    for version in ["--http1.1", "--http2"] {
        let head = proxy.curl("app", "/").args([version, "--head"]).ok();
        assert_eq!((head.status, head.header("content-length")), (200, Some("1234")));
        let empty = proxy.curl("app", "/204").args([version]).ok();
        assert_eq!((empty.status, empty.body.len()), (204, 0));
        assert_eq!(empty.header("content-length"), None, "RFC 9110 section 8.6");
        assert_eq!(proxy.curl("app", "/304").args([version]).ok().status, 304);
    }
}

#[test]
fn http1_header_names_keep_their_case() {
    let backend = Backend::plain(|conn| {
        while let Some(head) = conn.request() {
            let kept = head.headers.iter().any(|(name, _)| name == "X-oDD-Case");
            conn.send(format!(
                "HTTP/1.1 200 OK\r\nX-bACK: 1\r\nContent-Length: 5\r\n\r\n{kept:<5}"
            ));
        }
    });
    let proxy = Proxy::config().forward("app", &backend.url(), "").start();
    let fetched = proxy.curl("app", "/").http1().header("X-oDD-Case: 1").ok();
    assert_eq!(fetched.text(), "true ");
    assert!(fetched.headers.iter().any(|(name, _)| name == "X-bACK"), "{fetched:?}");
}

#[test]
fn several_cookies_of_http2_reach_an_http1_upstream_as_one() {
    let backend = Backend::echo();
    let proxy = Proxy::config().forward("app", &backend.url(), "").start();
    // nghttp sends each cookie crumb as its own field (RFC 9113 section 8.2.3).
    let mut command = std::process::Command::new(portcullis_tests::tools::need("nghttp"));
    command.args(["--no-verify-peer", "-H", "cookie: a=1", "-H", "cookie: b=2"]);
    command.args(["-H", ":authority: app.localhost.pomerium.io"]);
    command.arg(format!("https://localhost:{}/", proxy.address().port()));
    let done = portcullis_tests::process::run(&mut command, b"");
    // nghttp takes SNI from the URL; the host `localhost` is covered by the same certificate.
    assert!(done.stdout.contains("a=1; b=2"), "{done:?}");
}

#[test]
fn an_upstream_with_a_unix_socket_is_reached() {
    let dir = portcullis_tests::tempdir::TempDir::new("unix");
    let socket = dir.path().join("s");
    assert!(socket.as_os_str().len() < 100, "too long for a socket's address: {socket:?}");
    let socket = socket.display();
    let _nginx = Nginx::plain()
        .with(&format!("listen unix:{socket}; location / {{ return 200 $host; }}"))
        .start();
    let proxy = Proxy::config().forward("app", &format!("unix://{socket}"), "").start();
    assert_eq!(proxy.curl("app", "/").ok().status, 200);
}

#[test]
fn upstreams_and_listeners_speak_ipv6_as_well() {
    let backend = Backend::plain_v6(portcullis_tests::backend::echo);
    let proxy = Proxy::config()
        .addresses(&["127.0.0.1:{port}", "[::1]:{port}"])
        .forward("app", &backend.url(), "")
        .start();
    let url = "https://app.localhost.pomerium.io/";
    let v6 = portcullis_tests::Curl::new(proxy.address_v6(), url).ok().echoed();
    assert_eq!(elements(&v6.all("x-forwarded-for")), ["::1"]);
    let v4 = proxy.curl("app", "/").ok().echoed();
    assert_eq!(elements(&v4.all("x-forwarded-for")), ["127.0.0.1"]);
    assert_eq!(v4.all("host"), [backend.address().to_string()]);
}

#[test]
fn an_address_without_a_host_takes_ipv4_and_ipv6() {
    let backend = Backend::text("x");
    let proxy = Proxy::config().addresses(&[":{port}"]).forward("app", &backend.url(), "").start();
    let url = "https://app.localhost.pomerium.io/";
    assert_eq!(portcullis_tests::Curl::new(proxy.address_v6(), url).ok().text(), "x");
    assert_eq!(proxy.curl("app", "/").ok().text(), "x");
    let logged = proxy.curl("app", "/logged").ok();
    assert_eq!(logged.status, 200);
}

#[test]
fn plain_http_is_redirected_to_https() {
    let backend = Backend::text("x");
    let proxy = Proxy::config()
        .global("http_redirect_addr: 127.0.0.1:{redirect}")
        .forward("app", &backend.url(), "")
        .start();
    let url = "http://app.localhost.pomerium.io:8080/a?b=c";
    let fetched = portcullis_tests::Curl::new(proxy.redirect_address(), url).ok();
    assert_eq!(fetched.status, 301);
    assert_eq!(fetched.header("location"), Some("https://app.localhost.pomerium.io/a?b=c"));
    assert!(fetched.header("connection").is_some_and(|v| v.eq_ignore_ascii_case("close")));
}

#[test]
fn an_insecure_server_speaks_plain_http() {
    let backend = Backend::echo();
    let proxy = Proxy::config()
        .certificates(&[])
        .global("insecure_server: true")
        .forward("app", &backend.url(), "")
        .start();
    let fetched =
        portcullis_tests::Curl::new(proxy.address(), "http://app.localhost.pomerium.io/").ok();
    assert_eq!(fetched.echoed().all("x-forwarded-proto"), ["http"]);
    assert_eq!(fetched.header("strict-transport-security"), None);
}

#[test]
fn weights_share_requests_out() {
    let (heavy, light) = (Backend::text("heavy"), Backend::text("light"));
    let to = format!("[\"{},3\", \"{},1\"]", heavy.url(), light.url());
    let proxy = Proxy::config().forward("app", &to, "").start();
    let mut count = 0;
    for _ in 0..40 {
        count += usize::from(proxy.curl("app", "/").ok().text() == "heavy");
    }
    // Each worker balances alone, so the share is exact except for a remainder in each.
    assert!((26..=34).contains(&count), "{count} of 40 went to the upstream with weight 3 of 4");
}

#[test]
fn every_policy_serves_and_hashing_keeps_a_clients_upstream() {
    let backends: Vec<Backend> = ["0", "1", "2"].map(Backend::text).into();
    let to: Vec<String> = backends.iter().map(Backend::url).collect();
    let mut config = Proxy::config();
    let policies = ["round_robin", "least_request", "random", "ring_hash", "maglev"];
    for (host, policy) in ["rr", "lr", "ra", "rh", "ma"].iter().zip(policies) {
        config =
            config.forward(host, &format!("{to:?}"), &format!("load_balancing_policy: {policy}"));
    }
    let proxy = config.start();
    let seen = |host: &str| -> std::collections::BTreeSet<String> {
        (0..20).map(|_| proxy.curl(host, "/").ok().text()).collect()
    };
    assert_eq!(seen("rr").len(), 3);
    assert!(seen("ra").len() > 1);
    assert!(!seen("lr").is_empty());
    assert_eq!(seen("rh").len(), 1);
    assert_eq!(seen("ma").len(), 1);
}

#[test]
fn nginx_shows_that_upstream_connections_are_reused() {
    let nginx = Nginx::tls(&pki().upstream()).with("location / { return 200 ok; }").start();
    let proxy = Proxy::config().own("workers", "1").forward_tls("app", &nginx.url(), "").start();
    for _ in 0..10 {
        assert_eq!(proxy.curl("app", "/").ok().text(), "ok"); // a client connection each
    }
    let records = nginx.records(10);
    let connections: std::collections::BTreeSet<String> =
        records.iter().map(|record| record["connection"].to_string()).collect();
    assert_eq!(connections.len(), 1, "{records:?}");
    assert_eq!(records[9]["requests"], "10");
    let reused =
        proxy.metrics().sum("portcullis_upstream_requests_total", &[("connection", "reused")]);
    assert_eq!(reused, 9.0);
}

#[test]
fn tls_sessions_to_upstreams_are_resumed() {
    let nginx = Nginx::tls(&pki().upstream())
        .with("keepalive_timeout 0; ssl_session_cache shared:s:1m; location / { return 200 ok; }")
        .start();
    let proxy = Proxy::config().own("workers", "1").forward_tls("app", &nginx.url(), "").start();
    for _ in 0..4 {
        assert_eq!(proxy.curl("app", "/").ok().status, 200);
    }
    let resumed = nginx.records(4).iter().filter(|record| record["session"] == "r").count();
    assert_eq!(resumed, 3);
}

#[test]
fn http2_is_spoken_with_upstreams_that_offer_it() {
    let nginx = Nginx::tls(&pki().upstream())
        .with("location / { return 200 $server_protocol; }")
        .http2()
        .start();
    let proxy = Proxy::config().own("workers", "1").forward_tls("app", &nginx.url(), "").start();
    for version in ["--http1.1", "--http2"] {
        assert_eq!(proxy.curl("app", "/").args([version]).ok().text(), "HTTP/2.0");
    }
    let records = nginx.records(2);
    assert_eq!(records[0]["connection"], records[1]["connection"], "streams of one connection");
}

#[test]
fn many_concurrent_http2_streams_are_all_answered() {
    let nginx = Nginx::tls(&pki().upstream()).with("location / { return 200 ok; }").start();
    let proxy = Proxy::config().forward_tls("app", &nginx.url(), "").start();
    let mut command = std::process::Command::new(portcullis_tests::tools::need("h2load"));
    command.args(["-n", "3000", "-c", "20", "-m", "20"]);
    command.args(["-H", ":authority: app.localhost.pomerium.io"]);
    command.arg(format!("https://127.0.0.1:{}/", proxy.address().port()));
    let done = portcullis_tests::process::run(&mut command, b"");
    assert!(done.stdout.contains("3000 succeeded, 0 failed, 0 errored"), "{done:?}");
    assert!(done.stdout.contains("3000 2xx"), "{done:?}");
}
