//! Private keys as files hold them: PKCS#8 (RFC 5958), SEC 1 (RFC 5915) and PKCS#1 (RFC 8017). Pure.
//!
//! `openssl ecparam -genkey` makes SEC 1, with or without the public part; `ring` takes neither, nor
//! PKCS#8 without the public part. So the number is taken out here, and the point is computed.

use rustls_pki_types::pem::{PemObject as _, SectionKind};
use x509_parser::asn1_rs::{Any, Class, FromDer as _, Oid, Tag};

/// A private key that may sign assertions.
pub(super) enum PrivateKeyBytes {
    /// The number of a key on P-256, and its public point if the file has it.
    P256 { scalar: [u8; 32], point: Option<Vec<u8>> },
    /// PKCS#1.
    Rsa(Vec<u8>),
}

/// Why a text holds no signing keys.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SigningKeyError {
    /// There is no PEM block.
    #[error("there is no private key in PEM form")]
    None,
    /// A block is cut off, or its content is not what its name says.
    #[error("{0} cannot be read")]
    Malformed(&'static str),
    /// Something else was found, which is named.
    #[error("found {0}, but only private keys on EC P-256, or RSA of 2048 to 4096 bits, can sign")]
    Other(String),
    /// The public part of a key belongs to another key.
    #[error("the public part of an EC private key does not belong to it")]
    Inconsistent,
}

/// Reads all keys of a PEM text. Anything else in it is an error, but EC parameters, which
/// `openssl ecparam` writes in front of a key.
pub(super) fn parse_all(pem: &str) -> Result<Vec<PrivateKeyBytes>, SigningKeyError> {
    if let Some(label) = labels(pem).find(|label| !is_expected(label)) {
        return Err(SigningKeyError::Other(described(label)));
    }
    let mut keys = Vec::new();
    for section in <(SectionKind, Vec<u8>)>::pem_slice_iter(pem.as_bytes()) {
        let (kind, der) = section.map_err(|_| SigningKeyError::Malformed("the PEM text"))?;
        keys.push(match kind {
            SectionKind::PrivateKey => pkcs8(&der)?,
            SectionKind::EcPrivateKey => sec1(&der, None)?,
            SectionKind::RsaPrivateKey => PrivateKeyBytes::Rsa(der),
            _ => continue,
        });
    }
    if keys.is_empty() { Err(SigningKeyError::None) } else { Ok(keys) }
}

fn labels(pem: &str) -> impl Iterator<Item = &str> {
    pem.lines().filter_map(|line| line.trim().strip_prefix("-----BEGIN ")?.strip_suffix("-----"))
}

fn is_expected(label: &str) -> bool {
    matches!(label, "PRIVATE KEY" | "EC PRIVATE KEY" | "RSA PRIVATE KEY" | "EC PARAMETERS")
}

fn described(label: &str) -> String {
    match label {
        "PUBLIC KEY" | "RSA PUBLIC KEY" => "a public key".to_owned(),
        "CERTIFICATE" => "a certificate".to_owned(),
        "ENCRYPTED PRIVATE KEY" => "an encrypted private key".to_owned(),
        "OPENSSH PRIVATE KEY" => "a private key in OpenSSH's form".to_owned(),
        "DSA PRIVATE KEY" => "a DSA key".to_owned(),
        // A label is in the error as it stands, so it must not be able to carry a key.
        _ => "a PEM block of another kind".to_owned(),
    }
}

/// `PrivateKeyInfo`: version, algorithm with parameters, private key.
fn pkcs8(der: &[u8]) -> Result<PrivateKeyBytes, SigningKeyError> {
    const MALFORMED: SigningKeyError = SigningKeyError::Malformed("a PKCS#8 private key");
    let read = || {
        let mut info = Elements(only_sequence(der)?);
        info.next(Tag::Integer)?;
        let mut algorithm = Elements(info.next(Tag::Sequence)?);
        let kind = algorithm.next(Tag::Oid)?;
        Some((kind, algorithm.0, info.next(Tag::OctetString)?))
    };
    let (kind, parameters, key) = read().ok_or(MALFORMED)?;
    match dotted(kind).as_str() {
        "1.2.840.10045.2.1" => sec1(key, Some(parameters)),
        "1.2.840.113549.1.1.1" => Ok(PrivateKeyBytes::Rsa(key.to_vec())),
        oid => Err(SigningKeyError::Other(algorithm_name(oid))),
    }
}

