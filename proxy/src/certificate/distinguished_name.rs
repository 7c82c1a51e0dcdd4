//! Distinguished names as text (RFC 4514).

use std::fmt::Write as _;

use x509_parser::{
    asn1_rs::{Oid, ToDer},
    objects::{oid_registry, oid2abbrev},
    x509::{AttributeTypeAndValue, RelativeDistinguishedName, X509Name},
};

use crate::digest::hex;

/// A distinguished name, the most specific attribute first: `CN=me,O=Example,C=DE`. It contains no
/// control character, so it can stand in a log or a header.
///
/// Attribute types have the short names of OpenSSL, so that the text equals that of OpenSSL, Envoy
/// and nginx; a type without one is its object identifier.
pub(crate) fn distinguished_name(name: &X509Name<'_>) -> String {
    let relative: Vec<_> = name.iter_rdn().map(relative_name).collect();
    relative.into_iter().rev().collect::<Vec<_>>().join(",")
}

fn relative_name(name: &RelativeDistinguishedName<'_>) -> String {
    name.iter().map(attribute).collect::<Vec<_>>().join("+")
}

fn attribute(attribute: &AttributeTypeAndValue<'_>) -> String {
    let mut text = type_name(attribute.attr_type());
    text.push('=');
    match attribute.as_str() {
        Ok(value) => push_escaped(&mut text, value),
        // A value that is no text: its whole encoding (section 2.4).
        Err(_) => {
            text.push('#');
            text.push_str(&hex(&attribute.attr_value().to_der_vec().unwrap_or_default()));
        }
    }
    text
}

fn type_name(oid: &Oid<'_>) -> String {
    match oid2abbrev(oid, oid_registry()) {
        Ok("Email") => "emailAddress".to_owned(),
        Ok("givenName") => "GN".to_owned(),
        Ok("streetAddress") => "street".to_owned(),
        Ok("surname") => "SN".to_owned(),
        Ok("uid") => "UID".to_owned(),
        Ok(known) => known.to_owned(),
        Err(_) => oid.to_id_string(),
    }
}

/// Without escapes (section 2.4), the organisation `a,CN=admin` would read as two attributes.
/// A control character could forge a line of a log, and becomes its bytes in hexadecimal.
fn push_escaped(text: &mut String, value: &str) {
    let last = value.chars().count().saturating_sub(1);
    for (place, char) in value.chars().enumerate() {
        let is_special = matches!(char, '"' | '+' | ',' | ';' | '<' | '>' | '\\')
            || (place == 0 && matches!(char, ' ' | '#'))
            || (place == last && char == ' ');
        match char {
            _ if char.is_control() => push_bytes(text, char),
            _ if is_special => text.extend(['\\', char]),
            _ => text.push(char),
        }
    }
}

fn push_bytes(text: &mut String, char: char) {
    for byte in char.encode_utf8(&mut [0; 4]).bytes() {
        // Writing to a String cannot fail.
        let _ = write!(text, "\\{byte:02X}");
    }
}
