//! Sign-ins and sessions over other secrets, other providers, other processes, and a long wait.

use portcullis_tests::{
    CurlBrowser, Proxy, SignInRig,
    false_clock::minutes,
    proxy::Config,
    sign_in_rig::{APP, OTHER, SECRET, session_cookie},
    wait::until,
};
use serde_json::json;

const NEW_SECRET: &str = "YW5vdGhlciBzZWNyZXQgb2YgMzIgYnl0ZXMsIG9rISE=";

/// Takes over another configuration, and waits until its one worker serves by it.
fn reconfigure(proxy: &mut Proxy, marker: &str, config: Config) {
    let redirect = "redirect: {path_redirect: /there}";
    let from = format!("from: https://{marker}.localhost.pomerium.io\n{redirect}");
    proxy.rewrite(config.own("workers", "1").route(&from));
    until("the reload", || proxy.curl(marker, "/").ok().status == 301);
}

fn status(proxy: &Proxy, cookie: &str) -> u16 {
    proxy.curl("app", "/").header(cookie).ok().status
}

#[test]
fn secrets_change_without_a_sign_out_while_the_previous_ones_are_given() {
    let rig = SignInRig::start();
    let mut proxy = rig.config().own("workers", "1").start();
    let mut alice = rig.signed_in(&proxy, "alice");
    let old = session_cookie(&alice);
    let changed = || rig.config_with("c-ES256", NEW_SECRET);
    let previous = format!("{{previous_secrets: [{SECRET}]}}");
    reconfigure(&mut proxy, "both", changed().own("sign_in", &previous));
    let before = alice.visited().len();
    assert_eq!(alice.get(&format!("{APP}/")).status, 200);
    let new = session_cookie(&alice);
    assert_ne!(new, old, "it was sealed anew");
    assert_eq!(alice.open(&format!("{OTHER}/")).status, 200);
    assert_eq!(rig.visits(&alice, before), [""; 0], "the session at the sign-in host counts too");
    reconfigure(&mut proxy, "one", changed());
    assert_eq!(status(&proxy, &new), 200);
    assert_eq!(status(&proxy, &old), 302, "signed out, and no error");
    let deleted = proxy.curl("app", "/.pomerium/").header(&old).ok();
    assert_eq!(deleted.status, 200, "{deleted:?}");
}

#[test]
fn sessions_of_a_provider_that_was_replaced_do_not_count() {
    let rig = SignInRig::start();
    let mut proxy = rig.config().own("workers", "1").start();
    let mut alice = rig.signed_in(&proxy, "alice");
    let old = session_cookie(&alice);
    reconfigure(&mut proxy, "second", rig.config_with("c-RS256", SECRET));
    assert_eq!(status(&proxy, &old), 302);
    let before = alice.visited().len();
    assert_eq!(alice.open(&format!("{APP}/")).status, 200, "{:#?}", alice.visited());
    assert!(!rig.visits(&alice, before).is_empty(), "the provider vouches again");
    assert_eq!(status(&proxy, &session_cookie(&alice)), 200);
}

/// Opens the page again: at most one visit to the provider, where nobody is asked for anything.
fn back_unseen(rig: &SignInRig, browser: &mut CurlBrowser) {
    let before = browser.visited().len();
    let fetched = browser.open(&format!("{APP}/again"));
    assert_eq!(fetched.status, 200, "{fetched:?}\n{:#?}", browser.visited());
    assert_eq!(browser.url(), format!("{APP}/again"));
    let asked = |url: &&str| url.contains("/interaction/");
    assert_eq!(rig.visits(browser, before).into_iter().find(asked), None);
}

#[test]
fn after_a_restart_sessions_go_on_until_a_check_and_then_come_back_unseen() {
    let rig = SignInRig::with(json!({"autoConsent": true}));
    let proxy = rig.config().start();
    let mut alice = rig.signed_in(&proxy, "alice");
    let cookie = session_cookie(&alice);
    drop(proxy);
    let proxy = rig.config().start();
    let mut alice = moved(&rig, &proxy, &mut alice);
    assert_eq!(status(&proxy, &cookie), 200);
    rig.clock.advance(minutes(12));
    assert_eq!(status(&proxy, &cookie), 200, "no process knows it, and its check is not long due");
    rig.clock.advance(minutes(10));
    let script = proxy.curl("app", "/").header(&cookie).header("Sec-Fetch-Mode: cors").ok();
    assert_eq!(script.status, 401);
    back_unseen(&rig, &mut alice);
    rig.clock.advance(minutes(12));
    assert_eq!(alice.get(&format!("{APP}/")).status, 200, "the new session is looked after");
}

