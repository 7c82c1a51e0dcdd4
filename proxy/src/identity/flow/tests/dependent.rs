//! Sign-ins at further hosts (`depends_on`).

use http::Method;

use super::{R, follow, open, page, served, session_id, stop_before, world};
use crate::identity::{
    flow::{
        FlowPage,
        world::{A, Browser, IDP, Seen, World, spec, split},
    },
    spec::{DependentHost, SameSite},
};

const WIKI: &str = "https://wiki.example/";
const OTHER: &str = "https://other.test/";

fn hosts(names: &[&str]) -> Vec<DependentHost> {
    names.iter().map(|name| DependentHost { host: (*name).into(), port: 443 }).collect()
}

fn two(host: &str, _: u16, path: &str) -> Vec<DependentHost> {
    let is_page = (host, path) == ("app.example", "/a");
    hosts(if is_page { &["wiki.example", "other.test"] } else { &[] })
}

fn five(_: &str, _: u16, _: &str) -> Vec<DependentHost> {
    hosts(&["a.example", "b.example", "c.example", "d.example", "e.example"])
}

fn foreign(_: &str, _: u16, _: &str) -> Vec<DependentHost> {
    hosts(&["gone.test", "wiki.example", "gone2.test"])
}

fn with_two() -> World {
    World { depends_on: two, ..world() }
}

/// The hosts of the last step of a sign-in, in order.
fn signed_in_at(urls: &[String]) -> Vec<String> {
    let last = urls.iter().filter(|url| url.contains("/.pomerium/callback/?"));
    last.map(|url| split(url).0).collect()
}

#[test]
fn a_sign_in_goes_on_at_every_further_host() {
    let (mut world, mut browser) = (with_two(), Browser::new(0, None));
    let (received, urls) = follow(&mut world, &mut browser, R);
    assert_eq!(served(&received), Some("user0"));
    assert_eq!(urls.last().unwrap(), R, "{urls:#?}");
    assert_eq!(signed_in_at(&urls), ["app.example", "wiki.example", "other.test"]);
    let logins = urls.iter().filter(|url| split(url).2.starts_with("/oauth2/callback?"));
    assert_eq!(logins.count(), 1, "one visit to the provider");
    let session = session_id(&received);
    for url in [WIKI, OTHER] {
        assert_eq!(session_id(&open(&mut world, &mut browser, url)), session, "{url}");
    }
}

#[test]
fn a_page_of_another_route_leads_to_no_further_host() {
    let (mut world, mut browser) = (with_two(), Browser::new(0, None));
    let (_, urls) = follow(&mut world, &mut browser, "https://app.example/b");
    assert_eq!(signed_in_at(&urls), ["app.example"]);
}

#[test]
fn a_host_that_has_the_session_is_left_out() {
    let (mut world, mut browser) = (with_two(), Browser::new(0, None));
    follow(&mut world, &mut browser, R);
    browser.cookies.retain(|cookie| cookie.host != "app.example" && cookie.host != "other.test");
    let (received, urls) = follow(&mut world, &mut browser, R);
    assert_eq!(urls.last().unwrap(), R);
    assert_eq!(signed_in_at(&urls), ["app.example", "other.test"]);
    assert!(urls.iter().all(|url| split(url).0 != IDP));
    assert_eq!(session_id(&open(&mut world, &mut browser, OTHER)), session_id(&received));
}

#[test]
fn an_older_session_at_a_further_host_is_replaced() {
    let (mut world, mut browser) = (with_two(), Browser::new(0, None));
    follow(&mut world, &mut browser, WIKI);
    browser.cookies.retain(|cookie| cookie.host != A);
    let (received, urls) = follow(&mut world, &mut browser, R);
    assert_eq!(signed_in_at(&urls), ["app.example", "wiki.example", "other.test"]);
    assert_eq!(session_id(&open(&mut world, &mut browser, WIKI)), session_id(&received));
}

