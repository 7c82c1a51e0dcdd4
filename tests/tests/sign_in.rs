//! Sign-in by OpenID Connect, with the npm package `oidc-provider` and curl as the browser.

use portcullis_tests::{Backend, CurlBrowser, OidcProvider, Proxy, proxy::Config, wait::until};
use serde_json::{Value, json};

const AUTHENTICATE: &str = "https://authenticate.localhost.pomerium.io";
const APP: &str = "https://app.localhost.pomerium.io";
const OTHER: &str = "https://other.localhost.pomerium.io";
const SECRET: &str = "d2hhdCBhIHNlY3JldCBvZiAzMiBieXRlcyBpcyB0aGk=";

/// Two routes for Alice and one that anybody may use.
fn config(provider: &OidcProvider, backend: &Backend) -> Config {
    let to = backend.url();
    Proxy::config()
        .global(&format!("authenticate_service_url: {AUTHENTICATE}"))
        .global("idp_provider: oidc\nidp_client_id: c-ES256\nidp_client_secret: secret")
        .global(&format!("idp_provider_url: {}\nshared_secret: {SECRET}", provider.url()))
        .global("idp_request_params:\n  prompt: consent")
        .global("jwt_claims_headers: {x-email: email, x-who: user}")
        .route_as_is(&format!("from: {APP}\nto: {to}\npass_identity_headers: true\n{}", alice()))
        .route_as_is(&format!("from: {OTHER}\nto: {to}\n{}", alice()))
        .forward("public", &to, "")
}

fn alice() -> String {
    "policy:\n- allow:\n    and:\n    - email:\n        is: alice@example.com".to_owned()
}

/// The provider, an upstream that describes requests, and the proxy.
fn start() -> (OidcProvider, Backend, Proxy) {
    let provider = OidcProvider::start(AUTHENTICATE);
    let backend = Backend::echo();
    let proxy = config(&provider, &backend).start();
    (provider, backend, proxy)
}

fn browser(proxy: &Proxy, provider: &OidcProvider, login: &str) -> CurlBrowser {
    CurlBrowser::new(proxy.address(), provider, login)
}

/// The claims of a token, whoever signed it.
fn claims(token: &str) -> Value {
    use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD};
    let payload = token.split('.').nth(1).expect("a token has a payload");
    let payload = BASE64_URL_SAFE_NO_PAD.decode(payload).expect("base64url");
    serde_json::from_slice(&payload).expect("JSON")
}

#[test]
fn a_sign_in_ends_at_its_url_and_the_upstream_knows_the_user() {
    let (provider, _backend, proxy) = start();
    let mut alice = browser(&proxy, &provider, "alice");
    let url = format!("{APP}/a/b?next=https://c.example/%26&d=e");
    let fetched = alice.open(&url);
    assert_eq!(fetched.status, 200, "{fetched:?}\n{:#?}", alice.visited());
    assert_eq!(alice.url(), url);
    let seen = fetched.echoed();
    assert_eq!(seen.header("x-email").as_deref(), Some("alice@example.com"));
    assert_eq!(seen.header("x-who").as_deref(), Some("alice"));
    assert_eq!(seen.header("cookie"), None, "no cookie of ours reaches the upstream");
    let claims = claims(&seen.header("x-pomerium-jwt-assertion").expect("an assertion"));
    assert_eq!(claims["iss"], "app.localhost.pomerium.io");
    assert_eq!(claims["email"], "alice@example.com");
    assert_eq!(claims["groups"], json!(["dev"]));
}

#[test]
fn a_second_host_needs_no_second_password() {
    let (provider, _backend, proxy) = start();
    let mut alice = browser(&proxy, &provider, "alice");
    assert_eq!(alice.open(&format!("{APP}/")).status, 200);
    let before = alice.visited().len();
    assert_eq!(alice.open(&format!("{OTHER}/x")).status, 200);
    let at_provider = |url: &&String| url.starts_with(&provider.url());
    assert_eq!(alice.visited()[before..].iter().find(at_provider), None);
}

#[test]
fn whatever_is_no_navigation_gets_401() {
    let (_provider, _backend, proxy) = start();
    let script = proxy.curl("app", "/").header("Sec-Fetch-Mode: cors").ok();
    assert_eq!(script.status, 401, "{script:?}");
    assert_eq!(script.header("www-authenticate"), Some("Bearer"));
    assert_eq!(script.header("cache-control"), Some("no-store"));
    let json = proxy.curl("app", "/").header("Accept: application/json").ok();
    assert_eq!((json.status, &json.json()["error"]), (401, &json!("Unauthenticated")));
    let form = proxy.curl("app", "/").header("Sec-Fetch-Mode: navigate").post("a=b").ok();
    assert_eq!(form.status, 401);
    assert!(form.text().contains("Sign in"), "{}", form.text());
    assert_eq!(proxy.curl("public", "/").ok().status, 200);
}

