//! Certificates, keys and trust anchors, from files or from base64 in the document.

mod state;

pub(super) use state::of_client_cas;

use std::{
    cell::RefCell,
    collections::{HashMap, HashSet},
    num::NonZeroUsize,
    path::{Path, PathBuf},
    rc::Rc,
    sync::Arc,
    thread,
};

use super::super::{
    context::reason, diagnostic::Severity, encoding, model::FileUsage, renewal::read_pair,
    section::Section, unreadable,
};
use crate::tls::{CertificateFiles, CertificateWithKey, CrlBundle, TrustAnchors};

/// Reads certificates, keys and anchors. Material that several routes name is parsed once and
/// shared.
#[derive(Default)]
pub(super) struct Materials {
    identities: RefCell<HashMap<String, Arc<CertificateWithKey>>>,
    /// The pairs whose state was told of.
    told: RefCell<HashSet<String>>,
    anchors: RefCell<HashMap<String, Arc<TrustAnchors>>>,
}

/// The four keys that may name a certificate with its key.
pub(super) struct IdentityKeys {
    /// Base64 of the certificate.
    pub(super) inline: (&'static str, &'static str),
    /// Paths.
    pub(super) files: (&'static str, &'static str),
}

impl Materials {
    /// The certificate of one of two pairs of keys; both pairs together are an error. `None` if
    /// there is none, or a mistake was reported.
    pub(super) fn identity(
        &self,
        section: &Section<'_>,
        keys: &IdentityKeys,
    ) -> Option<Arc<CertificateWithKey>> {
        let inline = self.inline_identity(section, keys.inline);
        let from_files = self.file_identity(section, keys.files, FileUsage::Other);
        if inline.is_some() && from_files.is_some() {
            contradiction(section, keys.inline.0, keys.files.0);
        }
        inline.or(from_files)
    }

    /// The certificate in a pair of base64 keys.
    pub(super) fn inline_identity(
        &self,
        section: &Section<'_>,
        (cert_key, key_key): (&str, &str),
    ) -> Option<Arc<CertificateWithKey>> {
        pair(section, cert_key, key_key)?;
        let cert = decode(section, cert_key);
        let key = decode(section, key_key);
        let origin = format!("{} and {}", section.path_of(cert_key), section.path_of(key_key));
        self.parse_identity(section, cert_key, &cert?, &key?, origin).map(Arc::new)
    }

    /// The certificate in a pair of files.
    pub(super) fn file_identity(
        &self,
        section: &Section<'_>,
        (cert_key, key_key): (&str, &str),
        usage: FileUsage,
    ) -> Option<Arc<CertificateWithKey>> {
        let (cert_path, key_path) = pair(section, cert_key, key_key)?;
        section.context().note_usage(Path::new(&cert_path), usage);
        section.context().note_usage(Path::new(&key_path), usage);
        let origin = format!("{cert_path} and {key_path}");
        let known = self.identities.borrow().get(&origin).map(Arc::clone);
        if let Some(known) = known {
            self.tell_of_state(section, (cert_key, key_key), &known);
            return Some(known);
        }
        let cert = read(section, cert_key, &cert_path);
        let key = read(section, key_key, &key_path);
        let (cert, key) = (cert?, key?);
        let files = Some((PathBuf::from(cert_path), PathBuf::from(key_path)));
        let identity = self.parse_identity(section, cert_key, &cert, &key, origin.clone())?;
        let identity = Arc::new(CertificateWithKey { files, ..identity });
        self.identities.borrow_mut().insert(origin, Arc::clone(&identity));
        self.tell_of_state(section, (cert_key, key_key), &identity);
        Some(identity)
    }

    /// Warns, once for each pair, of a certificate that has ended and of a key that others can read.
    fn tell_of_state(
        &self,
        section: &Section<'_>,
        (cert_key, key_key): (&str, &str),
        identity: &CertificateWithKey,
    ) {
        if self.told.borrow_mut().insert(identity.origin.clone()) {
            state::of_identity(section, (cert_key, key_key), identity);
        }
    }

