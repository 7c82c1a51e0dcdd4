//! Whose sign-in it is.

use http::Method;
use ring::rand::SystemRandom;

use super::{R, follow, go, open, page, served, session_id, stop_before, with_query, world};
use crate::identity::flow::{
    FlowPage,
    return_path::ReturnPath,
    sealed::{ReturnPlace, SealedSignInRequest, SignInState},
    world::{A, Browser, Received, Seen, World, get, split},
};

/// Refused with a page of status 400, and no cookie set.
fn refused(received: &Received) {
    assert_eq!(page(received).status(), 400, "{:?}", received.seen);
    assert!(received.set_cookies.is_empty());
}

fn both() -> (World, Browser, Browser) {
    (world(), Browser::new(0, None), Browser::new(1, None))
}

#[test]
fn the_last_step_of_one_browser_signs_no_other_in() {
    // Mallory stops before his last step and sends its URL to Alice.
    let (mut world, mut alice, mut mallory) = both();
    let handover = stop_before(&mut world, &mut mallory, R, "/.pomerium/callback/");
    refused(&open(&mut world, &mut alice, &handover));
    // And it is of no use to himself any more.
    refused(&open(&mut world, &mut mallory, &handover));

    // Alice has a binding: she signs in as herself.
    let (mut world, mut alice, mut mallory) = both();
    let handover = stop_before(&mut world, &mut mallory, R, "/.pomerium/callback/");
    go(&mut world, &mut alice, R, "none", 1);
    let (received, urls) = follow(&mut world, &mut alice, &handover);
    assert_eq!(served(&received), Some("user0"));
    assert_eq!(world.made_by(session_id(&received)), Some(0));
    assert_eq!(urls.last().unwrap(), R);

    // Alice is signed in: she stays herself.
    let (mut world, mut alice, mut mallory) = both();
    let handover = stop_before(&mut world, &mut mallory, R, "/.pomerium/callback/");
    let (before, _) = follow(&mut world, &mut alice, R);
    let (received, _) = follow(&mut world, &mut alice, &handover);
    assert_eq!(session_id(&received), session_id(&before));
}

#[test]
fn the_providers_answer_of_one_browser_signs_no_other_in() {
    let (mut world, mut alice, mut mallory) = both();
    let callback = stop_before(&mut world, &mut mallory, R, "/oauth2/callback");
    refused(&open(&mut world, &mut alice, &callback));
    refused(&open(&mut world, &mut mallory, &callback));
    assert!(world.control.sessions.is_empty());

    let (mut world, mut alice, mut mallory) = both();
    let callback = stop_before(&mut world, &mut mallory, R, "/oauth2/callback");
    stop_before(&mut world, &mut alice, R, "/authorize");
    let (received, _) = follow(&mut world, &mut alice, &callback);
    assert_eq!(world.made_by(session_id(&received)), Some(0));
    assert_eq!(served(&received), Some("user0"));
}

#[test]
fn a_request_run_through_the_victims_browser_is_of_no_use_to_the_attacker() {
    // Mallory begins, and sends the victim his own request. She has a session, so the authenticate
    // host vouches for her, bound to Mallory's browser.
    let (mut world, mut alice, mut mallory) = both();
    follow(&mut world, &mut alice, "https://other.example/");
    let request = stop_before(&mut world, &mut mallory, R, "/.pomerium/sign_in");
    let received = open(&mut world, &mut alice, &request);
    let Seen::Redirect(handover) = received.seen else { panic!() };
    assert!(split(&handover).2.starts_with("/.pomerium/callback/"));
    // Her browser sends it, and gets nothing of Mallory's. Then he copies it.
    refused(&open(&mut world, &mut alice, &handover));
    refused(&open(&mut world, &mut mallory, &handover));
}

#[test]
fn a_state_run_through_the_victims_browser_is_of_no_use_to_the_attacker() {
    let (mut world, mut alice, mut mallory) = both();
    let authorize = stop_before(&mut world, &mut mallory, R, "/authorize");
    let callback = stop_before(&mut world, &mut alice, &authorize, "/oauth2/callback");
    refused(&open(&mut world, &mut alice, &callback));
    refused(&open(&mut world, &mut mallory, &callback));
    assert!(world.control.sessions.is_empty());
}

