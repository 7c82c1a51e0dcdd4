//! Where a sign-in leads, and that it gets there.

use http::Method;

use super::{R, follow, go, open, page, served, session_id, stop_before, world};
use crate::identity::{
    flow::{
        FlowPage, SignInLossReason,
        world::{A, Browser, IDP, START_S, Seen, World, get, spec, split},
    },
    spec::SameSite,
};

#[test]
fn a_sign_in_ends_at_the_very_url_that_was_asked_for() {
    let (mut world, mut browser) = (world(), Browser::new(0, None));
    let (received, urls) = follow(&mut world, &mut browser, R);
    assert_eq!(served(&received), Some("user0"));
    assert_eq!(urls.last().unwrap(), R);
    let paths: Vec<_> =
        urls.iter().map(|url| split(url).2.split('?').next().unwrap().to_owned()).collect();
    assert_eq!(
        paths,
        [
            "/a",
            "/.pomerium/sign_in",
            "/authorize",
            "/authorize",
            "/oauth2/callback",
            "/.pomerium/callback/",
            "/a"
        ]
    );
    let (received, urls) = follow(&mut world, &mut browser, R);
    assert_eq!((served(&received), urls.len()), (Some("user0"), 1));
}

#[test]
fn the_other_hosts_need_no_second_password_and_have_the_same_session() {
    let (mut world, mut browser) = (world(), Browser::new(0, None));
    let (first, _) = follow(&mut world, &mut browser, R);
    let (second, urls) = follow(&mut world, &mut browser, "https://other.example/x");
    assert_eq!(session_id(&first), session_id(&second));
    assert!(urls.iter().all(|url| split(url).0 != "idp.test"));
}

#[test]
fn ports_of_ours_are_kept_and_others_dropped() {
    for (asked, ended) in [
        ("https://app.example:8443/x", "https://app.example:8443/x"),
        ("https://app.example:9999/x", "https://app.example/x"),
        ("https://app.example/x", "https://app.example/x"),
    ] {
        let mut spec = spec();
        spec.authenticate.port = 443;
        let (mut world, mut browser) = (World::new(spec), Browser::new(0, None));
        let (received, urls) = follow(&mut world, &mut browser, asked);
        assert_eq!(served(&received), Some("user0"));
        assert_eq!(urls.last().unwrap(), ended);
    }
    let mut spec = spec();
    spec.authenticate.port = 8443;
    let (mut world, browser) = (World::new(spec), Browser::new(0, None));
    let received = world.send(&browser, &Method::GET, R, "none");
    let Seen::Redirect(to) = received.seen else { panic!() };
    assert!(to.starts_with("https://auth.example:8443/.pomerium/sign_in?"));
}

#[test]
fn the_authenticate_host_may_be_a_routes_own() {
    let (mut world, mut browser) = (world(), Browser::new(0, None));
    let (received, urls) = follow(&mut world, &mut browser, "https://auth.example/own");
    assert_eq!(served(&received), Some("user0"));
    assert_eq!(urls.last().unwrap(), "https://auth.example/own");
}

#[test]
fn with_a_cookie_domain_one_sign_in_is_enough_for_the_hosts_below_it() {
    let mut spec = spec();
    spec.cookies.domain = Some("example".into());
    let (mut world, mut browser) = (World::new(spec), Browser::new(0, None));
    follow(&mut world, &mut browser, R);
    let (received, urls) = follow(&mut world, &mut browser, "https://other.example/x");
    assert_eq!((served(&received), urls.len()), (Some("user0"), 1));
    let (received, urls) = follow(&mut world, &mut browser, "https://other.test/x");
    assert!(served(&received).is_some() && urls.len() > 1);
}

#[test]
fn every_same_site_setting_ends_signed_in_also_from_another_site() {
    for same_site in [SameSite::Unset, SameSite::Strict, SameSite::Lax, SameSite::None] {
        let mut spec = spec();
        spec.cookies.same_site = same_site;
        let (mut world, mut browser) = (World::new(spec), Browser::new(0, None));
        for site in ["none", "cross-site", "cross-site"] {
            let (received, urls) = go(&mut world, &mut browser, R, site, usize::MAX);
            assert_eq!(served(&received), Some("user0"), "{same_site:?} {site}");
            assert_eq!(urls.last().unwrap(), R);
            assert!(urls.len() <= 7, "{same_site:?} {site} takes {} requests", urls.len());
        }
        let (_, urls) = go(&mut world, &mut browser, R, "cross-site", usize::MAX);
        assert_eq!(urls.len(), if same_site == SameSite::Strict { 2 } else { 1 });
    }
}

