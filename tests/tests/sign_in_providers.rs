//! Sign-in with providers that change, differ or make mistakes.

use portcullis_tests::{
    Backend, BadProvider, Canaille, CurlBrowser, OidcProvider, Proxy,
    bad_provider::{BadAnswer, BadSignature},
    curl::Fetched,
    proxy::Config,
    tempdir::TempDir,
    wait::until,
};
use serde_json::{Value, json};

const AUTHENTICATE: &str = "https://authenticate.localhost.pomerium.io";
const APP: &str = "https://app.localhost.pomerium.io";
const METADATA: &str = "/.well-known/openid-configuration";

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
    provider.set_claims(json!({}));
    provider.set_header(json!({}));
    provider.set_callback(json!({}));
    provider.set_signature(BadSignature::Right);
    for path in ["/token", "/userinfo", "/jwks", METADATA] {
        provider.repair(path);
    }
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
fn an_id_token_whose_signature_is_no_good_signs_nobody_in() {
    faults(&[
        ("another key", 502, &|idp| idp.set_signature(BadSignature::OtherKey)),
        ("zeros", 502, &|idp| idp.set_signature(BadSignature::Zeros)),
        ("absent", 502, &|idp| idp.set_signature(BadSignature::Absent)),
        ("none", 502, &|idp| unsigned(idp, &json!("none"))),
        ("None", 502, &|idp| unsigned(idp, &json!("None"))),
        ("nOnE", 502, &|idp| unsigned(idp, &json!("nOnE"))),
        ("no algorithm", 502, &|idp| unsigned(idp, &Value::Null)),
        ("HS256 by the secret", 502, &|idp| {
            idp.set_signature(BadSignature::Hmac(b"secret".to_vec()));
        }),
        ("HS256 by the public key", 502, &|idp| {
            let key = idp.jwks()["keys"][0].to_string();
            idp.set_signature(BadSignature::Hmac(key.into()));
        }),
        ("a key in the token", 502, &|idp| {
            idp.set_signature(BadSignature::OtherKey);
            idp.set_header(json!({"jwk": idp.jwks()["keys"][0], "jku": "http://127.0.0.1:1/"}));
        }),
        ("crit", 502, &|idp| idp.set_header(json!({"crit": ["exp"]}))),
    ]);
}

fn unsigned(provider: &BadProvider, alg: &Value) {
    provider.set_signature(BadSignature::Absent);
    provider.set_header(json!({"alg": alg}));
}

#[test]
fn an_id_token_with_a_claim_that_is_no_good_signs_nobody_in() {
    let claims = |change: Value| move |idp: &BadProvider| idp.set_claims(change.clone());
    faults(&[
        ("issuer", 502, &claims(json!({"iss": "https://evil.example"}))),
        ("audience", 502, &claims(json!({"aud": "other"}))),
        ("audiences without azp", 502, &claims(json!({"aud": ["c", "other"]}))),
        ("azp", 502, &claims(json!({"azp": "other"}))),
        ("nonce", 502, &claims(json!({"nonce": "other"}))),
        ("no nonce", 502, &claims(json!({"nonce": null}))),
        ("expired", 502, &claims(json!({"exp": 1_000_000_000}))),
        ("no end", 502, &claims(json!({"exp": null}))),
        ("the end as text", 502, &claims(json!({"exp": "9999999999"}))),
        ("issued in the future", 502, &claims(json!({"iat": 9_999_999_999_u64}))),
        ("not yet good", 502, &claims(json!({"nbf": 9_999_999_999_u64}))),
        ("access token's hash", 502, &claims(json!({"at_hash": "AAAAAAAAAAAAAAAAAAAAAA"}))),
        ("no subject", 502, &claims(json!({"sub": ""}))),
    ]);
}

