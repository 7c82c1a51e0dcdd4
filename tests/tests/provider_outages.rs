//! The provider comes and goes, hangs, changes its keys, and refuses: who is signed in stays, and who
//! is not gets in as soon as that is possible.

use std::{net::Ipv4Addr, sync::mpsc, thread};

use portcullis_tests::{
    Backend, BadProvider, CurlBrowser, OidcProvider, Proxy, Visitor, bad_provider::BadAnswer,
    curl::Fetched, ports::free_port, proxy::Config, tempdir::TempDir, wait::until,
};
use serde_json::json;

const AUTHENTICATE: &str = "https://authenticate.localhost.pomerium.io";
const APP: &str = "https://app.localhost.pomerium.io";
const SECRET: &str = "d2hhdCBhIHNlY3JldCBvZiAzMiBieXRlcyBpcyB0aGk=";

/// A route for everybody who is signed in, and a public one.
fn config(issuer: &str, client_id: &str, backend: &Backend) -> Config {
    let to = backend.url();
    Proxy::config()
        .global(&format!("authenticate_service_url: {AUTHENTICATE}\nshared_secret: {SECRET}"))
        .global(&format!("idp_provider: oidc\nidp_provider_url: {issuer}"))
        .global(&format!("idp_client_id: {client_id}"))
        .global("idp_request_params:\n  prompt: consent")
        .route_as_is(&format!(
            "from: {APP}\nto: {to}\npolicy:\n- allow:\n    and:\n    - authenticated_user: true"
        ))
        .forward("public", &to, "")
}

fn with_secret(config: Config, secret: &str) -> Config {
    config.global(&format!("idp_client_secret: {secret}"))
}

/// A provider on a port of its own, and the proxy that knows it.
fn start() -> (OidcProvider, Backend, Proxy) {
    let (provider, backend) = (OidcProvider::start(AUTHENTICATE), Backend::echo());
    let config = config(&provider.url(), "c-ES256", &backend);
    let proxy = with_secret(config, "secret").start();
    (provider, backend, proxy)
}

fn browser(proxy: &Proxy, provider: &OidcProvider, login: &str) -> CurlBrowser {
    CurlBrowser::new(proxy.address(), provider, login)
}

fn page(browser: &mut CurlBrowser) -> Fetched {
    browser.open(&format!("{APP}/"))
}

#[test]
fn a_provider_that_changes_its_keys_signs_nobody_out_and_others_in() {
    let (provider, _backend, proxy) = start();
    let mut alice = browser(&proxy, &provider, "alice");
    assert_eq!(page(&mut alice).status, 200);
    let provider = provider.restart();
    assert_eq!(alice.get(&format!("{APP}/")).status, 200);
    let mut bob = browser(&proxy, &provider, "bob");
    let fetched = page(&mut bob);
    assert_eq!(fetched.status, 200, "{fetched:?}\n{:#?}", bob.visited());
    assert_eq!(provider.requests("GET /jwks"), 1);
    assert_eq!(alice.get(&format!("{APP}/")).status, 200);
}

#[test]
fn a_provider_that_is_down_at_start_is_used_once_it_is_up() {
    let (port, backend) = (free_port(), Backend::echo());
    let config = config(&format!("http://127.0.0.1:{port}"), "c-ES256", &backend);
    let proxy = with_secret(config, "secret").start();
    assert_eq!(proxy.curl("public", "/").ok().status, 200);
    let keys = proxy.curl("app", "/.well-known/pomerium/jwks.json").ok();
    assert_eq!(keys.status, 200);
    let begun = proxy.curl("app", "/").ok();
    let request = begun.header("location").expect("the sign-in begins").to_owned();
    let (_, path) = request.split_once(AUTHENTICATE).expect("at the authenticate host");
    let away = proxy.curl("authenticate", path).ok();
    assert_eq!(away.status, 503, "{away:?}");
    assert!(away.header("retry-after").is_some());
    assert_eq!(away.header("set-cookie"), None);
    let provider = OidcProvider::at(port, AUTHENTICATE, json!({}));
    let mut alice = browser(&proxy, &provider, "alice");
    let fetched = page(&mut alice);
    assert_eq!(fetched.status, 200, "{fetched:?}\n{:#?}", alice.visited());
}

#[test]
fn who_is_signed_in_stays_while_checks_find_no_provider() {
    let (provider, backend) = (OidcProvider::start(AUTHENTICATE), Backend::echo());
    let config = config(&provider.url(), "c-ES256", &backend).own("sign_in", "{recheck: 1s}");
    let proxy = with_secret(config, "secret").start();
    let mut alice = browser(&proxy, &provider, "alice");
    assert_eq!(page(&mut alice).status, 200);
    drop(provider);
    let checks = || {
        let labels = [("endpoint", "token"), ("outcome", "unavailable")];
        proxy.metrics().sum("portcullis_identity_provider_calls_total", &labels)
    };
    until("a check that finds no provider", || {
        assert_eq!(alice.get(&format!("{APP}/")).status, 200);
        checks() >= 1.0
    });
    assert_eq!(alice.get(&format!("{APP}/")).status, 200);
    assert_eq!(proxy.metrics().sum("portcullis_identity_provider_up", &[]), 0.0);
}