#[test]
fn a_code_in_the_flow_of_another_is_refused_by_the_verifier_and_the_nonce() {
    let (mut world, mut alice, mut mallory) = both();
    let of_alice = stop_before(&mut world, &mut alice, R, "/oauth2/callback");
    let of_mallory = stop_before(&mut world, &mut mallory, R, "/oauth2/callback");
    let code = get(of_alice.split_once('?').unwrap().1, "code");
    let own = get(of_mallory.split_once('?').unwrap().1, "code");
    let received = open(&mut world, &mut mallory, &of_mallory.replace(&own, &code));
    assert_eq!(*page(&received), FlowPage::CodeRefused { again: R.into() });
    refused(&received);
    let first = world.control.last_exchange.clone().unwrap();
    follow(&mut world, &mut alice, R);
    let second = world.control.last_exchange.unwrap();
    assert_ne!(
        (first.nonce, first.verifier.clone()),
        (second.nonce.clone(), second.verifier.clone())
    );
    assert_ne!(second.nonce, second.verifier);
    assert_eq!((second.nonce.len(), second.verifier.len()), (43, 43));
}

#[test]
fn a_victims_request_is_of_no_use_to_somebody_who_sees_it() {
    let (mut world, mut alice, mut mallory) = both();
    let request = stop_before(&mut world, &mut alice, R, "/.pomerium/sign_in");
    stop_before(&mut world, &mut alice, &request, "/authorize");
    // Signed in himself, he would get a handover for her browser.
    follow(&mut world, &mut mallory, "https://wiki.example/");
    let received = open(&mut world, &mut mallory, &request);
    assert!(matches!(&received.seen, Seen::Redirect(to) if to == R));
    assert!(received.set_cookies.is_empty());
}

#[test]
fn a_victims_authorization_request_gives_nobody_a_handover_for_her_browser() {
    let (mut world, mut alice, mut mallory) = both();
    let authorize = stop_before(&mut world, &mut alice, R, "/authorize");
    follow(&mut world, &mut mallory, "https://wiki.example/");
    let callback = stop_before(&mut world, &mut mallory, &authorize, "/oauth2/callback");
    let received = open(&mut world, &mut mallory, &callback);
    let Seen::Redirect(next) = received.seen else { panic!("{:?}", received.seen) };
    // Where he is led to, he sends to her.
    let (received, _) = follow(&mut world, &mut alice, &next);
    assert_eq!(served(&received), Some("user0"));
}

#[test]
fn a_state_counts_once() {
    let (mut world, mut alice, _) = both();
    let callback = stop_before(&mut world, &mut alice, R, "/oauth2/callback");
    assert!(matches!(open(&mut world, &mut alice, &callback).seen, Seen::Redirect(_)));
    // Somebody signed in is led on; without the session the same is refused.
    let again = open(&mut world, &mut alice, &callback);
    assert!(matches!(&again.seen, Seen::Redirect(to) if to == R) && again.set_cookies.is_empty());
    alice.cookies.retain(|cookie| !cookie.name.ends_with("_authenticate"));
    refused(&open(&mut world, &mut alice, &callback));
    assert_eq!(world.control.sessions.len(), 1);
}

#[test]
fn a_handover_counts_once() {
    let (mut world, mut alice, _) = both();
    let handover = stop_before(&mut world, &mut alice, R, "/.pomerium/callback/");
    let first = open(&mut world, &mut alice, &handover);
    assert!(matches!(&first.seen, Seen::Redirect(to) if to == R) && !first.set_cookies.is_empty());
    let again = open(&mut world, &mut alice, &handover);
    assert!(matches!(&again.seen, Seen::Redirect(to) if to == R) && again.set_cookies.is_empty());
    alice.cookies.retain(|cookie| cookie.name != "_pomerium");
    refused(&open(&mut world, &mut alice, &handover));
}

#[test]
fn a_handover_counts_for_a_minute() {
    for (late_s, works) in [(60, true), (61, false)] {
        let (mut world, mut alice, _) = both();
        let handover = stop_before(&mut world, &mut alice, R, "/.pomerium/callback/");
        world.now_s += late_s;
        let received = open(&mut world, &mut alice, &handover);
        assert_eq!(matches!(received.seen, Seen::Redirect(_)), works);
        if !works {
            refused(&received);
        }
    }
}

