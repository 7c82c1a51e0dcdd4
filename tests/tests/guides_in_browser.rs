//! Pomerium's two guides about mutual TLS with the real Chromium, from the first page to the last, with
//! the npm package `oidc-provider` as the identity provider.

use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD};
use portcullis_tests::{
    Backend, Browser, BrowserOptions, Chromium, OidcProvider, Proxy,
    backend::Conn,
    netns::{self, Network},
    openssl::SServer,
    pki,
    proxy::Config,
    sign_in::{AUTHENTICATE, log_in, sign_in_config},
    tempdir::TempDir,
    tools::require_root,
    wait::until,
};
use serde_json::Value;

const VERIFY: &str = "https://verify.localhost.pomerium.io";
const OPENSSL: &str = "https://openssl.localhost.pomerium.io";

fn in_private(test: impl FnOnce(&Network) + Send) {
    if require_root("Chromium: a network and a policy of its own need root") {
        OidcProvider::prepare(); // a private network reaches no registry
        netns::private(test);
    }
}

/// With a consent, which `log_in` gives.
fn config(provider: &OidcProvider) -> Config {
    sign_in_config(AUTHENTICATE, &provider.url()).global("idp_request_params:\n  prompt: consent")
}

fn browser(network: &Network, person: &Chromium, proxy: &Proxy) -> Browser {
    let options = BrowserOptions::default().host("*.localhost.pomerium.io:443", proxy.address());
    Browser::start(network, person, &options)
}

/// Shows whom the assertion names, as the guide's `verify.pomerium.com` does.
fn verify(conn: &mut Conn) {
    while let Some(request) = conn.request() {
        let token = request.header("x-pomerium-jwt-assertion").unwrap_or_default().to_owned();
        let payload = token.split('.').nth(1).unwrap_or_default();
        let claims = BASE64_URL_SAFE_NO_PAD.decode(payload).unwrap_or_default();
        let claims: Value = serde_json::from_slice(&claims).unwrap_or_default();
        let email = claims["email"].as_str().unwrap_or("nobody");
        let page = format!("<!DOCTYPE html><title>verify</title><h1>{email}</h1>");
        let head = format!("Content-Type: text/html\r\nContent-Length: {}", page.len());
        conn.send(format!("HTTP/1.1 200 OK\r\n{head}\r\n\r\n{page}"));
    }
}

/// The guide's YAML for one route, whose CA is named there or for all routes.
fn client_side(provider: &OidcProvider, backend: &Backend, for_all: bool) -> Config {
    let ca = pki().ca();
    let (all, own) = match for_all {
        true => (format!("client_ca_file: {ca:?}"), String::new()),
        false => (String::new(), format!("tls_downstream_client_ca_file: {ca:?}\n")),
    };
    let server = pki().server();
    config(provider)
        .certificates(&[])
        .global(&format!(
            "certificate_file: {:?}\ncertificate_key_file: {:?}",
            server.cert, server.key
        ))
        .global(&all)
        .route_as_is(&format!(
            "from: {VERIFY}\nto: {}\n{own}pass_identity_headers: true\npolicy:\n- allow:\n    \
             or:\n    - domain:\n        is: example.com",
            backend.url()
        ))
}