/// `ECPrivateKey`: version, number, [0] curve, [1] public point. PKCS#8 names the curve outside.
fn sec1(der: &[u8], outer: Option<&[u8]>) -> Result<PrivateKeyBytes, SigningKeyError> {
    const MALFORMED: SigningKeyError = SigningKeyError::Malformed("an EC private key");
    let mut key = Elements(only_sequence(der).ok_or(MALFORMED)?);
    key.next(Tag::Integer).ok_or(MALFORMED)?;
    let number = key.next(Tag::OctetString).ok_or(MALFORMED)?;
    let inner = key.explicit(0);
    check_curve(outer.or(inner))?;
    if let (Some(outer), Some(inner)) = (outer, inner)
        && outer != inner
    {
        return Err(MALFORMED);
    }
    let mut scalar = [0; 32];
    let start = scalar.len().checked_sub(number.len()).ok_or(MALFORMED)?;
    scalar[start..].copy_from_slice(number);
    let point = match key.explicit(1) {
        // A bit string begins with the number of unused bits.
        Some(public) => match Elements(public).next(Tag::BitString) {
            Some([0, point @ ..]) => Some(point.to_vec()),
            _ => return Err(MALFORMED),
        },
        None => None,
    };
    Ok(PrivateKeyBytes::P256 { scalar, point })
}

fn check_curve(parameters: Option<&[u8]>) -> Result<(), SigningKeyError> {
    let curve = parameters.and_then(|parameters| Elements(parameters).next(Tag::Oid));
    let found = match curve.map(dotted).as_deref() {
        Some("1.2.840.10045.3.1.7") => return Ok(()),
        Some("1.3.132.0.34") => "an EC key on P-384".to_owned(),
        Some("1.3.132.0.35") => "an EC key on P-521".to_owned(),
        Some("1.3.132.0.10") => "an EC key on secp256k1".to_owned(),
        Some(oid) => format!("an EC key on the curve {oid}"),
        None => "an EC key that names no curve".to_owned(),
    };
    Err(SigningKeyError::Other(found))
}

fn algorithm_name(oid: &str) -> String {
    match oid {
        "1.3.101.110" => "an X25519 key".to_owned(),
        "1.3.101.112" => "an Ed25519 key".to_owned(),
        "1.3.101.113" => "an Ed448 key".to_owned(),
        "1.2.840.10040.4.1" => "a DSA key".to_owned(),
        "1.2.840.113549.1.1.10" => "an RSA key for PSS alone".to_owned(),
        _ => format!("a key for the algorithm {oid}"),
    }
}

/// The size of a PKCS#1 key's modulus, in bits.
pub(super) fn rsa_bits(der: &[u8]) -> Option<usize> {
    let mut key = Elements(only_sequence(der)?);
    key.next(Tag::Integer)?;
    let modulus = key.next(Tag::Integer)?;
    let zeros = modulus.iter().take_while(|byte| **byte == 0).count();
    let modulus = modulus.get(zeros..)?;
    Some(modulus.len() * 8 - modulus.first()?.leading_zeros() as usize)
}

/// DER elements, one after the other.
struct Elements<'d>(&'d [u8]);

impl<'d> Elements<'d> {
    /// The content of the next element, if it is of this universal type.
    fn next(&mut self, tag: Tag) -> Option<&'d [u8]> {
        self.take(Class::Universal, tag)
    }

    /// The content of the next element, if it is tagged so.
    fn explicit(&mut self, number: u32) -> Option<&'d [u8]> {
        self.take(Class::ContextSpecific, Tag(number))
    }

    fn take(&mut self, class: Class, tag: Tag) -> Option<&'d [u8]> {
        let (rest, element) = Any::from_der(self.0).ok()?;
        if (element.class(), element.tag()) != (class, tag) {
            return None;
        }
        self.0 = rest;
        Some(element.data)
    }
}

/// The content of a sequence with nothing behind it.
fn only_sequence(der: &[u8]) -> Option<&[u8]> {
    let mut elements = Elements(der);
    let content = elements.next(Tag::Sequence)?;
    elements.0.is_empty().then_some(content)
}

fn dotted(oid: &[u8]) -> String {
    Oid::new(oid.into()).to_id_string()
}