#[test]
fn a_handover_and_a_session_count_at_their_own_host_alone() {
    let (mut world, mut alice, _) = both();
    let handover = stop_before(&mut world, &mut alice, R, "/.pomerium/callback/");
    go(&mut world, &mut alice, "https://other.example/", "none", 1);
    let elsewhere = handover.replace("app.example", "other.example");
    refused(&open(&mut world, &mut alice, &elsewhere));
    assert!(world.control.calls.ends_with(&["exchange"]), "it did not open");
    follow(&mut world, &mut alice, &handover);
    let mut moved = alice.cookies.clone();
    moved.retain(|cookie| cookie.host == "app.example");
    moved.iter_mut().for_each(|cookie| cookie.host = "wiki.example".into());
    alice.cookies = moved;
    let received = world.send(&alice, &Method::GET, "https://wiki.example/", "none");
    assert!(matches!(received.seen, Seen::Redirect(_)));
}

#[test]
fn the_binding_must_be_there_and_be_this_browsers_at_this_host() {
    for path in ["/oauth2/callback", "/.pomerium/callback/"] {
        let binding = "__Host-_pomerium_csrf";
        let set = |browser: &mut Browser, change: &dyn Fn(&mut String)| {
            for cookie in browser.cookies.iter_mut().filter(|cookie| cookie.name == binding) {
                change(&mut cookie.value);
            }
        };
        // Missing.
        let (mut world, mut alice, _) = both();
        let url = stop_before(&mut world, &mut alice, R, path);
        alice.cookies.retain(|cookie| cookie.name != binding);
        let received = open(&mut world, &mut alice, &url);
        assert_eq!(served(&received), None);
        if path.starts_with("/o") {
            refused(&received);
            assert_eq!(*page(&received), FlowPage::CookieLost { again: R.into() });
        }
        // Changed.
        let (mut world, mut alice, _) = both();
        let url = stop_before(&mut world, &mut alice, R, path);
        set(&mut alice, &|value| value.replace_range(30..31, "~"));
        let received = open(&mut world, &mut alice, &url);
        refused(&received);
        // Of another host.
        let (mut world, mut alice, _) = both();
        let url = stop_before(&mut world, &mut alice, R, path);
        let (a, r): (Vec<_>, Vec<_>) = alice
            .cookies
            .iter()
            .filter(|cookie| cookie.name == binding)
            .partition(|cookie| cookie.host == A);
        let (of_a, of_r) = (a[0].value.clone(), r[0].value.clone());
        for cookie in alice.cookies.iter_mut().filter(|cookie| cookie.name == binding) {
            cookie.value = if cookie.host == A { of_r.clone() } else { of_a.clone() };
        }
        refused(&open(&mut world, &mut alice, &url));
        // Junk in front of the right one.
        let (mut world, mut alice, _) = both();
        let url = stop_before(&mut world, &mut alice, R, path);
        for junk in ["", "junk", "AZiFzyw"] {
            let found = alice.cookies.iter().find(|cookie| cookie.name == binding);
            let cookie = found.unwrap().clone();
            for host in [A, "app.example"] {
                let mut cookie = cookie.clone();
                (cookie.value, cookie.host) = (junk.into(), host.into());
                alice.cookies.insert(0, cookie);
            }
        }
        assert!(matches!(open(&mut world, &mut alice, &url).seen, Seen::Redirect(_)));
    }
}

#[test]
fn a_flow_begins_again_three_times_at_most() {
    let (mut world, mut alice, mut mallory) = both();
    go(&mut world, &mut mallory, R, "none", usize::MAX);
    let mut url = stop_before(&mut world, &mut alice, R, "/oauth2/callback");
    for round in 0..4 {
        // Something replaces the binding at each round.
        let other = mallory
            .cookies
            .iter()
            .find(|cookie| cookie.name == "__Host-_pomerium_csrf" && cookie.host == A);
        let other = other.unwrap().clone();
        alice.cookies.retain(|cookie| cookie.name != other.name || cookie.host != A);
        alice.cookies.push(other);
        let received = open(&mut world, &mut alice, &url);
        if round == 3 {
            assert_eq!(*page(&received), FlowPage::CookieLost { again: R.into() });
            return;
        }
        let Seen::Redirect(to) = received.seen else { panic!("{round}") };
        mallory.cookies.retain(|cookie| cookie.host != A);
        mallory.at_provider = None;
        stop_before(&mut world, &mut mallory, R.replace("app", "wiki").as_str(), "/authorize");
        url = stop_before(&mut world, &mut alice, &to, "/oauth2/callback");
    }
}

