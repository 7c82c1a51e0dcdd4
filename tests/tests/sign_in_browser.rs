//! Sign-in with the real Chromium and the npm package `oidc-provider`, from the first page to the
//! last. The provider is on another site than the proxy's hosts.

use portcullis_tests::{
    Backend, Browser, BrowserOptions, Chromium, OidcProvider, Program, Proxy,
    backend::Conn,
    netns::{self, Network},
    pki,
    sign_in::log_in,
    tempdir::TempDir,
    tools::require_root,
};
use serde_json::json;

const AUTHENTICATE: &str = "https://authenticate.localhost.pomerium.io";
const APP: &str = "https://app.localhost.pomerium.io";
const OTHER: &str = "https://other.localhost.pomerium.io";
const SITE: &str = "[*.]pomerium.io";
const SECRET: &str = "d2hhdCBhIHNlY3JldCBvZiAzMiBieXRlcyBpcyB0aGk=";

/// The provider, the proxy and the upstream of one test.
struct World {
    provider: OidcProvider,
    proxy: Proxy,
    _backend: Backend,
}

impl World {
    /// Two routes for Alice; the text `more` is added to the configuration.
    fn start(more: &str) -> World {
        let provider = OidcProvider::start(AUTHENTICATE);
        let backend = Backend::plain(serve);
        let (to, url) = (backend.url(), provider.url());
        let policy = "policy:\n- allow:\n    and:\n    - email:\n        is: alice@example.com";
        let proxy = Proxy::config()
            .global(&format!("authenticate_service_url: {AUTHENTICATE}"))
            .global(&format!("idp_provider: oidc\nidp_provider_url: {url}"))
            .global("idp_client_id: c-ES256\nidp_client_secret: secret")
            .global(&format!("shared_secret: {SECRET}\nidp_request_params:\n  prompt: consent"))
            .global(more)
            .route_as_is(&format!("from: {APP}\nto: {to}\n{policy}"))
            .route_as_is(&format!("from: {OTHER}\nto: {to}\n{policy}"))
            .start();
        World { provider, proxy, _backend: backend }
    }

    fn browser(&self, network: &Network, person: &Chromium) -> Browser {
        Browser::start(network, person, &self.options())
    }

    fn options(&self) -> BrowserOptions {
        BrowserOptions::default().host("*.localhost.pomerium.io:443", self.proxy.address())
    }
}

/// A page whose heading is the target that the upstream was asked for.
fn serve(conn: &mut Conn) {
    while let Some(request) = conn.request() {
        let target = request.target.replace('&', "&amp;").replace('<', "&lt;");
        let page = format!("<!DOCTYPE html><title>inside</title><h1>{target}</h1>");
        let head = format!("Content-Type: text/html\r\nContent-Length: {}", page.len());
        conn.send(format!("HTTP/1.1 200 OK\r\n{head}\r\n\r\n{page}"));
    }
}

fn in_private(test: impl FnOnce(&Network) + Send) {
    if require_root("Chromium: a network and a policy of its own need root") {
        OidcProvider::prepare(); // a private network reaches no registry
        netns::private(test);
    }
}

/// Opens a page of the upstream's, which leads to the provider, and logs in there.
fn sign_in(browser: &Browser, url: &str, login: &str) {
    browser.open(url).expect("a page of the provider");
    log_in(browser, login);
}

fn assert_shown(browser: &Browser, url: &str) {
    browser.wait_for_url(url, |shown| shown == url);
    let target = url.split_once(".io").expect("a URL of ours").1;
    assert_eq!((browser.title().as_str(), browser.text("h1").as_str()), ("inside", target));
}