#[test]
fn five_tabs_that_start_at_once_all_end_signed_in_where_they_began() {
    let (mut world, mut browser) = (world(), Browser::new(0, None));
    let goals: Vec<_> = (0..5).map(|tab| format!("https://app.example/tab/{tab}")).collect();
    // All five send before the first answer comes, at the route's host and at the authenticate host.
    let mut urls = goals.clone();
    for _ in 0..2 {
        let received: Vec<_> =
            urls.iter().map(|url| world.send(&browser, &Method::GET, url, "none")).collect();
        for (url, received) in urls.iter_mut().zip(&received) {
            browser.receive(received, world.now_s);
            let Seen::Redirect(to) = &received.seen else { panic!("{:?}", received.seen) };
            url.clone_from(to);
        }
    }
    assert!(urls.iter().all(|url| split(url).0 == IDP));
    let mut sessions = Vec::new();
    for (url, goal) in urls.iter().zip(&goals) {
        world.now_s += 3;
        let (received, urls) = go(&mut world, &mut browser, url, "cross-site", usize::MAX);
        assert_eq!((served(&received), urls.last()), (Some("user0"), Some(goal)));
        sessions.push(session_id(&received));
    }
    let (received, _) = follow(&mut world, &mut browser, &goals[0]);
    assert_eq!(session_id(&received), sessions[0], "no tab put out another");
    assert!(sessions.iter().all(|session| *session == sessions[0]));
}

#[test]
fn a_sign_in_that_is_finished_after_ten_minutes_works() {
    let (mut world, mut browser) = (world(), Browser::new(0, None));
    let callback = stop_before(&mut world, &mut browser, R, "/oauth2/callback");
    world.now_s += 600;
    let (received, urls) = follow(&mut world, &mut browser, &callback);
    assert_eq!((served(&received), urls.last().unwrap().as_str()), (Some("user0"), R));
}

#[test]
fn a_sign_in_that_is_finished_after_an_hour_leads_back_by_a_click() {
    for (late_s, works) in [(3600, true), (3601, false), (7200, false)] {
        let (mut world, mut browser) = (world(), Browser::new(0, None));
        let callback = stop_before(&mut world, &mut browser, R, "/oauth2/callback");
        world.now_s += late_s;
        let received = open(&mut world, &mut browser, &callback);
        if works {
            assert!(matches!(received.seen, Seen::Redirect(_)));
            continue;
        }
        assert_eq!(*page(&received), FlowPage::LinkInvalid { again: Some(R.into()) });
        assert_eq!(page(&received).status(), 400);
        assert!(received.set_cookies.is_empty() && world.control.calls == ["use_once"]);
        assert_eq!(served(&follow(&mut world, &mut browser, R).0), Some("user0"));
    }
}

#[test]
fn a_request_to_sign_in_that_is_late_begins_again_by_itself() {
    for (late_s, event) in [(300, true), (301, false)] {
        let (mut world, mut browser) = (world(), Browser::new(0, None));
        let url = stop_before(&mut world, &mut browser, R, "/.pomerium/sign_in");
        world.now_s += late_s;
        let received = open(&mut world, &mut browser, &url);
        let Seen::Redirect(to) = &received.seen else { panic!() };
        assert_eq!(split(to).0 == IDP, event, "{to}");
        assert!(event || (to == R && received.set_cookies.is_empty()));
    }
}

#[test]
fn a_request_of_a_clock_that_is_ahead_by_more_than_a_minute_is_late() {
    for (ahead_s, event) in [(60, true), (61, false)] {
        let (mut world, mut browser) = (world(), Browser::new(0, None));
        let url = stop_before(&mut world, &mut browser, R, "/.pomerium/sign_in");
        world.now_s -= ahead_s;
        let Seen::Redirect(to) = open(&mut world, &mut browser, &url).seen else { panic!() };
        assert_eq!(split(&to).0 == IDP, event, "{to}");
    }
}

#[test]
fn a_browser_that_keeps_no_cookies_gets_a_page_after_one_round() {
    let (mut world, mut browser) = (world(), Browser::new(0, None));
    browser.keeps_cookies = false;
    let (received, urls) = follow(&mut world, &mut browser, R);
    assert_eq!(*page(&received), FlowPage::CookieLost { again: R.into() });
    assert_eq!(page(&received).status(), 400);
    assert_eq!(urls.len(), 5);
}

