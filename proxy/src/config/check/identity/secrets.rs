//! Secrets, in place or in files. Nothing of them is ever shown.

use std::path::Path;

use base64::{Engine as _, engine::general_purpose::STANDARD};

use super::super::{
    super::section::Section,
    material::{contradiction, filled, read},
    secret_files,
};
use crate::identity::spec::SealSecret;

/// A text that was given in place or as a file.
pub(super) struct SecretText {
    /// The key that gave it.
    pub(super) key: &'static str,
    /// Without a file's last line break.
    pub(super) text: String,
}

/// The value of one of two keys; both together are an error. A file is trimmed of its last line
/// break, and its errors are reported.
pub(super) fn text_or_file(
    section: &Section<'_>,
    inline: &'static str,
    file: &'static str,
) -> Option<SecretText> {
    match (filled(section, inline), filled(section, file)) {
        (true, true) => {
            contradiction(section, inline, file);
            None
        }
        (true, false) => Some(SecretText { key: inline, text: section.text(inline)? }),
        (false, true) => {
            let path = section.text(file)?;
            let content = read(section, file, &path)?;
            secret_files::check(section, file, Path::new(&path), "use the secret in it");
            let text = without_last_line_break(&content);
            match std::str::from_utf8(text) {
                Ok("") => section.error(file, format!("{path} is empty")),
                Ok(text) => return Some(SecretText { key: file, text: text.to_owned() }),
                Err(_) => section.error(file, format!("{path} is not UTF-8 text")),
            }
            None
        }
        (false, false) => None,
    }
}

fn without_last_line_break(content: &[u8]) -> &[u8] {
    let content = content.strip_suffix(b"\n").unwrap_or(content);
    content.strip_suffix(b"\r").unwrap_or(content)
}

/// `shared_secret`.
pub(super) fn shared(root: &Section<'_>) -> Option<SealSecret> {
    seal_secret(root, "shared_secret", "shared_secret_file", "shared secret")
}

/// Whether a shared secret was given; then its errors have been reported.
pub(super) fn is_shared_given(root: &Section<'_>) -> bool {
    ["shared_secret", "shared_secret_file"].iter().any(|key| root.has(key) || root.is_blank(key))
}

/// Whether a cookie secret was given.
pub(super) fn is_cookie_given(root: &Section<'_>) -> bool {
    ["cookie_secret", "cookie_secret_file"].iter().any(|key| root.has(key))
}

/// Says what a random shared secret means.
pub(super) fn warn_of_random(root: &Section<'_>) {
    let message = match is_cookie_given(root) {
        true => {
            "is not set, so each start makes a random one: sign-ins under way begin again, and the \
             derived signing key changes"
        }
        false => {
            "is not set, so each start makes a random one: everybody is signed out, and the \
             derived signing key changes"
        }
    };
    root.warn_with_hint("shared_secret", message, HINT);
}

/// `cookie_secret`.
pub(super) fn cookie(root: &Section<'_>) -> Option<SealSecret> {
    seal_secret(root, "cookie_secret", "cookie_secret_file", "cookie secret")
}

/// `portcullis.sign_in.previous_secrets`.
pub(super) fn previous(sign_in: &Section<'_>) -> Vec<SealSecret> {
    let key = "previous_secrets";
    let is_list = matches!(sign_in.value(key), Some(serde_yaml::Value::Sequence(_)));
    let mut secrets = Vec::new();
    for (index, text) in sign_in.list(key).iter().enumerate() {
        let place = if is_list { format!("{key}[{index}]") } else { key.to_owned() };
        secrets.extend(decoded(sign_in, &place, text, "previous secret"));
    }
    secrets
}

const HINT: &str = "`head -c32 /dev/urandom | base64` makes one";

fn seal_secret(
    root: &Section<'_>,
    inline: &'static str,
    file: &'static str,
    what: &str,
) -> Option<SealSecret> {
    let SecretText { key, text } = text_or_file(root, inline, file)?;
    decoded(root, key, &text, what)
}

fn decoded(section: &Section<'_>, key: &str, text: &str, what: &str) -> Option<SealSecret> {
    match decode(text) {
        Ok(secret) => Some(SealSecret(secret)),
        Err(problem) => {
            section.error_with_hint(key, format!("invalid {what}: {problem}"), HINT);
            None
        }
    }
}

fn decode(text: &str) -> Result<[u8; 32], String> {
    if text.contains(char::is_whitespace) {
        return Err("it contains white space".to_owned());
    }
    let bytes = STANDARD.decode(text).map_err(|_| "it is not base64".to_owned())?;
    let length = bytes.len();
    bytes.try_into().map_err(|_| format!("it has {length} bytes, not 32"))
}
