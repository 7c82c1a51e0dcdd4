//! Attacks on a sign-in, step by step: URLs that were changed, copied, or made for another browser,
//! with the npm package `oidc-provider` and curl as the browsers.

use std::sync::{Arc, Mutex, Weak};

use portcullis_tests::{
    CurlBrowser, SignInWorld,
    sign_in::{
        APP, AUTHENTICATE, BINDING, CALLBACK, HANDOVER, OTHER, REQUEST, assert_refused,
        cookies_set, has_session, host_of, led_to, parameter, user, with_parameter,
    },
};

static WORLD: Mutex<Weak<SignInWorld>> = Mutex::new(Weak::new());

fn world() -> Arc<SignInWorld> {
    SignInWorld::shared(&WORLD, || SignInWorld::start(""))
}

#[test]
fn odd_paths_come_back_at_the_host_that_was_asked() {
    let world = world();
    let mut alice = world.signed_in("odd");
    for path in [
        "//evil.example",
        "/\\evil.example",
        "/%5Cevil.example",
        "/%09/evil.example",
        "/%0d%0aLocation:%20https://evil.example",
        "/;@evil.example",
        "///evil.example",
        "/%2f%2fevil.example",
        "/.//evil.example",
        "/x/..//evil.example",
        "/https:evil.example",
        "/\u{3002}evil\u{ff0e}example",
        "/%E3%80%82evil.example",
        "/a?next=https://b.example/c?d=e%23f&g=%26h",
    ] {
        alice.forget(host_of(OTHER));
        let begun = alice.request(OTHER).args(["--request-target", path]).ok();
        if begun.status == 400 {
            continue;
        }
        let location = begun.header("location").unwrap_or_else(|| panic!("{path} {begun:?}"));
        assert!(
            [OTHER, AUTHENTICATE].iter().any(|ours| location.starts_with(&format!("{ours}/"))),
            "{path:?} leads to {location}"
        );
        let mut stop = String::new();
        if location.starts_with(AUTHENTICATE) {
            let last = led_to(&mut alice, location, HANDOVER);
            stop = alice.get(&last).header("location").expect("the way back").to_owned();
            assert!(stop.starts_with(&format!("{OTHER}/")), "{path:?} ends at {stop}");
        }
        if path.starts_with("/a?") {
            assert_eq!(stop, format!("{OTHER}{path}"));
        }
    }
}

#[test]
fn a_request_that_was_made_up_or_changed_is_refused() {
    let world = world();
    let mut alice = world.signed_in("changed");
    let url = led_to(&mut alice, &format!("{OTHER}/"), REQUEST);
    let request = parameter(&url, "request");
    for at in (0..request.len()).step_by(request.len() / 12) {
        let mut changed = request.clone().into_bytes();
        changed[at] = if changed[at] == b'A' { b'B' } else { b'A' };
        let changed = String::from_utf8(changed).unwrap();
        assert_refused(&alice.get(&with_parameter(&url, "request", &changed)), 400);
    }
    let (half, _) = request.split_at(request.len() / 2);
    for made_up in ["", "x", half, "aHR0cHM6Ly9ldmlsLmV4YW1wbGU"] {
        assert_refused(&alice.get(&with_parameter(&url, "request", made_up)), 400);
    }
    assert_refused(&alice.get(&format!("{url}&request={request}")), 400);
    assert_refused(&alice.get(&format!("{AUTHENTICATE}/.pomerium/sign_in")), 400);
}

#[test]
fn no_header_of_a_client_changes_a_url_of_the_flow() {
    let world = world();
    let mut alice = world.signed_in("headers");
    let headers = [
        "X-Forwarded-Host: evil.example",
        "X-Forwarded-Proto: http",
        "X-Forwarded-Port: 81",
        "X-Forwarded-Uri: //evil.example",
        "X-Original-URL: //evil.example",
        "X-Rewrite-URL: //evil.example",
        "Forwarded: host=evil.example;proto=http",
    ];
    let send = |browser: &mut CurlBrowser, url: &str| {
        headers.iter().fold(browser.request(url), |curl, header| curl.header(header)).ok()
    };
    let mut url = format!("{OTHER}:444/x");
    for part in [REQUEST, HANDOVER] {
        let fetched = send(&mut alice, &url);
        url = fetched.header("location").unwrap_or_default().to_owned();
        assert!(url.contains(part), "{fetched:?}");
        assert!(!fetched.headers.iter().any(|(_, value)| value.contains("evil")), "{fetched:?}");
    }
    assert!(url.starts_with(&format!("{OTHER}/")), "no port that is not ours: {url}");
    assert_eq!(send(&mut alice, &url).header("location"), Some(&*format!("{OTHER}/x")));
    let mut new = world.browser("headers");
    let request = led_to(&mut new, &format!("{OTHER}/"), REQUEST);
    let to_provider = send(&mut new, &request).header("location").unwrap().to_owned();
    let back = parameter(&to_provider, "redirect_uri");
    assert_eq!(back, "https%3A%2F%2Fauthenticate.localhost.pomerium.io%2Foauth2%2Fcallback");
    assert_eq!(parameter(&to_provider, "code_challenge_method"), "S256");
}

