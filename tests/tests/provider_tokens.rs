//! Tokens of the identity provider for upstreams (`${pomerium.access_token}`, `${pomerium.id_token}`),
//! with the npm package `oidc-provider`, by a clock that the tests set.

use portcullis_tests::{
    CurlBrowser, Proxy, SignInRig,
    curl::Fetched,
    false_clock::minutes,
    proxy::Config,
    sign_in_rig::{APP, OTHER, SECRET, session_cookie},
    wait::until,
};
use serde_json::{Value, json};

const ANY: &str = "allow_any_authenticated_user: true";
const HEADERS: &str = "set_request_headers:\n  Authorization: 'Bearer ${pomerium.access_token}'\n  \
                       X-Id-Token: $pomerium.id_token";

/// The upstream of [`APP`] gets tokens, and that of [`OTHER`] gets none.
fn config(rig: &SignInRig) -> Config {
    let to = rig.backend.url();
    rig.without_routes("c-ES256", SECRET)
        .route_as_is(&format!("from: {APP}\nto: {to}\n{ANY}\n{HEADERS}"))
        .route_as_is(&format!("from: {OTHER}\nto: {to}\n{ANY}"))
}

/// A header of the request that an upstream got.
fn header(fetched: &Fetched, name: &str) -> Option<String> {
    assert_eq!(fetched.status, 200, "{}", fetched.text());
    let request = fetched.json();
    let mut headers = request["headers"].as_array().into_iter().flatten();
    let is_it = |pair: &Value| pair[0].as_str().is_some_and(|it| it.eq_ignore_ascii_case(name));
    headers.find(|pair| is_it(pair)).and_then(|pair| pair[1].as_str()).map(str::to_owned)
}

fn access_token(fetched: &Fetched) -> String {
    let value = header(fetched, "authorization").expect("a header");
    value.strip_prefix("Bearer ").unwrap_or_default().to_owned()
}

/// The tokens of this name that the provider has granted, the newest last. This one is among them.
fn granted_with(rig: &SignInRig, name: &str, token: &str) -> Vec<String> {
    until("the provider to print what it granted", || {
        granted(rig, name).iter().any(|granted| granted == token)
    });
    granted(rig, name)
}

fn granted(rig: &SignInRig, name: &str) -> Vec<String> {
    let secrets = rig.provider.secrets().into_iter();
    secrets.filter(|(other, _)| other == name).map(|(_, value)| value).collect()
}

fn with_cookie(proxy: &Proxy, cookie: &str) -> Fetched {
    proxy.curl("app", "/").header(cookie).header("Sec-Fetch-Mode: cors").ok()
}

fn get(browser: &mut CurlBrowser, origin: &str) -> Fetched {
    browser.get(&format!("{origin}/"))
}

#[test]
fn an_upstream_gets_the_tokens_of_the_session_and_no_other_upstream_does() {
    let rig = SignInRig::start();
    let proxy = config(&rig).start();
    let mut alice = rig.signed_in(&proxy, "alice");
    let fetched = get(&mut alice, APP);
    let (access, id) = (access_token(&fetched), header(&fetched, "x-id-token").unwrap());
    assert_eq!(granted_with(&rig, "access_token", &access), [access]);
    assert_eq!(granted_with(&rig, "id_token", &id), [id]);
    assert_eq!(alice.open(&format!("{OTHER}/")).status, 200);
    let fetched = get(&mut alice, OTHER);
    assert_eq!(header(&fetched, "authorization"), None);
    let text = fetched.text();
    for (name, secret) in rig.provider.secrets().iter().filter(|(name, _)| name.contains("token")) {
        assert!(!text.contains(secret.as_str()), "{name}");
    }
    // The tokens are in the cookies of the host whose upstream gets them, and in no other's.
    let len = |host: &str| {
        let cookies = alice.cookies(host);
        let session = cookies.iter().filter(|(name, _)| name.starts_with("_pomerium"));
        session.map(|(_, value)| value.len()).sum::<usize>()
    };
    let (with, without) = (len("app.localhost.pomerium.io"), len("other.localhost.pomerium.io"));
    assert!(with > without + granted(&rig, "id_token")[0].len(), "{with} {without}");
    let mut bob = rig.signed_in(&proxy, "bob");
    let of_bob = access_token(&get(&mut bob, APP));
    assert_eq!(granted_with(&rig, "access_token", &of_bob)[1], of_bob);
}

#[test]
fn a_host_where_nobody_signed_in_before_gets_tokens_without_the_provider() {
    let rig = SignInRig::start();
    let proxy = config(&rig).start();
    let mut alice = rig.browser(&proxy, "alice");
    assert_eq!(alice.open(&format!("{OTHER}/")).status, 200);
    let before = alice.visited().len();
    let token = access_token(&alice.open(&format!("{APP}/")));
    assert_eq!(granted_with(&rig, "access_token", &token), std::slice::from_ref(&token));
    assert_eq!(rig.visits(&alice, before), [""; 0]);
    assert_eq!(rig.provider.requests("POST /token"), 1);
    assert_eq!(access_token(&get(&mut alice, APP)), token);
}

