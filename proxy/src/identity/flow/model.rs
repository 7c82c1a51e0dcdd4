//! The model test: people, an attacker and three hosts, in random order.
//!
//! The attacker sees every URL that a browser has sent, and those that his own browser is led to before
//! it sends them. He may open any of them, and mixtures of them, in his own browser or in a victim's, at
//! any time. Nobody ever has a session of a sign-in that
//! another browser made, no other site signs anybody out, and whoever does nothing wrong ends signed
//! in where he began. Requests and their responses are steps of their own, so tabs overlap.

use std::collections::BTreeMap;

use http::Method;

use super::{
    FlowPage,
    world::{A, Browser, IDP, Received, Seen, World, get, spec, split, with_own_client},
};
use crate::identity::spec::{DependentHost, SameSite};

const STEPS_A_RUN: usize = 1_000;
const HOSTS: [&str; 4] = ["app.example", "wiki.example", "other.test", A];
const HOSTS_WITHOUT_A: [&str; 3] = ["app.example", "wiki.example", "other.test"];
const MALLORY: usize = 2;

/// A tab of an honest person may need so many requests at most.
const MOST_REQUESTS: usize = 120;

struct Tab {
    browser: usize,
    /// Where an honest tab is to end; `None` for a tab that the attacker opened.
    goal: Option<String>,
    next: Option<(Method, String, &'static str)>,
    in_flight: Option<Received>,
    /// It began with a URL of the provider.
    is_borrowed: bool,
    requests: usize,
    log: Vec<String>,
}

struct Model {
    world: World,
    browsers: Vec<Browser>,
    tabs: Vec<Tab>,
    /// Every URL that a browser has sent.
    seen: Vec<String>,
    /// Those that the attacker's own browser was led to and may not have sent.
    unsent: Vec<String>,
    /// Those that victims' browsers sent for tabs that the attacker opened.
    sent_by_victims: Vec<String>,
    random: Random,
    processes: u8,
    /// How often people saw each page.
    pages: BTreeMap<String, usize>,
    arrived: usize,
}

/// xorshift64*
struct Random(u64);

impl Random {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) as usize % limit
    }

    fn pick<'a, T>(&mut self, from: &'a [T]) -> Option<&'a T> {
        if from.is_empty() { None } else { from.get(self.below(from.len())) }
    }
}

impl Model {
    fn new(seed: u64) -> Model {
        let mut random = Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
        let mut spec = spec();
        spec.cookies.same_site =
            [SameSite::Lax, SameSite::Strict, SameSite::Unset, SameSite::None][random.below(4)];
        if random.below(4) == 0 {
            spec.cookies.domain = Some("example".into());
        }
        if random.below(2) == 0 {
            spec = with_own_client(spec);
        }
        let mut world = World::new(spec);
        world.has_own_client = has_own_client;
        if random.below(2) == 0 {
            world.depends_on = depends_on;
        }
        world.control.groups = [0, 0, 60, 150][random.below(4)];
        Model {
            world,
            browsers: (0..3).map(|number| Browser::new(number, None)).collect(),
            tabs: Vec::new(),
            seen: Vec::new(),
            unsent: Vec::new(),
            sent_by_victims: Vec::new(),
            random,
            processes: 1,
            pages: BTreeMap::new(),
            arrived: 0,
        }
    }

    fn step(&mut self, calm: bool) {
        match self.random.below(100) {
            _ if calm => self.advance(),
            0..=5 => self.open_honest(),
            6 => self.sign_out(),
            7..=20 => self.attack(),
            21..=22 => self.mix(),
            23..=24 => self.pass_time(),
            25 if self.random.below(20) == 0 => {
                self.processes = self.processes.wrapping_add(1);
                self.world.restart(self.processes);
            }
            25 if self.random.below(20) == 0 => {
                self.world.shared.set_suspect_before(self.world.now_s);
            }
            _ => self.advance(),
        }
    }

    fn url(&mut self) -> String {
        let host = HOSTS[self.random.below(HOSTS.len())];
        let port = ["", ":8443"][self.random.below(2)];
        format!("https://{host}{port}/page/{}?q=//evil.test/%26", self.random.below(1000))
    }

    fn open(&mut self, browser: usize, url: String, site: &'static str, goal: Option<String>) {
        // Few at a time, so that each gets somewhere.
        let foreign = |tab: &&Tab| tab.goal.is_none();
        if goal.is_none() && self.tabs.iter().filter(foreign).count() >= 6 {
            let oldest = self.tabs.iter().position(|tab| tab.goal.is_none());
            oldest.map(|oldest| self.tabs.remove(oldest));
        }
        self.tabs.push(Tab {
            browser,
            goal,
            is_borrowed: split(&url).0 == IDP,
            next: Some((Method::GET, url, site)),
            in_flight: None,
            requests: 0,
            log: Vec::new(),
        });
    }

