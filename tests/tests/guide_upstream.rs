//! The guide "Upstream mTLS": a route to `openssl s_server`, with and without `-Verify 1`.

use base64::{Engine, engine::general_purpose::STANDARD as BASE64};
use portcullis_tests::{Pair, Proxy, nginx::Nginx, openssl::SServer, pki, proxy::Config};

/// The route of the guide, with a client certificate of the proxy.
fn guide(to: &str, pair: &Pair) -> Config {
    let (cert, key) = (pair.cert.display(), pair.key.display());
    Proxy::config().forward_tls(
        "verify",
        to,
        &format!("tls_client_cert_file: {cert}\ntls_client_key_file: {key}"),
    )
}

/// All log lines about a failed request.
fn reasons(proxy: &Proxy) -> String {
    proxy.wait_for_access("/");
    proxy.output().join("\n")
}

#[test]
fn s_server_with_verify_shows_the_proxys_client_certificate() {
    let server = SServer::start(&pki().upstream(), &["-Verify", "1"]);
    let proxy = guide(&server.url(), &pki().proxy()).start();
    for curl in [proxy.curl("verify", "/").http1(), proxy.curl("verify", "/").http2()] {
        let fetched = curl.ok();
        assert_eq!(fetched.status, 200, "{fetched:?}");
        let page = fetched.text();
        assert!(page.contains("portcullis@localhost.pomerium.io"), "{page}");
        assert!(
            page.contains("</HTML>") || page.contains("</html>"),
            "the page has no end: {page}"
        );
    }
}

#[test]
fn s_server_without_verify_needs_no_client_certificate() {
    let server = SServer::start(&pki().upstream(), &[]);
    let proxy = Proxy::config().forward_tls("verify", &server.url(), "").start();
    let fetched = proxy.curl("verify", "/").ok();
    assert_eq!(fetched.status, 200);
    assert!(fetched.text().contains("no client certificate available"), "{}", fetched.text());
}

#[test]
fn s_server_with_verify_requires_a_client_certificate() {
    let server = SServer::start(&pki().upstream(), &["-Verify", "1"]);
    let proxy = Proxy::config().forward_tls("verify", &server.url(), "").start();
    assert_eq!(proxy.curl("verify", "/").ok().status, 503);
    server.wait_for_text("peer did not return a certificate");
    assert_eq!(proxy.wait_for_access("/")["response-code"], 503);
}

#[test]
fn s_server_refuses_a_client_certificate_of_another_ca() {
    let server = SServer::start(&pki().upstream(), &["-Verify", "1", "-verify_return_error"]);
    let proxy = guide(&server.url(), &pki().pair("other/client")).start();
    assert_eq!(proxy.curl("verify", "/").ok().status, 503);
    let log = reasons(&proxy);
    assert!(log.to_lowercase().contains("alert") || log.contains("UnknownCA"), "{log}");
}

#[test]
fn an_untrusted_upstream_is_503_and_its_issuer_is_logged() {
    let server = SServer::start(&pki().pair("other/upstream"), &[]);
    let proxy = guide(&server.url(), &pki().proxy()).start();
    let fetched = proxy.curl("verify", "/").ok();
    assert_eq!(fetched.status, 503);
    let log = reasons(&proxy);
    assert!(log.contains("mkcert"), "the issuer is missing: {log}");
    assert!(!fetched.text().contains("mkcert"), "inside reasons are not for clients");
}

#[test]
fn an_upstream_with_another_name_is_503_and_the_log_names_both() {
    let server = SServer::start(&pki().pair("elsewhere"), &[]);
    let proxy = guide(&server.url(), &pki().proxy()).start();
    assert_eq!(proxy.curl("verify", "/").ok().status, 503);
    let log = reasons(&proxy);
    assert!(log.contains("elsewhere.test"), "the name served is missing: {log}");
    let record = log.lines().find(|line| line.contains("elsewhere.test")).unwrap_or_default();
    assert!(record.contains("localhost"), "the name expected is missing: {record}");
}

