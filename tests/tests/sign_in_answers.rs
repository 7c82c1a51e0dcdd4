//! What the proxy makes of a provider's answer that was changed, mixed with another one or taken to
//! another browser, with the npm package `oidc-provider` and curl as the browsers.

use std::sync::{Arc, Mutex, Weak};

use portcullis_tests::{
    Curl, CurlBrowser, SignInWorld,
    sign_in::{
        APP, AUTHENTICATE, BINDING, CALLBACK, HANDOVER, OTHER, assert_refused, has_session,
        host_of, led_to, parameter, user, with_parameter,
    },
};
use serde_json::json;

static WORLD: Mutex<Weak<SignInWorld>> = Mutex::new(Weak::new());

fn world() -> Arc<SignInWorld> {
    SignInWorld::shared(&WORLD, || SignInWorld::start(""))
}

/// The provider's answer in a browser that has no session with us.
fn answer(browser: &mut CurlBrowser) -> String {
    browser.forget(host_of(APP));
    browser.forget(host_of(AUTHENTICATE));
    led_to(browser, &format!("{APP}/"), CALLBACK)
}

#[test]
fn the_binding_cookie_of_the_very_browser_must_be_there() {
    let world = world();
    let (mut alice, mut mallory) = (world.browser("alice"), world.browser("mallory"));
    let host = host_of(AUTHENTICATE);
    answer(&mut mallory);
    let of_mallory = mallory.cookies(host)[BINDING].clone();
    for (what, is_restarted) in
        [("none", false), ("changed", false), ("app", false), ("mallory", true)]
    {
        let url = answer(&mut alice);
        let own = alice.cookies(host)[BINDING].clone();
        alice.forget(host);
        match what {
            "changed" => {
                let end = if own.ends_with('A') { "B" } else { "A" };
                alice.set_cookie(host, BINDING, &format!("{}{end}", &own[..own.len() - 1]));
            }
            "app" => alice.set_cookie(host, BINDING, &alice.cookies(host_of(APP))[BINDING]),
            "mallory" => alice.set_cookie(host, BINDING, &of_mallory),
            _ => {}
        }
        let refused = alice.get(&url);
        let status = if is_restarted { 302 } else { 400 };
        assert_eq!(refused.status, status, "{what} {refused:?}");
        assert!(!has_session(&alice, AUTHENTICATE), "{what}");
        // It is used up, for the right browser too.
        alice.set_cookie(host, BINDING, &own);
        assert_refused(&alice.get(&url), 400);
    }
}

#[test]
fn junk_before_the_binding_cookie_hinders_nobody() {
    let world = world();
    let mut alice = world.browser("junk");
    let url = answer(&mut alice);
    let own = alice.cookies(host_of(AUTHENTICATE))[BINDING].clone();
    let of_app = alice.cookies(host_of(APP))[BINDING].clone();
    let junk =
        format!("{BINDING}=junk; {BINDING}; {BINDING}=; {BINDING}={of_app}; {BINDING}={own}");
    alice.forget(host_of(AUTHENTICATE));
    let done = alice.request(&url).header(&format!("Cookie: {junk}")).ok();
    let last = done.header("location").unwrap_or_else(|| panic!("{done:?}")).to_owned();
    assert!(last.contains(HANDOVER), "{last}");
    assert!(has_session(&alice, AUTHENTICATE));
    alice.open(&last);
    assert_eq!(user(&mut alice, APP).as_deref(), Some("junk"));
}

#[test]
fn the_code_of_one_person_does_not_count_in_the_flow_of_another() {
    let world = world();
    let (mut alice, mut bob) = (world.browser("alice"), world.browser("bob"));
    let (of_alice, of_bob) = (answer(&mut alice), answer(&mut bob));
    let mixed = with_parameter(&of_bob, "code", &parameter(&of_alice, "code"));
    assert_refused(&bob.get(&mixed), 400);
    assert_refused(&bob.get(&of_bob), 400);
    assert!(!has_session(&bob, AUTHENTICATE) && !has_session(&bob, APP));
}