/// The same browser with another process at other addresses.
fn moved(rig: &SignInRig, proxy: &Proxy, browser: &mut CurlBrowser) -> CurlBrowser {
    let next = rig.browser(proxy, "alice");
    std::fs::copy(browser.jar(), next.jar()).expect("a copy of the cookies");
    next
}

#[test]
fn a_replacement_between_two_requests_keeps_people_signed_in() {
    let rig = SignInRig::start();
    let mut proxy = rig.config().start();
    let mut alice = rig.signed_in(&proxy, "alice");
    let next = proxy.replace(rig.config());
    assert_eq!(proxy.wait().code(), Some(0));
    assert_eq!(alice.get(&format!("{APP}/")).status, 200);
    assert_eq!(next.metrics().sum("portcullis_sign_ins_total", &[("outcome", "begun")]), 0.0);
    next.assert_no_panic();
}

#[test]
fn a_replacement_in_the_middle_of_a_sign_in_ends_signed_in() {
    let steps =
        ["/.pomerium/sign_in?", "/interaction/", "/oauth2/callback?", "/.pomerium/callback/?"];
    let rig = SignInRig::start();
    let mut proxy = rig.config().start();
    for (user, step) in steps.iter().enumerate() {
        let login = format!("user-{user}");
        let mut browser = rig.browser(&proxy, &login);
        let wanted = format!("{APP}/{user}?q=a%26b");
        let led = browser.open_until(&wanted, |url| url.contains(step));
        let url = absolute(&rig, led.header("location").expect("a redirect"));
        let next = proxy.replace(rig.config());
        assert_eq!(proxy.wait().code(), Some(0));
        proxy = next;
        let fetched = browser.open(&url);
        assert_eq!(fetched.status, 200, "{step}: {fetched:?}\n{:#?}", browser.visited());
        assert_eq!(browser.url(), wanted);
        // It does not know what its predecessor has used up, so it takes nothing of its.
        proxy.wait_for_log("a new beginning", |line| {
            let details = line["response-code-details"].as_str().unwrap_or_default();
            details.contains("of another process")
        });
    }
    proxy.assert_no_panic();
}

/// The provider leads to its own pages by their paths.
fn absolute(rig: &SignInRig, location: &str) -> String {
    match location.starts_with('/') {
        true => format!("{}{location}", rig.provider.url()),
        false => location.to_owned(),
    }
}

#[test]
fn a_sign_in_that_is_finished_late_works_or_leads_back_by_a_click() {
    let rig = SignInRig::with(json!({"ttl": {"Interaction": 86_400}}));
    let proxy = rig.config().start();
    let mut asleep = rig.browser(&proxy, "alice");
    let wanted = format!("{APP}/report?page=2");
    for (away_min, is_in_time) in [(10, true), (120, false)] {
        std::fs::write(asleep.jar(), "").expect("forget all cookies");
        let led = asleep.open_until(&wanted, |url| url.contains("/interaction/"));
        let form = absolute(&rig, led.header("location").expect("a form"));
        rig.clock.advance(minutes(away_min));
        let fetched = asleep.open(&form);
        if is_in_time {
            assert_eq!((fetched.status, asleep.url()), (200, &*wanted), "{fetched:?}");
            continue;
        }
        assert_eq!(fetched.status, 400, "{fetched:?}\n{:#?}", asleep.visited());
        let page = fetched.text();
        let (_, link) = page.split_once("href=\"").expect("a link");
        let link = link.split('"').next().unwrap_or_default().replace("&amp;", "&");
        let fetched = asleep.open(&link);
        assert_eq!((fetched.status, asleep.url()), (200, &*wanted), "{fetched:?}");
    }
}

#[test]
fn five_tabs_that_start_at_once_all_end_where_they_began() {
    let rig = SignInRig::start();
    let proxy = rig.config().start();
    let mut alice = rig.browser(&proxy, "alice");
    let wanted: Vec<_> = (0..5).map(|tab| format!("{APP}/tab/{tab}?n={tab}")).collect();
    let at_provider = format!("{}/auth?", rig.provider.url());
    let tabs: Vec<_> = wanted
        .iter()
        .map(|url| {
            let led = alice.open_until(url, |next| next.starts_with(&at_provider));
            led.header("location").expect("a redirect to the provider").to_owned()
        })
        .collect();
    // The first one first: its step at the route's host must open by the binding that it began with.
    for (tab, wanted) in tabs.iter().zip(&wanted) {
        let fetched = alice.open(tab);
        assert_eq!(fetched.status, 200, "{fetched:?}\n{:#?}", alice.visited());
        assert_eq!(alice.url(), wanted);
    }
    let again = |line: &String| line.contains("begun_again");
    assert_eq!(proxy.output().into_iter().find(again), None, "no tab had to begin again");
}
