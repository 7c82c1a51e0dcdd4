//! Matchers of client certificates.

use super::{
    matcher::StringMatcher,
    request::{ClientCertificateStatus, LeafCertificate, SanKind},
};

/// What a client certificate is compared with. Everything that is given holds, or it does not
/// match.
#[derive(Debug, Clone, PartialEq, Default)]
pub(super) struct CertificateMatcher {
    pub(super) fingerprints: Option<DigestSet>,
    pub(super) spki_hashes: Option<DigestSet>,
    pub(super) names: Vec<(SanKind, StringMatcher)>,
}

impl CertificateMatcher {
    /// A digest names one key, which the peer has proven to hold. A name is worth what the CA is
    /// worth that vouches for it: Pomerium takes it from a self-signed certificate too.
    pub(super) fn matches(&self, certificate: ClientCertificateStatus<'_>) -> bool {
        let Some(leaf) = certificate.presented() else { return false };
        (certificate.is_trusted() || !self.needs_trust())
            && self.fingerprints.as_ref().is_none_or(|set| set.contains(&leaf.fingerprint()))
            && self.spki_hashes.as_ref().is_none_or(|set| contains(set, leaf.spki_hash()))
            && self.names.iter().all(|(kind, matcher)| names_match(leaf, *kind, matcher))
    }

    /// Whether there is a condition that anybody could meet who makes a certificate.
    fn needs_trust(&self) -> bool {
        let pinned = self.fingerprints.is_some() || self.spki_hashes.is_some();
        !self.names.is_empty() || !pinned
    }
}

fn contains(set: &DigestSet, digest: Option<[u8; 32]>) -> bool {
    digest.is_some_and(|digest| set.contains(&digest))
}

fn names_match(leaf: &dyn LeafCertificate, kind: SanKind, matcher: &StringMatcher) -> bool {
    matcher.matches_some_of(leaf.subject_alt_names(kind))
}

/// SHA-256 digests, in order.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct DigestSet(Vec<[u8; 32]>);

impl DigestSet {
    /// Its digests, in order.
    pub(super) fn digests(&self) -> &[[u8; 32]] {
        &self.0
    }

    fn contains(&self, digest: &[u8; 32]) -> bool {
        self.0.binary_search(digest).is_ok()
    }
}

impl FromIterator<[u8; 32]> for DigestSet {
    fn from_iter<I: IntoIterator<Item = [u8; 32]>>(digests: I) -> DigestSet {
        let mut digests: Vec<[u8; 32]> = digests.into_iter().collect();
        digests.sort_unstable();
        DigestSet(digests)
    }
}