fn client_side_guide(network: &Network, for_all: bool) {
    let provider = OidcProvider::start(AUTHENTICATE);
    let backend = Backend::plain(verify);
    let proxy = client_side(&provider, &backend, for_all).start();

    let stranger = Chromium::new();
    let before = browser(network, &stranger, &proxy);
    before.open(VERIFY).expect("a page");
    let needed = "a valid client certificate is required to access this page";
    assert_eq!(before.title(), format!("495 {needed}"));
    drop(before);

    let dir = TempDir::new("guide");
    let username = "yourUsername@localhost.pomerium.io";
    let person = Chromium::new().import(&pki().pkcs12(&dir, username));
    let browser = browser(network, &person, &proxy);
    browser.open(VERIFY).expect("the provider's page, without a question for a certificate");
    assert!(browser.url().starts_with(&provider.url()), "{}", browser.url());
    log_in(&browser, "user");
    browser.wait_for_url("the verify service", |url| url == format!("{VERIFY}/"));
    let shown = (browser.title(), browser.text("h1"));
    assert_eq!(shown, ("verify".to_owned(), "user@example.com".to_owned()));

    browser.open(&format!("{VERIFY}/.pomerium/")).expect("a page");
    assert_eq!(browser.text("h1"), "You are signed in");
    assert!(browser.text("footer").contains("user@example.com"), "{}", browser.page());
    browser.click("button");
    browser.wait_for_url("the provider", |url| url.starts_with(&provider.url()));
    browser.click("button[name=logout]");
    browser.wait_for_url("the end", |url| url.starts_with(AUTHENTICATE));
    assert_eq!(browser.text("h1"), "You are signed out");

    browser.open(VERIFY).expect("a page");
    log_in(&browser, "somebody@elsewhere.test");
    browser.wait_for_url("the denial", |url| url == format!("{VERIFY}/"));
    assert_eq!(browser.text("h1"), "You do not have access");
    proxy.assert_no_panic();
}

#[test]
#[ignore = "takes long; CONTRIBUTING names the command"]
fn the_client_side_guide_for_all_routes_ends_signed_in() {
    in_private(|network| client_side_guide(network, true));
}

#[test]
#[ignore = "takes long; CONTRIBUTING names the command"]
fn the_client_side_guide_for_one_route_ends_signed_in() {
    in_private(|network| client_side_guide(network, false));
}

/// The guide's route, with `more` of its last step. `mkcert -install` is said by `SSL_CERT_FILE`.
fn upstream(config: Config, to: &str, more: &str) -> Config {
    config.env("SSL_CERT_FILE", &pki().ca().display().to_string()).route_as_is(&format!(
        "from: {OPENSSL}\nto: {to}\ntls_server_name: openssl.localhost\n{more}policy:\n- allow:\n    \
         or:\n    - email:\n        is: user@example.com"
    ))
}

#[test]
#[ignore = "takes long; CONTRIBUTING names the command"]
fn the_upstream_guide_shows_each_page_to_who_is_signed_in() {
    in_private(|network| {
        let (provider, dir) = (OidcProvider::start(AUTHENTICATE), TempDir::new("guide"));
        let pair = pki().issue(&dir, "openssl", &["openssl.localhost"]);
        let server = SServer::start(&pair, &[]);
        let to = server.url();
        let mut proxy = upstream(config(&provider), &to, "").start();
        let person = Chromium::new();
        let browser = browser(network, &person, &proxy);

        browser.open(OPENSSL).unwrap();
        assert!(browser.url().starts_with(&provider.url()), "{}", browser.url());
        log_in(&browser, "user");
        browser.wait_for_url("the upstream", |url| url == format!("{OPENSSL}/"));
        assert!(browser.text("pre").contains("no client certificate available"));

        let server = server.restart(&["-Verify", "1"]);
        browser.open(OPENSSL).unwrap();
        assert!(browser.title().starts_with("503 "), "{}", browser.page());
        server.wait_for_text("peer did not return a certificate");

        let own = pki().proxy();
        let more =
            format!("tls_client_cert_file: {:?}\ntls_client_key_file: {:?}\n", own.cert, own.key);
        proxy.rewrite(upstream(proxy.current().without_routes(), &to, &more));
        until("the reload", || {
            browser.open(OPENSSL).unwrap();
            !browser.title().starts_with("503 ")
        });
        let shown = browser.text("pre");
        assert!(shown.contains("Client certificate"), "{shown}");
        assert!(shown.contains("portcullis@localhost.pomerium.io"), "{shown}");

        browser.open(&format!("{OPENSSL}/.pomerium/")).unwrap();
        assert!(browser.text("footer").contains("user@example.com"), "{}", browser.page());
        proxy.assert_no_panic();
    });
}
