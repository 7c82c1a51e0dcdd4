//! What visitors read who are not let in, and what an operator sees of a thousand routes.

use std::{fs, path::PathBuf};

use portcullis_tests::{
    Backend, Browser, BrowserOptions, Ca, Chromium, Pair, Proxy,
    curl::Fetched,
    netns,
    ports::free_port,
    proxy::Config,
    tempdir::{TempDir, target_dir},
    tools::require_root,
};

const DOMAIN: &str = "localhost.pomerium.io";

/// A site of one CA, with clients of all sorts.
struct Site {
    dir: TempDir,
    ca: Ca,
    good: Pair,
    ended: Pair,
    foreign: Pair,
    revoked: Pair,
}

impl Site {
    fn new() -> Site {
        let dir = TempDir::new("site");
        let (ca, elsewhere) = (Ca::new(&dir, "People"), Ca::new(&dir, "Elsewhere"));
        let email = |name: &str| format!("email:{name}@example.com");
        let good = ca.issue("Alice Example", &email("alice"));
        let ended = ca.issue_ended("Bob Example", &email("bob"));
        let foreign = elsewhere.issue("Carol <i>Example", &email("carol"));
        let revoked = ca.issue("Dave Example", &email("dave"));
        ca.revoke(&revoked);
        Site { dir, ca, good, ended, foreign, revoked }
    }

    fn config(&self, backend: &Backend) -> Config {
        let crl = self.dir.write("crl.pem", self.ca.crl(&[]));
        let away = format!("http://127.0.0.1:{}", free_port());
        let looks = "policy: {allow: {and: [accept: true]}, deny: {or: [invalid_client_certificate: true]}}";
        let nobody = "prefix: /secret\npolicy: {allow: {and: [reject: true]}}";
        let secret = format!("from: https://app.{DOMAIN}\nto: {}\n{nobody}", backend.url());
        Proxy::config()
            .global(&format!(
                "downstream_mtls: {{ca_file: {:?}, crl_file: {crl:?}, enforcement: policy}}",
                self.ca.certificate()
            ))
            .route_as_is(&secret)
            .route_as_is(&format!("from: https://app.{DOMAIN}\nto: {}\n{looks}", backend.url()))
            .forward("open", &backend.url(), "")
            .forward("away", &away, "")
            .forward("down", &away, "health_checks: [{timeout: 1s, interval: 1s, unhealthy_interval: 7s, unhealthy_threshold: 1, healthy_threshold: 1, tcp_health_check: {}}]\nhealthy_panic_threshold: 0")
    }

    /// Each answer that a visitor may get, with a name for its picture.
    fn answers(&self, proxy: &Proxy) -> Vec<(&'static str, Fetched)> {
        let app = || proxy.curl("app", "/");
        let misdirected = proxy.curl("open", "/").header(&format!("Host: app.{DOMAIN}"));
        vec![
            ("495-none", app().ok()),
            ("495-ended", app().client(&self.ended).ok()),
            ("495-foreign", app().client(&self.foreign).ok()),
            ("495-revoked", app().client(&self.revoked).ok()),
            ("403", proxy.curl("app", "/secret").client(&self.good).ok()),
            ("404", proxy.curl("nobody", "/").ok()),
            ("421", misdirected.ok()),
            ("503", proxy.curl("away", "/").ok()),
            ("503-down", proxy.curl("down", "/").ok()),
        ]
    }
}

/// What stands between the tags of the heading, the first paragraph, and the details.
fn heading(page: &Fetched) -> String {
    let text = page.text();
    let rest = text.split_once("<h1 id=\"what\">").unwrap_or_else(|| panic!("{text}")).1;
    rest.split_once("</h1>").expect("the end of the heading").0.to_owned()
}

#[test]
fn a_visitor_reads_what_is_wrong_and_as_whom_the_site_knows_them() {
    let (site, backend) = (Site::new(), Backend::text("inside"));
    let proxy = site.config(&backend).start();
    assert_eq!(proxy.curl("app", "/").client(&site.good).ok().text(), "inside");
    for ((name, page), (status, says, told)) in site.answers(&proxy).into_iter().zip([
        (495, "A client certificate is needed", "presented none"),
        (495, "Your certificate has expired", "was valid until 2 January 2020, 00:00 UTC"),
        (495, "Your certificate is not for this site", "CN=Carol \\&lt;i\\&gt;Example"),
        (495, "Your certificate has been revoked", "<bdi>email:dave@example.com</bdi>"),
        (403, "You do not have access", "<bdi>CN=Alice Example</bdi>"),
        (404, "Page not found", "There is nothing at this address."),
        (421, "Please open this page again", "<a href=\"\">Reload the page</a>"),
        (503, "The site is unavailable", "Try again in a moment."),
        (503, "The site is unavailable", "Try again in 7 seconds."),
    ]) {
        assert_eq!((page.status, &*heading(&page)), (status, says), "{name}");
        let text = page.text();
        assert!(text.contains(told), "{name}: {text}");
        let id = page.header("x-request-id").expect("an ID");
        assert!(text.contains(&format!("<dt>Request ID</dt><dd><code>{id}</code>")), "{name}");
        assert!(text.contains("<dt>Time</dt>"), "{name}");
        assert!(text.len() < 8 << 10, "{name} has {} bytes", text.len());
        let policy = page.header("content-security-policy").expect("a policy");
        assert!(policy.starts_with("default-src 'none'; style-src 'sha256-"), "{name}: {policy}");
        assert!(!text.contains("127.0.0.1:"), "{name} shows an address of an upstream");
        let knows_address = text.contains("<bdi>127.0.0.1</bdi>");
        assert_eq!(knows_address, matches!(status, 403 | 495), "{name}");
    }
}

