//! Orders of an operator about the sessions of users.

use std::path::Path;

use portcullis_tests::{
    Proxy, SignInRig,
    false_clock::minutes,
    process::Finished,
    proxy::portcullis,
    sign_in_rig::{APP, OTHER, ask, session_cookie},
    wait::until,
};

const REVOCATION: &str = "POST /token/revocation";

/// `portcullis sessions end` with these arguments, against a running proxy.
fn end_sessions(proxy: &Proxy, arguments: &[&str]) -> Finished {
    let address = proxy.admin_address().to_string();
    let order = [&["sessions", "end"], arguments, &["--address"]].concat();
    portcullis(&[], &order, Some(Path::new(&address)))
}

fn ended(proxy: &Proxy, arguments: &[&str]) -> String {
    let ended = end_sessions(proxy, arguments);
    assert_eq!(ended.code, Some(0), "{ended:?}");
    ended.stdout
}

fn status(proxy: &Proxy, cookie: &str) -> u16 {
    proxy.curl("app", "/").header(cookie).ok().status
}

#[test]
fn an_operator_ends_all_sessions_of_a_user_on_all_hosts() {
    let rig = SignInRig::start();
    let proxy = rig.config().start();
    let mut laptop = rig.signed_in(&proxy, "alice");
    assert_eq!(laptop.open(&format!("{OTHER}/")).status, 200);
    let other = laptop.cookies("other.localhost.pomerium.io")["_pomerium"].clone();
    let other = format!("Cookie: _pomerium={other}");
    let laptop_cookie = session_cookie(&laptop);
    let phone = session_cookie(&rig.signed_in(&proxy, "alice"));
    let bob = session_cookie(&rig.signed_in(&proxy, "bob"));
    // A worker that remembers the session, in the middle of a connection.
    let mut connection = proxy.raw("app");
    assert_eq!(ask(&mut connection, &laptop_cookie).status, 200);

    // Somebody who has just signed in would be told that it did not last.
    rig.clock.advance(minutes(1));
    let said = ended(&proxy, &["--user", "alice"]);
    assert!(said.starts_with("ended 2 known sessions of alice; "), "{said}");
    assert_eq!(ask(&mut connection, &laptop_cookie).status, 302);
    assert_eq!((status(&proxy, &laptop_cookie), status(&proxy, &phone)), (302, 302));
    assert_eq!(proxy.curl("other", "/").header(&other).ok().status, 302);
    assert_eq!(status(&proxy, &bob), 200);
    until("both refresh tokens to be revoked", || rig.provider.requests(REVOCATION) == 2);

    // The session at the host of sign-in has ended too: the provider is asked.
    let before = laptop.visited().len();
    assert_eq!(laptop.open(&format!("{APP}/again")).status, 200, "{:#?}", laptop.visited());
    assert!(!rig.visits(&laptop, before).is_empty(), "{:#?}", laptop.visited());
    assert_eq!(status(&proxy, &session_cookie(&laptop)), 200);
    assert_eq!(status(&proxy, &laptop_cookie), 302, "the stolen copy");
    let said = ended(&proxy, &["--email", "Alice@Example.com"]);
    assert!(said.starts_with("ended 1 known session of Alice@Example.com; "), "{said}");
    assert_eq!(status(&proxy, &session_cookie(&laptop)), 302);
}

#[test]
fn an_order_holds_for_cookies_that_the_process_has_never_seen() {
    for arguments in [["--user", "alice"], ["--email", "alice@example.com"]] {
        let rig = SignInRig::start();
        let proxy = rig.config().start();
        let alice = rig.signed_in(&proxy, "alice");
        let bob = session_cookie(&rig.signed_in(&proxy, "bob"));
        let stolen = session_cookie(&alice);
        drop(proxy);
        let proxy = rig.config().start();
        rig.clock.advance(minutes(1));
        let said = ended(&proxy, &arguments);
        assert!(said.starts_with("ended 0 known sessions of "), "{said}");
        assert_eq!((status(&proxy, &stolen), status(&proxy, &bob)), (302, 200));
        // The cookie of the host of sign-in does not make another session.
        let mut thief = rig.browser(&proxy, "eve");
        std::fs::copy(alice.jar(), thief.jar()).expect("a copy of the cookies");
        let led = thief.open_until(&format!("{APP}/"), |url| url.starts_with(&rig.provider.url()));
        assert_eq!(led.status, 302, "{led:?}");
        let again = session_cookie(&rig.signed_in(&proxy, "alice"));
        assert_eq!(status(&proxy, &again), 200, "she signs in again, in the same second too");
    }
}

#[test]
fn an_order_that_names_nobody_or_cannot_be_followed_fails() {
    let rig = SignInRig::start();
    let proxy = rig.config().start();
    let both = end_sessions(&proxy, &["--user", "alice", "--email", "alice@example.com"]);
    assert_eq!((both.code, end_sessions(&proxy, &[]).code), (Some(2), Some(2)), "{both:?}");
    let long = "a".repeat(321);
    for wrong in [["--user", ""], ["--email", "alice"], ["--user", &long]] {
        let refused = end_sessions(&proxy, &wrong);
        assert_eq!(refused.code, Some(1), "{wrong:?}");
        assert!(refused.stderr.contains("name the user by --user or --email"), "{refused:?}");
    }
    let public = Proxy::config().forward("public", &rig.backend.url(), "").start();
    let refused = end_sessions(&public, &["--user", "alice"]);
    assert_eq!(refused.code, Some(1));
    assert!(refused.stderr.contains("no identity provider is configured"), "{refused:?}");
}
