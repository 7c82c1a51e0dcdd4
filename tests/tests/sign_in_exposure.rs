//! What lets nobody in, and what a sign-in shows to nobody, with the npm package `oidc-provider` and
//! curl as the browser.

use std::sync::{Arc, Mutex, Weak};

use portcullis_tests::{
    CurlBrowser, SignInWorld,
    sign_in::{APP, AUTHENTICATE, CALLBACK, HANDOVER, OTHER, REQUEST, host_of, led_to},
};

static WORLD: Mutex<Weak<SignInWorld>> = Mutex::new(Weak::new());

/// A world that logs as much as it can.
fn world() -> Arc<SignInWorld> {
    let log = "log_level: trace\naccess_log_fields: [method, path, query, headers.Cookie, \
               headers.Location, headers.Referer, headers.Authorization]\npass_identity_headers: true";
    SignInWorld::shared(&WORLD, || SignInWorld::start(log))
}

#[test]
fn no_header_lets_anybody_in() {
    let world = world();
    let headers = [
        "User-Agent: kube-probe/1.31",
        "User-Agent: GoogleHC/1.0",
        "User-Agent: ELB-HealthChecker/2.0",
        "User-Agent: Envoy/HC",
        "User-Agent: HAProxy",
        "X-Envoy-Internal: true",
        "X-Forwarded-For: 127.0.0.1",
        "X-Real-IP: 127.0.0.1",
        "Host: localhost",
        "X-Forwarded-User: alice",
        "X-Forwarded-Email: alice@example.com",
        "X-Auth-Request-Email: alice@example.com",
        "X-Remote-User: alice",
        "X-Pomerium-Jwt-Assertion: eyJhbGciOiJub25lIn0.eyJlbWFpbCI6ImFAZXhhbXBsZS5jb20ifQ.",
        "X-Pomerium-Authorization: x",
        "Authorization: Pomerium x",
        "Authorization: Bearer Pomerium-x",
        "Authorization: Bearer eyJhbGciOiJub25lIn0.eyJlbWFpbCI6ImFAZXhhbXBsZS5jb20ifQ.",
        "Authorization: Basic YWxpY2U6eA==",
        "Cookie: _pomerium=x; email=alice@example.com",
        "X-HTTP-Method-Override: OPTIONS",
        "X-Original-URL: /ping",
        "X-Rewrite-URL: /.pomerium/",
        "Access-Control-Request-Method: GET",
        "Upgrade: websocket",
        "Content-Type: application/grpc",
        "Sec-Fetch-Site: same-origin",
        "Sec-Purpose: prefetch",
    ];
    for header in headers {
        for method in ["GET", "HEAD", "POST", "OPTIONS", "TRACE", "PURGE"] {
            let mut curl = world.proxy.curl("app", "/").http1().header(header);
            curl =
                curl.args(if method == "HEAD" { ["--head", "-s"] } else { ["--request", method] });
            let fetched = curl.header("Origin: https://app.localhost.pomerium.io").ok();
            let is_ours = fetched.header("x-pomerium-intercepted-response") == Some("true")
                || [302, 404, 405].contains(&fetched.status)
                || fetched.header("grpc-status") == Some("16");
            assert!(is_ours, "{method} {header} {} {:?}", fetched.status, fetched.headers);
            assert!(!fetched.text().contains("\"connection\""), "{method} {header}");
        }
    }
    let query =
        "?pomerium_jwt=x&pomerium_session_encrypted=x&pomerium_programmatic=x&access_token=x";
    assert_eq!(world.proxy.curl("app", &format!("/{query}")).ok().status, 302);
}

#[test]
fn the_paths_of_ours_are_never_an_upstreams() {
    let world = world();
    for (path, status) in [
        ("/ping", 200),
        ("/healthz", 200),
        ("/.pomerium/x", 404),
        ("/.pomerium/api/v1/login?pomerium_redirect_uri=https://localhost.evil/", 400),
        ("/.pomerium/api/v1/login?pomerium_redirect_uri=https://localhost@evil/", 400),
        ("/.pomerium/api/v1/login", 404),
        ("/.pomerium/api/v1/routes", 404),
        ("/.pomerium/program", 400),
        ("/.pomerium/sign_in_too", 400),
        ("/.pomerium/admin", 404),
        ("/%2epomerium/x", 404),
        ("/%2e%70omerium/x", 404),
        ("//.pomerium/x", 404),
        ("/x/../.pomerium/x", 404),
        ("/.pomerium/./x", 404),
        ("/.pomerium//x", 404),
        ("\\.pomerium\\x", 400),
        ("/.pomerium%2fx", 400),
        ("/.pomerium/callback/../x", 404),
        ("/.well-known/pomerium/x", 404),
    ] {
        for host in ["app", "public"] {
            let curl = world.proxy.curl(host, "/").http1().args(["--request-target", path]);
            let fetched = curl.ok();
            assert_eq!(fetched.status, status, "{host} {path}");
            assert!(!fetched.text().contains("\"connection\""), "{host} {path}");
        }
    }
    // These are paths of the route, whose policy counts.
    for path in
        ["/.pomerium/../", "/.POMERIUM", "/.pomeriumx", "/.pomerium;/x", "/ping/", "/healthz;"]
    {
        let app = world.proxy.curl("app", "/").args(["--request-target", path]).ok();
        assert_eq!(app.status, 302, "{path}");
        let public = world.proxy.curl("public", "/").args(["--request-target", path]).ok();
        assert!(public.status == 200, "{path} {}", public.status);
    }
}

