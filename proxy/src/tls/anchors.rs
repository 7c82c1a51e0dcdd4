//! Trust anchors.

use std::{
    collections::HashSet,
    ffi::OsStr,
    fs,
    path::{Path, PathBuf},
    sync::Arc,
};

use rustls::{
    RootCertStore,
    pki_types::{CertificateDer, TrustAnchor, pem::PemObject},
};

use x509_parser::{certificate::X509Certificate, x509::X509Version};

use super::{
    algorithms::{UnsupportedKey, unsupported_key, unsupported_signature},
    chain::constraints_of,
    material::{MaterialError, certificates_from_pem, digest_certificates},
    validity::Validity,
};
use crate::{certificate, regular_file};

/// The paths of trusted roots on Linux distributions; the first that exists is read.
const SYSTEM_BUNDLES: [&str; 6] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/usr/local/etc/ssl/cert.pem",
    "/etc/ssl/cert.pem",
];

/// Maximum size of a file of roots. The usual bundle has 0.2 MiB.
const MAX_BUNDLE_BYTES: u64 = 64 << 20;

/// Trust anchors: roots or intermediates. A certificate that is not a CA is trusted only as itself.
#[derive(Debug)]
pub struct TrustAnchors {
    /// In rustls's form, in the order of `certificates`.
    pub roots: Arc<RootCertStore>,
    /// The certificates themselves, in the order read, each once.
    pub certificates: Vec<CertificateDer<'static>>,
    /// Where they were read from.
    pub origin: String,
    /// SHA-256 over the certificates.
    pub digest: [u8; 32],
    /// The parts of the anchors that rustls's form omits, in the same order.
    details: Vec<Details>,
    /// The anchors that may issue others, as webpki gets them: without name constraints, of which it
    /// processes some kinds only (`chain/name_constraints.rs` processes them).
    issuers: Vec<TrustAnchor<'static>>,
    /// The place of each issuer among the certificates.
    issuer_places: Vec<usize>,
}

impl TrustAnchors {
    /// Whether the anchor at this place among the certificates may issue others.
    pub fn may_issue(&self, place: usize) -> bool {
        self.issuer_places.contains(&place)
    }

    /// Reads anchors from a PEM bundle; every certificate in it must be usable. X.509 version 1 is
    /// usable: a trust anchor is only a name and a key.
    pub fn from_pem(pem: &[u8], origin: &str) -> Result<TrustAnchors, MaterialError> {
        let certificates = certificates_from_pem(pem, origin)?;
        let anchors = certificates
            .into_iter()
            .enumerate()
            .map(|(index, certificate)| {
                Anchor::parse(certificate).map_err(|problem| MaterialError::MalformedCertificate {
                    origin: origin.to_owned(),
                    position: index + 1,
                    problem,
                })
            })
            .collect::<Result<Vec<_>, _>>()?;
        Ok(TrustAnchors::assemble(anchors, origin.to_owned()))
    }

    /// Reads the system's roots. `SSL_CERT_FILE` and `SSL_CERT_DIR` (directories separated by
    /// colons), if one is set, replace the system's paths. An unusable certificate is skipped,
    /// since these bundles contain very old ones; an empty result is an error.
    pub fn system(
        ssl_cert_file: Option<&OsStr>,
        ssl_cert_dir: Option<&OsStr>,
    ) -> Result<TrustAnchors, MaterialError> {
        system_from(&SYSTEM_BUNDLES.map(Path::new), ssl_cert_file, ssl_cert_dir)
    }

    /// The union of several sets, each certificate once.
    pub fn union(parts: &[&TrustAnchors]) -> TrustAnchors {
        let anchors = parts.iter().flat_map(|part| part.anchors()).collect();
        let origins: Vec<_> = parts.iter().map(|part| part.origin.as_str()).collect();
        TrustAnchors::assemble(anchors, origins.join(" and "))
    }

    /// The anchors that may issue others, for webpki. They have no name constraints.
    pub(super) fn issuers(&self) -> &[TrustAnchor<'static>] {
        &self.issuers
    }

    /// The place among the certificates of one of [`TrustAnchors::issuers`], by identity: anchors
    /// with the same name and key may differ in their constraints.
    pub(super) fn place_of(&self, issuer: &TrustAnchor<'_>) -> Option<usize> {
        let index = self.issuers.iter().position(|known| std::ptr::eq(known, issuer))?;
        self.issuer_places.get(index).copied()
    }

