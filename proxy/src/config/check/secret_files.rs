//! Secrets that every user of this machine can read.

use std::{fs, os::unix::fs::MetadataExt, path::Path};

use super::super::section::Section;

/// Readable by everyone; for a directory, searchable.
const READABLE: u32 = 0o004;
const SEARCHABLE: u32 = 0o001;

/// Keys whose value in the document itself is a secret.
pub(super) const IN_PLACE: [&str; 10] = [
    "certificate_key",
    "cookie_secret",
    "idp_client_secret",
    "metrics_basic_auth",
    "metrics_certificate_key",
    "portcullis.sign_in.previous_secrets",
    "routes[].idp_client_secret",
    "routes[].tls_client_key",
    "shared_secret",
    "signing_key",
];

/// Warns, once for each file, if every user can read the secret file that a key names. `and_then`
/// says what they could do with it.
pub(super) fn check(section: &Section<'_>, key: &str, path: &Path, and_then: &str) {
    if is_world_readable(path) && section.context().is_first_report_of(path) {
        let path = path.display();
        let message = format!("{path}: every user of this machine can read it, and {and_then}");
        section.warn_with_hint(key, message, "chmod o-r");
    }
}

/// Warns if every user can read the configuration file, which has a secret in it at this key.
pub(super) fn check_document(root: &Section<'_>, key_path: &str) {
    let is_readable = root.context().document().is_some_and(is_world_readable);
    if is_readable {
        let message = "every user of this machine can read this file, and the secret in it";
        root.warn_with_hint(key_path, message, "chmod o-r");
    }
}

/// Whether everyone on this machine may read the file, and reach it.
pub(in super::super) fn is_world_readable(path: &Path) -> bool {
    let has = |path: &Path, bit| fs::metadata(path).is_ok_and(|it| it.mode() & bit != 0);
    let is_reachable = || {
        let real = fs::canonicalize(path).unwrap_or_default();
        real.ancestors().skip(1).all(|directory| has(directory, SEARCHABLE))
    };
    has(path, READABLE) && is_reachable()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{keys, tests::support::Dir};

    #[test]
    fn a_file_that_cannot_be_reached_is_not_readable() {
        let dir = Dir::new();
        dir.make_readable_by(0o644, "server-key.pem");
        assert!(!is_world_readable(&dir.file("server-key.pem")));
        dir.open_to_everybody();
        assert!(is_world_readable(&dir.file("server-key.pem")));
        dir.make_readable_by(0o640, "server-key.pem");
        assert!(!is_world_readable(&dir.file("server-key.pem")));
    }

    #[test]
    fn the_keys_of_secrets_are_keys() {
        let known: Vec<&str> = keys::all().map(|key| key.path).collect();
        for path in IN_PLACE {
            assert!(known.contains(&path), "{path}");
        }
    }
}
