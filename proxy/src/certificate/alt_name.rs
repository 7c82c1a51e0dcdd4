//! Subject alternative names (RFC 5280 section 4.2.1.6).

use std::{fmt, net::IpAddr};

use x509_parser::{
    asn1_rs::{Any, Class, FromDer, Tag},
    certificate::X509Certificate,
    extensions::GeneralName,
};

use super::{MalformedCertificate, distinguished_name};
use crate::digest::hex;

/// Microsoft's user principal name, in an `otherName`.
const USER_PRINCIPAL_NAME: &str = "1.3.6.1.4.1.311.20.2.3";

/// One subject alternative name.
///
/// Its text has the prefix of OpenSSL (`DNS:a.example`), with a replacement for each control
/// character, which could forge a line of a log. The fields hold the name as it stands in the
/// certificate.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum AltName<'a> {
    /// `dNSName`
    Dns(&'a str),
    /// `rfc822Name`
    Email(&'a str),
    /// `uniformResourceIdentifier`
    Uri(&'a str),
    /// `iPAddress` of 4 or 16 octets.
    Ip(IpAddr),
    /// `otherName` that is a user principal name.
    UserPrincipalName(&'a str),
    /// Any other.
    Other(&'a GeneralName<'a>),
}

/// The subject alternative names of a certificate, in their order. An error if the extension is
/// malformed or occurs twice.
pub(crate) fn alt_names<'a>(
    certificate: &'a X509Certificate<'_>,
) -> Result<impl Iterator<Item = AltName<'a>>, MalformedCertificate> {
    let extension = certificate.subject_alternative_name().map_err(|_| MalformedCertificate)?;
    let names = extension.map_or(&[][..], |extension| &extension.value.general_names);
    Ok(names.iter().map(AltName::from))
}

impl<'a> From<&'a GeneralName<'_>> for AltName<'a> {
    fn from(name: &'a GeneralName<'_>) -> AltName<'a> {
        let known = match name {
            GeneralName::DNSName(name) => Some(AltName::Dns(name)),
            GeneralName::RFC822Name(name) => Some(AltName::Email(name)),
            GeneralName::URI(name) => Some(AltName::Uri(name)),
            GeneralName::IPAddress(octets) => ip_address(octets).map(AltName::Ip),
            GeneralName::OtherName(oid, value) if oid.to_id_string() == USER_PRINCIPAL_NAME => {
                principal(value).map(AltName::UserPrincipalName)
            }
            _ => None,
        };
        known.unwrap_or(AltName::Other(name))
    }
}

impl fmt::Display for AltName<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            AltName::Dns(name) => write!(f, "DNS:{}", printable(name)),
            AltName::Email(name) => write!(f, "email:{}", printable(name)),
            AltName::Uri(name) => write!(f, "URI:{}", printable(name)),
            AltName::Ip(address) => write!(f, "IP:{address}"),
            AltName::UserPrincipalName(_) => write!(f, "otherName:{USER_PRINCIPAL_NAME}"),
            AltName::Other(GeneralName::DirectoryName(name)) => {
                write!(f, "DirName:{}", distinguished_name(name))
            }
            AltName::Other(GeneralName::IPAddress(octets)) => write!(f, "IP:#{}", hex(octets)),
            AltName::Other(GeneralName::RegisteredID(oid)) => {
                write!(f, "RID:{}", oid.to_id_string())
            }
            AltName::Other(GeneralName::OtherName(oid, _)) => {
                write!(f, "otherName:{}", oid.to_id_string())
            }
            AltName::Other(_) => f.write_str("unsupported"),
        }
    }
}

fn ip_address(octets: &[u8]) -> Option<IpAddr> {
    let v4 = || <[u8; 4]>::try_from(octets).ok().map(IpAddr::from);
    v4().or_else(|| <[u8; 16]>::try_from(octets).ok().map(IpAddr::from))
}

/// The text in an `otherName`, which is `[0] EXPLICIT UTF8String` here.
fn principal(value: &[u8]) -> Option<&str> {
    let explicit = only_element(value)?;
    let is_explicit = explicit.class() == Class::ContextSpecific
        && explicit.tag() == Tag(0)
        && explicit.header.is_constructed();
    let name = only_element(explicit.data).filter(|_| is_explicit)?;
    let is_text = name.class() == Class::Universal
        && name.tag() == Tag::Utf8String
        && name.header.is_primitive();
    is_text.then(|| std::str::from_utf8(name.data).ok())?
}

fn only_element(der: &[u8]) -> Option<Any<'_>> {
    match Any::from_der(der) {
        Ok(([], element)) => Some(element),
        _ => None,
    }
}

fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { char::REPLACEMENT_CHARACTER } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_principal_in_another_string_type_or_with_more_behind_it_is_none() {
        assert_eq!(principal(b"\xa0\x03\x0c\x01a"), Some("a"));
        assert_eq!(principal(b"\xa0\x03\x16\x01a"), None);
        assert_eq!(principal(b"\xa1\x03\x0c\x01a"), None);
        assert_eq!(principal(b"\xa0\x03\x0c\x01a\x00"), None);
        assert_eq!(principal(b"\xa0\x04\x0c\x01ab"), None);
        assert_eq!(principal(b"\xa0\x03\x0c\x01\xff"), None);
        assert_eq!(principal(b""), None);
    }

    #[test]
    fn octets_that_are_no_address_are_written_in_hexadecimal() {
        let text = |octets| AltName::from(&GeneralName::IPAddress(octets)).to_string();
        assert_eq!(text(&[192, 0, 2, 7]), "IP:192.0.2.7");
        assert_eq!(text(&[192, 0, 2]), "IP:#c00002");
    }

    #[test]
    fn a_control_character_in_a_name_is_replaced() {
        assert_eq!(AltName::Dns("a\r\nb").to_string(), "DNS:a\u{fffd}\u{fffd}b");
    }
}
