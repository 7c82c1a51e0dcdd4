//! TLS sessions that are resumed, and sessions that must not be.

use std::time::{Duration, SystemTime};

use portcullis_tests::{
    Backend, Pair, Proxy, Raw,
    openssl::{SClient, SServer, get, was_resumed},
    pki,
    raw::TlsOptions,
    tempdir::TempDir,
    wait::until,
    wire::End,
};

const HOST: &str = "app.localhost.pomerium.io";

/// Connects, sends a request and reads the response, so that tickets after the handshake are read.
fn visit(proxy: &Proxy, name: &str, config: &std::sync::Arc<rustls::ClientConfig>) -> bool {
    let mut raw = Raw::tls_with(proxy.address(), Some(name), config)
        .unwrap_or_else(|end| panic!("handshake as {name}: {end:?}"));
    let resumed = raw.was_resumed();
    raw.send(get(name));
    let answer = raw.to_end();
    assert_eq!(answer.response().status, 200, "{answer:?}");
    resumed
}

#[test]
fn openssl_resumes_both_versions_on_whatever_worker_answers() {
    let backend = Backend::text("x");
    let proxy = Proxy::config().forward("app", &backend.url(), "").start();
    let dir = TempDir::new("sessions");
    for version in ["-tls1_2", "-tls1_3"] {
        let file = dir.path().join(version);
        let client = || SClient::new(proxy.address(), HOST).args([version]);
        let first = client().save_session(&file).run(&get(HOST));
        assert!(first.stdout.contains("HTTP/1.1 200"), "{first:?}");
        assert!(!was_resumed(&first));
        for _ in 0..6 {
            let again = client().use_session(&file).run(&get(HOST));
            assert!(was_resumed(&again), "{version}: {again:?}");
            assert!(again.stdout.contains("HTTP/1.1 200"), "{again:?}");
        }
    }
    let metrics = proxy.metrics();
    let resumed = |version| {
        let labels = [("result", "ok"), ("version", version), ("resumed", "true")];
        metrics.sum("portcullis_tls_handshakes_total", &labels)
    };
    assert_eq!((resumed("tls12"), resumed("tls13")), (6.0, 6.0));
}

#[test]
fn a_client_with_a_certificate_resumes_and_is_still_known() {
    let backend = Backend::echo();
    let proxy = Proxy::config()
        .reject_connection(&pki().ca())
        .forward(
            "app",
            &backend.url(),
            "set_request_headers: {X-Who: \"${pomerium.client_cert_san_email}\"}",
        )
        .start();
    for tls12 in [false, true] {
        let mut options = TlsOptions::name(HOST).client(pki().client());
        options.tls12 = tls12;
        let config = options.config();
        assert!(!visit(&proxy, HOST, &config));
        let mut raw = Raw::tls_with(proxy.address(), Some(HOST), &config).unwrap();
        assert!(raw.was_resumed(), "TLS 1.2 only: {tls12}");
        raw.send(get(HOST));
        let text = raw.to_end().response().text();
        assert!(text.contains("user@localhost.pomerium.io"), "{text}");
    }
}

#[test]
fn a_ticket_of_one_name_is_not_resumed_at_another() {
    let backend = Backend::text("x");
    let proxy = Proxy::config()
        .forward("app", &backend.url(), "")
        .forward("other", &backend.url(), "")
        .start();
    let dir = TempDir::new("names");
    for version in ["-tls1_2", "-tls1_3"] {
        let file = dir.path().join(version);
        let client = |name| SClient::new(proxy.address(), name).args([version]);
        client(HOST).save_session(&file).run(&get(HOST));
        let name = "other.localhost.pomerium.io";
        let other = client(name).use_session(&file).run(&get(name));
        assert!(!was_resumed(&other), "{version}: {other:?}");
        assert!(other.stdout.contains("HTTP/1.1 200"), "a full handshake instead: {other:?}");
    }
}

#[test]
fn a_client_that_offers_only_a_session_id_is_not_resumed() {
    let backend = Backend::text("x");
    let proxy = Proxy::config().forward("app", &backend.url(), "").start();
    let dir = TempDir::new("session-id");
    let client = |address| SClient::new(address, HOST).args(["-tls1_2", "-no_ticket"]);
    // The proxy issues such a client no session to resume.
    let ours = dir.path().join("ours");
    let first = client(proxy.address()).save_session(&ours).run(&get(HOST));
    assert!(first.stdout.contains("HTTP/1.1 200"), "{first:?}");
    assert!(!ours.exists(), "{first:?}");
    // A client that still offers a session ID, here of another server that does resume it, gets a
    // full handshake.
    let other = SServer::start(&pki().server(), &["-tls1_2"]);
    let theirs = dir.path().join("theirs");
    client(other.address()).save_session(&theirs).run(&get(HOST));
    let there = client(other.address()).use_session(&theirs).run(&get(HOST));
    assert!(was_resumed(&there), "{there:?}");
    let here = client(proxy.address()).use_session(&theirs).run(&get(HOST));
    assert!(!was_resumed(&here), "{here:?}");
    assert!(here.stdout.contains("HTTP/1.1 200"), "{here:?}");
}

