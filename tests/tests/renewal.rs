//! Separate renewal of server certificates, CRLs and ticket keys: they change, and no other file is
//! read or compiled.

use std::{
    fs,
    os::unix::fs::{PermissionsExt, symlink},
    path::{Path, PathBuf},
};

use portcullis_tests::{
    Backend, Pair, Proxy, Raw,
    ca::Ca,
    openssl::{SClient, get, was_resumed},
    pki,
    proxy::Config,
    raw::{TlsOptions, read_chain},
    tempdir::TempDir,
    wait::until,
    ws,
};

const NAME: &str = "app.localhost.pomerium.io";
const ROUTES: usize = 50;

/// A directory of files that are replaced together: `live` is a link to one of its versions, as
/// Kubernetes and certbot do it. Two files that are replaced one by one can be read half-way.
struct Versions(TempDir);

impl Versions {
    fn new(name: &str) -> Versions {
        Versions(TempDir::new(name))
    }

    fn add(&self, version: &str, files: &[(&str, Vec<u8>)]) {
        let directory = self.0.path().join(version);
        fs::create_dir(&directory).expect("a file of the test");
        for (name, content) in files {
            fs::write(directory.join(name), content).expect("a file of the test");
            let secret = fs::Permissions::from_mode(0o600);
            fs::set_permissions(directory.join(name), secret).expect("a file of the test");
        }
    }

    fn add_pair(&self, version: &str, cert: &Path, key: &Path) {
        let read = |path| fs::read(path).expect("a file of the test");
        self.add(version, &[("tls.crt", read(cert)), ("tls.key", read(key))]);
    }

    fn make_live(&self, version: &str) {
        let next = self.0.path().join("next");
        symlink(version, &next).expect("a file of the test");
        fs::rename(next, self.0.path().join("live")).expect("a file of the test");
    }

    fn live(&self, name: &str) -> PathBuf {
        self.0.path().join("live").join(name)
    }

    fn live_pair(&self) -> Pair {
        Pair { cert: self.live("tls.crt"), key: self.live("tls.key") }
    }
}

fn with_routes(mut config: Config, backend: &Backend) -> Config {
    for number in 0..ROUTES {
        config = config.forward(&format!("other{number}"), &backend.url(), "");
    }
    config.forward("app", &backend.url(), "")
}

fn serves(proxy: &Proxy, pair: &Pair) -> bool {
    Some(&proxy.raw("app").server_certificate()) == read_chain(&pair.cert).first()
}

fn reloads(proxy: &Proxy, result: &str) -> f64 {
    proxy.metrics().sum("portcullis_config_reloads_total", &[("result", result)])
}

/// This number of renewals was counted, and only the first configuration was compiled.
fn only_renewed(proxy: &Proxy, renewals: u32) {
    let renewals = f64::from(renewals);
    proxy.wait_for_metric("portcullis_config_reloads_total", &[("result", "renewed")], |count| {
        count == renewals
    });
    assert_eq!((reloads(proxy, "applied"), reloads(proxy, "refused")), (1.0, 0.0));
    assert_eq!(proxy.count_log("configuration reloaded"), 0);
    assert_eq!(proxy.metrics().sum("portcullis_config_generation", &[]), 1.0 + renewals);
    assert_eq!(proxy.status()["config"]["generation"].as_f64(), Some(1.0 + renewals));
}

#[test]
fn a_renewed_certificate_is_served_without_a_load_of_the_routes() {
    let (backend, echo, versions) =
        (Backend::text("x"), ws::EchoServer::start(), Versions::new("renewed"));
    let first = pki().server();
    versions.add_pair("first", &first.cert, &first.key);
    versions.make_live("first");
    let config = Proxy::config().certificates(&[versions.live_pair(), pki().pair("exact")]);
    let proxy =
        with_routes(config, &backend).forward("ws", echo.url(), "allow_websockets: true").start();
    let mut kept = proxy.raw("app");
    let mut socket = ws::hold(proxy.address(), "ws.localhost.pomerium.io", "/");

    let fresh = pki().issue(&versions.0, "fresh", &["*.localhost.pomerium.io", "fresh.test"]);
    versions.add_pair("second", &fresh.cert, &fresh.key);
    versions.make_live("second");
    until("the renewed certificate", || serves(&proxy, &fresh));
    only_renewed(&proxy, 1);
    let line = proxy.wait_for_log("the renewal", |line| {
        line["message"] == "server certificates renewed" && line["generation"] == 2
    });
    assert_eq!(line["names"], "*.localhost.pomerium.io, fresh.test", "{line}");
    let status = proxy.status();
    let shown = |at: usize| status["certificates"][at]["names"].clone();
    assert_eq!(shown(0)[1], "fresh.test", "{status}");
    assert_eq!(shown(1)[0], "exact.localhost.pomerium.io", "{status}");

    kept.send(format!("GET / HTTP/1.1\r\nHost: {NAME}\r\n\r\n"));
    assert_eq!(kept.response().status, 200);
    assert!(socket.is_running(), "the websocket has ended");
}

