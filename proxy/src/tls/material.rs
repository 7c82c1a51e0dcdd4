//! Certificates with their keys, checked on reading.

use std::{io, path::PathBuf, sync::Arc};

use rustls::{
    InconsistentKeys,
    pki_types::{
        CertificateDer, PrivateKeyDer,
        pem::{self, PemObject},
    },
    sign::CertifiedKey,
};
use webpki::EndEntityCert;
use x509_parser::{
    certificate::X509Certificate, oid_registry::OID_NIST_EC_P521, public_key::PublicKey,
    x509::SubjectPublicKeyInfo,
};

use super::{
    names::{self, common_name, dns_names},
    provider::provider,
};
pub(super) use crate::digest::Digest;

/// A certificate chain with the private key that belongs to it.
#[derive(Debug)]
pub struct CertificateWithKey {
    /// In rustls's form.
    pub certified: Arc<CertifiedKey>,
    /// Where it was read from, for messages: the paths, or the keys of the configuration.
    pub origin: String,
    /// SHA-256 over the chain, so that unchanged content is recognised after a reload.
    pub digest: [u8; 32],
    /// DNS names of the leaf (or its common name if it has none), lower case.
    pub names: Vec<String>,
    /// End of the leaf's validity, in seconds since the epoch.
    pub not_after_s: i64,
}

impl CertificateWithKey {
    /// Reads a chain, its leaf first, and the leaf's private key: RSA of 2048 to 4096 bits, ECDSA
    /// on P-256 or P-384, or Ed25519, as PKCS#1, PKCS#8 or SEC1. Other sections in either file are
    /// skipped, so both may be the same file. `origin` names both in messages.
    pub fn from_pem(
        certificate_pem: &[u8],
        key_pem: &[u8],
        origin: &str,
    ) -> Result<CertificateWithKey, MaterialError> {
        let chain = certificates_from_pem(certificate_pem, origin)?;
        let digest = digest_certificates(&chain);
        let leaf = Leaf::parse(chain.first(), origin)?;
        let certified = certify(&chain, private_key_from_pem(key_pem, origin)?, &leaf, origin)?;
        Ok(CertificateWithKey {
            certified: Arc::new(certified),
            origin: origin.to_owned(),
            digest,
            names: leaf.names(),
            not_after_s: leaf.parsed.validity().not_after.timestamp(),
        })
    }
}

/// An error in a certificate, a key or a set of trust anchors. Never contains key material.
#[derive(Debug, thiserror::Error)]
pub enum MaterialError {
    /// A file could not be read.
    #[error("{}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The PEM itself is damaged.
    #[error("{origin}: damaged PEM: {problem}")]
    Pem {
        /// Its origin.
        origin: String,
        /// The problem.
        problem: &'static str,
    },
    /// There is no certificate.
    #[error("{origin}: no certificate found{}", hint(.is_der, "; this looks like DER; PEM is \
        required"))]
    NoCertificate {
        /// Its origin.
        origin: String,
        /// It may be DER, which is not PEM.
        is_der: bool,
    },
    /// A certificate that cannot be parsed.
    #[error("{origin}: certificate {position} cannot be parsed: {problem}")]
    MalformedCertificate {
        /// Its origin.
        origin: String,
        /// Its position among the certificates, from 1.
        position: usize,
        /// The problem.
        problem: String,
    },
    /// A leaf of X.509 version 1, which has no names and which TLS libraries reject.
    #[error(
        "{origin}: the certificate is X.509 version 1; it needs version 3, with a subject \
         alternative name (`openssl x509 -req` makes it with `-extfile`)"
    )]
    VersionOne {
        /// Its origin.
        origin: String,
    },
    /// There is no private key.
    #[error(
        "{origin}: no private key found{}",
        hint(.is_encrypted, "; it is encrypted, and must be stored without a passphrase")
    )]
    NoPrivateKey {
        /// Its origin.
        origin: String,
        /// It is encrypted with a passphrase.
        is_encrypted: bool,
    },
    /// A private key of a kind that is not supported, or a damaged one.
    #[error(
        "{origin}: {key} is not supported; use RSA (2048 to 4096 bits), ECDSA P-256 or P-384, or \
         Ed25519"
    )]
    UnsupportedKey {
        /// Its origin.
        origin: String,
        /// Its kind, if known.
        key: String,
    },
    /// The key belongs to no certificate of the chain.
    #[error("{origin}: the private key does not belong to the certificate")]
    KeyMismatch {
        /// The origin of both.
        origin: String,
    },
    /// The key belongs to a certificate of the chain other than the first.
    #[error(
        "{origin}: the private key belongs to certificate {position} of the chain, which must \
         come first"
    )]
    LeafNotFirst {
        /// The origin of both.
        origin: String,
        /// The position of the key's certificate, from 1.
        position: usize,
    },
    /// No trust anchors were found on this system.
    #[error("no trusted root certificates found on this system (looked for {looked_for})")]
    NoSystemRoots {
        /// The files and directories tried.
        looked_for: String,
    },
}

fn hint(applies: &bool, text: &'static str) -> &'static str {
    if *applies { text } else { "" }
}

/// All certificates of a PEM text, at least one. Other sections are skipped.
pub(super) fn certificates_from_pem(
    pem: &[u8],
    origin: &str,
) -> Result<Vec<CertificateDer<'static>>, MaterialError> {
    let certificates: Vec<_> = CertificateDer::pem_slice_iter(without_byte_order_mark(pem))
        .collect::<Result<_, _>>()
        .map_err(|error| damaged(&error, origin))?;
    if certificates.is_empty() {
        // A DER certificate is a SEQUENCE longer than 255 bytes.
        let is_der = pem.starts_with(&[0x30, 0x82]);
        return Err(MaterialError::NoCertificate { origin: origin.to_owned(), is_der });
    }
    Ok(certificates)
}