#[test]
fn a_person_signs_in_reads_who_they_are_and_signs_out() {
    in_private(|network| {
        let (world, person) = (World::start(""), Chromium::new());
        let browser = world.browser(network, &person);
        let url = format!("{APP}/reports/2026?next=https://c.example/%26&d=e");
        sign_in(&browser, &url, "alice");
        assert_shown(&browser, &url);
        browser.open(&format!("{OTHER}/there")).unwrap();
        assert_shown(&browser, &format!("{OTHER}/there"));

        browser.open(&format!("{APP}/.pomerium/")).unwrap();
        assert_eq!(browser.text("h1"), "You are signed in");
        assert!(browser.text("footer").contains("alice@example.com"), "{}", browser.page());
        browser.click("button");
        // The provider asks too.
        browser.wait_for_url("the provider", |url| url.starts_with(&world.provider.url()));
        browser.click("button[name=logout]");
        browser.wait_for_url("the end", |url| url.starts_with(AUTHENTICATE));
        assert_eq!(browser.text("h1"), "You are signed out");

        let ours: Vec<_> = browser.all_cookies();
        let sessions = ours.iter().filter(|cookie| {
            let name = cookie["name"].as_str().unwrap();
            name.starts_with("_pomerium")
        });
        assert_eq!(sessions.count(), 1, "that of the other host, which counts no more: {ours:?}");
        browser.open(&format!("{APP}/again")).unwrap();
        assert!(browser.url().starts_with(&world.provider.url()), "{}", browser.url());
        // The sign-in there was so short ago that a page says so, instead of the provider's.
        browser.open(&format!("{OTHER}/again")).unwrap();
        assert_eq!(browser.text("h1"), "You were signed in, but it did not last");
        let console = browser.console().join("\n");
        assert!(!console.contains("Content Security Policy"), "{console}");
    });
}

#[test]
#[ignore = "takes long; CONTRIBUTING names the command"]
fn a_sign_out_leaves_no_piece_of_a_session_and_no_binding() {
    in_private(|network| {
        let (world, person) = (World::start(""), Chromium::new());
        let groups: Vec<_> = (0..60).map(|at| format!("{at:03}-{}", "group ".repeat(10))).collect();
        world.provider.set_user("alice", &json!({"groups": groups}));
        let browser = world.browser(network, &person);
        let url = format!("{APP}/pieces");
        sign_in(&browser, &url, "alice");
        assert_shown(&browser, &url);
        let names = || {
            let all = browser.all_cookies();
            let ours = all.iter().filter_map(|cookie| cookie["name"].as_str()).map(str::to_owned);
            let mut ours: Vec<_> = ours.filter(|name| name.contains("_pomerium")).collect();
            ours.sort_unstable();
            ours
        };
        let before = names();
        let is_there = |name: &str| before.iter().filter(|ours| *ours == name).count();
        for piece in
            ["_pomerium", "_pomerium_1", "_pomerium_authenticate", "_pomerium_authenticate_1"]
        {
            assert_eq!(is_there(piece), 1, "{piece} of {before:?}");
        }
        assert_eq!(is_there("__Host-_pomerium_csrf"), 2, "of both hosts: {before:?}");
        browser.open(&format!("{APP}/.pomerium/")).unwrap();
        browser.click("button");
        browser.wait_for_url("the provider", |url| url.starts_with(&world.provider.url()));
        assert_eq!(names(), [""; 0]);
    });
}

#[test]
#[ignore = "takes long; CONTRIBUTING names the command"]
fn a_person_signs_a_program_in_with_one_click() {
    in_private(|network| {
        let (world, person) = (World::start(""), Chromium::new());
        let browser = world.browser(network, &person);
        let program = Program::start();
        let url = program.url(&world.proxy, APP);
        sign_in(&browser, &url, "alice");
        browser.wait_for_url("the question", |shown| shown == url);
        assert_eq!(browser.text("h1"), "Do you want to sign a program in?");
        assert!(browser.text("footer").contains(&format!("http://{}", program.address())));
        let target = std::thread::scope(|scope| {
            let received = scope.spawn(|| program.receive());
            browser.click("button");
            received.join().unwrap()
        });
        assert!(target.starts_with("/?pomerium_jwt=ey"), "{target}");
        browser.wait_for_url("the program", |url| url.contains("127.0.0.1"));
        assert_eq!(browser.text("body"), "login complete");
        let console = browser.console().join("\n");
        assert!(!console.contains("Content Security Policy"), "{console}");
    });
}

#[test]
fn a_denied_person_reads_as_whom_and_may_be_another() {
    in_private(|network| {
        let (world, person) = (World::start(""), Chromium::new());
        let browser = world.browser(network, &person);
        sign_in(&browser, &format!("{APP}/"), "bob");
        browser.wait_for_url("the page", |url| url == format!("{APP}/"));
        assert_eq!(browser.text("h1"), "You do not have access");
        assert!(browser.text("footer").contains("bob@example.com"));
        browser.click("main a");
        browser.wait_for_url("the provider", |url| url.starts_with(&world.provider.url()));
        browser.click("button[name=logout]");
        browser.wait_for_url("the end", |url| url.starts_with(AUTHENTICATE));
        sign_in(&browser, &format!("{APP}/mine"), "alice");
        assert_shown(&browser, &format!("{APP}/mine"));
    });
}

