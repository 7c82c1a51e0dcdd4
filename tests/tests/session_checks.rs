//! How sessions go on, change and end while they are used, by a clock that the tests set.

use std::thread;

use portcullis_tests::{
    Proxy, SignInRig,
    false_clock::minutes,
    proxy::Config,
    sign_in_rig::{APP, APP_HOST, OTHER, SECRET, ask, session_cookie},
    wait::until,
};
use serde_json::{Value, json};

/// `portcullis.sign_in.recheck`.
const RECHECK_MIN: u64 = 10;
/// Far less than the minute by which a check may be late before requests wait for it.
const A_MOMENT: std::time::Duration = std::time::Duration::from_secs(5);

fn status(proxy: &Proxy, cookie: &str) -> u16 {
    proxy.curl("app", "/").header(cookie).ok().status
}

#[test]
fn a_session_ends_on_time_also_within_a_connection() {
    let rig = SignInRig::start();
    let proxy = rig.config().global("cookie_expire: 1h").start();
    let cookie = session_cookie(&rig.signed_in(&proxy, "alice"));
    let mut connection = proxy.raw("app");
    assert_eq!(ask(&mut connection, &cookie).status, 200);
    rig.clock.advance(minutes(58));
    assert_eq!(ask(&mut connection, &cookie).status, 200);
    rig.clock.advance(minutes(2));
    assert_eq!(ask(&mut connection, &cookie).status, 302, "on the connection that it used");
    assert_eq!(status(&proxy, &cookie), 302, "though the client ignores Max-Age");
    assert_eq!(proxy.curl("app", "/").header("Sec-Fetch-Mode: cors").ok().status, 401);
}

#[test]
fn a_user_who_is_disabled_is_out_with_the_next_check() {
    let rig = SignInRig::start();
    let proxy = rig.config().start();
    let bob = session_cookie(&rig.signed_in(&proxy, "bob"));
    let eve = session_cookie(&rig.signed_in(&proxy, "eve"));
    let alice = session_cookie(&rig.signed_in(&proxy, "alice"));
    for user in ["bob", "eve"] {
        rig.provider.set_user(user, &json!({"disabled": true}));
    }
    rig.clock.advance(minutes(RECHECK_MIN - 1));
    assert_eq!(status(&proxy, &bob), 200, "no check is due yet");
    rig.clock.advance(minutes(1) + A_MOMENT);
    // The request goes on and the check with it.
    until("the session to end", || status(&proxy, &bob) == 302);
    // Nobody asked for anything by this session since its check was due: it waits for the check.
    rig.clock.advance(minutes(1));
    assert_eq!(status(&proxy, &eve), 302);
    assert_eq!(status(&proxy, &alice), 200);
    assert_eq!(proxy.curl("other", "/").header(&bob).ok().status, 302);
    let ended = proxy.metrics().sum("portcullis_session_rechecks_total", &[("outcome", "ended")]);
    assert_eq!(ended, 2.0);
}

/// Two routes for the developers.
fn for_developers(rig: &SignInRig) -> Config {
    let policy = "policy:\n- allow:\n    and:\n    - claim/groups: dev";
    let to = rig.backend.url();
    [APP, OTHER].iter().fold(rig.without_routes("c-ES256", SECRET), |config, from| {
        config.route_as_is(&format!("from: {from}\nto: {to}\n{policy}"))
    })
}

#[test]
fn a_group_that_is_taken_away_or_given_back_counts_with_the_check() {
    let rig = SignInRig::start();
    let proxy = for_developers(&rig).start();
    let mut carol = rig.signed_in(&proxy, "carol");
    assert_eq!(carol.open(&format!("{OTHER}/")).status, 200);
    let idle = session_cookie(&carol);
    rig.provider.set_user("carol", &json!({"groups": ["sales"]}));
    // On one connection, so that it is one worker, which remembers the session.
    let mut connection = proxy.raw("app");
    assert_eq!(ask(&mut connection, &idle).status, 200);
    rig.clock.advance(minutes(RECHECK_MIN) + A_MOMENT);
    // The request goes on and the check with it.
    until("the group to be gone", || ask(&mut connection, &idle).status == 403);
    assert_eq!(carol.get(&format!("{APP}/")).status, 403);
    assert_eq!(
        carol.get(&format!("{OTHER}/")).status,
        403,
        "though no check is made for its cookie"
    );
    assert_eq!(status(&proxy, &idle), 403, "though the cookie still names the group");
    rig.provider.set_user("carol", &json!({"groups": ["dev"]}));
    rig.clock.advance(minutes(RECHECK_MIN + 2));
    assert_eq!(carol.get(&format!("{APP}/")).status, 200);
}