#[test]
fn a_pair_that_does_not_match_is_refused_and_the_next_is_served() {
    let (backend, versions) = (Backend::text("x"), Versions::new("mismatch"));
    let (first, other) = (pki().server(), pki().pair("exact"));
    versions.add_pair("first", &first.cert, &first.key);
    versions.add_pair("mismatch", &first.cert, &other.key);
    versions.add_pair("other", &other.cert, &other.key);
    versions.make_live("first");
    let config = Proxy::config().certificates(&[versions.live_pair()]);
    let proxy = with_routes(config, &backend).start();

    versions.make_live("mismatch");
    let line = proxy.wait_for_log("the refusal", |line| line["level"] == "error");
    let text = line.to_string();
    assert!(text.contains("certificates[0].cert"), "the place: {text}");
    assert!(text.contains("does not belong to the certificate"), "{text}");
    assert!(serves(&proxy, &first));
    assert_eq!(proxy.status()["config"]["generation"], 1);
    assert_eq!(reloads(&proxy, "renewed"), 0.0);

    versions.make_live("other");
    let options = TlsOptions::name("exact.localhost.pomerium.io");
    until("the next pair", || Raw::try_tls(proxy.address(), &options).is_ok());
    proxy.wait_for_metric("portcullis_config_generation", &[], |value| value == 2.0);
}

#[test]
fn a_file_that_is_also_read_for_something_else_is_a_load_of_all() {
    let (backend, versions) = (Backend::text("x"), Versions::new("shared"));
    let (first, other) = (pki().server(), pki().pair("apps"));
    versions.add_pair("first", &first.cert, &first.key);
    versions.add_pair("other", &other.cert, &other.key);
    versions.make_live("first");
    let Pair { cert, key } = versions.live_pair();
    let client = format!("tls_client_cert_file: {cert:?}\ntls_client_key_file: {key:?}");
    let proxy = Proxy::config()
        .certificates(&[versions.live_pair()])
        .forward("app", &backend.url(), "")
        .forward("tls", "https://127.0.0.1:1", &client)
        .start();
    versions.make_live("other");
    proxy.wait_for_metric("portcullis_config_generation", &[], |value| value == 2.0);
    assert_eq!((reloads(&proxy, "applied"), reloads(&proxy, "renewed")), (2.0, 0.0));
}

#[test]
fn a_renewed_crl_rejects_a_client_on_its_open_connection() {
    for mode in ["policy_with_default_deny", "reject_connection"] {
        let (dir, backend) = (TempDir::new("crl"), Backend::text("inside"));
        let ca = Ca::new(&dir, "ca");
        let revoked = ca.issue("bad", "email:bad@a.test");
        let good = ca.issue("good", "email:good@a.test");
        let crl = dir.write("crl", ca.crl(&[]));
        let file = ca.certificate();
        let mtls = format!("{{ca_file: {file:?}, crl_file: {crl:?}, enforcement: {mode}}}");
        let config = Proxy::config().global(&format!("downstream_mtls: {mtls}"));
        let proxy = with_routes(config, &backend).start();
        let request = format!("GET / HTTP/1.1\r\nHost: {NAME}\r\n\r\n");
        let mut connections = [(&revoked, false), (&revoked, true), (&good, false)].map(|pair| {
            let mut options = TlsOptions::name(NAME).client(pair.0.clone());
            options.tls12 = pair.1;
            Raw::try_tls(proxy.address(), &options).unwrap()
        });
        let mut statuses =
            || connections.each_mut().map(|raw| raw.send(&request).response().status);
        assert_eq!(statuses(), [200, 200, 200], "{mode}");
        ca.revoke(&revoked);
        dir.write("crl", ca.crl(&[]));
        only_renewed(&proxy, 1);
        assert_eq!(statuses(), [495, 495, 200], "{mode}");
        assert_eq!(proxy.metrics().sum("portcullis_crl_revoked_certificates", &[]), 1.0);
        proxy.wait_for_log("the renewal", |line| {
            line["message"] == "certificate revocation lists renewed" && line["generation"] == 2
        });
    }
}

#[test]
fn a_ticket_key_that_is_renewed_still_opens_the_tickets_of_the_one_before() {
    let (backend, versions) = (Backend::text("x"), Versions::new("tickets"));
    let key = |byte: u8| (0..80).map(|at| byte.wrapping_add(at)).collect::<Vec<u8>>();
    versions.add("first", &[("current", key(0)), ("previous", key(100))]);
    versions.add("second", &[("current", key(50)), ("previous", key(0))]);
    versions.make_live("first");
    let files = [versions.live("current"), versions.live("previous")];
    let config = Proxy::config()
        .own("ticket_key_files", &format!("{files:?}"))
        .reject_connection(&pki().ca());
    let proxy = with_routes(config, &backend).start();
    let client = |session: &Path| {
        let client = SClient::new(proxy.address(), NAME).client(&pki().client());
        (client, session.to_owned())
    };
    let save = |name: &str| {
        let file = versions.0.path().join(name);
        let (client, file) = client(&file);
        client.save_session(&file).run(&get(NAME));
        file
    };
    let resumes = |session: &Path| {
        let (client, file) = client(session);
        was_resumed(&client.use_session(&file).run(&get(NAME)))
    };
    let old = save("old");
    versions.make_live("second");
    only_renewed(&proxy, 1);
    assert!(resumes(&old), "the former key is the second one now");
    assert!(resumes(&save("new")));
}
