//! Attacks on the cookies of a session: changed, mixed, in the place of another, too many and too long,
//! with the npm package `oidc-provider` and curl as the browsers.

use std::{
    fmt::Write as _,
    sync::{Arc, Mutex, Weak},
};

use portcullis_tests::{
    CurlBrowser, Raw, SignInWorld,
    curl::Fetched,
    sign_in::{
        APP, AUTHENTICATE, BINDING, CALLBACK, HANDOVER, OTHER, REQUEST, cookies_set, host_of,
        led_to, parameter, user,
    },
};
use serde_json::json;

static WORLD: Mutex<Weak<SignInWorld>> = Mutex::new(Weak::new());

fn world() -> Arc<SignInWorld> {
    SignInWorld::shared(&WORLD, || SignInWorld::start(""))
}

fn session(browser: &CurlBrowser) -> String {
    browser.cookies(host_of(APP))["_pomerium"].clone()
}

/// What the app answers to these `Cookie` fields on a connection of HTTP/1.1.
fn status(raw: &mut Raw, fields: &str) -> u16 {
    let host = host_of(APP);
    raw.send(format!("GET / HTTP/1.1\r\nHost: {host}\r\n{fields}\r\n"));
    raw.response().status
}

fn cookie(name: &str, value: &str) -> String {
    format!("Cookie: {name}={value}\r\n")
}

/// A user with so many groups that the session takes several cookies.
fn with_groups(world: &SignInWorld, login: &str, count: usize) -> CurlBrowser {
    let groups: Vec<_> = (0..count).map(|at| format!("{at:03}-{}", "group ".repeat(10))).collect();
    world.provider.set_user(login, &json!({"groups": groups}));
    world.signed_in(login)
}

#[test]
fn a_session_cookie_with_any_changed_byte_is_nobodys() {
    let world = world();
    let session = session(&world.signed_in("bytes"));
    let mut raw = world.proxy.raw("app");
    assert_eq!(status(&mut raw, &cookie("_pomerium", &session)), 200);
    for at in 0..session.len() {
        let mut changed = session.clone().into_bytes();
        changed[at] = if changed[at] == b'A' { b'B' } else { b'A' };
        let changed = String::from_utf8(changed).unwrap();
        assert_eq!(status(&mut raw, &cookie("_pomerium", &changed)), 302, "{at}");
    }
    for at in [0, 1, 10, session.len() / 2, session.len() - 1] {
        assert_eq!(status(&mut raw, &cookie("_pomerium", &session[..at])), 302, "{at}");
    }
    for longer in
        [format!("{session}A"), format!("{session}="), session.repeat(2), "A".repeat(4000)]
    {
        assert_eq!(status(&mut raw, &cookie("_pomerium", &longer)), 302, "{longer}");
    }
    let mut long = world.proxy.raw("app");
    let refused = status(&mut long, &cookie("_pomerium", &"A".repeat(64 * 1024)));
    assert!([302, 431].contains(&refused), "{refused}");
    assert_eq!(status(&mut world.proxy.raw("app"), &cookie("_pomerium", &session)), 200);
    world.proxy.assert_no_panic();
}