    /// Reads and parses the files of many sections on all cores, as a cache for
    /// [`Materials::file_identity`]. Reports nothing: a bad pair is read again in its turn.
    pub(super) fn fetch_ahead(
        &self,
        root: &Section<'_>,
        sections: &[Section<'_>],
        (cert_key, key_key): (&str, &str),
    ) {
        let path = |section: &Section<'_>, key| section.value(key)?.as_str().map(PathBuf::from);
        let pairs = sections
            .iter()
            .filter_map(|section| Some((path(section, cert_key)?, path(section, key_key)?)));
        for fetched in fetch(&distinct(pairs)) {
            let origin = fetched.identity.origin.clone();
            self.identities.borrow_mut().insert(origin, Arc::new(fetched.identity));
            for (path, content, digest) in fetched.files {
                root.context().note(path, &content, digest);
            }
        }
    }

    fn parse_identity(
        &self,
        section: &Section<'_>,
        cert_key: &str,
        cert: &[u8],
        key: &[u8],
        origin: String,
    ) -> Option<CertificateWithKey> {
        match CertificateWithKey::from_pem(cert, key, &origin) {
            Ok(identity) => Some(identity),
            Err(problem) => {
                let hint = are_swapped(cert, key).then(|| SWAPPED.to_owned());
                let key_path = section.path_of(cert_key);
                section.context().report(Severity::Error, &key_path, problem.to_string(), hint);
                None
            }
        }
    }

    /// The anchors of a base64 key or a file key; both together are an error. `None` if there are
    /// none, or a mistake was reported.
    pub(super) fn anchors(
        &self,
        section: &Section<'_>,
        inline_key: &str,
        file_key: &str,
    ) -> Option<Arc<TrustAnchors>> {
        if let Some(known) = self.known_anchors(section, inline_key, file_key) {
            return Some(known);
        }
        match content(section, inline_key, file_key)? {
            Content::Inline(pem) => {
                parse_anchors(section, inline_key, &pem, &section.path_of(inline_key))
            }
            Content::File(path, pem) => {
                section.context().note_usage(Path::new(&path), FileUsage::Other);
                let anchors = parse_anchors(section, file_key, &pem, &path)?;
                self.anchors.borrow_mut().insert(path, Arc::clone(&anchors));
                Some(anchors)
            }
        }
    }

    /// The anchors of a file that another section has named.
    fn known_anchors(
        &self,
        section: &Section<'_>,
        inline_key: &str,
        file_key: &str,
    ) -> Option<Arc<TrustAnchors>> {
        let path = section.value(file_key)?.as_str()?;
        let only = !section.has(inline_key) && !section.is_blank(inline_key);
        self.anchors.borrow().get(path).filter(|_| only).map(Arc::clone)
    }

    /// The CRLs of a base64 key or a file key; both together are an error.
    pub(super) fn crls(
        &self,
        section: &Section<'_>,
        inline_key: &str,
        file_key: &str,
    ) -> Option<CrlBundle> {
        let (key, parsed) = match content(section, inline_key, file_key)? {
            Content::Inline(pem) => {
                (inline_key, CrlBundle::from_pem(&pem, &section.path_of(inline_key)))
            }
            Content::File(path, pem) => {
                section.context().note_usage(Path::new(&path), FileUsage::Crl);
                (file_key, CrlBundle::from_pem(&pem, &path))
            }
        };
        match parsed {
            Ok(bundle) => {
                for remark in &bundle.remarks {
                    section.warn(key, format!("{}, {remark}", bundle.origin));
                }
                Some(bundle)
            }
            Err(problem) => {
                section.error(key, problem.to_string());
                None
            }
        }
    }
}

/// The result of parsing a pair.
struct Fetched {
    identity: CertificateWithKey,
    /// With their digests.
    files: [(PathBuf, Vec<u8>, [u8; 32]); 2],
}

const SWAPPED: &str = "the certificate and its key are swapped: exchange the two values";

/// Whether the texts of a certificate and of its key stand in each other's place.
fn are_swapped(cert: &[u8], key: &[u8]) -> bool {
    let has = |pem: &[u8], mark: &[u8]| pem.windows(mark.len()).any(|window| window == mark);
    let (certificate, private_key) = (b"BEGIN CERTIFICATE-----", b"PRIVATE KEY-----");
    has(key, certificate)
        && !has(key, private_key)
        && has(cert, private_key)
        && !has(cert, certificate)
}

/// Below this number, pairs are read in their turn.
const MANY: usize = 64;

/// The pairs, if no file is in two of them: a load must see one version of each file.
fn distinct(pairs: impl Iterator<Item = CertificateFiles>) -> Vec<CertificateFiles> {
    let mut seen = HashSet::new();
    let fresh =
        |(cert, key): &CertificateFiles| seen.insert(cert.clone()) & seen.insert(key.clone());
    let pairs: Vec<CertificateFiles> = pairs.filter(fresh).collect();
    if pairs.len() < MANY { Vec::new() } else { pairs }
}

fn fetch(pairs: &[CertificateFiles]) -> Vec<Fetched> {
    let threads = thread::available_parallelism().map_or(1, NonZeroUsize::get);
    let share = pairs.len().div_ceil(threads).max(1);
    thread::scope(|scope| {
        let fetch_share =
            |pairs: &[CertificateFiles]| pairs.iter().filter_map(fetch_pair).collect::<Vec<_>>();
        let shares = pairs.chunks(share).map(|pairs| scope.spawn(move || fetch_share(pairs)));
        let shares: Vec<_> = shares.collect();
        // The part of a thread that panicked is read in its turn.
        shares.into_iter().filter_map(|share| share.join().ok()).flatten().collect()
    })
}

fn fetch_pair(files: &CertificateFiles) -> Option<Fetched> {
    let (identity, files) = read_pair(files)?;
    Some(Fetched { identity, files })
}

/// The value of one of two keys.
enum Content {
    Inline(Vec<u8>),
    /// With its path.
    File(String, Rc<[u8]>),
}

fn content(section: &Section<'_>, inline_key: &str, file_key: &str) -> Option<Content> {
    match (filled(section, inline_key), filled(section, file_key)) {
        (true, true) => {
            contradiction(section, inline_key, file_key);
            None
        }
        (true, false) => decode(section, inline_key).map(Content::Inline),
        (false, true) => {
            let path = section.text(file_key)?;
            let pem = read(section, file_key, &path)?;
            Some(Content::File(path, pem))
        }
        (false, false) => None,
    }
}

fn parse_anchors(
    section: &Section<'_>,
    key: &str,
    pem: &[u8],
    origin: &str,
) -> Option<Arc<TrustAnchors>> {
    match TrustAnchors::from_pem(pem, origin) {
        Ok(anchors) => {
            report_algorithms(section, key, &anchors);
            state::of_ca_file(section, key, pem, origin);
            Some(Arc::new(anchors))
        }
        Err(problem) => {
            section.error(key, problem.to_string());
            None
        }
    }
}

/// Warns of CAs that can never verify a certificate. Each attempt would look like a fault of the peer.
/// It is no error: nobody gets in by such a CA, and the other routes can be served.
fn report_algorithms(section: &Section<'_>, key: &str, anchors: &TrustAnchors) {
    const KEYS: &str =
        "use a CA with a key on P-256 or P-384, Ed25519, or RSA with 2048 to 8192 bits";
    const DIGESTS: &str =
        "let the CA sign with SHA-256 or SHA-384 (`default_md` in OpenSSL's configuration)";
    let origin = &anchors.origin;
    let unusable: Vec<_> = anchors.unusable().collect();
    let all = unusable.len() == anchors.certificates.len();
    for (position, name) in unusable {
        let rest = if all { ": every certificate is refused" } else { "" };
        let message = format!(
            "{origin}: no signature can be verified with the key of certificate {position} ({name}){rest}"
        );
        section.warn_with_hint(key, message, KEYS);
    }
    for (position, name) in anchors.unverifiable_signatures() {
        let message = format!(
            "{origin}: certificate {position} is signed by {name}; certificates that its CA signs so are refused"
        );
        section.warn_with_hint(key, message, DIGESTS);
    }
}

/// Both texts of a pair, or `None` if there is no pair; an incomplete pair is reported.
fn pair(section: &Section<'_>, first: &str, second: &str) -> Option<(String, String)> {
    match (filled(section, first), filled(section, second)) {
        (true, true) => Some((section.text(first)?, section.text(second)?)),
        (false, false) => None,
        (true, false) => missing_half(section, second, first),
        (false, true) => missing_half(section, first, second),
    }
}

fn missing_half<T>(section: &Section<'_>, missing: &str, given: &str) -> Option<T> {
    if !section.is_blank(missing) {
        section.error(missing, format!("is missing, but `{given}` is set"));
    }
    None
}

/// Whether a key has a value. An empty value is an error: a template with an unset variable must
/// not disable verification or change its roots.
pub(super) fn filled(section: &Section<'_>, key: &str) -> bool {
    if section.is_blank(key) {
        section.error_with_hint(key, "is empty", "give it a value, or remove the key");
        return false;
    }
    section.has(key)
}

pub(super) fn contradiction(section: &Section<'_>, one: &str, other: &str) {
    section.error(one, format!("cannot set both {one} and {other}"));
}

fn decode(section: &Section<'_>, key: &str) -> Option<Vec<u8>> {
    match encoding::base64(&section.text(key)?) {
        Ok(content) => Some(content),
        Err(problem) => {
            let hint = format!("`base64 -w0 FILE`, or the path as `{key}_file`");
            section.error_with_hint(key, problem, hint);
            None
        }
    }
}

pub(super) fn read(section: &Section<'_>, key: &str, path: &str) -> Option<Rc<[u8]>> {
    if path.trim_start().starts_with("-----BEGIN") {
        section.error(key, "holds PEM text; it takes the path of a file");
        return None;
    }
    match section.context().read(Path::new(path)) {
        Ok(content) => Some(content),
        Err(error) => {
            let message = format!("cannot read {path}: {}", reason(&error));
            let hint = unreadable::hint(Path::new(path), &error);
            section.context().report(Severity::Error, &section.path_of(key), message, hint);
            None
        }
    }
}