#[test]
fn a_user_whom_the_policy_denies_gets_403_and_no_loop() {
    let (provider, _backend, proxy) = start();
    let mut bob = browser(&proxy, &provider, "bob");
    let fetched = bob.open(&format!("{APP}/"));
    assert_eq!(fetched.status, 403, "{fetched:?}");
    assert_eq!(bob.get(&format!("{APP}/")).status, 403);
}

#[test]
fn a_sign_out_ends_the_session_at_all_hosts() {
    let (provider, _backend, proxy) = start();
    let mut alice = browser(&proxy, &provider, "alice");
    assert_eq!(alice.open(&format!("{APP}/")).status, 200);
    assert_eq!(alice.open(&format!("{OTHER}/")).status, 200);
    let kept = alice.cookies("other.localhost.pomerium.io");
    let kept = format!("Cookie: _pomerium={}", kept["_pomerium"]);
    let other = || proxy.curl("other", "/").header(&kept).ok().status;
    assert_eq!(other(), 200);
    let mut out = browser_with_origin(alice);
    let left = out.post(&format!("{APP}/.pomerium/sign_out"), "");
    assert!([200, 302].contains(&left.status), "{left:?}");
    assert_eq!(other(), 302, "the cookie of the other host is worth nothing now");
    assert_eq!(out.get(&format!("{APP}/")).status, 302);
}

fn browser_with_origin(browser: CurlBrowser) -> CurlBrowser {
    browser.with_header(&format!("Origin: {APP}")).with_header("Sec-Fetch-Site: same-origin")
}

#[test]
fn the_session_pages_say_who_is_signed_in() {
    let (provider, _backend, proxy) = start();
    let mut alice = browser(&proxy, &provider, "alice");
    let nobody = alice.get(&format!("{APP}/.pomerium/"));
    assert_eq!(nobody.status, 200);
    assert!(nobody.text().contains("sign_in"), "{}", nobody.text());
    let user = alice.open(&format!("{APP}/.pomerium/user"));
    assert_eq!((user.status, &user.json()["email"]), (200, &json!("alice@example.com")));
    assert_eq!(user.json().get("exp"), None);
    let page = alice.get(&format!("{APP}/.pomerium/"));
    assert!(page.text().contains("alice@example.com"), "{}", page.text());
    assert_eq!(page.header("cache-control"), Some("no-store"));
    for path in ["/.pomerium/x", "/.pomerium/sign_in", "/.pomerium/signed_out"] {
        assert_eq!(alice.get(&format!("{APP}{path}")).status, 404, "{path}");
    }
    assert_eq!(alice.get(&format!("{AUTHENTICATE}/")).header("location"), Some("/.pomerium/"));
    assert_eq!(alice.get(&format!("{AUTHENTICATE}/robots.txt")).status, 200);
}

#[test]
fn a_restart_with_the_same_secrets_keeps_people_signed_in() {
    let (provider, backend, proxy) = start();
    let mut alice = browser(&proxy, &provider, "alice");
    assert_eq!(alice.open(&format!("{APP}/")).status, 200);
    let cookie = &alice.cookies("app.localhost.pomerium.io")["_pomerium"];
    let cookie = format!("Cookie: _pomerium={cookie}");
    drop(proxy);
    let next = config(&provider, &backend).start();
    assert_eq!(next.curl("app", "/").header(&cookie).ok().status, 200);
}

#[test]
fn a_provider_that_is_down_harms_nobody_who_is_signed_in() {
    let (provider, _backend, proxy) = start();
    let mut alice = browser(&proxy, &provider, "alice");
    assert_eq!(alice.open(&format!("{APP}/")).status, 200);
    let mut eve = browser(&proxy, &provider, "eve");
    let led = eve.open_until(&format!("{APP}/"), |url| url.contains("/oauth2/callback"));
    let callback = led.header("location").expect("the provider leads back").to_owned();
    drop(provider);
    assert_eq!(alice.get(&format!("{APP}/")).status, 200);
    assert_eq!(proxy.curl("public", "/").ok().status, 200);
    let failed = eve.get(&callback);
    assert_eq!(failed.status, 503, "{failed:?}");
    assert!(failed.header("retry-after").is_some());
    assert_eq!(eve.cookies("app.localhost.pomerium.io").get("_pomerium"), None);
}

#[test]
fn the_keys_of_assertions_are_public_at_every_host() {
    let (_provider, _backend, proxy) = start();
    for host in ["app", "authenticate", "public", "unknown"] {
        let keys = proxy.curl(host, "/.well-known/pomerium/jwks.json").ok();
        assert_eq!((keys.status, &keys.json()["keys"][0]["alg"]), (200, &json!("ES256")), "{host}");
        assert_eq!(keys.header("access-control-allow-origin"), Some("*"));
        let etag = format!("If-None-Match: {}", keys.header("etag").expect("an entity tag"));
        let again = proxy.curl(host, "/.well-known/pomerium/jwks.json").header(&etag).ok();
        assert_eq!(again.status, 304);
        let post = proxy.curl(host, "/.well-known/pomerium/jwks.json").http1().post("x").ok();
        assert_eq!(post.status, 405);
    }
    let discovery = proxy.curl("app", "/.well-known/pomerium").ok().json();
    assert_eq!(discovery["issuer"], format!("{APP}/"));
    assert_eq!(discovery["jwks_uri"], format!("{APP}/.well-known/pomerium/jwks.json"));
    let callback = format!("{AUTHENTICATE}/oauth2/callback");
    assert_eq!(discovery["authentication_callback_endpoint"], callback);
}

