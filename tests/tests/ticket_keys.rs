//! Session tickets under keys from files: they outlive a restart, and work on other machines.

use std::{
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

use portcullis_tests::{
    Backend, Proxy,
    openssl::{SClient, get, was_resumed},
    pki,
    proxy::Config,
    tempdir::TempDir,
    wait::until,
};

const NAME: &str = "app.localhost.pomerium.io";
const VERSIONS: [&str; 2] = ["-tls1_2", "-tls1_3"];

fn node(backend: &Backend, keys: &[&Path]) -> Config {
    Proxy::config()
        .own("ticket_key_files", &format!("{keys:?}"))
        .reject_connection(&pki().ca())
        .forward("app", &backend.url(), "")
}

/// Made like `openssl rand` does, as the reference advises.
fn key(dir: &TempDir, name: &str, len: usize) -> PathBuf {
    let path = dir.path().join(name);
    let mut command = std::process::Command::new(portcullis_tests::tools::need("openssl"));
    let status = command.args(["rand", "-out"]).arg(&path).arg(len.to_string()).status();
    assert!(status.expect("openssl").success());
    let secret = std::fs::Permissions::from_mode(0o600);
    std::fs::set_permissions(&path, secret).expect("the key just made");
    path
}

fn client(proxy: &Proxy, version: &str) -> SClient {
    SClient::new(proxy.address(), NAME).client(&pki().client()).args([version])
}

/// A file with a session of this proxy.
fn session(proxy: &Proxy, version: &str, dir: &TempDir, name: &str) -> PathBuf {
    let file = dir.path().join(format!("{name}{version}"));
    let done = client(proxy, version).save_session(&file).run(&get(NAME));
    assert!(done.stdout.contains("HTTP/1.1 200"), "{done:?}");
    file
}

fn resumes(proxy: &Proxy, version: &str, session: &Path) -> bool {
    let done = client(proxy, version).use_session(session).run(&get(NAME));
    assert!(done.stdout.contains("HTTP/1.1 200"), "{done:?}");
    was_resumed(&done)
}

#[test]
fn a_session_resumes_on_another_node_and_after_a_restart() {
    let (dir, backend) = (TempDir::new("nodes"), Backend::text("x"));
    let (long, short) = (key(&dir, "long", 80), key(&dir, "short", 48));
    for keys in [[&*long], [&*short]] {
        let (first, second) = (node(&backend, &keys).start(), node(&backend, &keys).start());
        let stranger = node(&backend, &[&*key(&dir, "other", 80)]).start();
        let sessions = VERSIONS.map(|version| session(&first, version, &dir, "session"));
        drop(first);
        let restarted = node(&backend, &keys).start();
        for (version, session) in VERSIONS.iter().zip(&sessions) {
            assert!(resumes(&second, version, session), "{version} on the second node");
            assert!(resumes(&restarted, version, session), "{version} after the restart");
            assert!(!resumes(&stranger, version, session), "{version} under another key");
        }
    }
}

#[test]
fn a_key_is_replaced_and_the_former_one_still_opens() {
    let (dir, backend) = (TempDir::new("rotation"), Backend::text("x"));
    let (current, previous) = (key(&dir, "current", 80), key(&dir, "previous", 80));
    let proxy = node(&backend, &[&current, &previous]).start();
    let old = VERSIONS.map(|version| session(&proxy, version, &dir, "old"));
    let generation = || proxy.metrics().sum("portcullis_config_generation", &[]);

    // The files are swapped, as a rotation script would do it.
    let next = key(&dir, "next", 80);
    std::fs::rename(&current, &previous).unwrap();
    std::fs::rename(&next, &current).unwrap();
    until("the new key", || generation() > 1.0);
    let new = VERSIONS.map(|version| session(&proxy, version, &dir, "new"));
    for (at, version) in VERSIONS.iter().enumerate() {
        assert!(resumes(&proxy, version, &old[at]), "{version}");
        assert!(resumes(&proxy, version, &new[at]), "{version}");
    }

    key(&dir, "previous", 80);
    until("the old key to be gone", || !resumes(&proxy, VERSIONS[0], &old[0]));
    for (at, version) in VERSIONS.iter().enumerate() {
        until("every worker to forget it", || !resumes(&proxy, version, &old[at]));
        assert!(resumes(&proxy, version, &new[at]), "{version}");
    }
}

#[test]
fn a_key_file_of_wrong_length_stops_start_and_reload() {
    let (dir, backend) = (TempDir::new("length"), Backend::text("x"));
    let file = key(&dir, "key", 79);
    let config = node(&backend, &[&file]);
    let refused = config.check();
    assert_eq!(refused.code, Some(1));
    let said = format!("{}{}", refused.stdout, refused.stderr);
    assert!(said.contains("it has 79 bytes; a ticket key has 48 or 80"), "{said}");

    key(&dir, "key", 80);
    let proxy = config.start();
    let session = session(&proxy, "-tls1_3", &dir, "session");
    key(&dir, "key", 47);
    proxy.wait_for_metric("portcullis_config_last_reload_success", &[], |success| success == 0.0);
    assert!(resumes(&proxy, "-tls1_3", &session));
}