    fn open_honest(&mut self) {
        if self.tabs.iter().filter(|tab| tab.goal.is_some()).count() > 7 {
            return;
        }
        let browser = self.random.below(2);
        // Several at once, as when a browser starts.
        for _ in 0..[1, 1, 1, 3][self.random.below(4)] {
            let (url, site) =
                (self.url(), ["none", "cross-site", "same-site"][self.random.below(3)]);
            self.open(browser, url.clone(), site, Some(url));
        }
    }

    fn sign_out(&mut self) {
        let (browser, host) = (self.random.below(3), HOSTS[self.random.below(4)]);
        let url = format!("https://{host}/.pomerium/sign_out");
        let site = ["none", "cross-site"][self.random.below(2)];
        self.open(browser, url.clone(), site, (browser != MALLORY).then_some(url));
    }

    /// The attacker opens something, in his browser or a victim's.
    fn attack(&mut self) {
        let recent = |from: &[String], count: usize| from.len().saturating_sub(count);
        let (url, own) = match self.random.below(10) {
            0..=2 => (Some(self.url()), true),
            3 => {
                let host = HOSTS[self.random.below(HOSTS.len())];
                (Some(format!("https://{host}/.pomerium/sign_out")), false)
            }
            4 if self.random.below(2) == 0 => {
                let to_provider: Vec<&String> =
                    self.seen.iter().filter(|url| url.contains("/authorize?")).collect();
                let from = to_provider.len().saturating_sub(4);
                (self.random.pick(&to_provider[from..]).map(|url| (*url).clone()), true)
            }
            4 => (self.random.pick(&self.seen).cloned(), self.random.below(2) == 0),
            // His own next step, which his browser has not sent, in a victim's.
            5..=6 => {
                let from = recent(&self.unsent, 4);
                (self.random.pick(&self.unsent[from..]).cloned(), false)
            }
            // What a victim's browser has just sent, in his own.
            7..=8 => {
                let from = recent(&self.sent_by_victims, 4);
                (self.random.pick(&self.sent_by_victims[from..]).cloned(), true)
            }
            _ => {
                let from = recent(&self.seen, 12);
                (self.random.pick(&self.seen[from..]).cloned(), self.random.below(2) == 0)
            }
        };
        if let Some(url) = url {
            let browser = if own { MALLORY } else { self.random.below(2) };
            let site = if browser == MALLORY { "none" } else { "cross-site" };
            self.open(browser, url, site, None);
        }
    }

    /// A code with the state of another sign-in.
    fn mix(&mut self) {
        let callbacks: Vec<&String> =
            self.seen.iter().filter(|url| url.contains("/oauth2/callback?")).collect();
        let recent = &callbacks[callbacks.len().saturating_sub(8)..];
        let (Some(a), Some(b)) = (self.random.pick(recent), self.random.pick(recent)) else {
            return;
        };
        let (a, b) = (a.split_once('?').unwrap().1, b.split_once('?').unwrap().1);
        let url = format!(
            "https://{A}/oauth2/callback?code={}&state={}&iss=https%3A%2F%2Fidp.test",
            get(a, "code"),
            get(b, "state")
        );
        let browser = [MALLORY, MALLORY, 0, 1][self.random.below(4)];
        self.open(browser, url, "cross-site", None);
    }

    fn pass_time(&mut self) {
        let seconds = match self.random.below(40) {
            0 => 61,
            1 => 6 * 60,
            2 => 700,
            3 => 2 * 60 * 60,
            _ => 1 + self.random.below(5) as u64,
        };
        self.world.now_s += seconds;
    }

    /// One tab sends its next request, or takes the response.
    fn advance(&mut self) {
        if self.tabs.is_empty() {
            return;
        }
        let index = self.random.below(self.tabs.len());
        let tab = &mut self.tabs[index];
        if let Some((method, url, site)) = tab.next.take() {
            tab.requests += 1;
            tab.log.push(format!("{} {site} {url}", self.world.now_s));
            assert!(tab.requests < MOST_REQUESTS, "never ends: {:#?}", tab.log);
            let before = self.world.control.revoked.clone();
            let browser = &self.browsers[tab.browser];
            let received = self.world.send(browser, &method, &url, site);
            for session in self.world.control.revoked.iter().skip(before.len()) {
                // A person who signs out may be led through the same step twice.
                let is_own = tab.goal.is_some() || tab.browser == MALLORY;
                assert!(is_own || before.contains(session), "signed out: {:#?}", tab.log);
                assert_eq!(self.world.made_by(*session), Some(tab.browser), "{:#?}", tab.log);
            }
            tab.in_flight = Some(received);
            if tab.goal.is_none() && tab.browser != MALLORY {
                self.sent_by_victims.push(url.clone());
            }
            self.seen.push(url);
        } else if let Some(received) = tab.in_flight.take() {
            self.browsers[tab.browser].receive(&received, self.world.now_s);
            if self.take(index, received) {
                self.tabs.swap_remove(index);
            }
        }
        if self.seen.len() > 400 {
            self.seen.drain(..200);
        }
    }