#[test]
fn the_provider_takes_no_code_without_our_verifier() {
    let world = world();
    let mut alice = world.browser("verifier");
    let url = answer(&mut alice);
    let form = format!(
        "grant_type=authorization_code&code={}&redirect_uri={AUTHENTICATE}/oauth2/callback",
        parameter(&url, "code")
    );
    let challenge = alice.visited().iter().find(|url| url.contains("code_challenge="));
    let challenge = parameter(challenge.expect("a request to the provider"), "code_challenge");
    for verifier in ["", &format!("&code_verifier={challenge}")] {
        let token = format!("{}/token", world.provider.url());
        let curl = Curl::new(world.provider.address(), &token).args(["--user", "c-ES256:secret"]);
        let refused = curl.post(format!("{form}{verifier}")).ok();
        assert_eq!((refused.status, &refused.json()["error"]), (400, &json!("invalid_grant")));
    }
}

#[test]
fn each_parameter_of_the_answer_may_be_there_once() {
    let world = world();
    let mut alice = world.browser("twice");
    for name in ["code", "iss", "state"] {
        let url = answer(&mut alice);
        let value = parameter(&url, name);
        assert_refused(&alice.get(&format!("{url}&{name}={value}")), 400);
        let encoded = format!("%{:02X}{}", name.as_bytes()[0], &name[1..]);
        let url = answer(&mut alice);
        assert_refused(&alice.get(&format!("{url}&{encoded}=x")), 400);
        assert!(!has_session(&alice, AUTHENTICATE), "{name}");
    }
    let url = answer(&mut alice);
    assert_refused(&alice.get(&format!("{url}&error=x&error=y")), 400);
    let url = answer(&mut alice);
    assert_refused(&alice.get(&format!("{url}&error=access_denied")), 400);
}

#[test]
fn the_answer_must_name_the_issuer() {
    let world = world();
    let mut alice = world.browser("issuer");
    let issuer = world.provider.url();
    for other in ["", "https://evil.example", &format!("{issuer}/"), &issuer.to_uppercase()] {
        let url = answer(&mut alice);
        let refused = alice.get(&with_parameter(&url, "iss", other));
        assert!([400, 502].contains(&refused.status), "{other:?} {refused:?}");
        assert_refused(&refused, refused.status);
    }
    let url = answer(&mut alice);
    let refused = alice.get(&url.replace("&iss=", "&other="));
    assert!([400, 502].contains(&refused.status), "{refused:?}");
    assert!(!has_session(&alice, AUTHENTICATE));
    // A mistake in the test would have failed as well.
    assert_eq!(alice.open(&format!("{APP}/.pomerium/user")).json()["sub"], "issuer");
}

#[test]
fn a_handover_and_a_session_count_at_their_own_host_alone() {
    let world = world();
    let mut alice = world.browser("host");
    alice.get(&format!("{OTHER}/"));
    let last = led_to(&mut alice, &format!("{APP}/"), HANDOVER);
    assert_refused(&alice.get(&last.replace(APP, OTHER)), 400);
    assert_refused(&alice.get(&last.replace(APP, AUTHENTICATE)), 400);
    assert_eq!(alice.open(&last).status, 200);
    let session = alice.cookies(host_of(APP))["_pomerium"].clone();
    alice.set_cookie(host_of(OTHER), "_pomerium", &session);
    assert_eq!(user(&mut alice, OTHER), None);
    let master = alice.cookies(host_of(AUTHENTICATE))["_pomerium_authenticate"].clone();
    for value in [&master, &session] {
        alice.forget(host_of(AUTHENTICATE));
        alice.set_cookie(host_of(AUTHENTICATE), "_pomerium", value);
        assert_eq!(user(&mut alice, AUTHENTICATE), None);
    }
}

#[test]
fn each_sign_in_makes_a_new_session() {
    let world = world();
    let mut alice = world.browser("renewed");
    let session = |browser: &mut CurlBrowser| {
        browser.open(&format!("{APP}/.pomerium/user")).json()["sid"].as_str().unwrap().to_owned()
    };
    let first = session(&mut alice);
    let fixed = alice.cookies(host_of(APP));
    alice.forget(host_of(APP));
    alice.forget(host_of(AUTHENTICATE));
    let second = session(&mut alice);
    assert_ne!(first, second);
    assert_ne!(fixed["_pomerium"], alice.cookies(host_of(APP))["_pomerium"]);
    assert_ne!(fixed[BINDING], alice.cookies(host_of(APP))[BINDING]);
}
