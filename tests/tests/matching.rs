//! The match of a request and a route.

use portcullis_tests::{Backend, Proxy, Raw, proxy::Config};

/// Routes that respond with their own name.
fn routes(routes: &[(&str, &str, &str)]) -> Config {
    routes.iter().fold(Proxy::config(), |config, (from, more, name)| {
        config.route(&format!(
            "from: https://{from}\n{more}\nresponse: {{status: 200, body: {name}}}"
        ))
    })
}

const DOMAIN: &str = "localhost.pomerium.io";

#[test]
fn the_first_matching_route_serves_despite_a_longer_prefix() {
    let host = format!("app.{DOMAIN}");
    let proxy = routes(&[
        (&host, "prefix: /admin/deep", "deep"),
        (&host, "prefix: /admin", "admin"),
        (&host, "prefix: /admin/never", "never"),
        (&host, "path: /exact", "exact"),
        (&host, "regex: '/item/[0-9]+'", "regex"),
        (&host, "prefix: /both\npath: /both/path", "path-wins"),
    ])
    .start();
    let served = |path: &str| {
        let fetched = proxy.curl("app", path).args(["--path-as-is"]).ok();
        if fetched.status == 200 { fetched.text() } else { fetched.status.to_string() }
    };
    let cases = [
        ("/admin/deep/x", "deep"),
        ("/admin", "admin"),
        ("/administrator", "admin"),
        ("/admin/never", "admin"),
        ("/exact", "exact"),
        ("/exact?query", "exact"),
        ("/exact/", "404"),
        ("/item/12", "regex"),
        ("/item/12/more", "404"),
        ("/x/item/12", "404"),
        ("/both/path", "path-wins"),
        ("/both/other", "404"),
        ("/", "404"),
    ];
    for (path, route) in cases {
        assert_eq!(served(path), route, "{path}");
    }
}

#[test]
fn paths_are_normalised_before_they_are_matched_and_forwarded() {
    let backend = Backend::echo();
    let proxy = Proxy::config()
        .forward("app", &backend.url(), "prefix: /open")
        .route(&format!(
            "from: https://app.{DOMAIN}\nprefix: /secret\nresponse: {{status: 418, body: no}}"
        ))
        .start();
    let fetch = |path: &str| proxy.curl("app", path).args(["--path-as-is"]).ok();
    for path in ["/open/../secret", "/open/%2e%2e/secret", "//secret", "/open/.././/secret/x"] {
        assert_eq!(fetch(path).status, 418, "{path}");
    }
    assert_eq!(fetch("/secret/../open//a/./b").echoed().text("target"), "/open/a/b");
    assert_eq!(fetch("/open/a%20b?x=../y//z").echoed().text("target"), "/open/a%20b?x=../y//z");
}

#[test]
fn escaped_slashes_and_underscores_follow_their_settings() {
    let backend = Backend::echo();
    let keep = Proxy::config()
        .global(
            "path_with_escaped_slashes_action: keep_unchanged\n\
             headers_with_underscores_action: allow",
        )
        .forward("app", &backend.url(), "")
        .start();
    let echoed = keep.curl("app", "/a%2Fb").header("X_A: 1").ok().echoed();
    assert_eq!((echoed.text("target"), echoed.all("x_a").len()), ("/a%2Fb", 1));
    let change = Proxy::config()
        .global(
            "path_with_escaped_slashes_action: UNESCAPE_AND_FORWARD\n\
             headers_with_underscores_action: drop_header",
        )
        .forward("app", &backend.url(), "")
        .start();
    let echoed = change.curl("app", "/a%2Fb").header("X_A: 1").ok().echoed();
    assert_eq!((echoed.text("target"), echoed.all("x_a").len()), ("/a/b", 0));
    let send = Proxy::config()
        .global("path_with_escaped_slashes_action: unescape_and_redirect")
        .forward("app", &backend.url(), "")
        .start();
    let fetched = send.curl("app", "/a%2Fb?q").ok();
    assert_eq!(fetched.status, 307);
    assert!(fetched.header("location").is_some_and(|to| to.ends_with("/a/b?q")), "{fetched:?}");
}

#[test]
fn an_exact_host_never_falls_through_to_a_wildcard() {
    let proxy = routes(&[
        (&format!("*.{DOMAIN}"), "", "wild"),
        (&format!("app.{DOMAIN}"), "prefix: /only", "exact"),
    ])
    .start();
    assert_eq!(proxy.curl("app", "/only").ok().text(), "exact");
    assert_eq!(proxy.curl("app", "/other").ok().status, 404);
    assert_eq!(proxy.curl("other", "/only").ok().text(), "wild");
}