#[test]
fn no_upstream_gets_a_token_that_has_expired() {
    let rig = SignInRig::with(json!({"ttl": {"AccessToken": 300, "IdToken": 300}}));
    let proxy = config(&rig).own("workers", "1").start();
    let cookie = session_cookie(&rig.signed_in(&proxy, "alice"));
    let mut granted_at = vec![0];
    for minute in 1..=16 {
        rig.clock.advance(minutes(1));
        let token = access_token(&with_cookie(&proxy, &cookie));
        let tokens = granted_with(&rig, "access_token", &token);
        let number = tokens.iter().position(|granted| *granted == token).unwrap();
        assert!(minute - granted_at[number] < 5, "minute {minute}: {granted_at:?} {number}");
        if minute - granted_at.last().unwrap() >= 4 {
            // The request went on, and the check with it.
            let checks = granted_at.len();
            until("another token", || {
                let outcome = [("outcome", "good")];
                let good = proxy.metrics().sum("portcullis_session_rechecks_total", &outcome);
                good == checks as f64
            });
            granted_at.push(minute);
        }
    }
    assert!((3..=5).contains(&rig.provider.grants("refresh_token", "alice")), "{granted_at:?}");
    // Nobody was there for long: the first request waits for another token.
    rig.clock.advance(minutes(60));
    let token = access_token(&with_cookie(&proxy, &cookie));
    assert_eq!(granted_with(&rig, "access_token", &token).last(), Some(&token));
    let id_token = header(&with_cookie(&proxy, &cookie), "x-id-token").unwrap();
    assert_eq!(granted_with(&rig, "id_token", &id_token).last(), Some(&id_token));
}

#[test]
fn a_provider_that_is_away_leaves_upstreams_the_last_token() {
    let rig = SignInRig::start();
    let proxy = config(&rig).start();
    let cookie = session_cookie(&rig.signed_in(&proxy, "alice"));
    rig.provider.fail("/token", Some(503));
    rig.clock.advance(minutes(12));
    let token = access_token(&with_cookie(&proxy, &cookie));
    assert_eq!(granted_with(&rig, "access_token", &token), [token]);
}

#[test]
fn tokens_outlast_a_restart_in_the_cookie() {
    let rig = SignInRig::start();
    let proxy = config(&rig).start();
    let cookie = session_cookie(&rig.signed_in(&proxy, "alice"));
    drop(proxy);
    let proxy = config(&rig).start();
    let token = access_token(&with_cookie(&proxy, &cookie));
    assert_eq!(granted_with(&rig, "access_token", &token), [token]);
    assert_eq!(rig.provider.requests("POST /token"), 1);
}

#[test]
fn a_route_that_begins_to_name_a_token_gets_it_for_sessions_of_before() {
    let rig = SignInRig::start();
    let mut proxy = rig.config().own("workers", "1").start();
    let cookie = session_cookie(&rig.signed_in(&proxy, "alice"));
    rig.clock.advance(minutes(1));
    let marker = "from: https://marker.localhost.pomerium.io\nredirect: {path_redirect: /there}";
    proxy.rewrite(config(&rig).own("workers", "1").route(marker));
    until("the reload", || proxy.curl("marker", "/").ok().status == 301);
    let token = access_token(&with_cookie(&proxy, &cookie));
    assert_eq!(granted_with(&rig, "access_token", &token).last(), Some(&token));
    assert_eq!(rig.provider.grants("refresh_token", "alice"), 1);
}

#[test]
fn a_request_without_a_session_carries_no_token_of_its_client() {
    let rig = SignInRig::start();
    let to = rig.backend.url();
    let public = "allow_public_unauthenticated_access: true";
    let proxy = rig
        .without_routes("c-ES256", SECRET)
        .route_as_is(&format!("from: {APP}\nto: {to}\n{public}\n{HEADERS}"))
        .start();
    let theirs = proxy.curl("app", "/").header("Authorization: Bearer theirs");
    let fetched = theirs.header("X-Id-Token: theirs").ok();
    assert_eq!(header(&fetched, "authorization").as_deref(), Some("Bearer"));
    assert_eq!(header(&fetched, "x-id-token").as_deref(), Some(""));
}

#[test]
fn no_log_or_page_shows_a_token() {
    let rig = SignInRig::start();
    let log = "log_level: trace\naccess_log_fields: [path, query, headers.Cookie, \
               headers.Authorization, headers.X-Id-Token, headers.Set-Cookie]";
    let proxy = config(&rig).global(log).start();
    let mut alice = rig.signed_in(&proxy, "alice");
    rig.clock.advance(minutes(12));
    assert_eq!(get(&mut alice, APP).status, 200);
    let pages = ["/.pomerium/", "/.pomerium/user"].map(|path| {
        let page = alice.get(&format!("{APP}{path}"));
        assert_eq!(page.status, 200, "{path}");
        page.text()
    });
    let output = proxy.output().join("\n");
    until("both grants", || granted(&rig, "access_token").len() == 2);
    let secrets = rig.provider.secrets();
    for (name, secret) in secrets.iter().filter(|(name, _)| name != "client_secret") {
        assert!(!output.contains(secret.as_str()), "{name} in the log");
        assert!(pages.iter().all(|page| !page.contains(secret.as_str())), "{name} on a page");
    }
}

#[test]
fn a_pattern_broader_than_the_cookie_domain_gets_its_tokens() {
    let rig = SignInRig::start();
    let to = rig.backend.url();
    let proxy = rig
        .without_routes("c-ES256", SECRET)
        .global("cookie_domain: localhost.pomerium.io")
        .route_as_is(&format!("from: https://*.pomerium.io\nto: {to}\n{ANY}\n{HEADERS}"))
        .start();
    let mut alice = rig.signed_in(&proxy, "alice");
    let token = access_token(&get(&mut alice, APP));
    assert_eq!(granted_with(&rig, "access_token", &token), std::slice::from_ref(&token));
    let before = alice.visited().len();
    assert_eq!(access_token(&get(&mut alice, OTHER)), token, "the cookie is for both");
    assert_eq!(rig.visits(&alice, before), [""; 0]);
    assert_eq!(rig.provider.requests("POST /token"), 1);
}