#[test]
fn the_last_step_begins_again_three_times_at_most() {
    let (mut world, mut alice, _) = both();
    let mut url = stop_before(&mut world, &mut alice, R, "/.pomerium/callback/");
    for round in 0..4 {
        // Something replaces the binding of the route's host at each round.
        let mut other = Browser::new(2, None);
        stop_before(&mut world, &mut other, R, "/.pomerium/sign_in");
        alice.cookies.retain(|cookie| cookie.host != "app.example");
        alice.cookies.append(&mut other.cookies);
        let received = open(&mut world, &mut alice, &url);
        if round == 3 {
            assert_eq!(*page(&received), FlowPage::CookieLost { again: R.into() });
            return;
        }
        let Seen::Redirect(to) = received.seen else { panic!("{round}") };
        url = stop_before(&mut world, &mut alice, &to, "/.pomerium/callback/");
    }
}

#[test]
fn a_request_that_is_not_ours_is_refused() {
    let (mut world, mut alice, _) = both();
    let url = stop_before(&mut world, &mut alice, R, "/.pomerium/sign_in");
    let request = get(url.split_once('?').unwrap().1, "request");
    let mut bad = vec![String::new(), "request=".into(), "request=x".into()];
    bad.push(format!("request={request}&request={request}"));
    for at in 0..request.len() {
        let mut changed = request.clone();
        let other = if &request[at..=at] == "A" { "B" } else { "A" };
        changed.replace_range(at..=at, other);
        bad.push(format!("request={changed}"));
    }
    for query in bad {
        let url = with_query(&url, |_| query.clone());
        let received = open(&mut world, &mut alice, &url);
        assert_eq!(*page(&received), FlowPage::LinkInvalid { again: None });
        refused(&received);
    }
}

#[test]
fn no_sign_in_begins_or_leads_to_a_host_that_is_not_ours() {
    let (mut world, mut alice, mut mallory) = both();
    follow(&mut world, &mut alice, R);
    let received = open(&mut world, &mut mallory, "https://evil.test/x");
    assert_eq!(*page(&received), FlowPage::LinkInvalid { again: None });
    refused(&received);
    // As if such a request had been sealed, or the host had been a route's until a reload.
    let random = SystemRandom::new();
    let request = |issued_s| SealedSignInRequest {
        id: [9; 16],
        process: world.shared.process,
        place: ReturnPlace {
            host: "evil.test".into(),
            port: 443,
            path: ReturnPath::root(),
            visit: None,
        },
        binding: [8; 16],
        provider: world.context().provider,
        issued_s,
        restarts: 0,
    };
    let state = SignInState {
        id: [7; 16],
        process: world.shared.process,
        issued_s: world.now_s,
        seed: [6; 32],
        binding: [5; 16],
        request: request(world.now_s),
    };
    let state = state.seal(world.context(), &random).unwrap();
    let mut urls = vec![format!("https://{A}/oauth2/callback?code=x&state={state}")];
    for issued_s in [world.now_s, world.now_s - 1_000] {
        let sealed = request(issued_s).seal(world.context(), &random).unwrap();
        urls.push(format!("https://{A}/.pomerium/sign_in?request={sealed}"));
    }
    for url in urls {
        let received = open(&mut world, &mut alice, &url);
        assert_eq!(*page(&received), FlowPage::LinkInvalid { again: None });
        refused(&received);
    }
}

#[test]
fn a_request_of_another_authenticate_host_is_refused() {
    let (mut world, mut alice, _) = both();
    let mut spec = super::spec();
    spec.authenticate.host = "auth2.example".into();
    let mut other = World::new(spec);
    let url = stop_before(&mut other, &mut alice, R, "/.pomerium/sign_in");
    refused(&open(&mut world, &mut alice, &url.replace("auth2.example", A)));
}

