//! What certificates say: names, dates, issuer, as text for logs, messages and header templates.

use std::{
    fmt::Write as _,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

use rustls::pki_types::CertificateDer;
use x509_parser::{
    certificate::X509Certificate,
    extensions::{GeneralName, ParsedExtension},
    objects::{oid_registry, oid2abbrev},
    parse_x509_certificate,
    x509::{AttributeTypeAndValue, X509Name},
};

use crate::{digest::sha256, hostname};

/// What a certificate says of itself. Control characters in it are replaced, so it may go into a log
/// as it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CertificateFacts {
    /// Who issued it, as of RFC 4514: `CN=Example CA,O=Example`.
    pub issuer: String,
    /// Whom it names, likewise.
    pub subject: String,
    /// Subject alternative names in its order: `DNS:a.example`, `URI:…`, `EMAIL:…`, `IP:…`.
    pub sans: Vec<String>,
    /// In seconds since the epoch.
    pub not_before_s: i64,
    /// In seconds since the epoch.
    pub not_after_s: i64,
    /// SHA-256 of its DER, in lower-case hexadecimal.
    pub fingerprint_sha256_hex: String,
}

/// A certificate that is no X.509.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not an X.509 certificate")]
pub struct MalformedCertificate;

/// Reads what a certificate says of itself. Nothing of it is verified.
pub fn describe(
    certificate: &CertificateDer<'_>,
) -> Result<CertificateFacts, MalformedCertificate> {
    let parsed = parse(certificate)?;
    Ok(CertificateFacts {
        issuer: distinguished_name(parsed.issuer()),
        subject: distinguished_name(parsed.subject()),
        sans: general_names(&parsed).filter_map(describe_general_name).collect(),
        not_before_s: parsed.validity().not_before.timestamp(),
        not_after_s: parsed.validity().not_after.timestamp(),
        fingerprint_sha256_hex: hex(&sha256(certificate)),
    })
}

/// A server name in the one form in which names are compared, which is also that of a request's
/// host. `None` for what is no name, and for an IP address, which SNI cannot carry.
pub(crate) fn normalize_server_name(name: &str) -> Option<Box<str>> {
    hostname::normalise(name).filter(|name| name.parse::<IpAddr>().is_err())
}

/// Drops one trailing dot.
pub(super) fn without_trailing_dot(name: &str) -> &str {
    name.strip_suffix('.').unwrap_or(name)
}

/// Parses a certificate, and refuses bytes after it.
pub(super) fn parse<'a>(
    certificate: &'a CertificateDer<'_>,
) -> Result<X509Certificate<'a>, MalformedCertificate> {
    match parse_x509_certificate(certificate) {
        Ok(([], parsed)) => Ok(parsed),
        _ => Err(MalformedCertificate),
    }
}

/// The DNS names of a certificate as they stand in it, lower case.
pub(super) fn dns_names(certificate: &X509Certificate<'_>) -> Vec<String> {
    general_names(certificate)
        .filter_map(|name| match name {
            GeneralName::DNSName(name) => Some(without_trailing_dot(name).to_ascii_lowercase()),
            _ => None,
        })
        .collect()
}

/// The last common name of the subject, lower case.
pub(super) fn common_name(certificate: &X509Certificate<'_>) -> Option<String> {
    let name = certificate.subject().iter_common_name().last()?;
    name.as_str().ok().map(str::to_ascii_lowercase)
}

pub(super) fn general_names<'a>(
    certificate: &'a X509Certificate<'a>,
) -> impl Iterator<Item = &'a GeneralName<'a>> {
    certificate
        .extensions()
        .iter()
        .filter_map(|extension| match extension.parsed_extension() {
            ParsedExtension::SubjectAlternativeName(names) => Some(&names.general_names),
            _ => None,
        })
        .flatten()
}

fn describe_general_name(name: &GeneralName<'_>) -> Option<String> {
    match name {
        GeneralName::DNSName(name) => Some(format!("DNS:{}", printable(name))),
        GeneralName::URI(uri) => Some(format!("URI:{}", printable(uri))),
        GeneralName::RFC822Name(email) => Some(format!("EMAIL:{}", printable(email))),
        GeneralName::IPAddress(octets) => ip_address(octets).map(|ip| format!("IP:{ip}")),
        _ => None,
    }
}

pub(super) fn ip_address(octets: &[u8]) -> Option<IpAddr> {
    if let Ok(v4) = <[u8; 4]>::try_from(octets) {
        return Some(Ipv4Addr::from(v4).into());
    }
    <[u8; 16]>::try_from(octets).ok().map(|v6| Ipv6Addr::from(v6).into())
}

/// RFC 4514: the most specific attribute first. Without its escapes, `O=a,CN=admin` could be the
/// name of an organisation.
pub(super) fn distinguished_name(name: &X509Name<'_>) -> String {
    let mut text = String::new();
    let rdns: Vec<_> = name.iter_rdn().collect();
    for (i, rdn) in rdns.into_iter().rev().enumerate() {
        for (j, attribute) in rdn.iter().enumerate() {
            match (i, j) {
                (0, 0) => {}
                (_, 0) => text.push(','),
                _ => text.push('+'),
            }
            push_attribute(&mut text, attribute);
        }
    }
    text
}

fn push_attribute(text: &mut String, attribute: &AttributeTypeAndValue<'_>) {
    match oid2abbrev(attribute.attr_type(), oid_registry()) {
        Ok(abbreviation) => text.push_str(abbreviation),
        Err(_) => text.push_str(&attribute.attr_type().to_id_string()),
    }
    text.push('=');
    match attribute.as_str() {
        Ok(value) => push_escaped(text, value),
        Err(_) => {
            text.push('#');
            text.push_str(&hex(attribute.as_slice()));
        }
    }
}

/// RFC 4514, section 2.4.
fn push_escaped(text: &mut String, value: &str) {
    let last = value.chars().count().saturating_sub(1);
    for (i, c) in printable(value).chars().enumerate() {
        let edge = (c == ' ' && (i == 0 || i == last)) || (c == '#' && i == 0);
        if edge || matches!(c, '"' | '+' | ',' | ';' | '<' | '>' | '\\') {
            text.push('\\');
        }
        text.push(c);
    }
}

/// A control character could forge a line of a log, or end a header.
fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { char::REPLACEMENT_CHARACTER } else { c }).collect()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        // Writing to a String cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests;
