//! Sign-in with providers that change, differ or make mistakes.

use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD};
use portcullis_tests::{
    Backend, BadProvider, Canaille, CurlBrowser, Glewlwyd, OidcProvider, Proxy, curl::Fetched,
    proxy::Config, tempdir::TempDir, wait::until,
};
use serde_json::{Value, json};

const AUTHENTICATE: &str = "https://authenticate.localhost.pomerium.io";
const APP: &str = "https://app.localhost.pomerium.io";

/// A route for developers and one that anybody may use; the client is `client`.
fn config(issuer: &str, client: &str, backend: &Backend) -> Config {
    let to = backend.url();
    let policy = "policy:\n- allow:\n    and:\n    - authenticated_user: true";
    Proxy::config()
        .global(&format!("authenticate_service_url: {AUTHENTICATE}"))
        .global(&format!("idp_provider: oidc\nidp_provider_url: {issuer}\nidp_client_id: {client}"))
        .global("jwt_claims_headers: {x-groups: groups}")
        .route_as_is(&format!("from: {APP}\nto: {to}\npass_identity_headers: true\n{policy}"))
        .forward("public", &to, "")
}

fn secret(config: Config, secret: &str) -> Config {
    config.global(&format!("idp_client_secret: \"{secret}\""))
}

/// Refresh tokens of `oidc-provider` need a new consent.
fn consent(config: Config) -> Config {
    config.global("idp_request_params:\n  prompt: consent")
}

fn start_bad(provider: &BadProvider, backend: &Backend) -> Proxy {
    secret(config(&provider.url(), "c", backend), "secret").start()
}

fn sign_in_at(proxy: &Proxy, provider: &BadProvider) -> (CurlBrowser, Fetched) {
    let mut browser = CurlBrowser::at(proxy.address(), provider.address(), "ann");
    let fetched = browser.open(&format!("{APP}/"));
    (browser, fetched)
}

/// Nobody is signed in at either host.
fn has_session(browser: &CurlBrowser) -> bool {
    ["app", "authenticate"].iter().any(|host| {
        let cookies = browser.cookies(&format!("{host}.localhost.pomerium.io"));
        cookies.keys().any(|name| name.starts_with("_pomerium"))
    })
}

/// Signs in with a fault, and mends it.
fn refused(
    provider: &BadProvider,
    proxy: &Proxy,
    what: &str,
    fault: &dyn Fn(&BadProvider),
    status: u16,
) {
    fault(provider);
    let (browser, fetched) = sign_in_at(proxy, provider);
    assert_eq!(fetched.status, status, "{what}: {fetched:?}\n{:#?}", browser.visited());
    assert!(!has_session(&browser), "{what}");
    provider.set_callback(json!({}));
}

/// What is wrong, the status of the page that tells so, and how it comes.
type Fault<'f> = (&'f str, u16, &'f dyn Fn(&BadProvider));

