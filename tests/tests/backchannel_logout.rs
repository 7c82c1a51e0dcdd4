//! Back-channel logout: the provider itself says that somebody has signed out there.

use std::cell::Cell;

use portcullis_tests::{
    BadProvider, CurlBrowser, Proxy, SignInRig,
    bad_provider::{BadSignature, BadToken},
    curl::Fetched,
    false_clock::minutes,
    proxy::Config,
    sign_in_rig::{APP, AUTHENTICATE, SECRET, ask, session_cookie},
};
use serde_json::{Value, json};

const PATH: &str = "/.pomerium/backchannel_logout";
const EVENT: &str = "http://schemas.openid.net/event/backchannel-logout";

fn status(proxy: &Proxy, cookie: &str) -> u16 {
    proxy.curl("app", "/").header(cookie).ok().status
}

fn rig(names: &str) -> SignInRig {
    SignInRig::with(json!({ "backchannel": names }))
}

/// Signs out at the provider's own page.
fn leave(rig: &SignInRig, browser: &mut CurlBrowser) {
    // Somebody who has just signed in would be told that it did not last.
    rig.clock.advance(minutes(1));
    let page = browser.get(&format!("{}/session/end", rig.provider.url())).text();
    let (_, rest) = page.split_once("name=\"xsrf\" value=\"").expect("a form to confirm");
    let xsrf = rest.split('"').next().unwrap_or_default();
    let url = format!("{}/session/end/confirm", rig.provider.url());
    let left = browser.post(&url, &format!("xsrf={xsrf}&logout=yes"));
    assert_eq!(left.status, 303, "{left:?}");
}

#[test]
fn a_logout_at_the_provider_ends_that_session_before_it_is_answered() {
    let rig = rig("sid");
    let proxy = rig.config().start();
    rig.provider.set_site(proxy.address());
    let mut laptop = rig.signed_in(&proxy, "alice");
    let phone = session_cookie(&rig.signed_in(&proxy, "alice"));
    let cookie = session_cookie(&laptop);
    let mut connection = proxy.raw("app");
    assert_eq!(ask(&mut connection, &cookie).status, 200);
    leave(&rig, &mut laptop);
    assert_eq!(rig.provider.logout(1), "logout alice success");
    assert_eq!(ask(&mut connection, &cookie).status, 302);
    assert_eq!(status(&proxy, &phone), 200, "another session of the same user");
    assert_eq!(laptop.open(&format!("{APP}/")).status, 200, "she signs in again");
    let outcome = [("outcome", "ended")];
    assert_eq!(proxy.metrics().sum("portcullis_backchannel_logouts_total", &outcome), 1.0);
}

#[test]
fn a_logout_of_a_user_ends_all_sessions_also_unknown_ones() {
    let rig = rig("sub");
    let proxy = rig.config().start();
    let stolen = session_cookie(&rig.signed_in(&proxy, "alice"));
    drop(proxy);
    let proxy = rig.config().start();
    rig.provider.set_site(proxy.address());
    let mut laptop = rig.signed_in(&proxy, "alice");
    let phone = session_cookie(&rig.signed_in(&proxy, "alice"));
    let bob = session_cookie(&rig.signed_in(&proxy, "bob"));
    assert_eq!(status(&proxy, &stolen), 200, "of the process before");
    leave(&rig, &mut laptop);
    assert_eq!(rig.provider.logout(1), "logout alice success");
    for cookie in [&stolen, &phone, &session_cookie(&laptop)] {
        assert_eq!(status(&proxy, cookie), 302);
    }
    assert_eq!(status(&proxy, &bob), 200);
    assert_eq!(laptop.open(&format!("{APP}/")).status, 200);
}

#[test]
fn a_logout_of_a_session_from_before_a_restart_reaches_it() {
    let rig = rig("sid");
    let proxy = rig.config().start();
    let mut alice = rig.signed_in(&proxy, "alice");
    let cookie = session_cookie(&alice);
    drop(proxy);
    let proxy = rig.config().start();
    rig.provider.set_site(proxy.address());
    assert_eq!(status(&proxy, &cookie), 200);
    leave(&rig, &mut alice);
    assert_eq!(rig.provider.logout(1), "logout alice success");
    assert_eq!(status(&proxy, &cookie), 302);
}

/// A provider that makes any token, and the proxy.
fn with_bad_provider() -> (BadProvider, Proxy) {
    let provider = BadProvider::start();
    let proxy = config(&provider).forward("public", "http://127.0.0.1:1", "").start();
    (provider, proxy)
}

fn config(provider: &BadProvider) -> Config {
    Proxy::config()
        .global(&format!("authenticate_service_url: {AUTHENTICATE}"))
        .global("idp_provider: oidc\nidp_client_id: c\nidp_client_secret: secret")
        .global(&format!("idp_provider_url: {}\nshared_secret: {SECRET}", provider.url()))
}

fn logout_token(provider: &BadProvider, change: &Value) -> String {
    let mut claims = json!({
        "aud": "c", "jti": "1", "sub": "ann", "email": null, "events": { EVENT: {} },
    });
    let change = change.as_object().expect("an object");
    claims.as_object_mut().expect("an object").extend(change.clone());
    provider.token(&claims)
}

fn post(proxy: &Proxy, host: &str, form: &str) -> Fetched {
    proxy.curl(host, PATH).post(form).ok()
}