#[test]
fn five_hosts_take_no_more_redirects_than_browsers_follow() {
    let (mut world, mut browser) =
        (World { depends_on: five, ..world() }, Browser::new(0, Some("user0")));
    let (mut url, mut site, mut in_a_row, mut pages) = (R.to_owned(), "none", 0, 0);
    let received = loop {
        let received = world.send(&browser, &Method::GET, &url, site);
        browser.receive(&received, world.now_s);
        assert!(in_a_row <= 17, "three are left for the provider: {url}");
        (url, site, in_a_row) = match received.seen {
            Seen::Redirect(to) => (to, "cross-site", in_a_row + 1),
            Seen::Page(FlowPage::Continue { to }) => {
                pages += 1;
                (to, "same-origin", 0)
            }
            _ => break received,
        };
    };
    assert_eq!((served(&received), &*url, pages), (Some("user0"), R, 1));
    assert_eq!(
        session_id(&open(&mut world, &mut browser, "https://e.example/")),
        session_id(&received)
    );
}

#[test]
fn with_strict_cookies_every_further_host_is_signed_in_too() {
    let mut spec = spec();
    spec.cookies.same_site = SameSite::Strict;
    let (mut world, mut browser) =
        (World { depends_on: two, ..World::new(spec) }, Browser::new(0, None));
    let (received, urls) = follow(&mut world, &mut browser, R);
    assert_eq!((served(&received), &**urls.last().unwrap()), (Some("user0"), R));
    assert_eq!(signed_in_at(&urls), ["app.example", "wiki.example", "other.test"]);
}

#[test]
fn a_link_to_a_further_host_signs_in_whoever_opens_it() {
    let (mut world, mut mallory, mut alice) =
        (with_two(), Browser::new(2, None), Browser::new(0, None));
    let link = stop_before(&mut world, &mut mallory, R, "/.pomerium/sign_in_too");
    let (received, urls) = follow(&mut world, &mut alice, &link);
    assert_eq!(urls.last().unwrap(), R);
    assert_eq!(world.made_by(session_id(&received)), Some(0));
    let at_wiki = session_id(&open(&mut world, &mut alice, WIKI));
    assert_eq!(world.made_by(at_wiki), Some(0));
}

#[test]
fn a_link_to_a_further_host_opens_there_alone_and_unchanged() {
    let (mut world, mut browser) = (with_two(), Browser::new(0, None));
    let link = stop_before(&mut world, &mut browser, R, "/.pomerium/sign_in_too");
    assert_eq!(split(&link).0, "wiki.example");
    let next = link.split_once('?').unwrap().1;
    for bad in [
        link.replace("wiki.example", "other.test"),
        link.replace("wiki.example", "app.example"),
        link.replace("next=", "next=A"),
        link.replace("next=", "last="),
        format!("{link}&{next}"),
        "https://wiki.example/.pomerium/sign_in_too".to_owned(),
    ] {
        let received = open(&mut world, &mut browser, &bad);
        assert_eq!(page(&received).status(), 400, "{bad}");
        assert_eq!(received.set_cookies, Vec::<http::HeaderValue>::new());
    }
    let posted = world.send(&browser, &Method::POST, &link, "same-origin");
    assert_eq!(page(&posted).status(), 405);
}

#[test]
fn a_late_link_leads_to_the_page_that_was_asked_for() {
    let (mut world, mut browser) = (with_two(), Browser::new(0, None));
    let link = stop_before(&mut world, &mut browser, R, "/.pomerium/sign_in_too");
    world.now_s += 301;
    let received = open(&mut world, &mut browser, &link);
    assert!(matches!(&received.seen, Seen::Redirect(to) if to == R), "{:?}", received.seen);
}

#[test]
fn a_host_that_is_not_ours_any_more_is_left_out() {
    let (mut world, mut browser) =
        (World { depends_on: foreign, ..world() }, Browser::new(0, None));
    let (received, urls) = follow(&mut world, &mut browser, R);
    assert_eq!(served(&received), Some("user0"));
    assert_eq!(signed_in_at(&urls), ["app.example", "wiki.example"]);
    assert!(urls.iter().all(|url| !split(url).0.starts_with("gone")));
}
