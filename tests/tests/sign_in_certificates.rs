//! Sign-in where clients must have a certificate too, with the npm package `oidc-provider` and curl as
//! the browsers.

use std::sync::{Arc, Mutex, Weak};

use portcullis_tests::{
    Backend, CurlBrowser, Pair, Proxy, SignInWorld,
    curl::Fetched,
    pki,
    proxy::Config,
    sign_in::{
        APP, AUTHENTICATE, CALLBACK, EXAMPLE_COM, HANDOVER, cookies_set, led_to, sign_in_config,
    },
};

static WORLD: Mutex<Weak<SignInWorld>> = Mutex::new(Weak::new());

/// Denies clients without a good certificate, as the default mode does by itself.
const DENY: &str = "  deny:\n    or:\n    - invalid_client_certificate: true";
/// The route of these tests in either mode.
const MODES: [(&str, &str); 2] = [("policy_with_default_deny", ""), ("policy", DENY)];
/// What clients without a certificate get.
const CERTIFICATE_NEEDED: u16 = 495;

fn world() -> Arc<SignInWorld> {
    SignInWorld::shared(&WORLD, || SignInWorld::with(AUTHENTICATE, |config, _| config))
}

/// Routes at `app` for everybody at `example.com` who has a certificate.
fn config(world: &SignInWorld, (mode, deny): (&str, &str)) -> Config {
    let mtls = format!("downstream_mtls: {{ca_file: {:?}, enforcement: {mode}}}", pki().ca());
    let policy = format!("{EXAMPLE_COM}\n{deny}");
    sign_in_config(AUTHENTICATE, &world.provider.url())
        .global(&mtls)
        .route_as_is(&format!("from: {APP}\nto: {}\n{policy}", world.backend.url()))
}

fn start(world: &SignInWorld, mode: (&str, &str)) -> Proxy {
    config(world, mode).start()
}

fn options(pair: &Pair) -> [String; 4] {
    let (cert, key) = (pair.cert.display().to_string(), pair.key.display().to_string());
    ["--cert".to_owned(), cert, "--key".to_owned(), key]
}

fn with(browser: CurlBrowser, pair: &Pair) -> CurlBrowser {
    browser.with_options(options(pair).iter().map(String::as_str))
}

/// By a client with a certificate of another CA, or none.
fn get(proxy: &Proxy, (host, path): (&str, &str), pair: Option<&Pair>) -> Fetched {
    let curl = proxy.curl(host, path);
    pair.into_iter().fold(curl, |curl, pair| curl.client(pair)).ok()
}

#[test]
fn paths_that_finish_a_sign_in_need_no_certificate() {
    let world = world();
    let strangers = [None, Some(pki().pair("other/client"))];
    for mode in MODES {
        let proxy = start(&world, mode);
        for pair in &strangers {
            for (host, path, status) in [
                ("app", "/.well-known/pomerium", 200),
                ("app", "/.well-known/pomerium/jwks.json", 200),
                ("app", "/.pomerium/callback", 400),
                ("app", "/.pomerium/callback/", 400),
                ("app", "/ping", 200),
                ("authenticate", "/oauth2/callback", 400),
                ("authenticate", "/.well-known/pomerium/jwks.json", 200),
                ("app", "/.pomerium/", CERTIFICATE_NEEDED),
                ("app", "/.pomerium/user", CERTIFICATE_NEEDED),
                ("app", "/.pomerium/sign_out", CERTIFICATE_NEEDED),
                ("app", "/.pomerium/sign_in", CERTIFICATE_NEEDED),
                ("app", "/", CERTIFICATE_NEEDED),
                ("app", "/oauth2/callback", CERTIFICATE_NEEDED),
            ] {
                let fetched = get(&proxy, (host, path), pair.as_ref());
                assert_eq!(fetched.status, status, "{mode:?} {pair:?} {host}{path}");
            }
        }
    }
}

#[test]
fn the_host_of_sign_in_asks_for_one_where_its_route_does() {
    let world = world();
    for mode in MODES {
        let to = world.backend.url();
        let route = format!("from: {AUTHENTICATE}\nto: {to}\n{EXAMPLE_COM}\n{}", mode.1);
        let proxy = config(&world, mode).route_as_is(&route).start();
        for (path, status) in [
            ("/oauth2/callback", 400),
            ("/.well-known/pomerium/jwks.json", 200),
            ("/.pomerium/callback/", 400),
            ("/.pomerium/sign_in", CERTIFICATE_NEEDED),
            ("/.pomerium/signed_out", CERTIFICATE_NEEDED),
            ("/", CERTIFICATE_NEEDED),
        ] {
            let fetched = get(&proxy, ("authenticate", path), None);
            assert_eq!(fetched.status, status, "{mode:?} {path}");
        }
    }
}

#[test]
fn under_reject_connection_no_path_is_without_a_certificate() {
    let world = world();
    let proxy = start(&world, ("reject_connection", ""));
    for (host, path) in [
        ("app", "/"),
        ("app", "/.well-known/pomerium"),
        ("app", "/.well-known/pomerium/jwks.json"),
        ("app", "/.pomerium/callback/"),
        ("app", "/ping"),
        ("authenticate", "/oauth2/callback"),
        ("authenticate", "/.pomerium/sign_in"),
    ] {
        for pair in [None, Some(pki().pair("other/client"))] {
            let curl = proxy.curl(host, path);
            let refused = pair.iter().fold(curl, |curl, pair| curl.client(pair)).run();
            assert_eq!(refused.status, 0, "{host}{path} {refused:?}");
            assert_ne!(refused.exit, 0);
        }
    }
    let mut alice = CurlBrowser::new(proxy.address(), &world.provider, "alice");
    alice = with(alice, &pki().client());
    let url = format!("{APP}/a?b=c");
    assert_eq!((alice.open(&url).status, alice.url()), (200, &*url));
}