#[test]
fn an_expired_upstream_is_503_and_the_log_says_expired() {
    let server = SServer::start(&pki().pair("upstream-expired"), &[]);
    let proxy = guide(&server.url(), &pki().proxy()).start();
    assert_eq!(proxy.curl("verify", "/").ok().status, 503);
    assert!(reasons(&proxy).to_lowercase().contains("expired"));
}

#[test]
fn both_server_name_keys_override_the_verified_name() {
    let server = SServer::start(&pki().pair("elsewhere"), &[]);
    let proxy = Proxy::config()
        .forward_tls("old", &server.url(), "tls_server_name: elsewhere.test")
        .forward_tls("new", &server.url(), "tls_upstream_server_name: elsewhere.test")
        .forward_tls(
            "both",
            &server.url(),
            "tls_server_name: localhost\ntls_upstream_server_name: elsewhere.test",
        )
        .forward_tls("wrong", &server.url(), "tls_upstream_server_name: third.test")
        .start();
    assert_eq!(proxy.curl("old", "/").ok().status, 200);
    assert_eq!(proxy.curl("new", "/").ok().status, 200);
    assert_eq!(proxy.curl("both", "/").ok().status, 200);
    assert_eq!(proxy.curl("wrong", "/").ok().status, 503);
    let refused = |reason| {
        let name = "portcullis_upstream_certificate_errors_total";
        proxy.metrics().sum(name, &[("reason", reason)])
    };
    assert_eq!([refused("name"), refused("untrusted")], [1.0, 0.0]);
}

#[test]
fn an_overriding_name_is_sent_as_sni_and_one_with_a_star_is_not() {
    let nginx =
        Nginx::tls(&pki().upstream()).with("location / { return 200 $ssl_server_name; }").start();
    let proxy = Proxy::config()
        .forward_tls("plain", &nginx.url(), "")
        .forward_tls("name", &nginx.url(), "tls_upstream_server_name: a.upstream.test")
        .forward_tls("star", &nginx.url(), "tls_upstream_server_name: '*.upstream.test'")
        .forward_tls("other", &nginx.url(), "tls_upstream_server_name: '*.downstream.test'")
        .start();
    assert_eq!(proxy.curl("plain", "/").ok().text(), "localhost");
    assert_eq!(proxy.curl("name", "/").ok().text(), "a.upstream.test");
    assert_eq!(proxy.curl("star", "/").ok().text(), "localhost");
    assert_eq!(proxy.curl("other", "/").ok().status, 503);
}

#[test]
fn an_upstream_by_address_needs_an_ip_address_san() {
    let good = SServer::start(&pki().upstream(), &[]);
    let bad = SServer::start(&pki().pair("elsewhere"), &[]);
    let by_ip = |server: &SServer| format!("https://{}", server.address());
    let proxy = Proxy::config()
        .forward_tls("good", &by_ip(&good), "")
        .forward_tls("bad", &by_ip(&bad), "")
        .start();
    assert_eq!(proxy.curl("good", "/").ok().status, 200);
    assert_eq!(proxy.curl("bad", "/").ok().status, 503);
}

#[test]
fn without_a_custom_ca_the_systems_roots_decide() {
    let server = SServer::start(&pki().upstream(), &[]);
    let config = Proxy::config().forward("verify", &server.url(), "");
    let ca = pki().ca();
    let trusting = config.clone().env("SSL_CERT_FILE", &ca.display().to_string()).start();
    assert_eq!(trusting.curl("verify", "/").ok().status, 200);
    let other = pki().other_ca();
    let distrusting = config.env("SSL_CERT_FILE", &other.display().to_string()).start();
    assert_eq!(distrusting.curl("verify", "/").ok().status, 503);
}

#[test]
fn without_any_roots_no_upstream_is_trusted() {
    let server = SServer::start(&pki().upstream(), &[]);
    let empty = portcullis_tests::tempdir::TempDir::new("no-roots");
    let roots = empty.write("roots.pem", "");
    let config = Proxy::config()
        .forward("verify", &server.url(), "")
        .env("SSL_CERT_FILE", &roots.display().to_string());
    // Both a rejected configuration and a rejected upstream fail closed.
    if config.check().code == Some(0) {
        assert_eq!(config.start().curl("verify", "/").ok().status, 503);
    }
}

