//! `enforcement: reject_connection`: which clients are accepted, and the alerts that others get.

use portcullis_tests::{
    Backend, Pair, Proxy, Raw,
    chains::{self, Chain},
    openssl::{self, SClient, get},
    pki,
    proxy::Config,
    raw::TlsOptions,
    tempdir::TempDir,
    wire::End,
};

const NAME: &str = "mtls.localhost.pomerium.io";

fn proxy_for(backend: &Backend) -> Config {
    Proxy::config().reject_connection(&pki().ca()).forward("mtls", &backend.url(), "")
}

/// How a connection with this certificate ends, when one request is sent on it.
fn end(proxy: &Proxy, client: Option<Pair>, tls12: bool) -> End {
    let mut options = TlsOptions::name(NAME);
    options.client = client;
    options.tls12 = tls12;
    match Raw::try_tls(proxy.address(), &options) {
        Err(end) => end,
        Ok(mut raw) => {
            raw.send(get(NAME));
            raw.to_end().end
        }
    }
}

#[test]
fn a_client_certificate_works_with_every_tls_and_http_version() {
    let backend = Backend::text("inside");
    let proxy = proxy_for(&backend).start();
    for tls in ["1.2", "1.3"] {
        for http in ["--http1.1", "--http2"] {
            let fetched =
                proxy.curl("mtls", "/").client(&pki().client()).args([http, "--tls-max", tls]).ok();
            assert_eq!(fetched.text(), "inside", "TLS {tls} {http}: {fetched:?}");
        }
    }
}

#[test]
fn a_client_without_a_certificate_hears_the_alert_of_its_version() {
    let backend = Backend::text("inside");
    let proxy = proxy_for(&backend).start();
    // certificate_required is an alert of TLS 1.3; TLS 1.2 has handshake_failure for it.
    for (tls12, version, alert) in [(false, "-tls1_3", 116), (true, "-tls1_2", 40)] {
        assert_eq!(end(&proxy, None, tls12), End::Alert(alert));
        let refused = SClient::new(proxy.address(), NAME).args([version]).run(&get(NAME));
        assert_eq!(openssl::alert(&refused), Some(alert), "{version}: {refused:?}");
    }
    assert_eq!(backend.connections(), 0);
}

#[test]
fn other_certificates_are_refused_by_the_alert_that_says_why() {
    let backend = Backend::text("inside");
    let proxy = proxy_for(&backend).start();
    let cases = [
        ("other/client", 48),
        ("client-expired", 45),
        ("client-early", 45),
        ("client-wrong-use", 43),
    ];
    for (name, alert) in cases {
        for tls12 in [false, true] {
            let seen = end(&proxy, Some(pki().pair(name)), tls12);
            assert_eq!(seen, End::Alert(alert), "{name}, TLS 1.2 only: {tls12}");
        }
        let seen = SClient::new(proxy.address(), NAME).client(&pki().pair(name)).run(&get(NAME));
        assert_eq!(openssl::alert(&seen), Some(alert), "{name} as OpenSSL sees it: {seen:?}");
    }
    assert_eq!(backend.connections(), 0);
}

#[test]
fn a_refused_connection_leaves_one_record_with_certificate() {
    let backend = Backend::text("inside");
    let proxy = proxy_for(&backend).start();
    assert_eq!(end(&proxy, Some(pki().pair("other/client")), false), End::Alert(48));
    let record = proxy.wait_for_refusal(|_| true);
    assert_eq!(record["tls-sni-hostname"], NAME, "{record}");
    assert_eq!(record["ip"], "127.0.0.1", "{record}");
    let certificate = &record["client-certificate"];
    assert!(certificate.to_string().contains("stranger@elsewhere.test"), "{record}");
    assert!(record["downstream-transport-failure-reason"].is_string(), "{record}");
    let fetched = proxy.curl("mtls", "/").client(&pki().client()).ok();
    assert_eq!(fetched.status, 200);
    proxy.wait_for_access("/");
    assert_eq!(proxy.count_log("listener connection failure"), 1);
    assert_eq!(proxy.count_log("http-request"), 1);
}

#[test]
fn the_certificate_request_names_the_ca() {
    let backend = Backend::text("inside");
    let proxy = proxy_for(&backend).start();
    let seen = SClient::new(proxy.address(), NAME).client(&pki().client()).run(&get(NAME));
    assert!(seen.stdout.contains("Acceptable client certificate CA names"), "{seen:?}");
}