/// SHA-256 over certificates, each preceded by its length, so that different lists never hash the
/// same bytes.
pub(super) fn digest_certificates(certificates: &[CertificateDer<'_>]) -> [u8; 32] {
    let mut digest = Digest::default();
    for certificate in certificates {
        digest.field(certificate);
    }
    digest.finish()
}

fn private_key_from_pem(pem: &[u8], origin: &str) -> Result<PrivateKeyDer<'static>, MaterialError> {
    let is_encrypted = [b"BEGIN ENCRYPTED PRIVATE KEY".as_slice(), b"Proc-Type: 4,ENCRYPTED"]
        .iter()
        .any(|mark| pem.windows(mark.len()).any(|window| window == *mark));
    match PrivateKeyDer::from_pem_slice(without_byte_order_mark(pem)) {
        Ok(key) => Ok(key),
        Err(error) if !is_encrypted && !matches!(error, pem::Error::NoItemsFound) => {
            Err(damaged(&error, origin))
        }
        Err(_) => Err(MaterialError::NoPrivateKey { origin: origin.to_owned(), is_encrypted }),
    }
}

/// The parser's own messages quote lines of the file, which may be of a key.
fn damaged(error: &pem::Error, origin: &str) -> MaterialError {
    let problem = match error {
        pem::Error::MissingSectionEnd { .. } => "a section has no end line (cut off?)",
        pem::Error::IllegalSectionStart { .. } => "a BEGIN line is malformed",
        pem::Error::Base64Decode(_) => "a section is not valid base64",
        _ => "it cannot be read",
    };
    MaterialError::Pem { origin: origin.to_owned(), problem }
}

fn without_byte_order_mark(pem: &[u8]) -> &[u8] {
    pem.strip_prefix(b"\xef\xbb\xbf").unwrap_or(pem)
}

/// The leaf of a chain, checked to be usable by TLS peers.
struct Leaf<'a> {
    parsed: X509Certificate<'a>,
}

impl<'a> Leaf<'a> {
    fn parse(
        leaf: Option<&'a CertificateDer<'static>>,
        origin: &str,
    ) -> Result<Leaf<'a>, MaterialError> {
        let no_certificate =
            || MaterialError::NoCertificate { origin: origin.to_owned(), is_der: false };
        let leaf = leaf.ok_or_else(no_certificate)?;
        let malformed = |problem: String| MaterialError::MalformedCertificate {
            origin: origin.to_owned(),
            position: 1,
            problem,
        };
        let parsed = names::parse(leaf).map_err(|error| malformed(error.to_string()))?;
        match EndEntityCert::try_from(leaf) {
            Ok(_) => Ok(Leaf { parsed }),
            Err(webpki::Error::UnsupportedCertVersion) => {
                Err(MaterialError::VersionOne { origin: origin.to_owned() })
            }
            Err(error) => Err(malformed(error.to_string())),
        }
    }

    fn names(&self) -> Vec<String> {
        let names = dns_names(&self.parsed);
        if names.is_empty() {
            return common_name(&self.parsed).into_iter().collect();
        }
        names
    }
}

fn certify(
    chain: &[CertificateDer<'static>],
    key: PrivateKeyDer<'static>,
    leaf: &Leaf<'_>,
    origin: &str,
) -> Result<CertifiedKey, MaterialError> {
    let origin = origin.to_owned();
    let Ok(key) = provider().key_provider.load_private_key(key) else {
        let key = unsupported_key(leaf.parsed.public_key());
        return Err(MaterialError::UnsupportedKey { origin, key });
    };
    let certified = CertifiedKey::new(chain.to_vec(), key);
    match certified.keys_match() {
        Ok(()) | Err(rustls::Error::InconsistentKeys(InconsistentKeys::Unknown)) => Ok(certified),
        Err(_) => Err(match position_of_key(&certified) {
            Some(position) => MaterialError::LeafNotFirst { origin, position },
            None => MaterialError::KeyMismatch { origin },
        }),
    }
}

/// The position, from 1, of the certificate that the key belongs to.
fn position_of_key(certified: &CertifiedKey) -> Option<usize> {
    let key = certified.key.public_key()?;
    let belongs = |certificate: &CertificateDer<'_>| {
        EndEntityCert::try_from(certificate)
            .is_ok_and(|certificate| certificate.subject_public_key_info() == key)
    };
    certified.cert.iter().position(belongs).map(|index| index + 1)
}

/// Describes a key that ring does not support, by the certificate that should belong to it.
fn unsupported_key(public_key: &SubjectPublicKeyInfo<'_>) -> String {
    let curve = public_key.algorithm.parameters.as_ref().and_then(|any| any.as_oid().ok());
    match public_key.parsed() {
        Ok(PublicKey::RSA(rsa)) if !(2048..=4096).contains(&rsa.key_size()) => {
            format!("an RSA key of {} bits", rsa.key_size())
        }
        Ok(PublicKey::EC(_)) if curve == Some(OID_NIST_EC_P521) => "a key on P-521".to_owned(),
        _ => "the private key (damaged, or of another kind)".to_owned(),
    }
}

#[cfg(test)]
mod tests;
