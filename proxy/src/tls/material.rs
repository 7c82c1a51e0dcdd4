//! Certificates, keys and trust anchors, checked when they are read.

use std::{ffi::OsStr, sync::Arc};

use rustls::{
    RootCertStore,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
    sign::CertifiedKey,
};

/// Why material cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct MaterialError(String);

/// A certificate chain with the private key that belongs to it.
#[derive(Debug)]
pub struct Identity {
    /// As rustls takes it.
    pub certified: Arc<CertifiedKey>,
    /// Where it was read from, for messages: the paths, or the keys of the configuration.
    pub origin: String,
    /// SHA-256 over the chain, so that the same content is known again after a reload.
    pub digest: [u8; 32],
    /// DNS names (or the common name where there are none) of the leaf, lower case.
    pub names: Vec<String>,
    /// End of the leaf's validity, in seconds since the epoch.
    pub not_after_s: i64,
}

/// Certificates that are trusted to have issued others.
#[derive(Debug)]
pub struct TrustAnchors {
    /// As rustls takes them.
    pub roots: Arc<RootCertStore>,
    /// The certificates themselves, in the order read.
    pub certificates: Vec<CertificateDer<'static>>,
    /// Where they were read from.
    pub origin: String,
    /// SHA-256 over the certificates.
    pub digest: [u8; 32],
}

impl Identity {
    /// A chain and its key.
    pub fn from_pem(cert: &[u8], key: &[u8], origin: &str) -> Result<Identity, MaterialError> {
        let chain = certificates(cert, origin)?;
        let key = PrivateKeyDer::from_pem_slice(key)
            .map_err(|error| MaterialError(format!("{origin}: no private key: {error}")))?;
        let provider = rustls::crypto::ring::default_provider();
        let certified = CertifiedKey::from_der(chain.clone(), key, &provider)
            .map_err(|error| MaterialError(format!("{origin}: {error}")))?;
        Ok(Identity {
            certified: Arc::new(certified),
            origin: origin.to_owned(),
            digest: digest(&chain),
            names: Vec::new(),
            not_after_s: 0,
        })
    }
}

impl TrustAnchors {
    /// A bundle.
    pub fn from_pem(pem: &[u8], origin: &str) -> Result<TrustAnchors, MaterialError> {
        TrustAnchors::of(certificates(pem, origin)?, origin)
    }

    /// The system's.
    pub fn system(
        file: Option<&OsStr>,
        _dir: Option<&OsStr>,
    ) -> Result<TrustAnchors, MaterialError> {
        let path = file.unwrap_or(OsStr::new("/etc/ssl/certs/ca-certificates.crt"));
        let origin = path.to_string_lossy();
        let pem = std::fs::read(path).map_err(|e| MaterialError(format!("{origin}: {e}")))?;
        TrustAnchors::from_pem(&pem, &origin)
    }

    /// All of several.
    pub fn union(sets: &[&TrustAnchors]) -> TrustAnchors {
        let certificates = sets.iter().flat_map(|set| set.certificates.iter().cloned()).collect();
        let origin: Vec<&str> = sets.iter().map(|set| set.origin.as_str()).collect();
        TrustAnchors::of(certificates, &origin.join(" and ")).unwrap_or_else(|_| unreachable!())
    }

    fn of(certificates: Vec<CertificateDer<'static>>, origin: &str) -> Result<Self, MaterialError> {
        let mut roots = RootCertStore::empty();
        for certificate in &certificates {
            roots
                .add(certificate.clone())
                .map_err(|error| MaterialError(format!("{origin}: {error}")))?;
        }
        let digest = digest(&certificates);
        Ok(TrustAnchors { roots: Arc::new(roots), certificates, origin: origin.to_owned(), digest })
    }
}

fn certificates(pem: &[u8], origin: &str) -> Result<Vec<CertificateDer<'static>>, MaterialError> {
    let certificates: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    match certificates {
        Ok(certificates) if !certificates.is_empty() => Ok(certificates),
        Ok(_) => Err(MaterialError(format!("{origin}: no certificate"))),
        Err(error) => Err(MaterialError(format!("{origin}: {error}"))),
    }
}

fn digest(certificates: &[CertificateDer<'_>]) -> [u8; 32] {
    let mut context = ring::digest::Context::new(&ring::digest::SHA256);
    for certificate in certificates {
        context.update(certificate);
    }
    let mut out = [0; 32];
    out.copy_from_slice(context.finish().as_ref());
    out
}
