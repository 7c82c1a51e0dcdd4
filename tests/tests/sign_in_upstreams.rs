//! What a sign-in is good for at upstreams, over every protocol that the proxy speaks, with the npm
//! package `oidc-provider` and curl as the browsers.

use std::sync::{Arc, Mutex, Weak};

use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD};
use portcullis_tests::{
    Backend, CurlBrowser, Proxy, SignInWorld, grpc,
    sign_in::{APP, AUTHENTICATE, EXAMPLE_COM, OTHER, host_of, sign_in_config},
    ws,
};
use serde_json::{Value, json};

static WORLD: Mutex<Weak<SignInWorld>> = Mutex::new(Weak::new());

/// Templates stand at `app` and at `public`, and no identity header.
const TEMPLATES: &str = "set_request_headers:\n  X-Token: ${pomerium.jwt}\n  \
     Authorization: Bearer ${pomerium.jwt}\n  X-Price: $${pomerium.jwt}";

fn world() -> Arc<SignInWorld> {
    SignInWorld::shared(&WORLD, || {
        SignInWorld::with(AUTHENTICATE, |config, to| {
            config
                .global("access_log_fields: [path, protocol, response-code]")
                .route_as_is(&format!("from: {APP}\nto: {to}\n{EXAMPLE_COM}\n{TEMPLATES}"))
                .route_as_is(&format!("from: {OTHER}\nto: {to}\n{EXAMPLE_COM}"))
                .forward("public", to, TEMPLATES)
        })
    })
}

fn claims(token: &str) -> Value {
    let payload = token.split('.').nth(1).expect("a token has a payload");
    let payload = BASE64_URL_SAFE_NO_PAD.decode(payload).expect("base64url");
    serde_json::from_slice(&payload).expect("JSON")
}

/// The session cookie of a host, for clients without a jar.
fn session(browser: &CurlBrowser, origin: &str) -> String {
    format!("_pomerium={}", browser.cookies(host_of(origin))["_pomerium"])
}

#[test]
fn a_template_puts_the_assertion_into_any_header() {
    let world = world();
    let mut alice = world.signed_in("alice");
    for http in ["--http1.1", "--http2"] {
        let curl = alice.request(&format!("{APP}/")).args([http]);
        let curl = curl.header("X-Token: forged").header("X-Price: forged");
        let seen = curl.header("Authorization: Basic forged").ok().echoed();
        let token = seen.header("x-token").expect("a token");
        let claims = claims(&token);
        assert_eq!(claims["email"], "alice@example.com", "{claims}");
        assert_eq!(claims["aud"], host_of(APP));
        assert_eq!(seen.all("authorization"), [format!("Bearer {token}")]);
        assert_eq!(seen.all("x-price"), ["${pomerium.jwt}"]);
        assert_eq!(seen.header("x-pomerium-jwt-assertion"), None, "nothing else is passed");
    }
}

#[test]
fn a_template_is_empty_where_nobody_is_known() {
    let seen = world().proxy.curl("public", "/").header("X-Token: forged").ok().echoed();
    assert_eq!(seen.all("x-token"), [""], "{seen:?}");
    assert_eq!(seen.header("authorization").as_deref().map(str::trim), Some("Bearer"));
}

#[test]
fn each_form_of_claim_headers_passes_the_claims() {
    let world = world();
    let backend = Backend::echo();
    let route = format!("from: {APP}\nto: {}\npass_identity_headers: true", backend.url());
    for (form, [email, groups, absent]) in [
        (
            "{X-Email: email, X-Groups: groups, X-Absent: absent}",
            ["x-email", "x-groups", "x-absent"],
        ),
        (
            "[email, groups, absent]",
            ["x-pomerium-claim-email", "x-pomerium-claim-groups", "x-pomerium-claim-absent"],
        ),
        (
            "email,groups,absent",
            ["x-pomerium-claim-email", "x-pomerium-claim-groups", "x-pomerium-claim-absent"],
        ),
    ] {
        let config = sign_in_config(AUTHENTICATE, &world.provider.url());
        let config = config.global(&format!("jwt_claims_headers: {form}"));
        let proxy = config
            .route_as_is(&format!("{route}\n{EXAMPLE_COM}"))
            .forward("public", &backend.url(), "")
            .start();
        let mut carol = CurlBrowser::new(proxy.address(), &world.provider, "carol");
        assert_eq!(carol.open(&format!("{APP}/")).status, 200, "{form}");
        let curl = carol.request(&format!("{APP}/")).header(&format!("{email}: forged"));
        let seen = curl.header(&format!("{absent}: forged")).ok().echoed();
        assert_eq!(seen.all(email), ["carol@example.com"], "{form}");
        assert_eq!((seen.all(groups), seen.all(absent)), (vec!["dev".into()], vec!["".into()]));
        let claims = claims(&seen.header("x-pomerium-jwt-assertion").expect("an assertion"));
        assert_eq!(claims["groups"], json!(["dev"]), "{form}");
        let curl = proxy.curl("public", "/").header(&format!("{email}: forged"));
        assert_eq!(curl.ok().echoed().all(email), Vec::<String>::new(), "{form}");
    }
}

