//! Routes whose users are signed in at further hosts too (`depends_on`), with the npm package
//! `oidc-provider` and curl as the browsers.

use portcullis_tests::{
    SignInWorld,
    sign_in::{APP, AUTHENTICATE, HANDOVER, OTHER, host_of, led_to, user},
};

const ANY: &str = "allow_any_authenticated_user: true";

fn origin(name: &str) -> String {
    format!("https://{name}.localhost.pomerium.io")
}

/// A world in which the route of [`APP`] depends on these hosts, each of which has a route.
fn world(hosts: &[&str]) -> SignInWorld {
    SignInWorld::with(AUTHENTICATE, |config, to| {
        let list = hosts.iter().map(|name| host_of(&origin(name)).to_owned());
        let list = list.collect::<Vec<_>>().join(", ");
        let config =
            config.route_as_is(&format!("from: {APP}\nto: {to}\n{ANY}\ndepends_on: [{list}]"));
        hosts.iter().fold(config, |config, name| {
            config.route_as_is(&format!("from: {}\nto: {to}\n{ANY}", origin(name)))
        })
    })
}

/// The hosts of the last steps of sign-ins among these URLs.
fn signed_in_at(urls: &[String]) -> Vec<&str> {
    urls.iter().filter(|url| url.contains(HANDOVER)).map(|url| host_of(url)).collect()
}

#[test]
fn one_sign_in_is_enough_for_a_page_and_the_hosts_it_depends_on() {
    let world = world(&["other", "third"]);
    let mut alice = world.browser("alice");
    let url = format!("{APP}/a?b=c%26d");
    assert_eq!(alice.open(&url).status, 200, "{:#?}", alice.visited());
    assert_eq!(alice.url(), url);
    let hosts =
        [host_of(APP).to_owned(), host_of(OTHER).to_owned(), host_of(&origin("third")).into()];
    assert_eq!(signed_in_at(alice.visited()), hosts);
    for name in ["other", "third"] {
        let fetched =
            alice.request(&format!("{}/", origin(name))).header("Sec-Fetch-Mode: cors").ok();
        assert_eq!(fetched.status, 200, "{name}: a script of the page may fetch it");
        assert_eq!(user(&mut alice, &origin(name)).as_deref(), Some("alice"));
    }
}

#[test]
fn a_sign_in_at_a_further_host_leads_nowhere_else() {
    let world = world(&["other", "third"]);
    let mut alice = world.browser("alice");
    let url = format!("{OTHER}/");
    assert_eq!(alice.open(&url).status, 200);
    assert_eq!((signed_in_at(alice.visited()), alice.url()), (vec![host_of(OTHER)], &*url));
    let before = alice.visited().len();
    assert_eq!(alice.open(&format!("{APP}/")).status, 200);
    let third = origin("third");
    assert_eq!(signed_in_at(&alice.visited()[before..]), [host_of(APP), host_of(&third)]);
}

#[test]
fn five_hosts_are_more_than_browsers_would_follow_at_once() {
    let names = ["one", "two", "three", "four", "five"];
    let world = world(&names);
    let mut alice = world.browser("alice");
    let page = alice.open(&format!("{APP}/page"));
    let text = page.text();
    let (_, rest) = text.split_once("http-equiv=\"refresh\" content=\"0;url=").expect("a page");
    let next = rest.split('"').next().unwrap().to_owned();
    let before = alice.visited().len();
    assert_eq!(alice.open(&next).status, 200, "{:#?}", alice.visited());
    assert_eq!(alice.url(), format!("{APP}/page"));
    assert!(alice.visited().len() - before <= 20, "{:#?}", alice.visited());
    for name in names {
        assert_eq!(user(&mut alice, &origin(name)).as_deref(), Some("alice"), "{name}");
    }
}

#[test]
fn a_link_to_a_further_host_signs_nobody_else_in() {
    let world = world(&["other"]);
    let (mut mallory, mut alice) = (world.browser("mallory"), world.browser("alice"));
    let link = led_to(&mut mallory, &format!("{APP}/"), "/.pomerium/sign_in_too?");
    assert_eq!(alice.open(&link).status, 200);
    assert_eq!(alice.url(), format!("{APP}/"));
    for origin in [APP, OTHER] {
        assert_eq!(user(&mut alice, origin).as_deref(), Some("alice"));
    }
    let elsewhere = link.replace(host_of(OTHER), host_of(APP));
    assert_eq!(alice.open(&elsewhere).status, 400);
}
