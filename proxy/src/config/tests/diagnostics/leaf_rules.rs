//! Names of clients' certificates, lists of the revoked, and ticket keys.

use std::os::unix::fs::PermissionsExt;

use super::{super::support::Dir, *};
use crate::config::tests::support::with_certificate;

const MTLS: &str = "downstream_mtls:\n  ca_file: '@ca.pem'\n  enforcement: reject_connection";
const RULES: &str = "portcullis: {crl: {missing: allow, stale: reject}}\nroutes: []";

fn mtls(keys: &str) -> String {
    format!("{MTLS}\n  {keys}\n{RULES}")
}

#[test]
fn mistakes_in_san_patterns_are_told_with_their_place() {
    let names = |list: &str| format!("{MTLS}\n  match_subject_alt_names: {list}");
    for (list, expected) in [
        (
            "[{dns: a, email: b}]",
            "match_subject_alt_names[0]: unsupported SAN matcher format: expected {type: pattern} \
             (write one list entry per pattern)",
        ),
        (
            "[{}]",
            "match_subject_alt_names[0]: unsupported SAN matcher format: expected {type: pattern} \
             (write one list entry per pattern)",
        ),
        (
            "[{dns: a}, {email: '['}]",
            "match_subject_alt_names[1].email: couldn't parse pattern: unclosed character class (the syntax is RE2's, and the whole name must match)",
        ),
        (
            "[{dns: 'a)|(?:b'}]",
            "match_subject_alt_names[0].dns: couldn't parse pattern: unopened group (the syntax is RE2's, and the whole name must match)",
        ),
        ("[{dns: [a]}]", "match_subject_alt_names[0].dns: expected a regular expression"),
        ("{dns: a}", "match_subject_alt_names: expected a list, found a mapping"),
        ("[dns]", "match_subject_alt_names[0]: expected a mapping, found a text"),
        ("", "match_subject_alt_names: is empty (give it a value, or remove the key)"),
    ] {
        assert_eq!(errors(&names(list)), [format!("config.yaml:4: downstream_mtls.{expected}")]);
    }
    let unknown = errors(&names("[{dsn: a}]"));
    assert_eq!(
        unknown,
        [
            "config.yaml:4: downstream_mtls.match_subject_alt_names[0].dsn: is not a known key (`dns`?)",
            "config.yaml:4: downstream_mtls.match_subject_alt_names[0].dsn: unknown SAN type \"dsn\" (one of dns, email, ip_address, uri, user_principal_name)",
        ]
    );
}

#[test]
fn a_crl_that_cannot_be_read_is_refused_with_its_place() {
    for (keys, expected) in [
        ("crl_file: '@ca.pem'", "crl_file: ca.pem: no CRL found"),
        ("crl_file: '@nowhere'", "crl_file: cannot read nowhere: no such file or directory"),
        ("crl_file: '@broken.pem'", "crl_file: broken.pem, line 2: it has no end line (cut off?)"),
        (
            "crl: '*'",
            "crl: illegal base64 data at input byte 0 (`base64 -w0 FILE`, or the path as `crl_file`)",
        ),
        ("crl: Z2FyYmFnZQ==", "crl: downstream_mtls.crl: no CRL found"),
        ("crl: ''", "crl: is empty (give it a value, or remove the key)"),
        ("{crl: x, crl_file: x}", "crl: cannot set both crl and crl_file"),
    ] {
        let dir = Dir::new();
        dir.write("broken.pem", "\n-----BEGIN X509 CRL-----\nMII\n");
        let keys = keys.trim_matches(['{', '}']).replace(", ", "\n  ");
        let refused = dir.load(&with_certificate(&format!("{MTLS}\n  {keys}")), &[]).unwrap_err();
        let shown: Vec<_> = refused.errors().map(|error| dir.shown(error)).collect();
        assert_eq!(shown, [format!("config.yaml:4: downstream_mtls.{expected}")]);
    }
}

#[test]
fn the_older_names_of_crls_are_read_and_contradict_the_newer() {
    let older = format!("client_crl_file: '@crl.pem'\n{MTLS}\n{RULES}");
    assert_eq!(
        warnings(&older),
        ["config.yaml:1: client_crl_file: is the older name of `downstream_mtls.crl_file`"]
    );
    let both = format!("client_crl_file: '@crl.pem'\n{MTLS}\n  crl_file: '@crl.pem'\n{RULES}");
    assert_eq!(
        errors(&both),
        [
            "config.yaml:1: client_crl_file: cannot set both client_crl_file and downstream_mtls.crl_file"
        ]
    );
}

