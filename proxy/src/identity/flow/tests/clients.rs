//! A route's own client at the provider.

use super::*;
use crate::identity::flow::world::{A, OWN_CLIENT, with_own_clients};

/// A page of the same host whose route has the client of all routes.
const ELSEWHERE: &str = "https://app.example/other";

fn two_clients() -> (World, Browser) {
    let mut world = World::new(with_own_client(spec()));
    world.has_own_client = |_, path| path.starts_with("/a");
    (world, Browser::new(0, None))
}

fn client_of(received: &Received, world: &World) -> String {
    let Seen::Served(session) = &received.seen else { panic!("{:?}", received.seen) };
    let context = world.clients.of(Some(session.session.provider)).unwrap();
    context.client_id().to_owned()
}

#[test]
fn each_route_s_users_sign_in_with_its_client() {
    let (mut world, mut browser) = two_clients();
    let (received, _) = follow(&mut world, &mut browser, R);
    assert_eq!(client_of(&received, &world), OWN_CLIENT);
    let own = session_id(&received);
    let (received, urls) = follow(&mut world, &mut browser, ELSEWHERE);
    assert_eq!(client_of(&received, &world), "client");
    assert_ne!(session_id(&received), own);
    assert!(urls.iter().any(|url| url.contains("client_id=client&")), "{urls:?}");
    for (url, client) in [(R, OWN_CLIENT), (ELSEWHERE, "client")] {
        let received = open(&mut world, &mut browser, url);
        assert_eq!(client_of(&received, &world), client, "both sessions stay");
    }
}

#[test]
fn a_session_of_one_client_does_not_count_for_another() {
    let (mut world, mut browser) = two_clients();
    follow(&mut world, &mut browser, ELSEWHERE);
    let of_all = browser.cookies.clone();
    follow(&mut world, &mut browser, R);
    let names: Vec<_> = browser.cookies.iter().map(|cookie| cookie.name.clone()).collect();
    let own = names.iter().find(|name| name.starts_with("_pomerium_client_")).unwrap();
    let own = own.trim_end_matches("_authenticate");
    // Under the other one's names, the cookies open and do not count.
    for suffix in ["", "_authenticate"] {
        let (from, to) = (format!("_pomerium{suffix}"), format!("{own}{suffix}"));
        let mut thief = Browser::new(0, None);
        thief.cookies = of_all.clone();
        for cookie in thief.cookies.iter_mut().filter(|cookie| cookie.name == from) {
            cookie.name.clone_from(&to);
        }
        let received = open(&mut world, &mut thief, R);
        assert!(matches!(&received.seen, Seen::Redirect(to) if to.contains("sign_in?")));
        let (received, urls) = follow(&mut world, &mut thief, R);
        assert_eq!(client_of(&received, &world), OWN_CLIENT);
        assert!(urls.iter().any(|url| url.contains("/authorize?")), "{suffix}: {urls:?}");
    }
}

#[test]
fn one_sign_out_ends_the_sessions_of_every_client() {
    let (mut world, mut browser) = two_clients();
    let sessions = [R, ELSEWHERE].map(|url| session_id(&follow(&mut world, &mut browser, url).0));
    // The host knows of no session of the second client.
    browser.cookies.retain(|cookie| cookie.host != "app.example" || cookie.name != "_pomerium");
    let sign_out = "https://app.example/.pomerium/sign_out";
    let (received, urls) = follow(&mut world, &mut browser, sign_out);
    assert_eq!(*page(&received), FlowPage::SignedOut, "without a question");
    assert!(sessions.iter().all(|session| world.has_ended(*session)));
    assert!(browser.cookies.is_empty(), "{:?}", browser.cookies);
    let at_provider = urls.iter().find(|url| url.contains("/end?")).unwrap();
    assert!(at_provider.contains(&format!("client_id={OWN_CLIENT}")), "{at_provider}");
}

