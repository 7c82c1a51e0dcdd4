//! `portcullis.ticket_key_files`.

use std::{
    fs,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

use super::{
    super::{model::FileUsage, section::Section},
    material::read,
};
use crate::tls::TicketSecret;

/// Readable by everyone.
const WORLD_READABLE: u32 = 0o004;

/// The keys of the files, in order, and the files. A file that holds no key is an error.
pub(super) fn ticket_keys(own: &Section<'_>) -> (Vec<TicketSecret>, Vec<PathBuf>) {
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
        own.context().note_usage(Path::new(path), FileUsage::TicketKey);
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
        if is_world_readable(Path::new(path)) {
            let message = format!(
                "{path}: every user of this machine can read it, and decrypt clients' sessions \
                 with it"
            );
            own.warn_with_hint(&place, message, "chmod o-r");
        }
    }
    (secrets, paths.iter().map(PathBuf::from).collect())
}

/// Whether everyone on this machine may read the file.
pub(in super::super) fn is_world_readable(path: &Path) -> bool {
    fs::metadata(path).is_ok_and(|metadata| metadata.mode() & WORLD_READABLE != 0)
}
