//! Keys and signatures of certificates: what can be verified here, and names for what cannot.

use std::fmt;

use x509_parser::{
    asn1_rs::Oid, certificate::X509Certificate, public_key::PublicKey, x509::SubjectPublicKeyInfo,
};

use super::{
    der::{OID, Reader, SEQUENCE},
    provider::provider,
};

/// The sizes of RSA keys that ring verifies signatures with, in bits.
const RSA_BITS: std::ops::RangeInclusive<usize> = 2048..=8192;

/// A public key that verifies no signature here: its name, such as `RSA with 1024 bits`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnsupportedKey(Box<str>);

impl fmt::Display for UnsupportedKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The key's name, if no signature can be verified with it.
pub(super) fn unsupported_key(info: &SubjectPublicKeyInfo<'_>) -> Option<UnsupportedKey> {
    let unsupported = |name: String| Some(UnsupportedKey(name.into()));
    let Some((algorithm, _)) = key_of(info.raw) else {
        return unsupported("a malformed key".to_owned());
    };
    if !is_key_known(algorithm) {
        return unsupported(key_name(algorithm));
    }
    match info.parsed() {
        Ok(PublicKey::RSA(key)) if !RSA_BITS.contains(&key.key_size()) => {
            unsupported(format!("RSA with {} bits", key.key_size()))
        }
        Ok(_) => None,
        Err(_) => unsupported("a malformed key".to_owned()),
    }
}

/// The name of the algorithm by which a certificate is signed, if it cannot be verified.
pub(super) fn unsupported_signature(certificate: &X509Certificate<'_>) -> Option<String> {
    let mut outer = Reader::new(certificate.as_ref());
    let mut parts = Reader::new(outer.contents(SEQUENCE)?);
    parts.contents(SEQUENCE)?;
    let algorithm = parts.contents(SEQUENCE)?;
    (!is_signature_known(algorithm)).then(|| signature_name(algorithm))
}

/// Whether signatures of this algorithm, the contents of an `AlgorithmIdentifier`, can be verified
/// with some key.
pub(super) fn is_signature_known(algorithm: &[u8]) -> bool {
    let mut known = provider().signature_verification_algorithms.all.iter();
    known.any(|known| *known.signature_alg_id() == *algorithm)
}

/// Whether signatures can be verified with some key of this algorithm.
fn is_key_known(algorithm: &[u8]) -> bool {
    let mut known = provider().signature_verification_algorithms.all.iter();
    known.any(|known| *known.public_key_alg_id() == *algorithm)
}

/// The algorithm of a `SubjectPublicKeyInfo` in DER (the contents of its identifier), and its key.
pub(super) fn key_of(key_info: &[u8]) -> Option<(&[u8], &[u8])> {
    key_in(Reader::new(key_info).contents(SEQUENCE)?)
}

/// The same, of its contents.
pub(super) fn key_in(key_info: &[u8]) -> Option<(&[u8], &[u8])> {
    let mut info = Reader::new(key_info);
    Some((info.contents(SEQUENCE)?, info.whole_bytes()?))
}

/// The name of a signature algorithm, from the contents of its identifier.
pub(super) fn signature_name(algorithm: &[u8]) -> String {
    let oid = oid_text(&mut Reader::new(algorithm));
    let name = match oid.as_str() {
        "1.2.840.10045.4.1" => "ECDSA with SHA-1",
        "1.2.840.10045.4.3.1" => "ECDSA with SHA-224",
        "1.2.840.10045.4.3.2" => "ECDSA with SHA-256",
        "1.2.840.10045.4.3.3" => "ECDSA with SHA-384",
        "1.2.840.10045.4.3.4" => "ECDSA with SHA-512",
        "1.2.840.113549.1.1.4" => "RSA with MD5",
        "1.2.840.113549.1.1.5" => "RSA with SHA-1",
        "1.2.840.113549.1.1.10" => "RSASSA-PSS with these parameters",
        "1.2.840.113549.1.1.14" => "RSA with SHA-224",
        "1.2.840.10040.4.3" | "2.16.840.1.101.3.4.3.2" => "DSA",
        "1.3.101.113" => "Ed448",
        _ => return oid,
    };
    name.to_owned()
}

/// The name of a key's algorithm, from the contents of its identifier.
pub(super) fn key_name(algorithm: &[u8]) -> String {
    let mut parts = Reader::new(algorithm);
    let oid = oid_text(&mut parts);
    let name = match oid.as_str() {
        "1.2.840.10045.2.1" => return curve_name(&oid_text(&mut parts)),
        "1.2.840.113549.1.1.1" => "RSA",
        "1.2.840.113549.1.1.10" => "RSASSA-PSS",
        "1.2.840.10040.4.1" => "DSA",
        "1.3.101.112" => "Ed25519",
        "1.3.101.113" => "Ed448",
        _ => return oid,
    };
    name.to_owned()
}

fn curve_name(oid: &str) -> String {
    match oid {
        "1.2.840.10045.3.1.7" => "P-256".to_owned(),
        "1.3.132.0.34" => "P-384".to_owned(),
        "1.3.132.0.35" => "P-521".to_owned(),
        "1.3.132.0.10" => "secp256k1".to_owned(),
        other => format!("the elliptic curve {other}"),
    }
}

/// An object identifier in dotted form. A long one is cut: it may stand in a log.
fn oid_text(reader: &mut Reader<'_>) -> String {
    const MAX_BYTES: usize = 32;
    match reader.contents(OID).filter(|oid| oid.len() <= MAX_BYTES) {
        Some(oid) => Oid::new(oid.into()).to_id_string(),
        None => "an unknown algorithm".to_owned(),
    }
}

#[cfg(test)]
mod tests;