#[test]
fn differences_to_pomerium_are_warned_of_unless_configured() {
    assert_eq!(warnings(&mtls("crl_file: '@crl.pem'")), [""; 0]);
    let [missing, stale] = &warnings(&format!("{MTLS}\n  crl_file: '@crl.pem'\nroutes: []"))[..]
    else {
        panic!("two warnings");
    };
    assert!(missing.contains("Pomerium's reject_connection refuses it"), "{missing}");
    assert!(stale.contains("Pomerium's policy modes keep accepting them"), "{stale}");
}

#[test]
fn a_stale_crl_and_one_of_a_stranger_are_warned_of() {
    let [stale] = &warnings(&mtls("crl_file: '@stale-crl.pem'"))[..] else {
        panic!("one warning");
    };
    assert!(
        stale.starts_with("config.yaml:4: downstream_mtls.crl_file: stale-crl.pem: the CRL of")
    );
    assert!(stale.contains(" has been stale for ") && stale.ends_with(" days"), "{stale}");

    let dir = Dir::new();
    let stranger = include_str!("../../../tls/testdata/crl/v2.crl.pem");
    dir.write("stranger.pem", stranger);
    let loaded = dir.load(&with_certificate(&mtls("crl_file: '@stranger.pem'")), &[]).unwrap();
    let [stranger] = &loaded.warnings[..] else { panic!("{:?}", loaded.warnings) };
    assert!(stranger.to_string().contains("no CA is named \"CN=CRL test CA\""), "{stranger}");
}

#[test]
fn crl_rules_without_a_crl_and_crls_without_a_ca_are_refused() {
    assert_eq!(
        errors(&format!("{MTLS}\n{RULES}")),
        [
            "config.yaml:4: portcullis.crl.missing: has no effect: no CRL is configured (set \
             downstream_mtls.crl_file, or remove the rule)",
            "config.yaml:4: portcullis.crl.stale: has no effect: no CRL is configured (set \
             downstream_mtls.crl_file, or remove the rule)",
        ]
    );
    let [refused] = &errors(&format!("client_crl_file: '@crl.pem'\n{RULES}"))[..] else {
        panic!("one error");
    };
    assert!(refused.contains("no client CA is configured"), "{refused}");
}

#[test]
fn a_file_that_holds_no_ticket_key_is_refused_with_its_place() {
    let dir = Dir::new();
    dir.write("short", [1; 47]);
    dir.write("zero", [0; 80]);
    let yaml = "portcullis:\n  ticket_key_files:\n  - '@short'\n  - '@zero'\n  - '@nowhere'\n  - '@ticket.key'\n  - '@ticket.key'\n";
    let refused = dir.load(&with_certificate(yaml), &[]).unwrap_err();
    let shown: Vec<_> = refused.errors().map(|error| dir.shown(error)).collect();
    let key = |index| format!("config.yaml:{}: portcullis.ticket_key_files[{index}]", index + 3);
    let hint = "(`openssl rand 80 > FILE` generates one)";
    assert_eq!(
        shown,
        [
            format!("{}: short: it has 47 bytes; a ticket key has 48 or 80 {hint}", key(0)),
            format!("{}: zero: all its bytes are the same {hint}", key(1)),
            format!("{}: cannot read nowhere: no such file or directory", key(2)),
            format!(
                "{}: ticket.key: is listed twice (the first 16 bytes of each key must be unique)",
                key(4)
            ),
        ]
    );
    let empty = errors("portcullis: {ticket_key_files: []}");
    assert_eq!(
        empty,
        ["config.yaml:1: portcullis.ticket_key_files: is empty (name a file, or remove the key)"]
    );
}

#[test]
fn a_ticket_key_that_everyone_may_read_is_warned_of() {
    let dir = Dir::new();
    dir.open_to_everybody();
    let yaml = with_certificate("portcullis: {ticket_key_files: ['@ticket.key']}");
    for (mode, warned) in [(0o600, 0), (0o640, 0), (0o644, 1)] {
        let permissions = std::fs::Permissions::from_mode(mode);
        std::fs::set_permissions(dir.file("ticket.key"), permissions).unwrap();
        let loaded = dir.load(&yaml, &[]).unwrap();
        let about = loaded.warnings.iter().filter(|warning| {
            warning.to_string().contains("every user of this machine can read it")
        });
        assert_eq!(about.count(), warned, "{mode:o}");
        assert_eq!(loaded.config.ticket_keys.len(), 1);
        // What is loaded can be shown, and does not show the key.
        assert!(!format!("{:?}", loaded.config.ticket_keys).contains("6789"));
    }
}