#[test]
fn a_client_that_a_reload_removes_leaves_no_session() {
    let (mut world, mut browser) = two_clients();
    follow(&mut world, &mut browser, R);
    let handover = {
        let mut other = Browser::new(1, None);
        stop_before(&mut world, &mut other, R, "/.pomerium/callback/")
    };
    world.clients = World::new(spec()).clients;
    let received = open(&mut world, &mut browser, R);
    assert!(matches!(received.seen, Seen::Redirect(_)));
    let received = open(&mut world, &mut browser, &handover);
    assert!(matches!(&received.seen, Seen::Redirect(to) if to == R), "{:?}", received.seen);
}

#[test]
fn a_program_s_token_is_of_one_client() {
    let (mut world, mut browser) = two_clients();
    let (received, _) = follow(&mut world, &mut browser, R);
    let Seen::Served(served) = &received.seen else { panic!() };
    let random = ring::rand::SystemRandom::new();
    let context = world.context_at("app.example", "/a");
    let token = context.token("app.example", &served.session, &random).unwrap();
    let counts = |context: &crate::identity::flow::SignInContext| {
        let token = token.as_bytes();
        context.session_of_token("app.example", token, &world.shared, world.now_s).is_some()
    };
    assert!(counts(context) && !counts(world.context()));
}

fn page_of(number: usize) -> String {
    format!("https://app.example/client/{number}")
}

/// The bytes of the session cookies that a browser sends to a host.
fn sent_bytes(browser: &Browser, host: &str) -> usize {
    let sessions =
        browser.cookies.iter().filter(|it| it.host == host && !it.name.ends_with("csrf"));
    sessions.map(|it| it.name.len() + 1 + it.value.len()).sum()
}

#[test]
fn the_oldest_sessions_of_many_clients_make_room_at_each_host() {
    const MOST: usize = 32 * 1024;
    let mut world = World::new(with_own_clients(spec(), 20));
    world.control.groups = 100;
    let mut browser = Browser::new(0, None);
    let mut largest = 0;
    for number in 0..20 {
        world.now_s += 20;
        let (received, _) = follow(&mut world, &mut browser, &page_of(number));
        assert_eq!(client_of(&received, &world), format!("{OWN_CLIENT}-{number}"));
        for host in ["app.example", A] {
            let bytes = sent_bytes(&browser, host);
            assert!(bytes <= MOST, "{host} {number}: {bytes}");
            largest = largest.max(bytes);
        }
    }
    assert!(largest > MOST - 8 * 1024, "no more than necessary is deleted: {largest}");
    for newer in [19, 18, 17, 16] {
        let received = open(&mut world, &mut browser, &page_of(newer));
        assert_eq!(client_of(&received, &world), format!("{OWN_CLIENT}-{newer}"));
    }
    world.now_s += 20;
    let received = open(&mut world, &mut browser, &page_of(0));
    assert!(matches!(received.seen, Seen::Redirect(_)), "{:?}", received.seen);
    let (received, urls) = follow(&mut world, &mut browser, &page_of(0));
    assert_eq!(client_of(&received, &world), format!("{OWN_CLIENT}-0"), "signed in again");
    assert!(urls.iter().any(|url| url.contains("/authorize?")), "{urls:?}");
}

#[test]
fn cookies_of_clients_that_a_reload_removed_make_room_first() {
    let mut world = World::new(with_own_clients(spec(), 6));
    world.control.groups = 200;
    let mut browser = Browser::new(0, None);
    for number in 0..3 {
        world.now_s += 20;
        follow(&mut world, &mut browser, &page_of(number));
    }
    // The first two have gone, and the others have other places.
    let mut spec = with_own_clients(spec(), 6);
    spec.route_clients = spec.route_clients[2..].into();
    world.clients = World::new(spec).clients;
    for number in 1..4 {
        world.now_s += 20;
        follow(&mut world, &mut browser, &page_of(number));
    }
    assert!(sent_bytes(&browser, A) <= 32 * 1024);
    for (number, client) in [2, 3, 4, 5].into_iter().enumerate() {
        let received = open(&mut world, &mut browser, &page_of(number));
        assert_eq!(client_of(&received, &world), format!("{OWN_CLIENT}-{client}"), "it stays");
    }
}
