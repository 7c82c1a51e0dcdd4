//! Sign-out: whose wish it must be, and what it ends.

use http::{HeaderMap, HeaderName, HeaderValue, Method};

use super::{R, follow, go, open, page, served, session_id, stop_before, world};
use crate::identity::flow::{
    FlowBody, FlowPage, FlowRequest,
    world::{A, Browser, Handled, Seen, World, get, spec, split},
};

const OUT: &str = "https://app.example/.pomerium/sign_out";

fn signed_in() -> (World, Browser) {
    let (mut world, mut browser) = (world(), Browser::new(0, None));
    follow(&mut world, &mut browser, R);
    (world, browser)
}

/// A request to sign out with these headers, from a browser with its cookies.
fn asked(method: &Method, headers: &[(&'static str, &str)]) -> (FlowBody, usize) {
    let (mut world, browser) = signed_in();
    let mut map = HeaderMap::new();
    for (name, value) in headers {
        map.append(HeaderName::from_static(name), HeaderValue::from_str(value).unwrap());
    }
    for cookie in browser.cookies.iter().filter(|cookie| cookie.host == "app.example") {
        let pair = format!("{}={}", cookie.name, cookie.value);
        map.append("cookie", HeaderValue::from_str(&pair).unwrap());
    }
    let request = FlowRequest {
        method,
        headers: &map,
        host: "app.example",
        port: None,
        route_port: None,
        path_and_query: "/.pomerium/sign_out",
        client: [127, 0, 0, 1].into(),
    };
    let Handled::Answered(answer) = world.handle(0, &request) else { panic!() };
    (answer.body, world.control.revoked.len())
}

#[test]
fn a_link_or_picture_of_another_site_only_asks() {
    let navigate = [("sec-fetch-mode", "navigate"), ("sec-fetch-dest", "document")];
    for (headers, signs_out) in [
        (vec![("sec-fetch-site", "none"), navigate[0], navigate[1]], true),
        (vec![("sec-fetch-site", "same-origin"), navigate[0], navigate[1]], true),
        (vec![("sec-fetch-site", "same-site"), navigate[0], navigate[1]], false),
        (vec![("sec-fetch-site", "cross-site"), navigate[0], navigate[1]], false),
        (
            vec![
                ("sec-fetch-site", "same-origin"),
                ("sec-fetch-mode", "no-cors"),
                ("sec-fetch-dest", "image"),
            ],
            false,
        ),
        (vec![("sec-fetch-site", "none"), navigate[0], ("sec-fetch-dest", "iframe")], false),
        (vec![], false),
    ] {
        let (body, ended) = asked(&Method::GET, &headers);
        assert_eq!(ended > 0, signs_out, "{headers:?}");
        let asks = FlowPage::ConfirmSignOut {
            known_as: Some("user0@example.com".into()),
            action: OUT.into(),
            stay: "https://app.example/.pomerium/".into(),
        };
        assert_eq!(body == FlowBody::Page(asks), !signs_out, "{body:?}");
    }
}

#[test]
fn a_form_of_another_origin_is_refused() {
    for (headers, signs_out) in [
        (vec![("sec-fetch-site", "same-origin")], true),
        (vec![("sec-fetch-site", "same-origin"), ("origin", "null")], true),
        (vec![("sec-fetch-site", "same-site"), ("origin", "https://app.example")], false),
        (vec![("sec-fetch-site", "cross-site"), ("origin", "https://app.example")], false),
        (vec![("sec-fetch-site", "none")], false),
        (vec![("origin", "https://app.example")], true),
        (vec![("origin", "https://app.example:8443")], false),
        (vec![("origin", "http://app.example")], false),
        (vec![("origin", "https://evil.example")], false),
        (vec![("origin", "null")], false),
        (vec![], false),
    ] {
        let (body, ended) = asked(&Method::POST, &headers);
        assert_eq!(ended > 0, signs_out, "{headers:?}");
        let FlowBody::Page(page) = body else { panic!("a redirect after a form") };
        assert_eq!(page.status(), if signs_out { 200 } else { 403 });
        assert_eq!(matches!(page, FlowPage::SigningOut { .. }), signs_out);
    }
    for method in [Method::PUT, Method::HEAD, Method::OPTIONS] {
        let (body, ended) = asked(&method, &[("sec-fetch-site", "same-origin")]);
        assert_eq!((body, ended), (FlowBody::Page(FlowPage::MethodNotAllowed), 0));
    }
}

#[test]
fn a_session_that_was_signed_out_counts_nowhere_and_no_cookie_is_left() {
    let (mut world, mut browser) = (world(), Browser::new(0, None));
    world.control.groups = 250;
    let (received, _) = follow(&mut world, &mut browser, R);
    let session = session_id(&received);
    follow(&mut world, &mut browser, "https://wiki.example/");
    let copy = browser.cookies.clone();
    assert!(copy.iter().filter(|cookie| cookie.name.starts_with("_pomerium_")).count() > 6);
    let (received, urls) = follow(&mut world, &mut browser, OUT);
    assert_eq!(*page(&received), FlowPage::SignedOut);
    let end = urls.iter().find(|url| split(url).2.starts_with("/end?")).unwrap();
    let query = end.split_once('?').unwrap().1;
    assert_eq!(get(query, "id_token_hint"), "id.token");
    assert_eq!(get(query, "post_logout_redirect_uri"), format!("https://{A}/.pomerium/signed_out"));
    assert!(world.has_ended(session));
    assert_eq!(world.control.revoked.first(), Some(&session));
    let left: Vec<_> =
        browser.cookies.iter().filter(|cookie| cookie.host != "wiki.example").collect();
    assert!(left.is_empty(), "{left:?}");
    // A copy of the cookies is nobody, at each host.
    browser.cookies = copy;
    world.now_s += 20;
    for url in [R, "https://wiki.example/"] {
        let received = world.send(&browser, &Method::GET, url, "none");
        assert!(matches!(received.seen, Seen::Redirect(_)), "{url}");
    }
}

#[test]
fn sign_out_takes_the_note_of_the_loop_guard_away() {
    let (mut world, mut browser) = signed_in();
    follow(&mut world, &mut browser, OUT);
    assert_eq!(served(&follow(&mut world, &mut browser, R).0), Some("user0"));
}

#[test]
fn the_request_of_another_browser_signs_nobody_out() {
    let (mut world, mut alice) = signed_in();
    let mut mallory = Browser::new(1, None);
    follow(&mut world, &mut mallory, R);
    let (_, urls) = go(&mut world, &mut mallory, OUT, "none", 1);
    let received = open(&mut world, &mut mallory, &urls[0]);
    let _ = received;
    follow(&mut world, &mut mallory, R);
    let received = world.send(&mallory, &Method::GET, OUT, "none");
    let Seen::Redirect(sealed) = received.seen else { panic!() };
    let revoked = world.control.revoked.len();
    let received = open(&mut world, &mut alice, &sealed);
    assert!(matches!(page(&received), FlowPage::ConfirmSignOut { .. }));
    assert_eq!(world.control.revoked.len(), revoked);
    // Also where the authenticate host is a route's own and only that session is there.
    alice.cookies.clear();
    follow(&mut world, &mut alice, &format!("https://{A}/own"));
    alice.cookies.retain(|cookie| !cookie.name.ends_with("authenticate"));
    let received = open(&mut world, &mut alice, &sealed);
    assert!(matches!(page(&received), FlowPage::ConfirmSignOut { .. }));
    assert_eq!(world.control.revoked.len(), revoked);
    // Also in the middle of a sign-in, which goes on.
    let mut bob = Browser::new(2, None);
    let state = stop_before(&mut world, &mut bob, R, "/oauth2/callback");
    let received = open(&mut world, &mut bob, &sealed);
    assert!(matches!(page(&received), FlowPage::ConfirmSignOut { .. }));
    assert_eq!(served(&follow(&mut world, &mut bob, &state).0), Some("user2"));
}

#[test]
fn a_sign_out_goes_on_where_the_authenticate_host_has_no_session() {
    let (mut world, mut browser) = signed_in();
    browser.cookies.retain(|cookie| cookie.host != A);
    let (received, _) = follow(&mut world, &mut browser, OUT);
    assert_eq!(*page(&received), FlowPage::SignedOut);
}

#[test]
fn a_sealed_request_to_sign_out_counts_for_five_minutes() {
    for (late_s, asks) in [(300, false), (301, true)] {
        let (mut world, mut browser) = signed_in();
        let received = world.send(&browser, &Method::GET, OUT, "none");
        browser.receive(&received, world.now_s);
        let Seen::Redirect(sealed) = received.seen else { panic!() };
        world.now_s += late_s;
        let received = open(&mut world, &mut browser, &sealed);
        assert_eq!(matches!(received.seen, Seen::Page(FlowPage::ConfirmSignOut { .. })), asks);
    }
}

#[test]
fn somebody_without_a_session_at_the_host_is_asked_at_the_authenticate_host() {
    let (mut world, mut browser) = signed_in();
    let (received, _) = follow(&mut world, &mut browser, "https://wiki.example/.pomerium/sign_out");
    let FlowPage::ConfirmSignOut { action, known_as, .. } = page(&received) else { panic!() };
    assert_eq!(known_as.as_deref(), Some("user0@example.com"));
    let received = world.send(&browser, &Method::POST, action, "same-origin");
    let FlowPage::SigningOut { to } = page(&received) else { panic!() };
    assert_eq!(split(to).0, "idp.test");
    assert_eq!(world.control.revoked.len(), 1);
}

#[test]
fn at_the_authenticate_host_the_sessions_of_both_kinds_end() {
    let (mut world, mut browser) = (world(), Browser::new(0, None));
    follow(&mut world, &mut browser, &format!("https://{A}/own"));
    let received =
        world.send(&browser, &Method::GET, &format!("https://{A}/.pomerium/sign_out"), "none");
    browser.receive(&received, world.now_s);
    assert!(browser.cookies.is_empty());
    assert_eq!(world.control.revoked.len(), 1);
}

#[test]
fn a_sign_out_leads_to_hosts_of_ours_alone() {
    for (asked, ended) in [
        ("https://wiki.example/bye?a=b", Some("https://wiki.example/bye?a=b")),
        ("https://wiki.example:8443/", Some("https://wiki.example:8443/")),
        ("https://wiki.example:9/", Some("https://wiki.example/")),
        ("https://evil.test/", None),
        ("http://wiki.example/", None),
        ("https://x@wiki.example/", None),
        ("https://wiki.example@evil.test/", None),
        ("//evil.test/", None),
        ("/\\evil.test", None),
        ("javascript:alert(1)", None),
        ("", None),
    ] {
        let query = crate::identity::flow::parameters::encode([("pomerium_redirect_uri", asked)]);
        let (mut world, mut browser) = signed_in();
        let (_, urls) = go(&mut world, &mut browser, &format!("{OUT}?{query}"), "none", 5);
        let last = urls.last().unwrap();
        match ended {
            Some(ended) => assert_eq!(last, ended, "{asked}"),
            None => assert!(
                last.starts_with(&format!("https://{A}/.pomerium/signed_out")),
                "{asked} {last}"
            ),
        }
    }
}

#[test]
fn the_configured_url_is_where_the_provider_leads_to() {
    let mut spec = spec();
    spec.signout_redirect_url = Some("https://bye.test/".into());
    let (mut world, mut browser) = (World::new(spec), Browser::new(0, None));
    follow(&mut world, &mut browser, R);
    let (_, urls) = go(&mut world, &mut browser, OUT, "none", 3);
    let query = urls.last().unwrap().split_once('?').unwrap().1;
    assert_eq!(get(query, "post_logout_redirect_uri"), "https://bye.test/");
}

#[test]
fn without_the_provider_people_sign_out_of_us() {
    let (mut world, mut browser) = signed_in();
    world.restart(2);
    world.shared = crate::identity::shared::IdentityShared::new([2; 16]);
    world.control.fails = Some(crate::identity::calls::ProviderFailure::Away("down".into()));
    let (received, urls) = follow(&mut world, &mut browser, OUT);
    assert_eq!(*page(&received), FlowPage::SignedOut);
    assert!(urls.iter().all(|url| split(url).0 != "idp.test"));
}