#[test]
fn the_host_of_sign_in_has_no_other_paths() {
    let world = world();
    for path in [
        "/debug",
        "/debug/pprof/",
        "/debug/vars",
        "/metrics",
        "/status",
        "/readyz",
        "/startupz",
        "/admin",
        "/config_dump",
        "/config",
        "/reload",
        "/workers",
        "/quitquitquit",
        "/stats",
        "/.pomerium/debug",
        "/.pomerium/dashboard",
        "/.pomerium/metrics",
        "/oauth2/",
        "/oauth2",
        "/oauth2/callback/x",
        "/.pomerium/webauthn",
        "/server-status",
    ] {
        for method in ["GET", "POST"] {
            let curl = world.proxy.curl("authenticate", path).args(["--request", method]);
            assert_eq!(curl.ok().status, 404, "{method} {path}");
        }
    }
}

#[test]
fn no_page_and_no_log_line_holds_a_secret() {
    let world = world();
    let mut alice = world.browser("logged");
    let request = led_to(&mut alice, &format!("{APP}/first"), REQUEST);
    let answer = led_to(&mut alice, &request, CALLBACK);
    let last = led_to(&mut alice, &answer, HANDOVER);
    assert_eq!(alice.open(&last).status, 200);
    assert_eq!(alice.open(&format!("{OTHER}/second")).status, 200);
    let mut secrets = secrets_of(&alice);
    let assertion = alice.get(&format!("{APP}/")).echoed().header("x-pomerium-jwt-assertion");
    secrets.push(("the assertion".to_owned(), assertion.expect("an assertion")));
    assert!(secrets.len() > 10, "{secrets:?}");

    let altered = format!("{}x", answer.replace("code=", "code=y"));
    let pages = [
        format!("{APP}/.pomerium/"),
        format!("{APP}/.pomerium/user"),
        format!("{APP}/.pomerium/sign_out"),
        format!("{APP}/.pomerium/x"),
        format!("{AUTHENTICATE}/.pomerium/"),
        format!("{AUTHENTICATE}/.pomerium/sign_out"),
        format!("{AUTHENTICATE}/.pomerium/signed_out"),
        format!("{last}x"),
        altered,
        answer.replace("code=", "error=x&error_description="),
    ];
    for url in pages {
        for accept in ["text/html", "application/json", "text/plain"] {
            let fetched = alice.request(&url).header(&format!("Accept: {accept}")).ok();
            let text = fetched.text();
            for (what, secret) in &secrets {
                assert!(!text.contains(secret), "{what} in {accept} of {url}: {text}");
            }
        }
    }
    world.proxy.wait_for_access("/.pomerium/signed_out");
    let lines = world.proxy.output();
    for (what, secret) in secrets.iter().chain(&secrets_of(&alice)) {
        let line = lines.iter().find(|line| line.contains(secret));
        assert_eq!(line, None, "{what}");
    }
    world.proxy.assert_no_panic();
}

/// Cookies, and parameters that a browser has sent to us.
fn secrets_of(browser: &CurlBrowser) -> Vec<(String, String)> {
    let mut secrets = vec![("the client's secret".to_owned(), "Basic Yy1FUzI1Njpz".to_owned())];
    for origin in [APP, OTHER, AUTHENTICATE] {
        for (name, value) in browser.cookies(host_of(origin)) {
            secrets.push((format!("{name} of {origin}"), value));
        }
    }
    for url in browser.visited().iter().filter(|url| url.starts_with("https://")) {
        let pairs = url.split(['?', '&']).skip(1).filter_map(|pair| pair.split_once('='));
        secrets.extend(
            pairs
                .filter(|(_, value)| value.len() > 20 && !value.starts_with("http"))
                .map(|(name, value)| (format!("{name} of a URL"), value.to_owned())),
        );
    }
    secrets
}
