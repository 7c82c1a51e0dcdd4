//! Secrets that every user of the machine can read.

use super::super::support::{Dir, warnings_in, with_certificate};

const ROUTE: &str = "routes:\n- from: https://a.localhost.pomerium.io\n  to: http://b\n  \
     allow_public_unauthenticated_access: true";

#[test]
fn a_key_that_everybody_can_read_is_warned_of() {
    let dir = Dir::new();
    dir.open_to_everybody();
    dir.make_readable_by(0o640, "server-key.pem");
    assert!(warnings_in(&dir, &with_certificate(ROUTE)).is_empty(), "a group may read it");
    dir.make_readable_by(0o644, "server-key.pem");
    let expected = "config.yaml:6: certificate_key_file: server-key.pem: every user of this machine \
         can read it, and show the certificate as their own (chmod o-r)";
    assert_eq!(warnings_in(&dir, &with_certificate(ROUTE)), [expected]);
}

#[test]
fn each_secret_file_that_everybody_can_read_is_warned_of() {
    let dir = Dir::new();
    dir.open_to_everybody();
    dir.write("secret", "WwMtDXWaRDMBQCylle8OJ+w4kLIDIGd8W3cB4/zFFtg=\n");
    for (key, file, yaml) in [
        ("certificate_key_file", "server-key.pem", String::new()),
        ("shared_secret_file", "secret", "shared_secret_file: '@secret'".to_owned()),
        ("cookie_secret_file", "secret", "cookie_secret_file: '@secret'".to_owned()),
        (
            "idp_client_secret_file",
            "secret",
            "authenticate_service_url: https://authenticate.localhost.pomerium.io\nidp_provider: \
             google\nidp_client_id: a\nidp_client_secret_file: '@secret'"
                .to_owned(),
        ),
        ("signing_key_file", "other-key.pem", "signing_key_file: '@other-key.pem'".to_owned()),
        (
            "metrics_certificate_key_file",
            "client-key.pem",
            "metrics_certificate_file: '@client.pem'\nmetrics_certificate_key_file: \
             '@client-key.pem'"
                .to_owned(),
        ),
        (
            "portcullis.ticket_key_files[0]",
            "ticket.key",
            "portcullis: {ticket_key_files: ['@ticket.key']}".to_owned(),
        ),
    ] {
        let yaml = with_certificate(&format!("{ROUTE}\n{yaml}"));
        let told = |mode| {
            dir.make_readable_by(mode, file);
            let warnings = warnings_in(&dir, &yaml);
            let is_about = |it: &&String| it.contains(&format!(": {key}: {file}: every user of"));
            warnings.iter().filter(is_about).count()
        };
        assert_eq!([told(0o600), told(0o604), told(0o600)], [0, 1, 0], "{key}");
    }
}

#[test]
fn a_route_s_key_that_everybody_can_read_is_warned_of_once() {
    let dir = Dir::new();
    dir.open_to_everybody();
    dir.make_readable_by(0o604, "client-key.pem");
    let keys = "\n  tls_client_cert_file: '@client.pem'\n  tls_client_key_file: '@client-key.pem'";
    let second = ROUTE.replace("routes:\n", "").replace("a.local", "b.local");
    let yaml = with_certificate(&format!("{ROUTE}{keys}\n{second}{keys}"));
    let warnings = warnings_in(&dir, &yaml);
    let is_about = |it: &&String| it.contains("client-key.pem: every user of this machine");
    let told: Vec<_> = warnings.iter().filter(is_about).collect();
    assert_eq!(told.len(), 1, "{warnings:?}");
    assert!(told[0].starts_with("config.yaml:6: routes[0].tls_client_key_file: "), "{told:?}");
}

#[test]
fn a_file_with_a_secret_in_it_that_everybody_can_read_is_warned_of() {
    let dir = Dir::new();
    dir.open_to_everybody();
    let secret = "shared_secret: WwMtDXWaRDMBQCylle8OJ+w4kLIDIGd8W3cB4/zFFtg=";
    let expected = "config.yaml:1: shared_secret: every user of this machine can read this file, \
         and the secret in it (chmod o-r)";
    let warnings = |lines: &str, mode: u32| {
        let yaml = with_certificate(&format!("{lines}\n{ROUTE}"));
        dir.write("config.yaml", "");
        dir.make_readable_by(mode, "config.yaml");
        let shown = warnings_in(&dir, &yaml);
        shown.into_iter().filter(|it| it.contains("this file")).collect::<Vec<_>>()
    };
    assert_eq!(warnings(secret, 0o644), [expected]);
    assert_eq!(warnings(secret, 0o640), [""; 0]);
    assert_eq!(warnings("timeout_read: 5s", 0o644), [""; 0]);
}
