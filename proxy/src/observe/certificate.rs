//! The parts of a client certificate that log records show.

use x509_parser::{
    asn1_rs::Oid,
    extensions::GeneralName,
    objects::{oid_registry, oid2abbrev},
    prelude::{FromDer, X509Certificate, X509Name},
};

/// The names in a certificate.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct CertificateSummary {
    /// The issuer's distinguished name (RFC 4514).
    pub issuer: String,
    /// The subject's distinguished name (RFC 4514).
    pub subject: String,
    /// Its alternative names, each with its type as OpenSSL writes it: `DNS:a.example`.
    pub subject_alt_names: Vec<String>,
}

impl CertificateSummary {
    /// Parses a certificate in DER; `None` if it is malformed.
    pub(crate) fn from_der(der: &[u8]) -> Option<CertificateSummary> {
        let (_, certificate) = X509Certificate::from_der(der).ok()?;
        Some(CertificateSummary {
            issuer: distinguished_name(certificate.issuer()),
            subject: distinguished_name(certificate.subject()),
            subject_alt_names: alternative_names(&certificate),
        })
    }
}

/// Relative names from the last to the first, with special characters escaped (RFC 4514
/// section 2). Control characters are left to the log.
fn distinguished_name(name: &X509Name<'_>) -> String {
    let relative: Vec<_> = name.iter_rdn().map(relative_name).collect();
    relative.into_iter().rev().collect::<Vec<_>>().join(",")
}

fn relative_name(name: &x509_parser::x509::RelativeDistinguishedName<'_>) -> String {
    let attributes = name.iter().map(|attribute| {
        let value = match attribute.as_str() {
            Ok(text) => escaped(text),
            Err(_) => hex(attribute.as_slice()),
        };
        format!("{}={value}", type_name(attribute.attr_type()))
    });
    attributes.collect::<Vec<_>>().join("+")
}

/// The name that OpenSSL uses, so that distinguished names equal those of OpenSSL, Envoy and nginx.
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

fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let last = text.chars().count().saturating_sub(1);
    for (place, char) in text.chars().enumerate() {
        let special = matches!(char, '"' | '+' | ',' | ';' | '<' | '>' | '\\')
            || (place == 0 && matches!(char, ' ' | '#'))
            || (place == last && char == ' ');
        if special {
            out.push('\\');
        }
        out.push(char);
    }
    out
}

fn alternative_names(certificate: &X509Certificate<'_>) -> Vec<String> {
    let Ok(Some(extension)) = certificate.subject_alternative_name() else { return Vec::new() };
    extension.value.general_names.iter().map(general_name).collect()
}

fn general_name(name: &GeneralName<'_>) -> String {
    match name {
        GeneralName::DNSName(name) => format!("DNS:{name}"),
        GeneralName::RFC822Name(name) => format!("email:{name}"),
        GeneralName::URI(name) => format!("URI:{name}"),
        GeneralName::DirectoryName(name) => format!("DirName:{}", distinguished_name(name)),
        GeneralName::IPAddress(octets) => format!("IP:{}", ip_address(octets)),
        GeneralName::RegisteredID(oid) => format!("RID:{}", oid.to_id_string()),
        GeneralName::OtherName(oid, _) => format!("otherName:{}", oid.to_id_string()),
        _ => "unsupported".to_owned(),
    }
}

fn ip_address(octets: &[u8]) -> String {
    if let Ok(v4) = <[u8; 4]>::try_from(octets) {
        return std::net::Ipv4Addr::from(v4).to_string();
    }
    let v6 = <[u8; 16]>::try_from(octets).map(std::net::Ipv6Addr::from);
    v6.map_or_else(|_| hex(octets), |address| address.to_string())
}

fn hex(bytes: &[u8]) -> String {
    let digits = bytes.iter().map(|byte| format!("{byte:02x}"));
    std::iter::once("#".to_owned()).chain(digits).collect()
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, DnType, KeyPair, SanType};

    use super::*;

    fn der(configure: impl FnOnce(&mut CertificateParams)) -> Vec<u8> {
        let mut params = CertificateParams::default();
        params.distinguished_name = rcgen::DistinguishedName::new();
        configure(&mut params);
        params.self_signed(&KeyPair::generate().unwrap()).unwrap().der().to_vec()
    }

    #[test]
    fn a_distinguished_name_is_written_as_rfc_4514_does() {
        let der = der(|params| {
            params.distinguished_name.push(DnType::CountryName, "NL");
            params.distinguished_name.push(DnType::OrganizationName, "Doe, Inc. \"D\"");
            params.distinguished_name.push(DnType::CommonName, " alice");
        });
        let summary = CertificateSummary::from_der(&der).unwrap();
        assert_eq!(summary.subject, r#"CN=\ alice,O=Doe\, Inc. \"D\",C=NL"#);
        assert_eq!(summary.issuer, summary.subject);
    }

    #[test]
    fn alternative_names_carry_their_type() {
        let der = der(|params| {
            params.subject_alt_names = vec![
                SanType::DnsName("a.example".try_into().unwrap()),
                SanType::Rfc822Name("a@example.com".try_into().unwrap()),
                SanType::URI("spiffe://example/a".try_into().unwrap()),
                SanType::IpAddress("2001:db8::1".parse().unwrap()),
            ];
        });
        let names = CertificateSummary::from_der(&der).unwrap().subject_alt_names;
        let expected =
            ["DNS:a.example", "email:a@example.com", "URI:spiffe://example/a", "IP:2001:db8::1"];
        assert_eq!(names, expected);
    }

    #[test]
    fn what_is_no_certificate_has_no_summary() {
        assert_eq!(CertificateSummary::from_der(b""), None);
        assert_eq!(CertificateSummary::from_der(b"\x30\x03abc"), None);
    }
}
