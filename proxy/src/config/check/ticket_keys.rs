//! `portcullis.ticket_key_files`.

use std::{fs, os::unix::fs::MetadataExt};

use super::{super::section::Section, material::read};
use crate::tls::TicketSecret;

/// Readable by everyone.
const WORLD_READABLE: u32 = 0o004;

/// The keys of the files, in order. A file without a key is an error.
pub(super) fn ticket_keys(own: &Section<'_>) -> Vec<TicketSecret> {
    const KEY: &str = "ticket_key_files";
    let paths = own.list(KEY);
    if paths.is_empty() && (own.has(KEY) || own.is_blank(KEY)) {
        own.error_with_hint(KEY, "is empty", "name a file, or remove the key");
    }
    let mut secrets: Vec<TicketSecret> = Vec::new();
    for (index, path) in paths.iter().enumerate() {
        let place = match own.value(KEY) {
            Some(serde_yaml::Value::Sequence(_)) => format!("{KEY}[{index}]"),
            _ => KEY.to_owned(),
        };
        let Some(content) = read(own, &place, path) else { continue };
        match TicketSecret::new(&content) {
            Ok(secret) if secrets.iter().any(|known| known.has_name_of(&secret)) => {
                let hint = "the first 16 bytes of each key must be unique";
                own.error_with_hint(&place, format!("{path}: is listed twice"), hint);
            }
            Ok(secret) => secrets.push(secret),
            Err(problem) => {
                let hint = "`openssl rand 80 > FILE` generates one";
                own.error_with_hint(&place, format!("{path}: {problem}"), hint);
            }
        }
        if fs::metadata(path).is_ok_and(|metadata| metadata.mode() & WORLD_READABLE != 0) {
            let message = format!(
                "{path}: every user of this machine can read it, and decrypt clients' sessions \
                 with it"
            );
            own.warn_with_hint(&place, message, "chmod o-r");
        }
    }
    secrets
}