#[test]
fn answers_that_break_the_rules_sign_nobody_in() {
    let json = |path, status, body: Value| {
        move |idp: &BadProvider| idp.answer(path, BadAnswer::Json(status, body.clone()))
    };
    let raw = |path, text: &str| {
        let bytes = text.as_bytes().to_vec();
        move |idp: &BadProvider| idp.answer(path, BadAnswer::Raw(bytes.clone()))
    };
    let inside = "HTTP/1.1 302 X\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n";
    let huge = format!("HTTP/1.1 200 X\r\nContent-Length: 2097152\r\n\r\n{}", " ".repeat(2 << 20));
    let half = "HTTP/1.1 200 X\r\nContent-Length: 100\r\n\r\n{";
    let bomb = "HTTP/1.1 200 X\r\nContent-Encoding: gzip\r\nContent-Length: 2\r\n\r\n{}";
    faults(&[
        ("another user's UserInfo", 502, &json("/userinfo", 200, json!({"sub": "eve"}))),
        ("UserInfo without a user", 502, &json("/userinfo", 200, json!({"email": "a@b.example"}))),
        ("a refused code", 400, &json("/token", 400, json!({"error": "invalid_grant"}))),
        ("an error with status 200", 400, &json("/token", 200, json!({"error": "invalid_grant"}))),
        ("a failing provider", 503, &json("/token", 500, json!({}))),
        ("no tokens", 502, &json("/token", 200, json!({}))),
        ("a redirect", 502, &raw("/token", inside)),
        ("a redirect of UserInfo", 502, &raw("/userinfo", inside)),
        ("2 MiB", 502, &raw("/token", &huge)),
        ("half an answer", 503, &raw("/token", half)),
        ("a compressed answer", 502, &raw("/token", bomb)),
        ("HTML", 502, &raw("/token", "HTTP/1.1 200 X\r\nContent-Length: 6\r\n\r\n<html>")),
        ("a reset", 503, &|idp| idp.answer("/token", BadAnswer::Reset)),
    ]);
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
fn a_key_that_nobody_knows_is_looked_for_once_a_minute() {
    let (provider, backend) = (BadProvider::start(), Backend::echo());
    let proxy = start_bad(&provider, &backend);
    provider.set_header(json!({"kid": "unknown"}));
    for _ in 0..5 {
        assert_eq!(sign_in_at(&proxy, &provider).1.status, 502);
    }
    assert_eq!(provider.seen("/jwks").len(), 2, "the first, and one more for all");
}

#[test]
fn a_provider_that_hangs_is_given_up_and_harms_nobody_else() {
    let (provider, backend) = (BadProvider::start(), Backend::echo());
    let proxy = start_bad(&provider, &backend);
    for answer in [BadAnswer::Hang, BadAnswer::Drip] {
        provider.answer("/token", answer);
        let waits = std::thread::scope(|scope| {
            let waiting = scope.spawn(|| sign_in_at(&proxy, &provider).1);
            until("the call that hangs", || !provider.seen("/token").is_empty());
            assert_eq!(proxy.curl("public", "/").ok().status, 200);
            waiting.join().expect("the sign-in ends")
        });
        assert_eq!(waits.status, 503, "{waits:?}");
        assert!(waits.header("retry-after").is_some());
    }
}

#[test]
fn metadata_of_another_issuer_is_not_believed() {
    let (provider, backend) = (BadProvider::start(), Backend::echo());
    let mut other = provider.metadata();
    other["issuer"] = json!("https://evil.example");
    provider.answer(METADATA, BadAnswer::Json(200, other));
    let proxy = start_bad(&provider, &backend);
    assert_eq!(sign_in_at(&proxy, &provider).1.status, 502);
    assert!(provider.seen("/auth").is_empty());
    provider.repair(METADATA);
    assert_eq!(sign_in_at(&proxy, &provider).1.status, 200);
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

#[test]
fn people_stay_signed_in_while_the_provider_rotates_its_keys() {
    let (provider, backend) = (OidcProvider::start(AUTHENTICATE), Backend::echo());
    let config = consent(secret(config(&provider.url(), "c-RS256", &backend), "secret"));
    let proxy = config.start();
    let mut alice = CurlBrowser::new(proxy.address(), &provider, "alice");
    assert_eq!(alice.open(&format!("{APP}/")).status, 200);
    let provider = provider.restart();
    assert_eq!(alice.get(&format!("{APP}/")).status, 200);
    let mut bob = CurlBrowser::new(proxy.address(), &provider, "bob");
    assert_eq!(bob.open(&format!("{APP}/")).status, 200);
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