fn asked(proxy: &Proxy, host: &str) -> (u16, String) {
    let mut raw: Raw = proxy.raw("app");
    raw.send(format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n"));
    let response = raw.response();
    (response.status, response.text())
}

#[test]
fn hosts_are_compared_without_case_port_and_trailing_dot() {
    let proxy = routes(&[(&format!("app.{DOMAIN}"), "", "app")]).start();
    for host in [
        "app.localhost.pomerium.io",
        "APP.Localhost.Pomerium.IO",
        "app.localhost.pomerium.io:443",
        "app.localhost.pomerium.io:9999",
        "app.localhost.pomerium.io.",
    ] {
        assert_eq!(asked(&proxy, host), (200, "app".into()), "{host}");
    }
    for host in ["xapp.localhost.pomerium.io", "app.localhost.pomerium.io.evil.test", "localhost"] {
        assert_eq!(asked(&proxy, host).0, 404, "{host}");
    }
}

#[test]
fn a_port_in_from_serves_that_port_alone() {
    let proxy = routes(&[
        (&format!("app.{DOMAIN}:8443"), "", "port"),
        (&format!("other.{DOMAIN}"), "", "any"),
    ])
    .start();
    assert_eq!(asked(&proxy, "app.localhost.pomerium.io:8443"), (200, "port".into()));
    assert_eq!(asked(&proxy, "app.localhost.pomerium.io").0, 404);
    assert_eq!(asked(&proxy, "app.localhost.pomerium.io:8444").0, 404);
    assert_eq!(asked(&proxy, "other.localhost.pomerium.io:8444"), (200, "any".into()));
}

#[test]
fn routes_under_the_older_key_come_first() {
    let host = format!("app.{DOMAIN}");
    let route = |name: &str| {
        format!(
            "from: https://{host}\n    allow_public_unauthenticated_access: true\n    \
             response: {{status: 200, body: {name}}}"
        )
    };
    let proxy = Proxy::config()
        .global(&format!("policy:\n  - {}", route("older")))
        .route(&format!("from: https://{host}\nresponse: {{status: 200, body: newer}}"))
        .start();
    assert_eq!(proxy.curl("app", "/").ok().text(), "older");
}

#[test]
fn a_route_that_is_not_public_lets_nobody_in() {
    let backend = Backend::text("secret");
    let proxy = Proxy::config()
        .route_as_is(&format!("from: https://app.{DOMAIN}\nto: {}", backend.url()))
        .start();
    let fetched = proxy.curl("app", "/").ok();
    assert!([401, 403].contains(&fetched.status), "{fetched:?}");
    assert_eq!(backend.connections(), 0);
}

#[test]
fn an_error_has_an_accepted_media_type_and_its_request_id() {
    let proxy = routes(&[(&format!("app.{DOMAIN}"), "", "app")]).start();
    let fetch = |accept: &str| proxy.curl("nobody", "/").header(&format!("Accept: {accept}")).ok();
    let browser = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8";
    let cases = [
        (browser, "text/html"),
        ("application/json", "application/json"),
        ("text/plain", "text/plain"),
        ("text/html;q=0.1, application/json", "application/json"),
    ];
    for (accept, content_type) in cases {
        let fetched = fetch(accept);
        assert_eq!(fetched.status, 404, "{accept}");
        let sent = fetched.header("content-type").unwrap_or_default();
        assert!(sent.starts_with(content_type), "{accept}: {sent}");
        let id = fetched.header("x-request-id").expect("a request id");
        assert!(fetched.text().contains(id), "{accept}: {}", fetched.text());
    }
    assert!(fetch("application/json").json().is_object());
}

#[test]
fn a_host_cannot_put_markup_into_an_error_page() {
    let proxy = routes(&[(&format!("app.{DOMAIN}"), "", "app")]).start();
    // Over HTTP/2 the protocol's own checks reject such names.
    for (host, target) in [
        ("<script>alert(1)</script>", "/"),
        ("nobody.localhost.pomerium.io", "/%3Cscript%3E?<script>alert(1)</script>"),
    ] {
        let mut raw = proxy.raw("nobody");
        raw.send(format!("GET {target} HTTP/1.1\r\nHost: {host}\r\nAccept: text/html\r\n\r\n"));
        let response = raw.response();
        assert!([400, 404].contains(&response.status), "{response:?}");
        assert!(!response.text().contains("<script>alert"), "{}", response.text());
    }
}