#[test]
fn a_sign_in_works_over_each_version_of_http() {
    let world = world();
    for (option, protocol, path) in
        [("--http1.1", "HTTP/1.1", "/first"), ("--http2", "HTTP/2", "/second")]
    {
        let mut alice = world.browser("versions").with_options([option]);
        let url = format!("{APP}{path}?a=b&c=%26");
        let fetched = alice.open(&url);
        assert_eq!((fetched.status, alice.url()), (200, &*url), "{fetched:?}");
        assert_eq!(fetched.version, protocol.trim_start_matches("HTTP/"));
        assert_eq!(alice.open(&format!("{OTHER}{path}")).status, 200);
    }
}

#[test]
fn a_websocket_opens_for_a_session_alone() {
    let world = world();
    let server = ws::EchoServer::start();
    let websockets = format!("allow_websockets: true\n{EXAMPLE_COM}");
    let config = sign_in_config(AUTHENTICATE, &world.provider.url());
    let proxy =
        config.route_as_is(&format!("from: {APP}\nto: {}\n{websockets}", server.url())).start();
    let mut alice = CurlBrowser::new(proxy.address(), &world.provider, "alice");
    alice.open(&format!("{APP}/"));
    let cookies = session(&alice, APP);
    let name = host_of(APP);
    let done = ws::echo_with_cookies(proxy.address(), name, "/chat", 20, &cookies);
    assert!(done.stdout.contains("echoed 20 closed 1000"), "{done:?}");
    for cookies in ["a=1", &cookies[..cookies.len() - 1]] {
        let refused = ws::echo_with_cookies(proxy.address(), name, "/refused", 1, cookies);
        assert_ne!(refused.code, Some(0), "{refused:?}");
        assert_eq!(proxy.wait_for_access("/refused")["response-code"], 401);
    }
    let mut raw = proxy.raw("app");
    raw.send(format!(
        "GET /raw HTTP/1.1\r\nHost: {name}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
         Accept: text/html\r\n\r\n"
    ));
    let response = raw.response();
    assert_eq!((response.status, response.header("location")), (401, None), "{response:?}");
}

#[test]
fn a_grpc_call_works_with_a_session_and_is_16_without() {
    let world = world();
    let server = grpc::Server::plain();
    let config = sign_in_config(AUTHENTICATE, &world.provider.url());
    let proxy =
        config.route_as_is(&format!("from: {APP}\nto: {}\n{EXAMPLE_COM}", server.url())).start();
    let mut alice = CurlBrowser::new(proxy.address(), &world.provider, "alice");
    alice.open(&format!("{APP}/"));
    let cookies = session(&alice, APP);
    let call = |method, count, cookies: &str| {
        let metadata = [("cookie", cookies)];
        grpc::call_with(proxy.address(), host_of(APP), (method, count), &metadata)
    };
    assert_eq!(call("Unary", 1, &cookies)["messages"][0], "cba");
    let stream = call("Stream", 20, &cookies);
    assert_eq!(stream["messages"].as_array().map(Vec::len), Some(20), "{stream}");
    for cookies in ["a=1", &cookies[..cookies.len() - 1]] {
        for method in ["Unary", "Stream"] {
            let refused = call(method, 1, cookies);
            assert_eq!(refused["code"], "UNAUTHENTICATED", "{refused}");
            assert_eq!(refused["messages"], json!([]), "{refused}");
        }
    }
    for kind in ["grpc", "grpc+proto", "grpc-web-text"] {
        let curl = proxy.curl("app", "/test.Echo/Unary").post("");
        let refused = curl.header(&format!("Content-Type: application/{kind}")).ok();
        let status = (refused.status, refused.header("grpc-status"));
        assert_eq!(status, (200, Some("16")), "{kind} {refused:?}");
    }
}

#[test]
fn the_trailers_of_an_upstream_set_no_cookie() {
    let backend = Backend::plain(|conn| {
        while conn.request().is_some() {
            conn.send(
                "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: Set-Cookie, X-Sum\r\n\r\n\
                 1\r\na\r\n0\r\nSet-Cookie: _pomerium=x; Path=/\r\nSet-Cookie: mine=1\r\n\
                 Set-Cookie: __Host-_pomerium_csrf=x; Secure; Path=/\r\nX-Sum: 1\r\n\r\n",
            );
        }
    });
    let config = sign_in_config(AUTHENTICATE, "http://127.0.0.1:9");
    let proxy: Proxy = config.forward("public", &backend.url(), "").start();
    for http in ["--http1.1", "--http2"] {
        let curl = proxy.curl("public", &format!("/{http}")).args([http]);
        let fetched = curl.header("TE: trailers").ok();
        assert_eq!(fetched.header("x-sum"), Some("1"), "{http} {fetched:?}");
        let set =
            fetched.headers.iter().filter(|(name, _)| name.eq_ignore_ascii_case("set-cookie"));
        assert_eq!(set.count(), 0, "{http} {fetched:?}");
        let record = proxy.wait_for_access(&format!("/{http}"));
        assert_eq!(record["response-code-details"], "via_upstream", "{record}");
    }
}