#[test]
fn a_certificate_and_a_session_are_both_needed_in_this_order() {
    let world = world();
    for mode in MODES {
        let proxy = start(&world, mode);
        let mut alice = CurlBrowser::new(proxy.address(), &world.provider, "alice");
        let url = format!("{APP}/both");
        let refused = alice.get(&url);
        assert_eq!(refused.status, CERTIFICATE_NEEDED, "{mode:?}");
        assert_eq!((refused.header("location"), cookies_set(&refused)), (None, Vec::new()));

        let mut alice = with(alice, &pki().client());
        assert_eq!(alice.get(&url).status, 302, "{mode:?}: then a sign-in");
        assert_eq!((alice.open(&url).status, alice.url()), (200, &*url), "{mode:?}");

        let mut alice = with(alice.without_options(), &pki().pair("other/client"));
        assert_eq!(alice.get(&url).status, CERTIFICATE_NEEDED, "{mode:?}: in spite of a session");
        let mut alice = alice.without_options();
        assert_eq!(alice.get(&url).status, CERTIFICATE_NEEDED, "{mode:?}: in spite of a session");
        let user = alice.get(&format!("{APP}/.pomerium/user"));
        assert_eq!(user.status, CERTIFICATE_NEEDED, "{mode:?}");
        let mut alice = with(alice, &pki().client());
        assert_eq!(alice.get(&url).status, 200, "{mode:?}: the session is what it was");
    }
}

#[test]
fn a_denied_person_with_a_certificate_gets_403() {
    let world = world();
    let proxy = start(&world, MODES[0]);
    let zed = CurlBrowser::new(proxy.address(), &world.provider, "zed@elsewhere.test");
    let mut zed = with(zed, &pki().client());
    assert_eq!(zed.open(&format!("{APP}/")).status, 403);
    assert_eq!(zed.without_options().get(&format!("{APP}/")).status, CERTIFICATE_NEEDED);
}

/// A browser that is asked for a certificate on each new connection may send it on one alone.
#[test]
fn a_sign_in_that_began_with_a_certificate_ends_without() {
    let world = world();
    for mode in MODES {
        let proxy = start(&world, mode);
        let alice = CurlBrowser::new(proxy.address(), &world.provider, "alice");
        let mut alice = with(alice, &pki().client());
        let url = format!("{APP}/late");
        let callback = led_to(&mut alice, &url, CALLBACK);
        let mut alice = alice.without_options();
        let handover = led_to(&mut alice, &callback, HANDOVER);
        let last = alice.get(&handover);
        assert_eq!((last.status, last.header("location")), (302, Some(&*url)), "{mode:?}");
        assert_eq!(alice.get(&url).status, CERTIFICATE_NEEDED, "{mode:?}");
        assert_eq!(with(alice, &pki().client()).get(&url).status, 200, "{mode:?}");
    }
}

#[test]
fn a_routes_own_ca_asks_at_its_paths_alone() {
    let world = world();
    let backend = Backend::echo();
    let proxy = sign_in_config(AUTHENTICATE, &world.provider.url())
        .route_as_is(&format!(
            "from: {APP}\nto: {}\ntls_downstream_client_ca_file: {}\n{EXAMPLE_COM}",
            backend.url(),
            pki().ca().display()
        ))
        .forward("public", &backend.url(), "")
        .start();
    for (host, path, status) in [
        ("app", "/", CERTIFICATE_NEEDED),
        ("app", "/.pomerium/user", CERTIFICATE_NEEDED),
        ("app", "/.pomerium/callback/", 400),
        ("app", "/.well-known/pomerium/jwks.json", 200),
        ("authenticate", "/.pomerium/sign_in", 400),
        ("public", "/.pomerium/", 200),
        ("public", "/", 200),
    ] {
        assert_eq!(get(&proxy, (host, path), None).status, status, "{host}{path}");
    }
}

#[test]
fn the_log_names_the_user_of_a_session_or_else_of_a_certificate() {
    let world = world();
    let by_certificate = "user@localhost.pomerium.io";
    let to = world.backend.url();
    let proxy = sign_in_config(AUTHENTICATE, &world.provider.url())
        .global(&format!("downstream_mtls: {{ca_file: {:?}}}", pki().ca()))
        .global("access_log_fields: [path, email, user, session-id, response-code]")
        .own("client_certificate_identity", "email")
        .route_as_is(&format!("from: {APP}\nto: {to}\nallow_any_authenticated_user: true"))
        .route_as_is(&format!(
            "from: https://closed.localhost.pomerium.io\nto: {to}\nallowed_users: [nobody@x.example]"
        ))
        .forward("public", &to, "")
        .start();
    let client = pki().client();
    for (host, path, status) in [("app", "/certificate", 200), ("closed", "/denied", 403)] {
        assert_eq!(get(&proxy, (host, path), Some(&client)).status, status);
        let record = proxy.wait_for_access(path);
        assert_eq!(
            (&record["user"], &record["email"]),
            (&by_certificate.into(), &by_certificate.into())
        );
        assert_eq!(record["session-id"], "", "{record}");
    }
    let alice = CurlBrowser::new(proxy.address(), &world.provider, "alice");
    let mut alice = with(alice, &client);
    assert_eq!(alice.open(&format!("{APP}/.pomerium/user")).json()["sub"], "alice");
    assert_eq!(alice.get(&format!("{APP}/session")).status, 200);
    let record = proxy.wait_for_access("/session");
    assert_eq!((&record["user"], &record["email"]), (&"alice".into(), &"alice@example.com".into()));
    assert_eq!(record["session-id"].as_str().map(str::len), Some(36), "{record}");
}
