//! Client certificates that were revoked, or have names that are not allowed.

use std::path::Path;

use portcullis_tests::{
    Backend, Ca, Pair, Proxy, Raw,
    openssl::{self, SClient, get},
    proxy::Config,
    raw::TlsOptions,
    tempdir::TempDir,
    wait::until,
    wire::End,
};

const NAME: &str = "app.localhost.pomerium.io";

/// A configuration with this CA and more keys of `downstream_mtls`.
fn under(ca: &Ca, backend: &Backend, keys: &str) -> Config {
    let file = ca.certificate();
    Proxy::config().global(&format!("downstream_mtls: {{ca_file: {file:?}{keys}}}")).forward(
        "app",
        &backend.url(),
        "",
    )
}

fn crl_file(path: &Path) -> String {
    format!(", crl_file: {path:?}")
}

/// How a connection with this certificate ends, when one request is sent on it.
fn end(proxy: &Proxy, client: &Pair, tls12: bool) -> End {
    let mut options = TlsOptions::name(NAME).client(client.clone());
    options.tls12 = tls12;
    match Raw::try_tls(proxy.address(), &options) {
        Err(end) => end,
        Ok(mut raw) => {
            raw.send(get(NAME));
            raw.to_end().end
        }
    }
}

fn alert(proxy: &Proxy, client: &Pair) -> u8 {
    let heard = ["-tls1_2", "-tls1_3"].map(|version| {
        let done =
            SClient::new(proxy.address(), NAME).client(client).args([version]).run(&get(NAME));
        openssl::alert(&done).unwrap_or_else(|| panic!("{version}: {done:?}"))
    });
    assert_eq!(heard[0], heard[1], "TLS 1.2 and 1.3 differ");
    for tls12 in [false, true] {
        assert_eq!(end(proxy, client, tls12), End::Alert(heard[0]), "TLS 1.2 only: {tls12}");
    }
    heard[0]
}

#[test]
fn reject_connection_tells_the_peer_why_by_its_alert() {
    let (dir, backend) = (TempDir::new("alerts"), Backend::text("inside"));
    let (ca, other) = (Ca::new(&dir, "ca"), Ca::new(&dir, "other"));
    let (good, revoked) =
        (ca.issue("good", "email:good@a.test"), ca.issue("bad", "email:b@a.test"));
    ca.revoke(&revoked);
    let start = |crl: String, keys: &str, rules: &str| {
        let keys =
            format!(", enforcement: reject_connection{}{keys}", crl_file(&dir.write("crl", crl)));
        under(&ca, &backend, &keys).own("crl", rules).start()
    };
    let answers = |proxy: &Proxy| proxy.curl("app", "/").client(&good).ok().status;

    let current = start(ca.crl(&[]), "", "{missing: reject}");
    assert_eq!(alert(&current, &revoked), 44);
    assert_eq!(answers(&current), 200);
    let record = current.wait_for_refusal(|_| true);
    let reason = record["downstream-transport-failure-reason"].as_str().unwrap();
    assert!(reason.contains("its issuer has revoked it"), "{record}");

    let missing = start(other.crl(&[]), "", "{missing: reject}");
    assert_eq!(alert(&missing, &good), 48);
    assert_eq!(answers(&start(other.crl(&[]), "", "{}")), 200);

    let stale = start(ca.stale_crl(), "", "{}");
    assert_eq!(alert(&stale, &good), 48);
    let tolerant = start(ca.stale_crl(), "", "{stale: allow}");
    assert_eq!(answers(&tolerant), 200);
    assert_eq!(alert(&tolerant, &revoked), 44, "what a stale list says still holds");

    let names = start(ca.crl(&[]), ", match_subject_alt_names: [{email: a}, {email: test}]", "{}");
    assert_eq!(alert(&names, &good), 46);
    let names = start(ca.crl(&[]), ", match_subject_alt_names: [{email: '.*@a[.]test'}]", "{}");
    assert_eq!(answers(&names), 200);
}

#[test]
fn a_revoked_certificate_is_refused_at_the_next_request() {
    let backend = Backend::text("inside");
    for mode in ["policy_with_default_deny", "reject_connection"] {
        let dir = TempDir::new("running");
        let ca = Ca::new(&dir, "ca");
        let revoked = ca.issue("bad", "email:bad@a.test");
        let good = ca.issue("good", "email:good@a.test");
        let crl = dir.write("crl", ca.crl(&[]));
        let keys = format!(", enforcement: {mode}{}", crl_file(&crl));
        let proxy = under(&ca, &backend, &keys).start();
        let request = format!("GET / HTTP/1.1\r\nHost: {NAME}\r\n\r\n");
        let pairs = [(&revoked, false), (&revoked, true), (&good, false)];
        let mut connections = pairs.map(|(pair, tls12)| {
            let mut options = TlsOptions::name(NAME).client(pair.clone());
            options.tls12 = tls12;
            Raw::try_tls(proxy.address(), &options).unwrap()
        });
        let mut statuses =
            || connections.each_mut().map(|raw| raw.send(&request).response().status);
        assert_eq!(statuses(), [200, 200, 200], "{mode}");
        ca.revoke(&revoked);
        dir.write("crl", ca.crl(&[]));
        until("the CRL on every worker", || statuses() == [495, 495, 200]);
    }
}

