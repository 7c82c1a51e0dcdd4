//! The texts of a certificate's fields for header templates, each computed when it is first needed.

use std::{cell::OnceCell, fmt::Write};

use super::leaf::PeerLeaf;
use crate::{
    digest::hex,
    http::spec::CertificateField,
    observe::CertificateSummary,
    policy::{LeafCertificate, SanKind},
};

/// One text for each field.
#[derive(Debug, Default)]
pub(super) struct CertificateTexts([OnceCell<Box<str>>; 7]);

impl CertificateTexts {
    /// The text of a field of this leaf, which must be the same each time.
    pub(super) fn get(&self, leaf: &PeerLeaf, field: CertificateField) -> &str {
        let make = || make(leaf, field).into_boxed_str();
        self.0.get(field as usize).map_or("", |text| text.get_or_init(make))
    }
}

fn make(of: &PeerLeaf, field: CertificateField) -> String {
    use CertificateField as F;
    let name = |part: fn(&CertificateSummary) -> &str| {
        of.summary().map_or_else(String::new, |summary| ascii_name(part(summary)))
    };
    match field {
        F::Fingerprint => hex(&of.fingerprint()),
        F::SanDns => join(of.subject_alt_names(SanKind::Dns)),
        F::SanEmail => join(of.subject_alt_names(SanKind::Email)),
        F::SanUri => join(of.subject_alt_names(SanKind::Uri)),
        F::Subject => name(|summary| &summary.subject),
        F::Issuer => name(|summary| &summary.issuer),
        F::Serial => of.parse().map_or_else(String::new, |parsed| parsed.serial_hex()),
    }
}

/// Joins names with commas. A name that contains a comma is left out: it would read as two.
fn join(names: &[Box<str>]) -> String {
    let plain: Vec<&str> = names.iter().map(|name| &**name).filter(|n| !n.contains(',')).collect();
    plain.join(",")
}

/// An RFC 4514 name in the form that OpenSSL uses for RFC 2253, in printable ASCII: any other byte
/// becomes a backslash and two hexadecimal digits. Quotes and backslashes are escaped the same way,
/// unlike in OpenSSL, so that no reader takes one for the end of a quoted text.
fn ascii_name(name: &str) -> String {
    let mut out = String::with_capacity(name.len());
    let mut chars = name.chars();
    while let Some(char) = chars.next() {
        match char {
            '\\' => match chars.next() {
                Some(quoted @ ('"' | '\\')) => push_hex(&mut out, quoted),
                Some(other) => {
                    out.push('\\');
                    push(&mut out, other);
                }
                None => push_hex(&mut out, '\\'),
            },
            other => push(&mut out, other),
        }
    }
    out
}

fn push(out: &mut String, char: char) {
    match char {
        ' '..='~' if char != '"' => out.push(char),
        other => push_hex(out, other),
    }
}

fn push_hex(out: &mut String, char: char) {
    for byte in char.encode_utf8(&mut [0; 4]).bytes() {
        // Writing to a String cannot fail.
        let _ = write!(out, "\\{byte:02X}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_printable_and_holds_no_quote() {
        for (name, expected) in [
            ("CN=alice,O=Doe\\, Inc.", "CN=alice,O=Doe\\, Inc."),
            ("CN=\\\"a\\\\", "CN=\\22a\\5C"),
            ("CN=J\u{fc}rgen\n", "CN=J\\C3\\BCrgen\\0A"),
            ("CN=\\ a\\ ", "CN=\\ a\\ "),
            ("", ""),
        ] {
            assert_eq!(ascii_name(name), expected);
        }
    }

    proptest::proptest! {
        #[test]
        fn whatever_the_name_it_can_stand_between_quotes(name in "\\PC{0,20}|[\\\\\", a]{0,20}") {
            let ascii = ascii_name(&name);
            proptest::prop_assert!(ascii.bytes().all(|byte| matches!(byte, b' '..=b'~')));
            proptest::prop_assert!(!ascii.contains('"') && !ascii.ends_with('\\'));
        }
    }
}