#[test]
fn nothing_secret_is_in_the_log() {
    let provider = OidcProvider::start(AUTHENTICATE);
    let backend = Backend::echo();
    let fields = "log_level: trace\naccess_log_fields: [method, path, query, referer, user-agent, \
                  headers.Cookie, headers.Authorization, headers.Referer, \
                  headers.X-Pomerium-Jwt-Assertion]";
    let config = config(&provider, &backend).global(fields).own("sign_in", "\n    recheck: 1s");
    let proxy = config.start();
    let mut alice = browser(&proxy, &provider, "alice");
    assert_eq!(alice.open(&format!("{APP}/secret?a=b")).status, 200);
    let record = proxy.wait_for_access("/secret");
    proxy.wait_for_log("the record of the user", |line| {
        line["path"] == "/secret" && line["user"] == "alice" && line["email"] == "alice@example.com"
    });
    assert_eq!(record["query"], "a=b");
    assert_eq!(alice.open(&format!("{OTHER}/")).status, 200);
    let mut secrets = cookies(&alice);
    until("a refresh", || {
        assert_eq!(alice.get(&format!("{APP}/")).status, 200);
        provider.grants("refresh_token", "alice") > 0
    });
    secrets.extend(cookies(&alice));
    let token = alice.get(&format!("{APP}/")).echoed().header("x-pomerium-jwt-assertion").unwrap();
    // Its URLs once more: where they are worth nothing, and as a browser names them.
    let steps = ["/sign_in?request=", "/oauth2/callback?code=", "/callback/?pomerium_"];
    let is_step = |url: &&String| steps.iter().any(|step| url.contains(step));
    for url in alice.visited().to_vec().iter().filter(is_step) {
        alice.get(url);
        let referred = alice.request(&format!("{APP}/referred")).header(&format!("Referer: {url}"));
        let referred = referred.header(&format!("Authorization: Bearer {token}"));
        referred.header(&format!("X-Pomerium-Jwt-Assertion: {token}")).ok();
    }
    secrets.push(("the assertion".to_owned(), token));
    let mut alice = browser_with_origin(alice);
    let left = alice.post(&format!("{APP}/.pomerium/sign_out"), "");
    assert!([200, 302].contains(&left.status), "{left:?}");
    let out = left.text();
    let to = out.split(['"', ' ', ';']).find(|part| part.contains("/.pomerium/sign_out?"));
    let to = to.or(left.header("location")).expect("a way on").trim_start_matches("url=");
    alice.open(&to.replace("&amp;", "&"));
    alice.get(&format!("{APP}/last"));
    proxy.wait_for_access("/last");

    secrets.extend(cookies(&alice));
    secrets.extend(parameters(alice.visited()));
    secrets.extend(provider.secrets());
    for text in [SECRET, "Yy1FUzI1NjpzZWNyZXQ", "what a secret of 32 bytes is thi"] {
        secrets.push(("a secret of the configuration".to_owned(), text.to_owned()));
    }
    for kind in ["access_token", "refresh_token", "id_token", "code_verifier", "code", "state"] {
        assert!(secrets.iter().any(|(name, _)| name == kind), "no {kind} was handed out");
    }
    let log = proxy.output().join("\n");
    let lists = ["/metrics", "/status"].map(|path| proxy.admin(path).expect("a list").text());
    for (name, value) in &secrets {
        let line = || log.lines().find(|line| line.contains(value));
        assert!(!log.contains(value), "{name} in {:?}", line());
        assert!(!lists.iter().any(|list| list.contains(value)), "{name} in a list");
    }
}

/// The cookies of every host.
fn cookies(browser: &CurlBrowser) -> Vec<(String, String)> {
    let hosts =
        ["app", "other", "authenticate"].map(|host| format!("{host}.localhost.pomerium.io"));
    let cookies = hosts.iter().flat_map(|host| browser.cookies(host));
    cookies.filter(|(_, value)| !value.is_empty()).collect()
}

/// The parameters of URLs that are too long to be anything but secrets.
fn parameters(urls: &[String]) -> Vec<(String, String)> {
    let ours = urls.iter().filter(|url| !url.contains("next=") && !url.contains("/secret"));
    let pairs = ours.flat_map(|url| url.split(['?', '&']).skip(1));
    let pairs = pairs.filter_map(|pair| pair.split_once('='));
    let long = pairs.filter(|(_, value)| value.len() >= 20 && !value.starts_with("http"));
    long.map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
}
