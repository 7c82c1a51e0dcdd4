//! Single cases. The model test does the same things in any order.

mod arrival;
mod binding;
mod clients;
mod corpus;
mod dependent;
mod program;
mod provider;
mod sign_out;
mod who;

use http::Method;

use super::{
    FlowPage,
    world::{Browser, Received, Seen, World, spec, split, with_own_client},
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
        assert!(urls.len() < 40, "a loop: {} requests", urls.len());
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

/// Goes on until the next URL has this path, and gives it unsent.
fn stop_before(world: &mut World, browser: &mut Browser, url: &str, path: &str) -> String {
    let (mut url, mut site) = (url.to_owned(), "none");
    for _ in 0..20 {
        let received = world.send(browser, &Method::GET, &url, site);
        browser.receive(&received, world.now_s);
        url = match received.seen {
            Seen::Redirect(to) => to,
            Seen::Login(url) => {
                browser.at_provider = Some(format!("user{}", browser.number));
                site = "cross-site";
                url
            }
            seen => panic!("{seen:?}"),
        };
        if split(&url).2.starts_with(path) {
            return url;
        }
    }
    panic!("never at {path}");
}

/// One request, and its cookies taken.
fn open(world: &mut World, browser: &mut Browser, url: &str) -> Received {
    let received = world.send(browser, &Method::GET, url, "cross-site");
    browser.receive(&received, world.now_s);
    received
}

fn session_id(received: &Received) -> crate::identity::session::SessionId {
    match &received.seen {
        Seen::Served(session) => session.session.id,
        seen => panic!("not served: {seen:?}"),
    }
}

fn with_query(url: &str, change: impl Fn(&str) -> String) -> String {
    let (start, query) = url.split_once('?').unwrap();
    format!("{start}?{}", change(query))
}

impl FlowPage {
    /// The status that the page room gives it.
    fn status(&self) -> u16 {
        match self {
            FlowPage::Continue { .. }
            | FlowPage::SigningOut { .. }
            | FlowPage::ConfirmSignOut { .. }
            | FlowPage::ConfirmProgram(_)
            | FlowPage::SignedOut => 200,
            FlowPage::LinkInvalid { .. }
            | FlowPage::CookieLost { .. }
            | FlowPage::ProviderError { .. }
            | FlowPage::CodeRefused { .. } => 400,
            FlowPage::ProviderDenied { .. } | FlowPage::DidNotLast { .. } => 401,
            FlowPage::SignOutRefused { .. } | FlowPage::ProgramRefused => 403,
            FlowPage::MethodNotAllowed => 405,
            FlowPage::SessionTooLarge { .. } | FlowPage::Internal => 500,
            FlowPage::ProviderInvalid { .. } | FlowPage::ClocksDiffer { .. } => 502,
            FlowPage::ProviderAway { .. } | FlowPage::TooManySignIns { .. } => 503,
        }
    }
}