    /// Takes a response; says whether the tab is done.
    fn take(&mut self, index: usize, received: Received) -> bool {
        let tab = &mut self.tabs[index];
        let from = received.host;
        tab.log.push(format!("    {:?}", received.seen));
        let (method, url, by_person) = match received.seen {
            Seen::Redirect(to) => (Method::GET, to, false),
            Seen::Login(url) => {
                self.browsers[tab.browser].at_provider = Some(format!("user{}", tab.browser));
                (Method::GET, url, false)
            }
            Seen::Served(session) => {
                let made_by = self.world.made_by(session.session.id);
                assert_eq!(made_by, Some(tab.browser), "another's session: {:#?}", tab.log);
                assert_eq!(*session.session.identity.user_id, *format!("user{}", tab.browser));
                let sent = tab.log.iter().rev().nth(1).unwrap();
                let (host, _, path) = split(sent.rsplit(' ').next().unwrap());
                let context = self.world.context_at(&host, &path);
                assert_eq!(session.session.provider, context.provider, "{:#?}", tab.log);
                if let Some(goal) = &tab.goal {
                    assert!(sent.ends_with(&**goal), "elsewhere: {:#?}", tab.log);
                    self.arrived += 1;
                }
                return true;
            }
            Seen::Page(page) => {
                let name = format!("{page:?}").split([' ', '{']).next().unwrap().to_owned();
                if tab.goal.is_some() {
                    *self.pages.entry(name).or_default() += 1;
                }
                match Model::click(&mut self.world, tab.goal.is_some(), page) {
                    Some((method, url)) => (method, url, true),
                    None => return true,
                }
            }
        };
        let to = split(&url).0;
        let site = match (by_person, from == to) {
            (true, true) => "same-origin",
            _ if is_one_site(&from, &to)
                && tab.log.iter().all(|line| !line.contains("idp.test")) =>
            {
                "same-site"
            }
            _ => "cross-site",
        };
        // With a victim's authorization request he could sign her in as himself: only the provider
        // stands between its URL and the code, and it does not know her browser.
        if tab.browser == MALLORY && !(from == IDP && tab.is_borrowed) {
            self.unsent.push(url.clone());
        }
        tab.next = Some((method, url, site));
        false
    }

    /// What a person does with a page. On a page of a tab that somebody else opened: nothing.
    fn click(world: &mut World, honest: bool, page: FlowPage) -> Option<(Method, String)> {
        match page {
            FlowPage::Continue { to } | FlowPage::SigningOut { to } => Some((Method::GET, to)),
            FlowPage::ConfirmSignOut { action, .. } if honest => Some((Method::POST, action)),
            FlowPage::LinkInvalid { again: Some(again) } | FlowPage::CookieLost { again }
                if honest =>
            {
                Some((Method::GET, again))
            }
            FlowPage::DidNotLast { again, .. } if honest => {
                world.now_s += 11;
                Some((Method::GET, again))
            }
            FlowPage::SignedOut => None,
            page => {
                assert!(!honest || matches!(page, FlowPage::CodeRefused { .. }), "{page:?}");
                None
            }
        }
    }

    /// The attacker rests; everybody else comes to an end.
    fn finish(&mut self) {
        self.tabs.retain(|tab| tab.goal.is_some());
        for _ in 0..100_000 {
            if self.tabs.is_empty() {
                return;
            }
            self.step(true);
        }
        panic!("not everybody ended signed in: {:#?}", self.tabs[0].log);
    }
}

/// All of one host, and some of another.
fn has_own_client(host: &str, path: &str) -> bool {
    host == "wiki.example" || host == "app.example" && path.starts_with("/page/1")
}

/// Each host depends on those behind it.
fn depends_on(host: &str, _: u16, _: &str) -> Vec<DependentHost> {
    let behind = HOSTS_WITHOUT_A.iter().skip_while(|own| **own != host).skip(1);
    behind.map(|host| DependentHost { host: (*host).into(), port: 443 }).collect()
}

fn is_one_site(a: &str, b: &str) -> bool {
    a.ends_with(".example") == b.ends_with(".example")
}

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

#[test]
fn nobody_has_a_session_of_a_sign_in_in_another_browser() {
    let steps = number("PORTCULLIS_MODEL_STEPS").unwrap_or(20_000) as usize;
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    let first = number("PORTCULLIS_MODEL_SEED").unwrap_or(now.as_nanos() as u64);
    let (mut arrived, mut pages) = (0, BTreeMap::<String, usize>::new());
    for run in 0..steps.div_ceil(STEPS_A_RUN) as u64 {
        let seed = first.wrapping_add(run);
        // Shown if the test fails.
        println!("PORTCULLIS_MODEL_SEED={seed}");
        let mut model = Model::new(seed);
        (0..STEPS_A_RUN).for_each(|_| model.step(false));
        model.finish();
        arrived += model.arrived;
        for (name, count) in model.pages {
            *pages.entry(name).or_default() += count;
        }
    }
    println!("{arrived} arrived; pages: {pages:?}");
    assert!(arrived > steps / 200, "the model does too little: {arrived}");
}