#[test]
fn a_session_does_not_outlive_the_ca_it_was_made_under() {
    let backend = Backend::text("x");
    let dir = TempDir::new("ca");
    let ca = dir.path().join("ca.pem");
    std::fs::copy(pki().ca(), &ca).unwrap();
    let proxy = Proxy::config().reject_connection(&ca).forward("app", &backend.url(), "").start();
    for tls12 in [false, true] {
        let mut options = TlsOptions::name(HOST).client(pki().client());
        options.tls12 = tls12;
        let config = options.config();
        dir.write("ca.pem", std::fs::read(pki().ca()).unwrap());
        until("the right CA", || proxy.curl("app", "/").client(&pki().client()).run().exit == 0);
        visit(&proxy, HOST, &config);
        assert!(visit(&proxy, HOST, &config), "TLS 1.2 only: {tls12}");
        dir.write("ca.pem", std::fs::read(pki().other_ca()).unwrap());
        until("the other CA", || proxy.curl("app", "/").client(&pki().client()).run().exit != 0);
        let end = match Raw::tls_with(proxy.address(), Some(HOST), &config) {
            Err(end) => end,
            Ok(mut raw) => {
                raw.send(get(HOST));
                raw.to_end().end
            }
        };
        assert_eq!(end, End::Alert(48), "TLS 1.2 only: {tls12}");
    }
}

#[test]
fn a_session_does_not_outlive_the_client_certificate_in_it() {
    let backend = Backend::text("x");
    let proxy =
        Proxy::config().reject_connection(&pki().ca()).forward("app", &backend.url(), "").start();
    let dir = TempDir::new("brief");
    let end = SystemTime::now() + Duration::from_secs(6);
    let pair: Pair = pki().client_until(&dir, end);
    let config = TlsOptions::name(HOST).client(pair).config();
    visit(&proxy, HOST, &config);
    assert!(visit(&proxy, HOST, &config), "resumed while it was valid");
    // Certificates have a resolution of a second.
    until("the certificate to expire", || SystemTime::now() > end + Duration::from_secs(2));
    let seen = match Raw::tls_with(proxy.address(), Some(HOST), &config) {
        Err(end) => end,
        Ok(mut raw) => {
            raw.send(get(HOST));
            raw.to_end().end
        }
    };
    assert_eq!(seen, End::Alert(45));
}

#[test]
fn a_session_without_a_ca_does_not_resume_once_one_is_added() {
    let backend = Backend::text("x");
    let mut proxy = Proxy::config().forward("app", &backend.url(), "").start();
    let config = TlsOptions::name(HOST).config();
    visit(&proxy, HOST, &config);
    assert!(visit(&proxy, HOST, &config));
    let next = proxy.current().reject_connection(&pki().ca());
    proxy.rewrite(next);
    until("the CA to be asked for", || proxy.curl("app", "/").run().exit != 0);
    let seen = match Raw::tls_with(proxy.address(), Some(HOST), &config) {
        Err(end) => end,
        Ok(mut raw) => {
            raw.send(get(HOST));
            raw.to_end().end
        }
    };
    assert_eq!(seen, End::Alert(116));
}

#[test]
fn a_reload_that_changes_nothing_of_tls_keeps_sessions() {
    let backend = Backend::text("x");
    let mut proxy = Proxy::config().forward("app", &backend.url(), "").start();
    let config = TlsOptions::name(HOST).config();
    visit(&proxy, HOST, &config);
    let next = proxy.current().forward("more", &backend.url(), "");
    proxy.rewrite(next);
    until("the new route", || proxy.curl("more", "/").ok().status == 200);
    assert!(visit(&proxy, HOST, &config));
}

#[test]
fn a_ticket_of_another_process_is_a_full_handshake_and_no_error() {
    let backend = Backend::text("x");
    let start = || Proxy::config().forward("app", &backend.url(), "").start();
    let config = TlsOptions::name(HOST).config();
    visit(&start(), HOST, &config);
    assert!(!visit(&start(), HOST, &config));
}