    /// The validity of the issuer at this place; several if it was renewed unchanged.
    pub(super) fn validities_at(&self, place: usize) -> impl Iterator<Item = Validity> {
        let this = self.roots.roots.get(place);
        let roots = self.roots.roots.iter().zip(&self.details);
        roots
            .filter(move |(root, details)| Some(*root) == this && details.may_issue)
            .map(|(_, details)| details.validity)
    }

    /// When each becomes valid, in seconds since the epoch.
    pub(super) fn starts_s(&self) -> impl Iterator<Item = i64> {
        self.details.iter().map(|details| details.validity.not_before_s)
    }

    /// The certificates that may issue others.
    pub(super) fn issuing(&self) -> impl Iterator<Item = &CertificateDer<'static>> {
        self.issuer_places.iter().filter_map(|place| self.certificates.get(*place))
    }

    /// The certificate at a place, with its name constraints if it has any.
    pub(super) fn constrained(&self, place: usize) -> Option<&CertificateDer<'static>> {
        self.details.get(place).filter(|details| details.has_name_constraints)?;
        self.certificates.get(place)
    }

    /// The anchors whose key verifies no signature here, with their position from 1 and the reason.
    pub fn unusable(&self) -> impl Iterator<Item = (usize, &UnsupportedKey)> {
        let details = self.details.iter().enumerate();
        details.filter_map(|(index, details)| Some((index + 1, details.unsupported_key.as_ref()?)))
    }

    /// Whether an anchor is itself signed by an algorithm that cannot be verified: its position from
    /// 1, and the algorithm. Its own signature does not matter, but it tells how the CA signs.
    pub fn unverifiable_signatures(&self) -> impl Iterator<Item = (usize, &str)> {
        let details = self.details.iter().enumerate();
        details.filter_map(|(index, details)| Some((index + 1, details.signature.as_deref()?)))
    }

    /// The validity of this certificate, if it is itself an anchor.
    pub(super) fn validity_of(&self, certificate: &CertificateDer<'_>) -> Option<Validity> {
        let index = self.certificates.iter().position(|anchor| anchor == certificate)?;
        self.details.get(index).map(|details| details.validity)
    }

    fn assemble(anchors: Vec<Anchor>, origin: String) -> TrustAnchors {
        let mut roots = RootCertStore::empty();
        let mut certificates = Vec::with_capacity(anchors.len());
        let mut details = Vec::with_capacity(anchors.len());
        let mut known = HashSet::with_capacity(anchors.len());
        for anchor in anchors {
            if known.insert(anchor.certificate.clone()) {
                certificates.push(anchor.certificate);
                roots.roots.push(anchor.root);
                details.push(anchor.details);
            }
        }
        let digest = digest_certificates(&certificates);
        let places = details.iter().enumerate().filter(|(_, details)| details.may_issue);
        let issuer_places: Vec<usize> = places.map(|(place, _)| place).collect();
        let issuers = issuer_places.iter().filter_map(|place| roots.roots.get(*place));
        let issuers = issuers.map(|root| TrustAnchor { name_constraints: None, ..root.clone() });
        let issuers = issuers.collect();
        let roots = Arc::new(roots);
        TrustAnchors { roots, certificates, origin, digest, details, issuers, issuer_places }
    }

    fn anchors(&self) -> impl Iterator<Item = Anchor> {
        self.certificates.iter().zip(&self.roots.roots).zip(&self.details).map(
            |((certificate, root), details)| Anchor {
                certificate: certificate.clone(),
                root: root.clone(),
                details: details.clone(),
            },
        )
    }
}

struct Anchor {
    certificate: CertificateDer<'static>,
    root: TrustAnchor<'static>,
    details: Details,
}

#[derive(Debug, Clone)]
struct Details {
    validity: Validity,
    has_name_constraints: bool,
    /// Why no signature of it can be verified.
    unsupported_key: Option<UnsupportedKey>,
    /// The algorithm of its own signature, if it cannot be verified though its key could.
    signature: Option<Box<str>>,
    /// Otherwise it is trusted only as itself: a client whose own certificate is trusted must not
    /// issue others.
    may_issue: bool,
}

