//! Client certificates in the browser of a user who has imported mkcert's file.

use portcullis_tests::{
    Backend, Ca, Chromium, Proxy,
    backend::Conn,
    netns::{self, Network},
    pki,
    tempdir::TempDir,
    tools::require_root,
};

const NAME: &str = "mtls.localhost.pomerium.io";

/// The page names the protocol that it was loaded with.
const PAGE: &str = "<!DOCTYPE html><title>inside</title><script>\
     document.write(performance.getEntriesByType('navigation')[0].nextHopProtocol)</script>";

/// Serves the page to every client until the client leaves.
fn serve(conn: &mut Conn) {
    let head = format!("Content-Type: text/html\r\nContent-Length: {}", PAGE.len());
    while conn.request().is_some() {
        conn.send(format!("HTTP/1.1 200 OK\r\n{head}\r\n\r\n{PAGE}"));
    }
}

fn start(enforcement: &str, backend: &Backend) -> Proxy {
    let ca = pki().ca();
    Proxy::config()
        .global(&format!("downstream_mtls: {{ca_file: {ca:?}, enforcement: {enforcement}}}"))
        .global("access_log_fields: [path, protocol, response-code]")
        .forward("mtls", &backend.url(), "")
        .start()
}

/// A browser with a certificate of another CA and one of ours.
fn user(dir: &TempDir) -> Chromium {
    stranger(dir).import(&pki().pkcs12(dir, "user@localhost.pomerium.io"))
}

/// A browser with only a certificate of another CA.
fn stranger(dir: &TempDir) -> Chromium {
    let elsewhere = Ca::new(dir, "elsewhere").issue("stranger", "email:stranger@elsewhere.test");
    Chromium::new().import(&elsewhere.pkcs12())
}

fn in_private(test: impl FnOnce(&Network) + Send) {
    if require_root("Chromium: a network and a policy of its own need root") {
        netns::private(test);
    }
}

#[test]
fn with_an_imported_certificate_the_page_is_shown_over_http2() {
    in_private(|network| {
        let (dir, backend) = (TempDir::new("user"), Backend::plain(serve));
        let user = user(&dir);
        for enforcement in ["policy_with_default_deny", "reject_connection"] {
            let proxy = start(enforcement, &backend);
            let page = user.open(network, NAME, proxy.address(), "/mine").unwrap();
            assert!(page.contains("<title>inside</title>") && page.contains(">h2<"), "{page}");
            let record = proxy.wait_for_access("/mine");
            assert_eq!(record["protocol"], "h2");
        }
    });
}

#[test]
fn without_a_certificate_for_us_the_page_says_what_is_missing() {
    in_private(|network| {
        let (dir, backend) = (TempDir::new("stranger"), Backend::plain(serve));
        let proxy = start("policy_with_default_deny", &backend);
        let page = stranger(&dir).open(network, NAME, proxy.address(), "/theirs").unwrap();
        let title = "<title>495 a valid client certificate is required to access this page</title>";
        assert!(page.contains(title) && !page.contains("inside"), "{page}");
        let record = proxy.wait_for_access("/theirs");
        assert_eq!((&record["protocol"], &record["response-code"]), (&"h2".into(), &495.into()));
        let why = serde_json::json!(["client-certificate-required"]);
        assert_eq!(record["deny-why-true"], why, "one for elsewhere was sent: {record}");
    });
}

#[test]
fn under_reject_connection_the_browser_reports_the_failure() {
    in_private(|network| {
        let (dir, backend) = (TempDir::new("stranger"), Backend::plain(serve));
        let proxy = start("reject_connection", &backend);
        let shown = stranger(&dir).open(network, NAME, proxy.address(), "/theirs");
        assert_eq!(shown, Err("net::ERR_BAD_SSL_CLIENT_AUTH_CERT".to_owned()));
        proxy.wait_for_refusal(|record| record["alert"] == "CertificateRequired");
        assert_eq!(backend.connections(), 0);
    });
}
