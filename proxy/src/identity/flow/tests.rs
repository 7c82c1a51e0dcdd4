use http::Method;

use super::{
    FlowEvent, FlowPage, SignInLossReason,
    world::{A, Browser, Received, START_S, Seen, World, get, spec, split},
};

const R: &str = "https://app.example/a?next=https://b.example/c%26d&e#f";

/// Follows redirects, signs in at the provider, and gives every URL that was asked for.
fn follow(world: &mut World, browser: &mut Browser, url: &str) -> (Received, Vec<String>) {
    go(world, browser, url, "none", usize::MAX)
}

/// The same, up to a number of requests.
fn go(
    world: &mut World,
    browser: &mut Browser,
    url: &str,
    site: &str,
    most: usize,
) -> (Received, Vec<String>) {
    let (mut urls, mut site) = (vec![url.to_owned()], site);
    loop {
        let url = urls.last().unwrap().clone();
        assert!(urls.len() < 40, "a loop: {urls:#?}");
        let received = world.send(browser, &Method::GET, &url, site);
        browser.receive(&received, world.now_s);
        let next = match &received.seen {
            Seen::Redirect(to) => to.clone(),
            Seen::Login(url) => {
                browser.at_provider = Some(format!("user{}", browser.number));
                site = "cross-site";
                url.clone()
            }
            Seen::Page(FlowPage::Continue { to }) => {
                site = "same-origin";
                to.clone()
            }
            _ => return (received, urls),
        };
        if urls.len() >= most {
            return (received, urls);
        }
        if split(&next).0 != split(&url).0 && site != "cross-site" {
            site = if split(&next).0.ends_with(".example") { "same-site" } else { "cross-site" };
        }
        urls.push(next);
    }
}

fn served(received: &Received) -> Option<&str> {
    match &received.seen {
        Seen::Served(session) => Some(&session.session.identity.user_id),
        _ => None,
    }
}

fn page(received: &Received) -> &FlowPage {
    match &received.seen {
        Seen::Page(page) => page,
        seen => panic!("no page: {seen:?}"),
    }
}

fn world() -> World {
    World::new(spec())
}

/// The URL of a browser's first request whose path begins so.
fn url_of<'a>(urls: &'a [String], path: &str) -> &'a str {
    urls.iter().find(|url| split(url).2.starts_with(path)).unwrap()
}

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
    let id = |received: &Received| match &received.seen {
        Seen::Served(session) => session.session.id,
        _ => panic!(),
    };
    assert_eq!(id(&first), id(&second));
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
    use crate::identity::spec::SameSite;
    for same_site in [SameSite::Unset, SameSite::Strict, SameSite::Lax, SameSite::None] {
        let mut spec = spec();
        spec.cookies.same_site = same_site;
        let (mut world, mut browser) = (World::new(spec), Browser::new(0, None));
        for site in ["none", "cross-site", "cross-site"] {
            let (received, urls) = go(&mut world, &mut browser, R, site, usize::MAX);
            assert_eq!(served(&received), Some("user0"), "{same_site:?} {site}");
            assert_eq!(urls.last().unwrap(), R);
        }
        let (_, urls) = go(&mut world, &mut browser, R, "cross-site", usize::MAX);
        assert_eq!(urls.len(), if same_site == SameSite::Strict { 2 } else { 1 });
    }
}

#[test]
fn the_last_step_of_one_browser_signs_no_other_in() {
    let (mut world, mut mallory, mut alice) =
        (world(), Browser::new(1, None), Browser::new(0, None));
    let (_, urls) = go(&mut world, &mut mallory, R, "none", 5);
    let (received, _) = go(&mut world, &mut mallory, urls.last().unwrap(), "none", 1);
    let Seen::Redirect(handover) = received.seen else {
        panic!("{:?}", received.seen);
    };
    // Mallory stops before his last step and sends it to Alice, who never was here.
    let received = world.send(&alice, &Method::GET, &handover, "cross-site");
    assert!(matches!(page(&received), FlowPage::LinkInvalid { .. } | FlowPage::CookieLost { .. }));
    assert!(received.set_cookies.is_empty());
    // And to Alice with a binding of her own: she signs in as herself.
    go(&mut world, &mut alice, R, "none", 1);
    let (received, _) = go(&mut world, &mut alice, &handover, "cross-site", usize::MAX);
    assert_ne!(served(&received), Some("user1"));
}