#[test]
fn a_host_that_no_route_has_begins_no_sign_in() {
    let world = world();
    for host in ["evil.example", "app.localhost.pomerium.io.evil.example", "app.localhost@evil"] {
        let asked = world.proxy.curl("app", "/").http1().header(&format!("Host: {host}")).ok();
        assert!([400, 404, 421].contains(&asked.status), "{host} {asked:?}");
        assert_eq!(asked.header("location"), None);
    }
}

#[test]
fn the_last_step_of_one_browser_signs_no_other_in() {
    let world = world();
    let mut mallory = world.browser("mallory");
    for is_new in [true, false] {
        let mut alice = world.browser("alice");
        if !is_new {
            alice.get(&format!("{APP}/"));
        }
        mallory.forget(host_of(APP));
        let last = led_to(&mut mallory, &format!("{APP}/"), HANDOVER);
        let opened = alice.get(&last);
        assert_eq!(opened.status, if is_new { 400 } else { 302 }, "{opened:?}");
        assert!(!has_session(&alice, APP));
        assert_refused(&mallory.get(&last), 400);
        assert_eq!(alice.open(&format!("{APP}/.pomerium/user")).json()["sub"], "alice");
    }
}

#[test]
fn the_providers_answer_for_one_browser_signs_no_other_in() {
    let world = world();
    let mut mallory = world.browser("mallory");
    for is_new in [true, false] {
        let mut alice = world.browser("alice");
        if !is_new {
            led_to(&mut alice, &format!("{APP}/"), CALLBACK);
        }
        mallory.forget(host_of(APP));
        let answer = led_to(&mut mallory, &format!("{APP}/"), CALLBACK);
        let opened = alice.get(&answer);
        assert_eq!(opened.status, if is_new { 400 } else { 302 }, "{opened:?}");
        assert!(!has_session(&alice, AUTHENTICATE));
        assert_refused(&mallory.get(&answer), 400);
        assert!(!has_session(&mallory, AUTHENTICATE));
    }
}

#[test]
fn urls_run_through_a_victims_browser_are_of_no_use_to_others() {
    let world = world();
    for part in [REQUEST, "/auth?"] {
        let mut victim = world.signed_in("victim");
        let mut mallory = world.browser("mallory");
        let planted = led_to(&mut mallory, &format!("{APP}/"), part);
        let before = victim.visited().len();
        victim.open(&planted);
        let seen = victim.visited()[before..].to_vec();
        assert!(seen.len() > 1, "{seen:?}");
        for url in seen.iter().filter(|url| url.starts_with("https://")) {
            mallory.get(url);
            for host in [APP, AUTHENTICATE] {
                assert_eq!(user(&mut mallory, host), None, "{url}");
            }
            assert!(!has_session(&mallory, AUTHENTICATE), "{url}");
        }
    }
}

#[test]
fn a_state_that_is_not_one_is_refused() {
    let world = world();
    let mut alice = world.signed_in("state");
    alice.forget(host_of(OTHER));
    let request = led_to(&mut alice, &format!("{OTHER}/"), REQUEST);
    let handover = led_to(&mut alice, &request, HANDOVER);
    alice.forget(host_of(AUTHENTICATE));
    alice.forget(host_of(OTHER));
    let answer = led_to(&mut alice, &format!("{OTHER}/"), CALLBACK);
    let state = parameter(&answer, "state");
    let (cut, binding) = (&state[..state.len() - 1], alice.cookies(host_of(AUTHENTICATE)));
    let request = parameter(&request, "request");
    let handover = parameter(&handover, "pomerium_session_encrypted");
    for other in ["", "x", "%00", cut, &request, &handover, &binding[BINDING]] {
        assert_refused(&alice.get(&with_parameter(&answer, "state", other)), 400);
    }
    assert_refused(&alice.get(&format!("{answer}&state={state}")), 400);
    assert_refused(&alice.get(&answer.replace("state=", "other=")), 400);
    world.proxy.assert_no_panic();
    // None of these used the state up.
    assert_eq!(alice.open(&answer).status, 200);
}

#[test]
fn a_state_and_a_handover_count_once() {
    let world = world();
    let mut alice = world.browser("once");
    let answer = led_to(&mut alice, &format!("{APP}/x"), CALLBACK);
    let last = led_to(&mut alice, &answer, HANDOVER);
    let host = host_of(AUTHENTICATE);
    let signed_in = alice.cookies(host)["_pomerium_authenticate"].clone();
    let again = alice.get(&answer);
    assert_eq!(again.header("location"), Some(&*format!("{APP}/x")), "signed in: {again:?}");
    alice.set_cookie(host, "_pomerium_authenticate", "junk");
    assert_refused(&alice.get(&answer), 400);
    alice.set_cookie(host, "_pomerium_authenticate", &signed_in);

    assert_eq!(alice.get(&last).header("location"), Some(&*format!("{APP}/x")));
    let again = alice.get(&last);
    assert_eq!((again.status, again.header("location")), (302, Some(&*format!("{APP}/x"))));
    assert_eq!(cookies_set(&again), []);
    alice.set_cookie(host_of(APP), "_pomerium", "junk");
    assert_refused(&alice.get(&last), 400);
}
