//! The guides in `docs/`: their configurations are valid, and a reader who types their commands gets what
//! they promise.

use std::{fs, path::Path, process::Command};

use portcullis_tests::{
    Backend, Pair, Proxy, pki::pki, process::run, proxy::portcullis, tempdir::TempDir, tools::need,
    wait::until,
};

/// The certificates and keys that a configuration of `docs/nginx.md` names, each with one of ours.
fn with_files(text: &str) -> String {
    let (server, upstream, client) = (pki().server(), pki().proxy(), pki().ca());
    let files = [
        ("/etc/ssl/app.pem", &server.cert),
        ("/etc/ssl/app-key.pem", &server.key),
        ("/etc/ssl/proxy.pem", &upstream.cert),
        ("/etc/ssl/proxy-key.pem", &upstream.key),
        ("/etc/ssl/clients.pem", &client),
        ("/etc/ssl/internal.pem", &client),
    ];
    let named = |text: String, (name, file): &(&str, &std::path::PathBuf)| {
        text.replace(name, &file.display().to_string())
    };
    files.iter().fold(text.to_owned(), named)
}

#[test]
fn every_policy_of_the_guide_is_valid() {
    let policies = blocks("policies.md", "yaml");
    assert!(policies.len() >= 4, "{policies:?}");
    for policy in &policies {
        let file = pki().ca();
        let route =
            format!("from: https://app.localhost.pomerium.io\nto: http://127.0.0.1:1\n{policy}");
        let config = Proxy::config()
            .global(&format!("downstream_mtls: {{ca_file: {file:?}, enforcement: policy}}"))
            .own("client_certificate_identity", "email")
            .route_as_is(&route);
        let checked = config.check();
        assert!(checked.code == Some(0), "{policy}: {checked:?}");
    }
}

#[test]
fn both_configurations_of_the_nginx_guide_are_valid() {
    let dir = TempDir::new("guide-nginx");
    let authority = portcullis_tests::Ca::new(&dir, "ca");
    let list = dir.write("clients.crl", authority.crl(&[]));
    let with_files = |text: &str| {
        let authority = authority.certificate().display().to_string();
        let text = text.replace("/etc/ssl/clients.pem", &authority);
        with_files(&text.replace("/etc/ssl/clients.crl", &list.display().to_string()))
    };
    let ours = dir.write("config.yaml", with_files(&blocks("nginx.md", "yaml")[0]));
    let checked = portcullis(&[], &["check", "--config"], Some(&ours));
    assert!(checked.code == Some(0), "{checked:?}");

    let server = with_files(&blocks("nginx.md", "nginx")[0]);
    let theirs = format!("pid {0}/pid; events {{}} http {{ {server} }}", dir.path().display());
    let theirs = dir.write("nginx.conf", theirs);
    let mut nginx = Command::new(need("nginx"));
    let tested = run(nginx.arg("-t").arg("-c").arg(&theirs).args(["-e", "stderr"]), b"");
    assert!(tested.code == Some(0), "{tested:?}");
}

#[test]
fn both_configurations_of_the_monitoring_page_are_valid() {
    let dir = TempDir::new("guide-monitoring");
    let [ours, theirs] = &blocks("monitoring.md", "yaml")[..] else { panic!("two configurations") };
    let server = pki().server();
    let ours = ours
        .replace("/etc/portcullis/metrics.pem", &server.cert.display().to_string())
        .replace("/etc/portcullis/metrics-key.pem", &server.key.display().to_string());
    let config = Proxy::config().global(&ours).forward("app", "http://127.0.0.1:1", "");
    let checked = config.check();
    assert!(checked.code == Some(0), "{checked:?}");

    let rules = Path::new(env!("CARGO_MANIFEST_DIR")).join("../packaging/prometheus");
    let rules = fs::read(rules.join("portcullis.rules.yaml")).expect("the rules");
    dir.write("portcullis.rules.yaml", rules);
    let authority = pki().ca().display().to_string();
    let theirs = theirs.replace("/etc/prometheus/internal.pem", &authority);
    let theirs = dir.write("prometheus.yml", theirs);
    let mut promtool = Command::new(need("promtool"));
    let checked = run(promtool.args(["check", "config"]).arg(theirs), b"");
    assert!(checked.code == Some(0), "{checked:?}");
}

#[test]
fn the_private_ca_identifies_revokes_and_renews() {
    let dir = TempDir::new("guide-ca");
    need("openssl");
    let steps = blocks("private-ca.md", "sh");
    let [make, issue, export, revoke, renew] = &steps[..] else { panic!("{steps:?}") };
    [make, issue, export].into_iter().for_each(|step| shell(dir.path(), step));
    assert!(dir.path().join("alice.p12").is_file());

    let keys = blocks("private-ca.md", "yaml").remove(0);
    let (keys, own) = keys.split_once("portcullis:").expect("our own section comes last");
    assert!(own.contains("client_certificate_identity: email"), "{own}");
    let keys = keys.replace("/etc/portcullis/", &format!("{}/ca/", dir.path().display()));
    let backend = Backend::text("hello");
    let policy = "policy: [{allow: {or: [{email: {is: alice@example.com}}]}}]";
    let route = format!("from: https://app.localhost.pomerium.io\nto: {}\n{policy}", backend.url());
    let proxy = Proxy::config()
        .global(&keys)
        .own("client_certificate_identity", "email")
        .route_as_is(&route)
        .start();

    let with =
        |name: &str| Pair { cert: dir.path().join(name), key: dir.path().join("alice-key.pem") };
    let status = |name: &str| proxy.curl("app", "/").client(&with(name)).run().status;
    assert_eq!(proxy.curl("app", "/").run().status, 495);
    assert_eq!(status("alice.pem"), 200);
    shell(dir.path(), revoke);
    until("the list to be loaded", || status("alice.pem") == 495);
    shell(dir.path(), renew);
    assert_eq!(status("alice-2.pem"), 200);
}

/// Runs commands as somebody who types them in this directory.
fn shell(directory: &Path, commands: &str) {
    let mut shell = Command::new("bash");
    shell.args(["-euc", commands]).current_dir(directory);
    let done = run(&mut shell, b"");
    assert!(done.code == Some(0), "{commands}: {done:?}");
}

/// The fenced blocks of a language in a page of `docs/`.
fn blocks(page: &str, language: &str) -> Vec<String> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs").join(page);
    let page = fs::read_to_string(path).expect("a page in UTF-8");
    let open = format!("```{language}\n");
    let blocks = page.split(&open).skip(1);
    blocks.map(|rest| rest.split("```").next().unwrap_or_default().to_owned()).collect()
}