#[test]
fn twenty_requests_at_a_check_s_time_make_one_refresh() {
    let rig = SignInRig::with(json!({"ttl": {"AccessToken": 600}}));
    let proxy = rig.config().start();
    let cookie = session_cookie(&rig.signed_in(&proxy, "alice"));
    assert_eq!(rig.provider.grants("refresh_token", "alice"), 0);
    for (round, late) in [(1, 2), (2, 5)] {
        let mut connections: Vec<_> = (0..20).map(|_| proxy.raw("app")).collect();
        rig.clock.advance(minutes(RECHECK_MIN + late));
        let request = format!("GET / HTTP/1.1\r\nHost: {APP_HOST}\r\n{cookie}\r\n\r\n");
        thread::scope(|scope| {
            for connection in &mut connections {
                scope.spawn(|| connection.send(&request));
            }
        });
        for connection in &mut connections {
            assert_eq!(connection.response().status, 200);
        }
        assert_eq!(rig.provider.grants("refresh_token", "alice"), round);
    }
}

#[test]
fn a_provider_with_a_fault_puts_nobody_out_and_one_that_refuses_does() {
    let rig = SignInRig::start();
    let proxy = rig.config().start();
    let cookie = session_cookie(&rig.signed_in(&proxy, "alice"));
    let rechecks =
        |outcome| proxy.metrics().sum("portcullis_session_rechecks_total", &[("outcome", outcome)]);
    rig.provider.fail("/token", Some(500));
    for round in [1.0, 2.0, 3.0] {
        rig.clock.advance(minutes(RECHECK_MIN + 2));
        assert_eq!(status(&proxy, &cookie), 200);
        assert_eq!((rechecks("unavailable"), rechecks("ended")), (round, 0.0));
    }
    let failed = |line: &Value| {
        let text = line["message"].as_str().unwrap_or_default();
        text.contains("a session could not be checked and goes on")
    };
    proxy.wait_for_log("a warning", |line| failed(line) && line["level"] == "warn");
    rig.provider.fail("/token", None);
    rig.clock.advance(minutes(1));
    assert_eq!(status(&proxy, &cookie), 200);
    assert_eq!(rig.provider.grants("refresh_token", "alice"), 1, "the token was not lost");
    rig.provider.set_user("alice", &json!({"disabled": true}));
    rig.clock.advance(minutes(RECHECK_MIN + 2));
    assert_eq!(status(&proxy, &cookie), 302);
    assert_eq!(rechecks("ended"), 1.0);
}

#[test]
fn a_page_that_only_fetches_is_not_cut_off_when_tokens_end() {
    let rig = SignInRig::with(json!({"ttl": {"AccessToken": 900, "IdToken": 900}}));
    let proxy = rig.config().start();
    let page = rig.signed_in(&proxy, "alice");
    let first = session_cookie(&page);
    let mut page = page.with_header("Sec-Fetch-Mode: cors").with_header("Sec-Fetch-Dest: empty");
    // Two lifetimes of a token, with steps of a minute around each end.
    for step in [4, 5, 5, 1, 4, 5, 5, 1, 4, 5, 5] {
        rig.clock.advance(minutes(step));
        let fetched = page.get(&format!("{APP}/data"));
        assert_eq!(fetched.status, 200, "{fetched:?}");
        let claims = fetched.echoed().header("x-pomerium-jwt-assertion");
        assert!(claims.is_some(), "the upstream knows the user");
        assert_eq!(status(&proxy, &first), 200, "a client that keeps its first cookie");
    }
    let refreshes = rig.provider.grants("refresh_token", "alice");
    assert!((3..=5).contains(&refreshes), "{refreshes}");
    assert_ne!(session_cookie(&page), first, "the cookie was sealed anew");
}