#[test]
fn a_client_is_told_when_to_try_again_where_that_is_known() {
    let (site, backend) = (Site::new(), Backend::text("inside"));
    let proxy = site.config(&backend).start();
    let retry_after = |host| {
        let page = proxy.curl(host, "/").ok();
        (page.status, page.header("retry-after").map(str::to_owned))
    };
    assert_eq!(retry_after("down"), (503, Some("7".to_owned())));
    assert_eq!(retry_after("away"), (503, None));
}

#[test]
fn refusals_are_counted_by_code_and_reason() {
    let (site, backend) = (Site::new(), Backend::text("inside"));
    let proxy = site.config(&backend).start();
    site.answers(&proxy);
    let metrics = proxy.metrics();
    let count = |code: &str, reason: &str| {
        metrics.sum("portcullis_refusals_total", &[("code", code), ("reason", reason)])
    };
    for (code, reason) in [
        ("495", "client_certificate_missing"),
        ("495", "client_certificate_expired"),
        ("495", "client_certificate_untrusted"),
        ("495", "client_certificate_revoked"),
        ("403", "forbidden"),
        ("404", "no_route"),
        ("421", "misdirected"),
    ] {
        assert_eq!(count(code, reason), 1.0, "{reason}");
    }
    assert_eq!(metrics.sum("portcullis_refusals_total", &[]), 7.0, "a 503 is no refusal");
}

#[test]
fn a_brand_is_on_the_pages_that_visitors_see() {
    let (site, backend) = (Site::new(), Backend::text("inside"));
    let proxy = site
        .config(&backend)
        .global("primary_color: '#6F43E7'\nsecondary_color: '#49AAA1'\ndarkmode_primary_color: '#ccb8ff'")
        .global("logo_url: https://cdn.example.com/logo.svg\nfavicon_url: https://cdn.example.com/icon.png")
        .global("error_message_first_paragraph: 'Help desk: <b>+44 1632 960001</b>'")
        .start();
    let page = proxy.curl("app", "/").ok();
    for told in [
        "--fill:#6f43e7;--on:#ffffff;--link:#6f43e7;--mark:#49aaa1;",
        "--fill:#ccb8ff;--on:#000000;",
        "<img class=\"logo\" alt=\"\" src=\"https://cdn.example.com/logo.svg\">",
        "<link rel=\"icon\" href=\"https://cdn.example.com/icon.png\">",
        "<p class=\"said\">Help desk: &lt;b&gt;+44 1632 960001&lt;/b&gt;</p>",
    ] {
        assert!(page.text().contains(told), "{told}: {}", page.text());
    }
    let policy = page.header("content-security-policy").expect("a policy");
    assert!(policy.contains("; img-src https://cdn.example.com; "), "{policy}");
}

/// Where the pictures of this run go.
fn pictures() -> PathBuf {
    let dir = target_dir().join("error-pages");
    fs::create_dir_all(&dir).expect("a directory for the pictures");
    dir.canonicalize().expect("the directory just made")
}

/// Writes `target/error-pages/NAME.SCHEME.WIDTH.png`.
#[test]
#[ignore = "makes pictures for people to look at"]
fn pictures_of_what_visitors_and_operators_see() {
    let pages = || {
        let (site, backend) = (Site::new(), Backend::text("inside"));
        let mut config = site.config(&backend);
        for number in 0..1_000 {
            let host = format!("service-{number:03}");
            config = config.forward(&host, &backend.url(), &format!("name: {host}"));
        }
        let proxy = config.start();
        for number in (0..60).flat_map(|number| vec![number; 60 - number]) {
            proxy.curl(&format!("service-{number:03}"), "/").ok();
        }
        let mut pages: Vec<_> = site.answers(&proxy);
        let page = proxy.admin("/").expect("a page");
        pages.push(("admin", Fetched { body: page.body, ..pages[0].1.clone() }));
        (pages, site.dir)
    };
    if !require_root("Chromium: a network and a policy of its own need root") {
        return;
    }
    netns::private(|network| {
        let ((pages, dir), person) = (pages(), Chromium::new());
        let browser = Browser::start(network, &person, &BrowserOptions::default());
        for (width, scheme) in [(1_100, "light"), (1_100, "dark"), (380, "light"), (380, "dark")] {
            browser.look(width, 800, scheme);
            for (name, page) in &pages {
                let file = dir.write(&format!("{name}.html"), page.text());
                browser.open(&format!("file://{}", file.display())).expect("the page");
                let wide = browser.script("return document.documentElement.scrollWidth");
                assert_eq!(wide, width, "{name} is wider than the window");
                assert_eq!(browser.too_pale(), None, "{name}, {scheme}, {width} wide");
                browser.screenshot(&pictures().join(format!("{name}.{scheme}.{width}.png")));
            }
        }
    });
}