#[test]
fn a_custom_ca_replaces_the_systems_roots() {
    let server = SServer::start(&pki().upstream(), &[]);
    let other = pki().other_ca();
    let proxy = Proxy::config()
        .env("SSL_CERT_FILE", &pki().ca().display().to_string())
        .forward("verify", &server.url(), &format!("tls_custom_ca_file: {}", other.display()))
        .start();
    assert_eq!(proxy.curl("verify", "/").ok().status, 503);
}

#[test]
fn certificate_authority_adds_to_the_systems_roots() {
    let server = SServer::start(&pki().upstream(), &[]);
    let proxy = Proxy::config()
        .global(&format!("certificate_authority_file: {}", pki().ca().display()))
        .env("SSL_CERT_FILE", &pki().other_ca().display().to_string())
        .forward("verify", &server.url(), "")
        .start();
    assert_eq!(proxy.curl("verify", "/").ok().status, 200);
}

#[test]
fn skip_verify_accepts_any_certificate() {
    let server = SServer::start(&pki().pair("other/upstream"), &[]);
    let proxy = Proxy::config().forward("verify", &server.url(), "tls_skip_verify: true").start();
    assert_eq!(proxy.curl("verify", "/").ok().status, 200);
}

#[test]
fn certificates_may_stand_in_the_file_as_base64() {
    let server = SServer::start(&pki().upstream(), &["-Verify", "1"]);
    let inline = |path: std::path::PathBuf| BASE64.encode(std::fs::read(path).unwrap());
    let proxy = Proxy::config()
        .forward(
            "verify",
            &server.url(),
            &format!(
                "tls_custom_ca: {}\ntls_client_cert: {}\ntls_client_key: {}",
                inline(pki().ca()),
                inline(pki().proxy().cert),
                inline(pki().proxy().key)
            ),
        )
        .start();
    assert!(proxy.curl("verify", "/").ok().text().contains("portcullis@localhost.pomerium.io"));
}

#[test]
fn upstreams_of_either_tls_version_and_of_p384_are_reached() {
    let tls12 = SServer::start(&pki().upstream(), &["-tls1_2", "-Verify", "1"]);
    let tls13 = SServer::start(&pki().upstream(), &["-tls1_3"]);
    let p384 = SServer::start(&pki().pair("p384"), &[]);
    let own = pki().proxy();
    let client = format!(
        "tls_client_cert_file: {}\ntls_client_key_file: {}",
        own.cert.display(),
        own.key.display()
    );
    let proxy = Proxy::config()
        .forward_tls("two", &tls12.url(), &client)
        .forward_tls("three", &tls13.url(), "")
        .forward_tls("curve", &p384.url(), "")
        .start();
    assert!(proxy.curl("two", "/").ok().text().contains("TLSv1.2"));
    assert!(proxy.curl("three", "/").ok().text().contains("TLSv1.3"));
    assert_eq!(proxy.curl("curve", "/").ok().status, 200);
}

#[test]
fn routes_with_different_identities_share_no_connection() {
    let nginx = Nginx::tls(&pki().upstream())
        .with("ssl_verify_client optional_no_ca;")
        .with("location / { return 200 \"$connection $ssl_client_serial\"; }")
        .start();
    let own = |pair: Pair| {
        format!(
            "tls_client_cert_file: {}\ntls_client_key_file: {}",
            pair.cert.display(),
            pair.key.display()
        )
    };
    let proxy = Proxy::config()
        .forward_tls("one", &nginx.url(), &own(pki().proxy()))
        .forward_tls("two", &nginx.url(), &own(pki().client()))
        .forward_tls("none", &nginx.url(), "")
        .start();
    for _ in 0..8 {
        let serial = |host| {
            let text = proxy.curl(host, "/").ok().text();
            text.split_once(' ').map(|(_, serial)| serial.to_owned()).unwrap_or_default()
        };
        assert_eq!(serial("one"), pki().proxy().serial());
        assert_eq!(serial("two"), pki().client().serial());
        assert_eq!(serial("none"), "");
    }
}
