//! Files that were not written to be read.

use std::{fmt::Write as _, path::Path};

use proptest::prelude::*;

use super::support::{Dir, errors, errors_of, with_certificate};
use crate::config::{ConfigLocation, Environment, load};

#[test]
fn an_alias_bomb_is_refused() {
    let mut yaml = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
    for level in 1..30 {
        let references = vec![format!("*a{}", level - 1); 10].join(", ");
        writeln!(yaml, "a{level}: &a{level} [{references}]").unwrap();
    }
    let errors = errors_of(&yaml, &[]);
    assert_eq!(errors.len(), 1);
    assert!(errors[0].ends_with("the file has more than 4000000 values, aliases counted"));
}

#[test]
fn deep_nesting_is_refused() {
    let errors = errors_of(&format!("routes: {}", "[".repeat(10_000)), &[]);
    assert_eq!(errors, ["config.yaml:1: nested more than 64 levels deep"]);
}

#[test]
fn a_file_that_is_not_text_is_refused_with_its_line() {
    let dir = Dir::new();
    let path = dir.file("binary.yaml");
    std::fs::write(&path, b"address: :443\nname: \xff\xfe\n").unwrap();
    let refused = load(&ConfigLocation::named(&path), &Environment::default()).unwrap_err();
    assert_eq!(refused.findings[0].line, Some(2));
    assert_eq!(refused.findings[0].message, "is not valid UTF-8");
}

#[test]
fn a_file_that_is_missing_is_watched_all_the_same() {
    let path = Path::new("/nonexistent/config.yaml");
    let refused = load(&ConfigLocation::named(path), &Environment::default()).unwrap_err();
    assert_eq!(
        refused.to_string(),
        "/nonexistent/config.yaml: error: cannot be read: no such file or directory"
    );
    assert_eq!((&*refused.files[0].path, refused.files[0].digest), (path, None));
}

#[test]
fn a_configuration_that_is_not_a_regular_file_is_refused() {
    let dir = Dir::new();
    dir.write("config.yaml", "");
    dir.replace_by_fifo("config.yaml");
    let fifo = dir.file("config.yaml");
    for (path, kind) in
        [(fifo.as_path(), "FIFO"), ("/tmp".as_ref(), "directory"), ("/dev/zero".as_ref(), "device")]
    {
        let refused = load(&ConfigLocation::named(path), &Environment::default()).unwrap_err();
        let reason = format!("cannot be read: is a {kind}, not a regular file");
        assert!(refused.to_string().ends_with(&reason), "{refused}");
    }
}

#[test]
fn a_fifo_that_a_key_names_is_an_error_at_that_key() {
    for (file, place) in [("server.pem", "certificate_file"), ("ca.pem", "downstream_mtls.ca_file")]
    {
        let dir = Dir::new();
        dir.replace_by_fifo(file);
        let yaml = with_certificate("downstream_mtls: {ca_file: '@ca.pem'}");
        let refused = dir.load(&yaml, &[]).unwrap_err();
        let name = dir.file(file);
        let expected =
            format!("{place}: cannot read {}: is a FIFO, not a regular file", name.display());
        assert!(refused.errors().any(|error| error.to_string().contains(&expected)), "{refused}");
    }
}

#[test]
fn system_roots_in_a_fifo_are_an_error() {
    let dir = Dir::new();
    dir.write("roots.pem", "");
    dir.replace_by_fifo("roots.pem");
    let yaml = with_certificate(
        "routes: [{from: 'https://a.example', to: 'https://b.example', allow_public_unauthenticated_access: true}]",
    );
    let refused = dir.load(&yaml, &[("SSL_CERT_FILE", "@roots.pem")]).unwrap_err();
    assert!(refused.to_string().contains("is a FIFO, not a regular file"), "{refused}");
}

#[test]
fn what_is_not_a_mapping_is_refused() {
    for yaml in ["- a\n- b\n", "just text\n", "5\n"] {
        assert_eq!(errors_of(yaml, &[]), ["config.yaml:1: the file is not a mapping of keys"]);
    }
}

#[test]
fn an_empty_file_asks_for_a_certificate() {
    assert_eq!(
        errors_of("# nothing yet\n", &[]),
        ["config.yaml: no server certificate is given (set certificate_file and \
          certificate_key_file, or insecure_server: true)"]
    );
}

#[test]
fn duplicate_keys_are_all_found() {
    assert_eq!(
        errors(
            "address: :1\naddress: :2\nroutes:\n- from: https://a\n  to: http://b\n  to: http://c"
        ),
        [
            "config.yaml:2: address: is written twice, first in line 1",
            "config.yaml:6: routes[0].to: is written twice, first in line 5",
        ]
    );
}

#[test]
fn keys_that_differ_in_case_alone_are_duplicates() {
    assert_eq!(
        errors("address: :1\nADDRESS: :2"),
        ["config.yaml:1: address: is given twice, in different upper and lower case"]
    );
}

#[test]
fn a_tab_as_indentation_is_refused() {
    let errors = errors("routes:\n\t- from: https://a");
    assert!(errors[0].starts_with("config.yaml:2: this is not YAML"), "{errors:?}");
}

#[test]
fn what_a_failed_load_had_read_is_watched() {
    let dir = Dir::new();
    let refused = dir.load(&with_certificate("timeout_read: soon"), &[]).unwrap_err();
    let files: Vec<_> = refused.files.iter().map(|file| file.path.clone()).collect();
    assert_eq!(
        files,
        [dir.file("config.yaml"), dir.file("server.pem"), dir.file("server-key.pem")]
    );
    assert!(refused.files.iter().all(|file| file.digest.is_some()));
}

/// Keys with odd values in odd places.
fn odd_document() -> impl Strategy<Value = String> {
    let names: Vec<&str> = crate::config::keys::all()
        .map(|key| key.path.rsplit(['.', ']']).next().unwrap())
        .filter(|name| !name.is_empty())
        .collect();
    let value = prop::sample::select(vec![
        "",
        "x",
        "true",
        "-1",
        "0",
        "99999999999999999999",
        "1e400",
        "[]",
        "[a, [b]]",
        "{}",
        "{a: b}",
        "{? [x] : y}",
        "!tag x",
        "https://a",
        "'https://a:1/x,2'",
        "[https://a, 5]",
        "30s",
        "aGk=",
        "'*'",
        "'$'",
        "'${'",
        "'\\1'",
        "'('",
        "'\\u0000'",
        "~",
        ".nan",
        "/x",
    ]);
    let pair = (prop::sample::select(names), value);
    prop::collection::hash_map(pair.0, pair.1, 0..12).prop_map(|pairs| {
        let mut top = String::new();
        let mut route = String::from("routes:\n- from: https://a.example\n");
        for (name, value) in &pairs {
            let _ = writeln!(top, "{name}: {value}");
            if *name != "from" {
                let _ = writeln!(route, "  {name}: {value}");
            }
        }
        if !pairs.contains_key("routes") {
            top.push_str(&route);
        }
        top
    })
}

proptest! {
    #[test]
    fn known_keys_with_odd_values_never_panic(yaml in odd_document()) {
        let _ = Dir::new().load(&yaml, &[]);
    }
}