#[test]
fn a_session_that_does_not_last_gets_a_page_instead_of_a_loop() {
    for (reason, spoil) in [
        (SignInLossReason::NoCookie, "drop"),
        (SignInLossReason::Refused, "change"),
        (SignInLossReason::Ended, "end"),
    ] {
        let (mut world, mut browser) = (world(), Browser::new(0, None));
        let (received, _) = follow(&mut world, &mut browser, R);
        match spoil {
            "drop" => browser.cookies.retain(|cookie| cookie.name != "_pomerium"),
            "change" => {
                let cookie = browser.cookies.iter_mut().find(|cookie| cookie.name == "_pomerium");
                cookie.unwrap().value.replace_range(5..6, "~");
            }
            _ => world.end(session_id(&received)),
        }
        world.now_s += 9;
        let (received, urls) = follow(&mut world, &mut browser, R);
        assert_eq!(*page(&received), FlowPage::DidNotLast { reason, again: R.into() });
        assert_eq!(urls.len(), 1);
        world.now_s += 1;
        assert_eq!(served(&follow(&mut world, &mut browser, R).0), Some("user0"), "{spoil}");
    }
}

#[test]
fn another_process_begins_again_by_itself_and_burns_nothing() {
    for path in ["/.pomerium/sign_in", "/oauth2/callback", "/.pomerium/callback/"] {
        let (mut world, mut browser) = (world(), Browser::new(0, None));
        let url = stop_before(&mut world, &mut browser, R, path);
        world.restart(2);
        let received = open(&mut world, &mut browser, &url);
        assert!(matches!(&received.seen, Seen::Redirect(to) if to == R), "{path}");
        assert!(world.control.calls.is_empty() && received.set_cookies.is_empty());
        assert_eq!(served(&follow(&mut world, &mut browser, R).0), Some("user0"));
    }
}

#[test]
fn a_return_path_of_1_kib_survives_unless_the_state_would_be_too_long() {
    for (length, host) in
        [(700, "app.example".to_owned()), (1000, format!("{}.example", "a".repeat(240)))]
    {
        let (mut world, mut browser) = (world(), Browser::new(0, None));
        let goal = format!("https://{host}/path?{}", "q".repeat(length));
        let provider = stop_before(&mut world, &mut browser, &goal, "/authorize");
        let state = get(provider.split_once('?').unwrap().1, "state");
        assert!(state.len() <= 1536, "{}", state.len());
        let (received, urls) = follow(&mut world, &mut browser, &provider);
        assert_eq!(served(&received), Some("user0"));
        let kept = if length == 700 { &*goal } else { &format!("https://{host}/path") };
        assert_eq!(urls.last().unwrap(), kept);
    }
}

#[test]
fn a_handover_that_is_too_long_for_a_url_stays_with_the_control_thread() {
    let (mut world, mut browser) = (world(), Browser::new(0, None));
    world.control.groups = 300;
    let url = stop_before(&mut world, &mut browser, R, "/.pomerium/callback/");
    assert!(url.len() < 2000);
    assert!(world.control.calls.contains(&"keep"));
    let copy = url.clone();
    let (received, urls) = follow(&mut world, &mut browser, &url);
    assert_eq!((served(&received), urls.last().unwrap().as_str()), (Some("user0"), R));
    let mut other = Browser::new(1, None);
    go(&mut world, &mut other, R, "none", 1);
    let received = open(&mut world, &mut other, &copy);
    assert_eq!(*page(&received), FlowPage::LinkInvalid { again: Some(R.into()) });
}

#[test]
fn a_short_handover_has_no_copy_at_the_control_thread() {
    let (mut world, mut browser) = (world(), Browser::new(0, None));
    follow(&mut world, &mut browser, R);
    assert_eq!(world.control.calls, ["use_once", "use_once", "exchange", "use_once"]);
}

#[test]
fn a_session_too_large_for_cookies_gets_a_page_that_names_the_claim() {
    let (mut world, mut browser) = (world(), Browser::new(0, None));
    world.control.groups = 1000;
    let (received, urls) = follow(&mut world, &mut browser, R);
    assert_eq!(*page(&received), FlowPage::SessionTooLarge { claim: "groups".into() });
    assert_eq!(page(&received).status(), 500);
    assert!(received.set_cookies.is_empty() && split(urls.last().unwrap()).0 == A);
}

#[test]
fn a_sign_in_of_another_provider_does_not_count_for_the_loop_guard() {
    let (mut world, mut browser) = (world(), Browser::new(0, None));
    follow(&mut world, &mut browser, R);
    world.set_client("other");
    let received = world.send(&browser, &Method::GET, R, "none");
    assert!(matches!(received.seen, Seen::Redirect(_)));
    assert_eq!(world.now_s, START_S);
}