impl Anchor {
    fn parse(certificate: CertificateDer<'static>) -> Result<Anchor, String> {
        let parsed = certificate::parse(&certificate).map_err(|error| error.to_string())?;
        let details = Details::of(&parsed)?;
        let root = webpki::anchor_from_trusted_cert(&certificate)
            .map_err(|error| error.to_string())?
            .to_owned();
        Ok(Anchor { certificate, root, details })
    }
}

impl Details {
    fn of(certificate: &X509Certificate<'_>) -> Result<Details, String> {
        let constraints = constraints_of(certificate);
        let constraints = constraints.map_err(|_| "its name constraints cannot be read")?;
        let unsupported_key = unsupported_key(certificate.public_key());
        // Old roots with SHA-1 have issued better ones since; a CA that signs itself by ECDSA with
        // SHA-512 signs others so.
        let signature = unsupported_signature(certificate)
            .filter(|name| unsupported_key.is_none() && name.starts_with("ECDSA"));
        Ok(Details {
            validity: certificate.validity().into(),
            has_name_constraints: constraints.is_some(),
            unsupported_key,
            signature: signature.map(Into::into),
            may_issue: may_issue(certificate),
        })
    }
}

/// RFC 5280, section 6.1.4 (k) and (n), which webpki applies to all certificates except the anchor.
/// Version 1 has no such extensions.
fn may_issue(certificate: &X509Certificate<'_>) -> bool {
    let (Ok(basic_constraints), Ok(key_usage)) =
        (certificate.basic_constraints(), certificate.key_usage())
    else {
        return false;
    };
    let signs_certificates = key_usage.as_ref().map(|usage| usage.value.key_cert_sign());
    match basic_constraints {
        Some(constraints) => constraints.value.ca && signs_certificates.unwrap_or(true),
        None => signs_certificates.unwrap_or(certificate.version() != X509Version::V3),
    }
}

fn system_from(
    bundles: &[&Path],
    ssl_cert_file: Option<&OsStr>,
    ssl_cert_dir: Option<&OsStr>,
) -> Result<TrustAnchors, MaterialError> {
    let sources = match (ssl_cert_file, ssl_cert_dir) {
        (None, None) => match bundles.iter().find(|path| path.exists()) {
            Some(bundle) => vec![bundle.to_path_buf()],
            None => return Err(no_roots(bundles)),
        },
        (file, directories) => {
            let files = file.into_iter().map(PathBuf::from);
            files.chain(directories.into_iter().flat_map(std::env::split_paths)).collect()
        }
    };
    let mut anchors = Vec::new();
    for source in &sources {
        anchors.extend(
            usable_certificates(source)?
                .into_iter()
                .filter_map(|certificate| Anchor::parse(certificate).ok()),
        );
    }
    if anchors.is_empty() {
        return Err(no_roots(&sources));
    }
    Ok(TrustAnchors::assemble(anchors, join_paths(&sources, " and ")))
}

fn no_roots(looked_for: &[impl AsRef<Path>]) -> MaterialError {
    MaterialError::NoSystemRoots { looked_for: join_paths(looked_for, ", ") }
}

fn join_paths(paths: &[impl AsRef<Path>], separator: &str) -> String {
    let paths: Vec<_> = paths.iter().map(|path| path.as_ref().display().to_string()).collect();
    paths.join(separator)
}

/// The certificates in a file, or in the files of a directory; a damaged file counts as empty.
fn usable_certificates(source: &Path) -> Result<Vec<CertificateDer<'static>>, MaterialError> {
    let unreadable = |error| MaterialError::Read { path: source.to_path_buf(), source: error };
    if source.is_dir() {
        let mut paths = fs::read_dir(source)
            .and_then(|entries| {
                entries.map(|entry| Ok(entry?.path())).collect::<Result<Vec<_>, _>>()
            })
            .map_err(unreadable)?;
        // The order of a directory is arbitrary, and the digest depends on it.
        paths.sort();
        let files = paths.iter().filter(|path| path.is_file());
        return Ok(files
            .filter_map(|path| regular_file::read(path, MAX_BUNDLE_BYTES).ok())
            .flat_map(|pem| usable(&pem))
            .collect());
    }
    regular_file::read(source, MAX_BUNDLE_BYTES).map(|pem| usable(&pem)).map_err(unreadable)
}

fn usable(pem: &[u8]) -> Vec<CertificateDer<'static>> {
    CertificateDer::pem_slice_iter(pem).filter_map(Result::ok).collect()
}

#[cfg(test)]
mod tests;
