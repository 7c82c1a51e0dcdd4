//! The pages of ours as people see them, in Chromium.

use std::{fs, path::PathBuf};

use portcullis_tests::{
    Backend, Browser, BrowserOptions, Chromium, Proxy,
    netns::{self, Network},
    tempdir::{TempDir, target_dir},
    tools::require_root,
};

const DESKTOP: (u32, u32) = (1_100, 720);
/// The key, in WebDriver's code.
const TAB: &str = "\u{e004}";
const PHONE: (u32, u32) = (360, 640);

fn in_private(test: impl FnOnce(&Network) + Send) {
    if require_root("Chromium: a network and a policy of its own need root") {
        netns::private(test);
    }
}

/// Where the pictures of this run go.
fn gallery_dir() -> PathBuf {
    let dir = target_dir().join("pages");
    let _ = fs::remove_dir_all(&dir);
    fs::create_dir_all(&dir).expect("a directory for the pictures");
    dir.canonicalize().expect("the directory just made")
}

/// Without its refresh, which would lead away before anybody has looked.
fn still(html: &str) -> String {
    match html.split_once("<meta http-equiv=\"refresh\"") {
        Some((before, rest)) => {
            [before, rest.split_once('>').expect("an end of the tag").1].concat()
        }
        None => html.to_owned(),
    }
}

#[test]
fn every_page_fits_and_is_readable_light_and_dark() {
    in_private(|network| {
        let (pictures, files) = (gallery_dir(), TempDir::new("pages"));
        let person = Chromium::new();
        let browser = Browser::start(network, &person, &BrowserOptions::default());
        for (width, height) in [DESKTOP, PHONE] {
            for scheme in ["light", "dark"] {
                browser.look(width, height, scheme);
                for (name, html) in portcullis::facade::pages::gallery() {
                    let file = files.write(&format!("{name}.html"), still(&html));
                    browser.open(&format!("file://{}", file.display())).unwrap();
                    let place = format!("{name}, {scheme}, {width} wide");
                    assert_eq!(browser.too_pale(), None, "{place}");
                    let wide = browser.script("return document.documentElement.scrollWidth");
                    assert_eq!(wide, width, "{place}");
                    browser.screenshot(&pictures.join(format!("{name}.{scheme}.{width}.png")));
                }
            }
        }
    });
}

#[test]
fn the_first_tab_reaches_the_button_and_shows_it() {
    in_private(|network| {
        let files = TempDir::new("pages");
        let person = Chromium::new();
        let browser = Browser::start(network, &person, &BrowserOptions::default());
        let pages = portcullis::facade::pages::gallery();
        let (_, html) = pages.iter().find(|(name, _)| name == "sign-in-signed-in").unwrap();
        let file = files.write("page.html", html);
        browser.open(&format!("file://{}", file.display())).unwrap();
        browser.press(TAB);
        let focused = "const style = getComputedStyle(document.activeElement); \
                       return [document.activeElement.innerText, style.outlineStyle]";
        assert_eq!(browser.script(focused), serde_json::json!(["Sign out", "solid"]));
    });
}

#[test]
fn an_error_page_of_the_proxy_has_its_style_and_its_landmarks() {
    in_private(|network| {
        let backend = Backend::plain(|_| ());
        let proxy = Proxy::config().forward("app", &backend.url(), "prefix: /app").start();
        let options = BrowserOptions::default().host("*:443", proxy.address());
        let person = Chromium::new();
        let browser = Browser::start(network, &person, &options);
        let background = |scheme| {
            browser.look(DESKTOP.0, DESKTOP.1, scheme);
            browser.open(&format!("https://app.localhost.pomerium.io/{scheme}")).unwrap();
            browser.script("return getComputedStyle(document.body).backgroundColor")
        };
        let (light, dark) = (background("light"), background("dark"));
        assert!(light != dark && light != "rgba(0, 0, 0, 0)", "{light} {dark}");
        assert_eq!(browser.title(), "404 not found");
        assert_eq!(browser.text("main h1"), "Page not found");
        let id = browser.text("footer code");
        assert_eq!(proxy.wait_for_access("/dark")["request-id"], id.as_str());
        let console = browser.console();
        let violations: Vec<_> =
            console.iter().filter(|line| line.contains("Content Security Policy")).collect();
        assert!(violations.is_empty(), "{violations:?}");
        let named = browser.devtools("Accessibility.getFullAXTree", &serde_json::json!({}));
        let is_main = |node: &&serde_json::Value| node["role"]["value"] == "main";
        let main = named["nodes"].as_array().unwrap().iter().find(is_main).unwrap();
        assert_eq!(main["name"]["value"], "Page not found");
    });
}