#[test]
fn no_sealed_object_counts_in_the_place_of_another() {
    let world = world();
    let mut alice = world.browser("sealed");
    let request = led_to(&mut alice, &format!("{APP}/"), REQUEST);
    let answer = led_to(&mut alice, &request, CALLBACK);
    let last = led_to(&mut alice, &answer, HANDOVER);
    assert_eq!(alice.open(&last).status, 200);
    let out = alice
        .request(&format!("{APP}/.pomerium/sign_out"))
        .args(["-H", "Sec-Fetch-Site: none", "-H", "Sec-Fetch-Mode: navigate"])
        .header("Sec-Fetch-Dest: document")
        .args(["--cookie-jar", "/dev/null"])
        .ok();
    let (app, auth) = (alice.cookies(host_of(APP)), alice.cookies(host_of(AUTHENTICATE)));
    let sealed = [
        ("session", app["_pomerium"].clone()),
        ("binding", app[BINDING].clone()),
        ("master", auth["_pomerium_authenticate"].clone()),
        ("binding at sign-in", auth[BINDING].clone()),
        ("request", parameter(&request, "request")),
        ("state", parameter(&answer, "state")),
        ("handover", parameter(&last, "pomerium_session_encrypted")),
        ("sign-out", parameter(out.header("location").expect("a redirect"), "request")),
    ];
    let mut new = world.browser("sealed-as");
    for (kind, value) in &sealed {
        for origin in [APP, AUTHENTICATE] {
            new.forget(host_of(origin));
            new.set_cookie(host_of(origin), "_pomerium", value);
            assert_eq!(user(&mut new, origin), None, "{kind} as a session at {origin}");
        }
        new.set_cookie(host_of(AUTHENTICATE), "_pomerium_authenticate", value);
        new.set_cookie(host_of(AUTHENTICATE), BINDING, value);
        for (url, is_of) in [
            (format!("{AUTHENTICATE}/.pomerium/sign_in?request={value}"), "request"),
            (format!("{AUTHENTICATE}/oauth2/callback?code=x&state={value}"), "state"),
            (format!("{APP}/.pomerium/callback/?pomerium_session_encrypted={value}"), "handover"),
            (format!("{OTHER}/.pomerium/callback/?pomerium_session_encrypted={value}"), ""),
        ] {
            let fetched = new.get(&url);
            if *kind != is_of {
                assert_eq!((fetched.status, cookies_set(&fetched)), (400, vec![]), "{kind} {url}");
            }
        }
        let done = new.get(&format!("{AUTHENTICATE}/.pomerium/signed_out?state={value}"));
        assert!(done.status == 200 || *kind == "sign-out", "{kind} {}", done.status);
    }
    assert_eq!(user(&mut alice, APP), None, "the sign-out was taken");
}

#[test]
fn pieces_of_a_session_count_as_a_whole_alone() {
    let world = world();
    let first = with_groups(&world, "pieces", 60).cookies(host_of(APP));
    let second = with_groups(&world, "mixing", 60).cookies(host_of(APP));
    let names = ["_pomerium", "_pomerium_1"];
    let [a, b] = names.map(|name| first[name].as_str());
    let [c, d] = names.map(|name| second[name].as_str());
    assert_eq!(first.len(), names.len() + 1, "the binding and the pieces");
    let mut raw = world.proxy.raw("app");
    for (what, cookies, is_in) in [
        ("both", vec![("_pomerium", a), ("_pomerium_1", b)], true),
        ("in any order", vec![("_pomerium_1", b), ("_pomerium", a)], true),
        ("the first", vec![("_pomerium", a)], false),
        ("the second", vec![("_pomerium_1", b)], false),
        ("exchanged", vec![("_pomerium", b), ("_pomerium_1", a)], false),
        ("of two sessions", vec![("_pomerium", a), ("_pomerium_1", d)], false),
        ("the first twice", vec![("_pomerium", a), ("_pomerium_1", a)], false),
        ("renamed", vec![("_pomerium", a), ("_pomerium_2", b)], false),
        ("of another name", vec![("_pomerium", a), ("_pomerium_99999999", b)], false),
        (
            "with a piece too many",
            vec![("_pomerium", a), ("_pomerium_1", b), ("_pomerium_2", d)],
            true,
        ),
        (
            "with a high number",
            vec![("_pomerium_99999999", c), ("_pomerium", a), ("_pomerium_1", b)],
            true,
        ),
        (
            "both sessions",
            vec![("_pomerium", c), ("_pomerium", a), ("_pomerium_1", d), ("_pomerium_1", b)],
            true,
        ),
    ] {
        let mut field = String::new();
        for (name, value) in cookies {
            write!(field, "; {name}={value}").unwrap();
        }
        let expected = if is_in { 200 } else { 302 };
        assert_eq!(status(&mut raw, &format!("Cookie: {}\r\n", &field[2..])), expected, "{what}");
    }
}