#[test]
fn who_cancels_three_times_may_still_sign_in() {
    let (provider, _backend, proxy) = start();
    let mut alice = browser(&proxy, &provider, "alice");
    let mut url = format!("{APP}/x");
    for _ in 0..3 {
        alice.open_until(&url, |url| url.contains("/interaction/"));
        let interaction = alice.last_location().expect("the provider asks for a login");
        let cancelled = alice.open_until(&format!("{interaction}/abort"), |_| false);
        assert_eq!(cancelled.status, 401, "{cancelled:?}\n{:#?}", alice.visited());
        assert!(cancelled.text().contains("access_denied"), "{}", cancelled.text());
        assert!(!alice.cookies("app.localhost.pomerium.io").contains_key("_pomerium"));
        let text = cancelled.text();
        let (_, rest) = text.split_once("href=\"").expect("a link to try again");
        url = rest.split('"').next().unwrap_or_default().to_owned();
        assert_eq!(url, format!("{APP}/x"));
    }
    let fetched = alice.open(&url);
    assert_eq!(fetched.status, 200, "{fetched:?}\n{:#?}", alice.visited());
}

#[test]
fn a_client_secret_may_have_any_character_and_a_file_a_newline() {
    let (provider, backend) = (OidcProvider::start(AUTHENTICATE), Backend::echo());
    let dir = TempDir::new("secret");
    let file = dir.write("secret", "se+cr/et %:&=\n");
    for (key, value) in [
        ("idp_client_secret_file", file.display().to_string()),
        ("idp_client_secret", "\"se+cr/et %:&=\"".to_owned()),
    ] {
        let secret = format!("{key}: {value}");
        let proxy = config(&provider.url(), "c-odd-secret", &backend).global(&secret).start();
        let fetched = page(&mut browser(&proxy, &provider, "alice"));
        assert_eq!(fetched.status, 200, "{key}: {fetched:?}");
    }
}

/// The places for sign-ins at the provider: 32 calls at once, and 64 that wait.
const PLACES: usize = 96;

#[test]
fn a_full_queue_of_sign_ins_delays_no_other_request() {
    let (provider, backend) = (BadProvider::start(), Backend::echo());
    let config = config(&provider.url(), "client", &backend).own("workers", "1");
    let proxy = with_secret(config, "secret").start();
    provider.answer("/token", BadAnswer::Hang);
    let (done, ended) = mpsc::channel();
    let refused = thread::scope(|scope| {
        for number in 0..PLACES + 4 {
            let (done, proxy, provider) = (done.clone(), &proxy, &provider);
            scope.spawn(move || {
                // Each from an address of its own: one address alone does not get all places.
                let address = Ipv4Addr::new(127, 0, 1, u8::try_from(number + 1).unwrap_or(0));
                let visitor = Visitor::new(proxy, provider);
                let curl = visitor.curl("app", "/").args(["--interface", &address.to_string()]);
                let fetched = curl.ok();
                assert!(!visitor.holds_session());
                done.send(fetched.status).expect("the test still waits");
            });
        }
        let first: Vec<u16> = ended.iter().take(4).collect();
        assert_eq!(first, [503; 4], "those for whom there is no place");
        assert_eq!(provider.seen("/token").len(), 32);
        // One worker serves all of this.
        for (host, path, status) in
            [("public", "/", 200), ("app", "/", 302), ("app", "/.pomerium/", 200)]
        {
            assert_eq!(proxy.curl(host, path).ok().status, status, "{host}{path}");
        }
        assert_eq!(ended.try_recv(), Err(mpsc::TryRecvError::Empty), "all others still wait");
        provider.stop();
        ended.iter().take(PLACES).collect::<Vec<_>>()
    });
    assert_eq!(refused, [503; PLACES]);
    assert_eq!(proxy.curl("public", "/").ok().status, 200);
}

#[test]
fn a_provider_that_hangs_or_drips_is_given_up() {
    let (provider, backend) = (BadProvider::start(), Backend::echo());
    let config = config(&provider.url(), "client", &backend);
    let proxy = with_secret(config, "secret").start();
    thread::scope(|scope| {
        let answers = [("/token", BadAnswer::Hang), ("/userinfo", BadAnswer::Drip)];
        let sign_ins = answers.map(|(path, answer)| {
            provider.answer(path, answer);
            let sign_in = scope.spawn(|| Visitor::new(&proxy, &provider).open("app", "/"));
            until("the call to the provider", || !provider.seen(path).is_empty());
            provider.repair(path);
            sign_in
        });
        assert_eq!(proxy.curl("public", "/").ok().status, 200);
        assert!(sign_ins.iter().all(|sign_in| !sign_in.is_finished()));
        for sign_in in sign_ins {
            let fetched = sign_in.join().expect("curl runs to its end");
            assert_eq!(fetched.status, 503, "{fetched:?}");
        }
    });
    let metrics = proxy.metrics();
    for endpoint in ["token", "userinfo"] {
        let labels = [("endpoint", endpoint), ("outcome", "unavailable")];
        let calls = metrics.sum("portcullis_identity_provider_calls_total", &labels);
        assert_eq!(calls, 1.0, "{endpoint}");
    }
    assert_eq!(metrics.sum("portcullis_identity_provider_up", &[]), 0.0);
}