fn faults(list: &[Fault<'_>]) {
    let (provider, backend) = (BadProvider::start(), Backend::echo());
    let proxy = start_bad(&provider, &backend);
    for (what, status, fault) in list {
        refused(&provider, &proxy, what, fault, *status);
        let (browser, fetched) = sign_in_at(&proxy, &provider);
        assert_eq!(fetched.status, 200, "after {what}: {fetched:?}\n{:#?}", browser.visited());
        assert!(has_session(&browser));
    }
}

#[test]
fn a_foreign_response_or_an_error_signs_nobody_in() {
    let callback = |change: Value| move |idp: &BadProvider| idp.set_callback(change.clone());
    let markup = format!("<script>alert(1)</script>{}", "x".repeat(2000));
    faults(&[
        ("another issuer", 400, &callback(json!({"iss": "https://evil.example"}))),
        ("no issuer though promised", 400, &callback(json!({"iss": null}))),
        ("no state", 400, &callback(json!({"state": null}))),
        ("another state", 400, &callback(json!({"state": "x"}))),
        ("denied", 401, &callback(json!({"code": null, "error": "access_denied"}))),
        (
            "an error",
            400,
            &callback(json!({
                "code": null, "error": "server_error", "error_description": markup,
            })),
        ),
    ]);
}

#[test]
fn a_disabled_user_is_out_and_changed_groups_count() {
    let (provider, backend) = (OidcProvider::start(AUTHENTICATE), Backend::echo());
    let config = consent(secret(config(&provider.url(), "c-ES256", &backend), "secret"));
    let proxy = config.own("sign_in", "\n    recheck: 1s").start();
    let url = format!("{APP}/");
    let mut alice = CurlBrowser::new(proxy.address(), &provider, "alice");
    let groups = |fetched: &Fetched| fetched.echoed().header("x-groups");
    assert_eq!(groups(&alice.open(&url)).as_deref(), Some("dev"));
    provider.set_user("alice", &json!({"groups": ["ops", "qa"]}));
    until("the new groups", || groups(&alice.get(&url)).as_deref() == Some("ops,qa"));
    assert!(provider.grants("refresh_token", "alice") > 0);
    provider.set_user("alice", &json!({"disabled": true}));
    until("the end of the session", || alice.get(&url).status == 302);
}

/// A client, settings of the provider, and the rest of the configuration.
type Case<'c> = (&'c str, Value, &'c dyn Fn(Config) -> Config);

#[test]
fn every_algorithm_and_every_way_to_authenticate_signs_in() {
    let backend = Backend::echo();
    let dir = TempDir::new("secret");
    let file = dir.write("secret", "se+cr/et %:&=\n");
    let file = format!("idp_client_secret_file: {}", file.display());
    let with_secret = |config| secret(config, "secret");
    let cases: [Case<'_>; 8] = [
        ("c-ES256", json!({}), &with_secret),
        ("c-RS256", json!({}), &with_secret),
        ("c-PS256", json!({}), &with_secret),
        ("c-EdDSA", json!({}), &with_secret),
        ("c-ES384", json!({"userinfo": false}), &with_secret),
        ("c-odd-secret", json!({}), &|config| config.global(&file)),
        ("c-post", json!({"clientAuth": ["client_secret_post"], "only": "c-post"}), &with_secret),
        ("c-public", json!({}), &|config| config),
    ];
    for (client, settings, more) in cases {
        let provider = OidcProvider::with(AUTHENTICATE, settings);
        let proxy = consent(more(config(&provider.url(), client, &backend))).start();
        let mut alice = CurlBrowser::new(proxy.address(), &provider, "alice");
        let fetched = alice.open(&format!("{APP}/"));
        assert_eq!(fetched.status, 200, "{client}: {fetched:?}\n{:#?}", alice.visited());
        assert_eq!(fetched.echoed().header("x-groups").as_deref(), Some("dev"), "{client}");
    }
}

#[test]
fn a_sign_in_with_canaille_works_too() {
    let (provider, backend) = (Canaille::start(AUTHENTICATE), Backend::echo());
    let config = config(&provider.url(), Canaille::CLIENT, &backend);
    let scopes = "idp_scopes: [openid, profile, email]";
    let proxy = secret(config, Canaille::SECRET).global(scopes).start();
    let mut bob = CurlBrowser::with_canaille(proxy.address(), &provider);
    let fetched = bob.open(&format!("{APP}/a?b=c"));
    assert_eq!(fetched.status, 200, "{fetched:?}\n{:#?}", bob.visited());
    assert_eq!(bob.url(), format!("{APP}/a?b=c"));
}

#[test]
#[ignore = "needs a package that nothing else needs; CONTRIBUTING names the command"]
fn a_sign_in_with_glewlwyd_works_and_its_tokens_rotate() {
    let (provider, backend) = (Glewlwyd::start(AUTHENTICATE), Backend::echo());
    let config = config(&provider.url(), Glewlwyd::CLIENT, &backend);
    let config = secret(config, Glewlwyd::SECRET).global("idp_scopes: [openid]");
    let proxy = config.own("sign_in", "{recheck: 1s}").start();
    let mut alice = CurlBrowser::at(proxy.address(), provider.address(), Glewlwyd::USER);
    provider.log_in(&mut alice);
    let wanted = format!("{APP}/a?b=c");
    alice.open_until(&wanted, |url| url.contains("/login.html?"));
    let login = alice.last_location().expect("the login page");
    let fetched = alice.open(&Glewlwyd::after_login(&login));
    assert_eq!((fetched.status, alice.url()), (200, &*wanted), "{:#?}", alice.visited());
    let assertion = fetched.echoed().header("x-pomerium-jwt-assertion").expect("an assertion");
    let claims = assertion.split('.').nth(1).expect("a payload");
    let claims = BASE64_URL_SAFE_NO_PAD.decode(claims).expect("base64url");
    let claims: Value = serde_json::from_slice(&claims).expect("JSON");
    assert_eq!(claims["email"], "alice@example.com");
    // Its refresh tokens are good for one use each.
    let rechecks =
        |outcome| proxy.metrics().sum("portcullis_session_rechecks_total", &[("outcome", outcome)]);
    until("two refreshes", || {
        assert_eq!(alice.get(&wanted).status, 200);
        rechecks("good") >= 2.0
    });
    assert_eq!(rechecks("ended"), 0.0);
}