#[test]
fn a_state_that_is_not_one_of_ours_is_refused() {
    let (mut world, mut alice, _) = both();
    let request = stop_before(&mut world, &mut alice, R, "/.pomerium/sign_in");
    let request = get(request.split_once('?').unwrap().1, "request");
    let callback = stop_before(&mut world, &mut alice, R, "/oauth2/callback");
    let state = get(callback.split_once('?').unwrap().1, "state");
    let bad = [
        "code=x".into(),
        "code=x&state".into(),
        "code=x&state=".into(),
        format!("code=x&state={state}&state={state}"),
        format!("code=x&state={}", &state[..state.len() - 1]),
        format!("code=x&state={request}"),
        format!("code=x&state={state}A"),
    ];
    for query in bad {
        refused(&open(&mut world, &mut alice, &with_query(&callback, |_| query.clone())));
    }
    assert_eq!(world.control.calls, ["use_once"], "of the request");
    assert_eq!(served(&follow(&mut world, &mut alice, &callback).0), Some("user0"));
}

#[test]
fn the_id_of_a_session_is_new_with_each_sign_in() {
    let (mut world, mut alice, _) = both();
    let (first, _) = follow(&mut world, &mut alice, R);
    world.now_s += 60_000;
    let (second, _) = follow(&mut world, &mut alice, R);
    assert_ne!(session_id(&first), session_id(&second));
}

#[test]
fn a_new_sign_in_ends_the_browsers_older_session_and_revokes_nothing() {
    let (mut world, mut alice, _) = both();
    let callback = stop_before(&mut world, &mut alice, R, "/oauth2/callback");
    let (first, _) = follow(&mut world, &mut alice, "https://wiki.example/");
    // The session of the authenticate host is good, and from before this sign-in.
    world.now_s += 300;
    let host = |browser: &Browser| browser.cookies.iter().filter(|cookie| cookie.host == A).count();
    assert!(host(&alice) > 0);
    let of_master: Vec<_> = alice
        .cookies
        .iter()
        .filter(|cookie| cookie.name.ends_with("authenticate"))
        .cloned()
        .collect();
    alice.cookies.retain(|cookie| !cookie.name.ends_with("authenticate"));
    let late = stop_before(&mut world, &mut alice, "https://other.example/", "/oauth2/callback");
    alice.cookies.extend(of_master);
    let exchanges =
        |world: &World| world.control.calls.iter().filter(|call| **call == "exchange").count();
    let before = exchanges(&world);
    let (second, _) = follow(&mut world, &mut alice, &late);
    assert_ne!(session_id(&first), session_id(&second));
    assert_eq!(exchanges(&world), before + 1, "in one round");
    assert!(world.has_ended(session_id(&first)) && !world.has_ended(session_id(&second)));
    assert!(world.control.revoked.is_empty());
    assert!(split(&callback).0 == A);
}

#[test]
fn a_table_of_used_ids_that_is_full_answers_503() {
    for path in ["/.pomerium/sign_in", "/oauth2/callback", "/.pomerium/callback/"] {
        let (mut world, mut alice, _) = both();
        let url = stop_before(&mut world, &mut alice, R, path);
        world.control.is_full = true;
        let received = open(&mut world, &mut alice, &url);
        assert_eq!(*page(&received), FlowPage::TooManySignIns { again: R.into() });
        assert_eq!(page(&received).status(), 503);
        world.control.is_full = false;
        assert_eq!(served(&follow(&mut world, &mut alice, &url).0), Some("user0"));
    }
}

#[test]
fn other_methods_take_no_step_and_use_nothing_up() {
    let (mut world, mut alice, _) = both();
    let sign_in = stop_before(&mut world, &mut alice, R, "/.pomerium/sign_in");
    let callback = stop_before(&mut world, &mut alice, &sign_in, "/oauth2/callback");
    for (url, methods) in
        [(&sign_in, vec![Method::POST]), (&callback, vec![Method::POST, Method::HEAD])]
    {
        for method in methods {
            let received = world.send(&alice, &method, url, "same-origin");
            assert_eq!(*page(&received), FlowPage::MethodNotAllowed);
        }
    }
    let handover = stop_before(&mut world, &mut alice, &callback, "/.pomerium/callback/");
    for method in [Method::POST, Method::HEAD] {
        let received = world.send(&alice, &method, &handover, "same-origin");
        assert_eq!(*page(&received), FlowPage::MethodNotAllowed);
    }
    assert_eq!(served(&follow(&mut world, &mut alice, &handover).0), Some("user0"));
}
