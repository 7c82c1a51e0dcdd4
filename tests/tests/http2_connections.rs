//! Client certificates on one long HTTP/2 connection: each request is verified separately.

use std::time::{Duration, SystemTime};

use portcullis_tests::{
    Backend, Ca, Http2, Pair, Proxy, pki, raw::TlsOptions, tempdir::TempDir, wait::until,
};

const NAME: &str = "mtls.localhost.pomerium.io";
const MODES: [&str; 2] = ["policy_with_default_deny", "reject_connection"];

fn start(mtls: &str, backend: &Backend) -> Proxy {
    let mtls = format!("downstream_mtls: {{{mtls}}}");
    Proxy::config().global(&mtls).forward("mtls", &backend.url(), "").start()
}

fn connect(proxy: &Proxy, client: &Pair) -> Http2 {
    Http2::connect(proxy.address(), &TlsOptions::name(NAME).client(client.clone()))
}

#[test]
fn a_revoked_certificate_stops_working_on_a_connection() {
    let backend = Backend::text("inside");
    for mode in MODES {
        let dir = TempDir::new("revoked");
        let ca = Ca::new(&dir, "ca");
        let [bad, good] = ["bad", "good"].map(|name| ca.issue(name, "email:a@b.test"));
        let (file, crl) = (ca.certificate(), dir.write("crl", ca.crl(&[])));
        let mtls = format!("ca_file: {file:?}, crl_file: {crl:?}, enforcement: {mode}");
        let proxy = start(&mtls, &backend);
        let mut connections = [&bad, &good].map(|client| connect(&proxy, client));
        let mut statuses = || connections.each_mut().map(|connection| connection.get("/"));
        assert_eq!(statuses(), [200, 200], "{mode}");
        ca.revoke(&bad);
        dir.write("crl", ca.crl(&[]));
        proxy.wait_for_metric("portcullis_crl_revoked_certificates", &[], |count| count == 1.0);
        // The workers apply it one after another.
        until("the CRL on every worker", || statuses()[0] == 495);
        assert_eq!(statuses(), [495, 200], "{mode}");
    }
}

#[test]
fn an_expired_certificate_stops_working_on_a_connection() {
    let (dir, backend) = (TempDir::new("brief"), Backend::text("inside"));
    let file = pki().ca();
    let proxies =
        MODES.map(|mode| start(&format!("ca_file: {file:?}, enforcement: {mode}"), &backend));
    let end = SystemTime::now() + Duration::from_secs(6);
    let brief = pki().client_until(&dir, end);
    let clients = [&brief, &pki().client()];
    let mut connections =
        proxies.each_ref().map(|proxy| clients.map(|client| connect(proxy, client)));
    let mut statuses =
        || connections.each_mut().map(|pair| pair.each_mut().map(|connection| connection.get("/")));
    assert_eq!(statuses(), [[200, 200]; 2]);
    // Certificates have a resolution of a second.
    until("the certificate to expire", || SystemTime::now() > end + Duration::from_secs(2));
    assert_eq!(statuses(), [[495, 200]; 2]);
}
