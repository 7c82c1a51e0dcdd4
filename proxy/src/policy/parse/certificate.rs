//! Matchers of client certificates.

use base64::{Engine, engine::general_purpose::STANDARD};
use serde_yaml::Value;

use super::{
    matchers::string_matcher,
    node::{Errors, Node},
};
use crate::policy::{
    certificate::{CertificateMatcher, DigestSet},
    request::SanKind,
};

const CONDITIONS: [&str; 5] = ["fingerprint", "spki_hash", "san_email", "san_dns", "san_uri"];

pub(super) fn matcher(node: &Node<'_>, errors: &mut Errors) -> Option<CertificateMatcher> {
    if !node.is_mapping() {
        let message = format!("expected object for certificate matcher, got: {}", node.kind());
        errors.add(node, message);
        return None;
    }
    let mut matcher = CertificateMatcher::default();
    for (name, data) in node.entries(errors) {
        let kind = match name {
            "fingerprint" => {
                matcher.fingerprints = digests("fingerprint", fingerprint, &data, errors);
                continue;
            }
            "spki_hash" => {
                matcher.spki_hashes = digests("SPKI hash", spki_hash, &data, errors);
                continue;
            }
            "san_email" => SanKind::Email,
            "san_dns" => SanKind::Dns,
            "san_uri" => SanKind::Uri,
            _ => {
                let name_shown = name.escape_debug();
                let message = format!("unsupported certificate matcher condition: {name_shown}");
                errors.add_unknown(&data, message, name, &CONDITIONS);
                continue;
            }
        };
        matcher.names.extend(string_matcher(&data, errors).map(|names| (kind, names)));
    }
    Some(matcher)
}

type Digest = [u8; 32];

/// The problem with a digest, and a hint.
type Complaint = (String, Option<&'static str>);

/// One digest or a list of digests. After a mistake the matcher is not used.
fn digests(
    what: &str,
    decode: fn(&str) -> Result<Digest, Complaint>,
    node: &Node<'_>,
    errors: &mut Errors,
) -> Option<DigestSet> {
    let items = match node.value {
        Value::String(_) => vec![Node::clone(node)],
        Value::Sequence(_) => node.items(),
        _ => {
            let message = format!(
                "certificate {what} condition expects a string or array of strings, got {}",
                node.kind()
            );
            errors.add(node, message);
            return None;
        }
    };
    let digest = |item: &Node<'_>| match item.text() {
        None => {
            errors.add(item, format!("certificate {what} must be a string (was {})", item.kind()));
            None
        }
        Some("") => {
            errors.add(item, format!("certificate {what} must not be empty"));
            None
        }
        Some(text) => match decode(text) {
            Ok(digest) => Some(digest),
            Err((message, Some(hint))) => {
                errors.add_with_hint(item, message, hint);
                None
            }
            Err((message, None)) => {
                errors.add(item, message);
                None
            }
        },
    };
    Some(items.iter().filter_map(digest).collect())
}

/// 64 lower-case hexadecimal digits, or 32 upper-case pairs with colons as OpenSSL prints them.
fn fingerprint(text: &str) -> Result<Digest, Complaint> {
    let digest = match text.len() {
        64 => hex(text.bytes(), is_lower),
        95 => {
            let in_place = text.bytes().skip(2).step_by(3).all(|byte| byte == b':');
            let is_separator = |index: usize| index % 3 == 2;
            let digits = text.bytes().enumerate().filter(|(index, _)| !is_separator(*index));
            if in_place { hex(digits.map(|(_, byte)| byte), is_upper) } else { None }
        }
        _ => None,
    };
    let hint = "`openssl x509 -in CERT -noout -fingerprint -sha256` prints one";
    digest.ok_or_else(|| {
        let message =
            format!("unsupported certificate fingerprint format ({})", text.escape_debug());
        (message, Some(hint))
    })
}

fn is_lower(byte: u8) -> bool {
    byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte)
}

fn is_upper(byte: u8) -> bool {
    byte.is_ascii_digit() || (b'A'..=b'F').contains(&byte)
}

/// Reads 64 digits that satisfy `is_digit`.
fn hex(digits: impl Iterator<Item = u8>, is_digit: fn(u8) -> bool) -> Option<Digest> {
    let mut digest = [0; 32];
    let mut digits = digits.map(|digit| {
        let value = char::from(digit).to_digit(16).filter(|_| is_digit(digit))?;
        u8::try_from(value).ok()
    });
    for byte in &mut digest {
        *byte = digits.next()?? << 4 | digits.next()??;
    }
    Some(digest)
}

fn spki_hash(text: &str) -> Result<Digest, Complaint> {
    let decoded = STANDARD.decode(text).ok();
    decoded.and_then(|bytes| Digest::try_from(bytes).ok()).ok_or_else(|| {
        let shown = text.escape_debug();
        let message =
            format!("certificate SPKI hash must be a base64-encoded SHA-256 hash (was {shown})");
        (message, None)
    })
}