#[test]
#[ignore = "takes long; CONTRIBUTING names the command"]
fn a_session_counts_with_every_same_site_setting() {
    in_private(|network| {
        for setting in ["\"\"", "lax", "strict", "none"] {
            let world = World::start(&format!("cookie_same_site: {setting}"));
            let person = Chromium::new();
            let browser = world.browser(network, &person);
            let url = format!("{APP}/with?same_site");
            sign_in(&browser, &url, "alice");
            assert_shown(&browser, &url);
            browser.open(&format!("{APP}/again")).unwrap();
            assert_shown(&browser, &format!("{APP}/again"));
        }
    });
}

#[test]
#[ignore = "takes long; CONTRIBUTING names the command"]
fn five_tabs_that_begin_at_once_all_end_where_they_began() {
    in_private(|network| {
        let (world, person) = (World::start(""), Chromium::new());
        let browser = world.browser(network, &person);
        let tabs: Vec<_> = (0..5)
            .map(|number| {
                let url = format!("{APP}/tab/{number}?x=y");
                let tab = browser.new_tab();
                browser.open(&url).unwrap();
                assert!(browser.url().starts_with(&world.provider.url()));
                (tab, url)
            })
            .collect();
        for (tab, url) in &tabs {
            browser.switch_to(tab);
            log_in(&browser, "alice");
            assert_shown(&browser, url);
        }
    });
}

#[test]
#[ignore = "takes long; CONTRIBUTING names the command"]
fn without_cookies_a_page_says_so_after_one_round() {
    in_private(|network| {
        let (world, person) = (World::start(""), Chromium::new());
        let options = world.options().block_cookies(SITE);
        let browser = Browser::start(network, &person, &options);
        sign_in(&browser, &format!("{APP}/"), "alice");
        browser.wait_for_url("our page", |url| url.starts_with(AUTHENTICATE));
        assert_eq!(browser.text("h1"), "Your browser did not keep our cookie");
        assert_eq!(browser.text("main a"), "Try again");
    });
}

#[test]
#[ignore = "takes long; CONTRIBUTING names the command"]
fn in_a_frame_of_another_site_a_link_opens_a_new_tab() {
    in_private(|network| {
        // By default a header of ours forbids such frames.
        let framed = "set_response_headers: {disable: 'true'}";
        let (world, person) = (World::start(framed), Chromium::new());
        let framing = Backend::plain(|conn| {
            while conn.request().is_some() {
                let page = format!("<!DOCTYPE html><iframe src=\"{APP}/framed\"></iframe>");
                let head = format!("Content-Type: text/html\r\nContent-Length: {}", page.len());
                conn.send(format!("HTTP/1.1 200 OK\r\n{head}\r\n\r\n{page}"));
            }
        });
        let browser = world.browser(network, &person);
        browser.open(&format!("{}/", framing.url())).unwrap();
        browser.enter_frame("iframe");
        assert_eq!(browser.text("h1"), "Please sign in");
        browser.click("main a");
        let windows = browser.windows();
        assert_eq!(windows.len(), 2);
        browser.switch_to(&windows[1]);
        log_in(&browser, "alice");
        assert_shown(&browser, &format!("{APP}/framed"));
    });
}

#[test]
#[ignore = "takes long; CONTRIBUTING names the command"]
fn with_a_client_certificate_the_guides_sign_in_works() {
    in_private(|network| {
        let ca = pki().ca();
        let mtls = format!("downstream_mtls: {{ca_file: {ca:?}, enforcement: policy}}");
        let world = World::start(&mtls);
        let dir = TempDir::new("guide");
        let person = Chromium::new().import(&pki().pkcs12(&dir, "user@localhost.pomerium.io"));
        let browser = world.browser(network, &person);
        sign_in(&browser, &format!("{APP}/guide"), "alice");
        assert_shown(&browser, &format!("{APP}/guide"));
    });
}