#[test]
fn a_request_over_http2_hears_of_the_next_crl_too() {
    let (dir, backend) = (TempDir::new("http2"), Backend::text("inside"));
    let ca = Ca::new(&dir, "ca");
    let client = ca.issue("client", "email:c@a.test");
    let crl = dir.write("crl", ca.crl(&[]));
    let proxy = under(&ca, &backend, &crl_file(&crl)).start();
    let before = proxy.curl("app", "/").http2().client(&client).ok();
    assert_eq!(before.status, 200);
    ca.revoke(&client);
    dir.write("crl", ca.crl(&[]));
    until("the CRL", || proxy.curl("app", "/").http2().client(&client).ok().status == 495);
}

#[test]
fn a_session_is_not_resumed_under_the_next_crl() {
    let (dir, backend) = (TempDir::new("sessions"), Backend::text("inside"));
    let ca = Ca::new(&dir, "ca");
    let client = ca.issue("client", "email:c@a.test");
    let crl = dir.write("crl", ca.crl(&[]));
    let keys = format!(", enforcement: reject_connection{}", crl_file(&crl));
    let proxy = under(&ca, &backend, &keys).start();
    for (version, count) in [("-tls1_2", 1.0), ("-tls1_3", 2.0)] {
        let file = dir.path().join(version);
        let client = || SClient::new(proxy.address(), NAME).client(&client).args([version]);
        client().save_session(&file).run(&get(NAME));
        assert!(openssl::was_resumed(&client().use_session(&file).run(&get(NAME))), "{version}");
        ca.revoke(&ca.issue(version.trim_start_matches('-'), "email:other@a.test"));
        dir.write("crl", ca.crl(&[]));
        proxy.wait_for_metric("portcullis_crl_revoked_certificates", &[], |now| now == count);
        let after = client().use_session(&file).run(&get(NAME));
        assert!(after.stdout.contains("HTTP/1.1 200"), "a full handshake instead: {after:?}");
        until("no worker to resume", || {
            !openssl::was_resumed(&client().use_session(&file).run(&get(NAME)))
        });
    }
}

#[test]
fn a_crl_that_is_damaged_keeps_the_one_before() {
    let (dir, backend) = (TempDir::new("damaged"), Backend::text("inside"));
    let ca = Ca::new(&dir, "ca");
    let (revoked, good) = (ca.issue("bad", "email:b@a.test"), ca.issue("good", "email:g@a.test"));
    ca.revoke(&revoked);
    let whole = ca.crl(&[]);
    let crl = dir.write("crl", &whole);
    let proxy = under(&ca, &backend, &crl_file(&crl)).start();
    dir.write("crl", &whole[..whole.len() / 2]);
    proxy.wait_for_metric("portcullis_config_last_reload_success", &[], |success| success == 0.0);
    assert_eq!(proxy.curl("app", "/").client(&revoked).ok().status, 495);
    assert_eq!(proxy.curl("app", "/").client(&good).ok().status, 200);
    let status = proxy.status();
    let said = status["config"]["last_reload"]["error"].as_str().unwrap();
    assert!(said.contains("crl, line 1: it has no end line"), "{said}");
}

#[test]
fn status_and_metrics_and_check_tell_of_a_stale_crl() {
    let (dir, backend) = (TempDir::new("stale"), Backend::text("inside"));
    let ca = Ca::new(&dir, "ca");
    ca.revoke(&ca.issue("bad", "email:b@a.test"));
    let crl = dir.write("crl", ca.stale_crl());
    let config = under(&ca, &backend, &crl_file(&crl));
    let checked = config.check();
    assert_eq!(checked.code, Some(0));
    let said = format!("{}{}", checked.stdout, checked.stderr);
    assert!(said.contains("the CRL of \"CN=ca,O=Test\" has been stale for "), "{said}");

    let proxy = config.start();
    let labels = [("issuer", "CN=ca,O=Test")];
    let metrics = proxy.metrics();
    let gauge = |name| metrics.sum(name, &labels);
    assert_eq!(gauge("portcullis_crl_this_update_timestamp_seconds"), 1_577_836_800.0);
    assert_eq!(gauge("portcullis_crl_next_update_timestamp_seconds"), 1_577_923_200.0);
    assert_eq!(gauge("portcullis_crl_revoked_certificates"), 1.0);
    let status = proxy.status();
    assert_eq!(status["crls"][0]["issuer"], "CN=ca,O=Test", "{status}");
    assert!(status["crls"][0]["days_left"].as_i64().unwrap() < 0, "{status}");
}