#[test]
fn the_environment_may_name_the_ca() {
    let backend = Backend::text("inside");
    let proxy = Proxy::config()
        .env("DOWNSTREAM_MTLS_CA_FILE", &pki().ca().display().to_string())
        .env("DOWNSTREAM_MTLS_ENFORCEMENT", "reject_connection")
        .forward("mtls", &backend.url(), "")
        .start();
    assert_eq!(end(&proxy, None, false), End::Alert(116));
    assert_eq!(proxy.curl("mtls", "/").client(&pki().client()).ok().status, 200);
}

#[test]
fn a_missing_empty_or_broken_ca_file_refuses_to_start() {
    let dir = TempDir::new("bad-ca");
    let empty = dir.write("empty.pem", "");
    let broken = dir.write(
        "broken.pem",
        "-----BEGIN CERTIFICATE-----\nbm90IGEgY2VydGlmaWNhdGU=\n-----END CERTIFICATE-----\n",
    );
    let key = pki().client().key;
    for path in [dir.path().join("missing.pem"), empty, broken, key] {
        let refused = Proxy::config().reject_connection(&path).refused();
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        assert!(refused.stdout.contains(name), "{name}: {}", refused.stdout);
    }
}

#[test]
fn a_self_signed_leaf_is_accepted_if_it_is_an_anchor() {
    let dir = TempDir::new("own-anchor");
    let pair = chains::self_signed(&dir);
    let backend = Backend::text("inside");
    let proxy =
        Proxy::config().reject_connection(&pair.cert).forward("mtls", &backend.url(), "").start();
    assert_eq!(proxy.curl("mtls", "/").client(&pair).ok().status, 200);
    assert_eq!(end(&proxy, Some(pki().client()), false), End::Alert(48));
}

#[test]
fn a_forwarding_route_sends_the_certificate_upstream() {
    let backend = Backend::echo();
    let proxy = Proxy::config()
        .reject_connection(&pki().ca())
        .forward(
            "mtls",
            &backend.url(),
            "set_request_headers:\n  X-Fingerprint: ${pomerium.client_cert_fingerprint}\n  \
             X-Email: $pomerium.client_cert_san_email\n  X-Price: $$5",
        )
        .start();
    let echoed = proxy
        .curl("mtls", "/")
        .client(&pki().client())
        .header("X-Fingerprint: forged")
        .ok()
        .echoed();
    assert_eq!(echoed.all("x-fingerprint"), [pki().client().fingerprint()]);
    assert_eq!(echoed.all("x-email"), ["user@localhost.pomerium.io"]);
    assert_eq!(echoed.all("x-price"), ["$5"]);
}

#[test]
fn a_chain_deeper_than_allowed_is_refused() {
    let dir = TempDir::new("deep");
    let Chain { client: deep, root } = chains::deep(&dir);
    let backend = Backend::text("inside");
    let route = |depth: u32| {
        Proxy::config()
            .global(&format!(
                "downstream_mtls: {{ca_file: {root:?}, enforcement: reject_connection, \
                 max_verify_depth: {depth}}}"
            ))
            .forward("mtls", &backend.url(), "")
            .start()
    };
    assert_eq!(end(&route(1), Some(deep.clone()), false), End::Alert(48));
    assert_eq!(route(2).curl("mtls", "/").client(&deep).ok().status, 200);
    assert_eq!(route(0).curl("mtls", "/").client(&deep).ok().status, 200);
}

#[test]
fn a_route_has_its_own_ca_and_handshakes_accept_all_cas() {
    let dir = TempDir::new("own-ca");
    let Chain { client: deep, root } = chains::deep(&dir);
    let backend = Backend::text("inside");
    let proxy = Proxy::config()
        .global(&format!(
            "downstream_mtls: {{ca_file: {:?}, enforcement: reject_connection, \
             max_verify_depth: 2}}",
            pki().ca()
        ))
        .forward(
            "mtls",
            &backend.url(),
            &format!("prefix: /own\ntls_downstream_client_ca_file: {}", root.display()),
        )
        .forward("mtls", &backend.url(), "")
        .start();
    let status = |client: &Pair, path| proxy.curl("mtls", path).client(client).ok().status;
    assert_eq!((status(&deep, "/own"), status(&deep, "/")), (200, 495));
    assert_eq!((status(&pki().client(), "/own"), status(&pki().client(), "/")), (495, 200));
    assert_eq!(end(&proxy, Some(pki().pair("other/client")), false), End::Alert(48));
    assert_eq!(end(&proxy, None, false), End::Alert(116));
}