#[test]
fn a_shorter_session_leaves_no_piece_of_a_longer_one() {
    let world = world();
    let mut alice = with_groups(&world, "shorter", 60);
    let host = host_of(APP);
    assert!(alice.cookies(host).contains_key("_pomerium_1"));
    world.provider.set_user("shorter", &json!({"groups": ["dev"]}));
    // The first piece was lost: a sign-in begins, and the session is a short one.
    alice.set_cookie(host, "_pomerium", "junk");
    alice.set_cookie(host, BINDING, "junk");
    alice.forget(host_of(AUTHENTICATE));
    assert_eq!(alice.open(&format!("{APP}/")).status, 200);
    let names: Vec<_> = alice.cookies(host).into_keys().filter(|name| name != BINDING).collect();
    assert_eq!(names, ["_pomerium"]);
}

#[test]
fn junk_of_the_same_name_hides_no_session_up_to_a_limit() {
    let world = world();
    let session = session(&world.signed_in("hidden"));
    let mut raw = world.proxy.raw("app");
    for (junk, expected) in [(1, 200), (7, 200), (8, 302), (500, 302)] {
        let field = format!("Cookie: {}_pomerium={session}\r\n", "_pomerium=junk; ".repeat(junk));
        assert_eq!(status(&mut raw, &field), expected, "{junk}");
    }
    let sealed = "_pomerium=".to_owned() + &session.replace(&session[40..60], &"A".repeat(20));
    let field = format!("Cookie: {sealed}; _pomerium={session}\r\n");
    assert_eq!(status(&mut raw, &field), 200);
}

#[test]
fn junk_that_a_session_came_with_once_is_no_session() {
    let world = world();
    let session = session(&world.signed_in("planted"));
    // Another host below the same domain, and with some names an upstream, can make a browser send
    // these. Whoever planted them knows them, and not the session.
    for name in ["_pomerium_0", "_pomerium_9", "_pomerium_5", "_pomerium_1", "_pomerium", BINDING] {
        let junk: String =
            (0..60).map(|at| format!("{name}=junk-of-somebody-else-{at}; ")).collect();
        for own in [format!("_pomerium={session}"), format!("_pomerium ={session}")] {
            let mut raw = world.proxy.raw("app");
            let both = status(&mut raw, &format!("Cookie: {junk}{own}\r\n"));
            assert!([200, 302].contains(&both));
            assert_eq!(status(&mut raw, &format!("Cookie: {junk}\r\n")), 302, "{name} {own}");
        }
    }
}

#[test]
fn a_session_is_found_however_the_cookies_are_written() {
    let world = world();
    let session = session(&world.signed_in("crumbs"));
    let own = format!("_pomerium={session}");
    let many = (0..500).fold(String::new(), |many, at| many + &format!("c{at}=v; "));
    let http1 = [
        format!("a=1; {own}; b=2"),
        format!("{own};b"),
        format!("; ;;{own};"),
        format!("a;=x;==;{own}"),
        format!("a=\"x;{own};y=\"z"),
        format!("a=1;\t {own} \t;b=2"),
        format!("{many}{own}"),
    ];
    for field in &http1 {
        let mut raw = world.proxy.raw("app");
        assert_eq!(status(&mut raw, &format!("Cookie: {field}\r\n")), 200, "{field}");
    }
    let mut raw = world.proxy.raw("app");
    assert_eq!(status(&mut raw, &format!("Cookie: a=1\r\nCookie: {own}\r\nCookie: b\r\n")), 200);
    // HTTP/2 splits them.
    let crumbs = |own: &str| -> Fetched {
        let curl = world.proxy.curl("app", "/").http2().header("Cookie: a=1; _pomerium=junk");
        curl.header(&format!("Cookie: {own}")).header("Cookie: b=2").ok()
    };
    let seen = crumbs(&own).echoed();
    assert_eq!(seen.all("cookie"), ["a=1; b=2"]);
    for odd in [format!("_pomerium =\"{session}\""), format!("_POMERIUM={session}")] {
        assert_eq!(crumbs(&odd).status, 302, "{odd}");
    }
}