#[test]
fn a_token_is_answered_once_and_with_no_store() {
    let (provider, proxy) = with_bad_provider();
    let form = format!("logout_token={}", logout_token(&provider, &json!({})));
    let first = post(&proxy, "authenticate", &form);
    assert_eq!((first.status, first.text()), (200, String::new()), "{first:?}");
    assert_eq!(first.header("cache-control"), Some("no-store"));
    let again = post(&proxy, "authenticate", &form);
    assert_eq!((again.status, &again.json()["error"]), (400, &json!("invalid_request")));
    assert_eq!(again.header("cache-control"), Some("no-store"));
    let other = logout_token(&provider, &json!({"jti": "2"}));
    assert_eq!(post(&proxy, "authenticate", &format!("a=b&logout_token={other}")).status, 200);
}

#[test]
fn a_connection_goes_on_after_a_token() {
    let (provider, proxy) = with_bad_provider();
    let mut raw = proxy.raw("authenticate");
    for jti in ["1", "2"] {
        let form = format!("logout_token={}", logout_token(&provider, &json!({"jti": jti})));
        raw.send(format!(
            "POST {PATH} HTTP/1.1\r\nHost: authenticate.localhost.pomerium.io\r\n\
             Content-Type: application/x-www-form-urlencoded\r\nContent-Length: {}\r\n\r\n",
            form.len()
        ));
        // The body comes on its own, behind the head.
        raw.send(form);
        assert_eq!(raw.response().status, 200, "{jti}");
    }
}

#[test]
fn a_token_that_is_not_acceptable_gets_400() {
    let (provider, proxy) = with_bad_provider();
    let sent = Cell::new(0);
    let refused = |proxy: &Proxy, token: &str| {
        sent.set(sent.get() + 1);
        let answer = post(proxy, "authenticate", &format!("logout_token={token}"));
        assert_eq!(answer.status, 400, "{token}: {answer:?}");
    };
    for change in [
        json!({"iat": null}),
        json!({"jti": null}),
        json!({"events": null}),
        json!({"events": {"http://schemas.openid.net/event/other": {}}}),
        json!({"nonce": "n"}),
        json!({"aud": "another"}),
        json!({"iss": "https://idp.example"}),
        json!({"sub": null}),
        json!({"exp": 1}),
    ] {
        refused(&proxy, &logout_token(&provider, &change));
    }
    provider.set_header(json!({"typ": "at+jwt"}));
    refused(&proxy, &logout_token(&provider, &json!({})));
    provider.set_token(BadToken { signature: BadSignature::Zeros, ..BadToken::default() });
    refused(&proxy, &logout_token(&provider, &json!({})));
    provider.set_token(BadToken::default());
    refused(&proxy, &provider.token(&json!({"aud": "c"})));
    refused(&proxy, "x");
    let count = |outcome| {
        proxy.metrics().sum("portcullis_backchannel_logouts_total", &[("outcome", outcome)])
    };
    assert_eq!((count("refused"), count("ended")), (f64::from(sent.get()), 0.0));
    while sent.get() < 20 {
        refused(&proxy, "x");
    }
    let good = format!("logout_token={}", logout_token(&provider, &json!({})));
    let limited = post(&proxy, "authenticate", &good);
    assert_eq!((limited.status, limited.header("retry-after")), (429, Some("30")));
    assert_eq!(proxy.curl("public", "/healthz").ok().status, 200);
}

#[test]
fn only_one_token_in_a_form_at_the_host_of_sign_in_is_read() {
    let (provider, proxy) = with_bad_provider();
    let token = logout_token(&provider, &json!({}));
    let form = format!("logout_token={token}");
    for host in ["public", "unknown"] {
        assert_eq!(post(&proxy, host, &form).status, 404, "{host}");
    }
    let get = proxy.curl("authenticate", &format!("{PATH}?{form}")).ok();
    assert_eq!((get.status, get.header("allow")), (405, Some("POST")), "{get:?}");
    for wrong in ["", "token=x", &format!("{form}&{form}"), &format!("{form}&logout_token=")] {
        assert_eq!(post(&proxy, "authenticate", wrong).status, 400, "{wrong}");
    }
    let long = format!("{form}&a={}", "a".repeat(20_000));
    let long = proxy.curl("authenticate", PATH).http1().post(long).ok();
    assert_eq!((long.status, long.header("connection")), (400, Some("close")));
    let json = proxy.curl("authenticate", PATH).header("Content-Type: application/json");
    assert_eq!(json.post(form.clone()).ok().status, 400);
    assert_eq!(provider.seen("/jwks"), [], "nothing was verified");
    assert_eq!(post(&proxy, "authenticate", &form).status, 200, "and it was not used up");
    // Nothing of a token is in the log.
    proxy.wait_for_access(PATH);
    assert!(!proxy.output().join("\n").contains(&token));
}

#[test]
fn a_provider_that_is_away_is_told_to_come_again() {
    let (provider, proxy) = with_bad_provider();
    let form = format!("logout_token={}", logout_token(&provider, &json!({})));
    provider.stop();
    let answer = post(&proxy, "authenticate", &form);
    assert_eq!((answer.status, answer.header("retry-after")), (503, Some("30")), "{answer:?}");
    assert_eq!(answer.header("cache-control"), Some("no-store"));
}
