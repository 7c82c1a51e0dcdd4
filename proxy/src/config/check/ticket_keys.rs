//! `portcullis.ticket_key_files`.

use std::path::{Path, PathBuf};

use super::{
    super::{model::FileUsage, section::Section},
    material::read,
    secret_files,
};
use crate::tls::TicketSecret;

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
        let and_then = "decrypt clients' sessions with it";
        secret_files::check(own, &place, Path::new(path), and_then);
    }
    (secrets, paths.iter().map(PathBuf::from).collect())
}
