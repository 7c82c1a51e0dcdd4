//! What clients' certificates are verified by: one set of anchors with its limits.

use std::sync::Arc;

use arc_swap::Guard;
use rustls::{
    DistinguishedName,
    pki_types::{CertificateDer, UnixTime},
};
use x509_parser::certificate::X509Certificate;

use super::{
    algorithms::unsupported_key,
    anchors::TrustAnchors,
    chain::{ChainError, ChainVerifier, Purpose, Refusal},
    crl::{self, CrlBundle, CrlRules, CrlStore, Revocation, RevocationError},
    issuers::Issuers,
    material::Digest,
    san::{self, AltNameMatcher},
    validity::Validity,
    verification_cache,
};
use crate::certificate;

/// What a client's certificate is verified by.
#[derive(Debug, Clone)]
pub struct ClientTrustSpec {
    /// The CAs that may have issued it.
    pub anchors: Arc<TrustAnchors>,
    /// The most certificates in the verified chain, the anchor not counted; 0 is no limit.
    pub max_verify_depth: u32,
    /// Patterns of which one must match a name of the leaf; an empty list is no condition.
    pub alt_names: Vec<AltNameMatcher>,
    /// The revoked certificates; with `None`, no CRL is looked at.
    pub crls: Option<Arc<CrlStore>>,
    /// The rules for certificates about which the CRLs say nothing.
    pub crl_rules: CrlRules,
}

impl ClientTrustSpec {
    /// With no condition but the chain.
    pub fn new(anchors: Arc<TrustAnchors>, max_verify_depth: u32) -> ClientTrustSpec {
        let (alt_names, crls, crl_rules) = (Vec::new(), None, CrlRules::default());
        ClientTrustSpec { anchors, max_verify_depth, alt_names, crls, crl_rules }
    }
}

/// Verifies clients' certificates. Shared by all routes that have the same client CA.
#[derive(Debug)]
pub struct ClientTrust {
    chain: ChainVerifier,
    alt_names: Vec<AltNameMatcher>,
    revocation: Option<Revocation>,
    subjects: Vec<DistinguishedName>,
    digest: [u8; 32],
}

/// A chain that was found good. [`ClientTrust::is_still_good`] must be asked again each time
/// something relies on it, and only for the same [`TrustDigest`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct VerifiedChain {
    /// The time during which the result holds: that of the whole chain, its anchor included, and of
    /// the CRL that was looked at.
    pub validity: Validity,
    /// The time of the chain alone, which tells an expired chain from a stale CRL.
    chain_validity: Validity,
    issuers: Option<Issuers>,
}

impl VerifiedChain {
    pub(super) fn new(
        chain_validity: Validity,
        crl_validity: Validity,
        issuers: Option<Issuers>,
    ) -> VerifiedChain {
        let validity = chain_validity.intersection(crl_validity);
        VerifiedChain { validity, chain_validity, issuers }
    }
}

impl ClientTrust {
    /// Compiles what is configured.
    pub fn new(spec: &ClientTrustSpec) -> ClientTrust {
        let anchors = Arc::clone(&spec.anchors);
        let revocation = revocation(spec);
        ClientTrust {
            digest: digest(spec, revocation.as_ref()),
            alt_names: spec.alt_names.clone(),
            revocation,
            subjects: anchors.roots.subjects(),
            chain: ChainVerifier::new(anchors, Purpose::ClientAuth, spec.max_verify_depth),
        }
    }

    /// The CAs.
    pub fn anchors(&self) -> &Arc<TrustAnchors> {
        self.chain.anchors()
    }

    /// The trust with the CRLs of this moment.
    pub fn current(&self) -> CurrentTrust<'_> {
        CurrentTrust { trust: self, crls: self.revocation.as_ref().map(Revocation::current) }
    }

    /// Verifies a chain with the CRLs of this moment, as [`CurrentTrust::verify`] does.
    pub fn verify(
        &self,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<VerifiedChain, Refusal> {
        self.current().verify(leaf, intermediates, now)
    }

    /// Whether a chain that was found good under the same [`TrustDigest`] is still good. Checks what
    /// time may have changed, and no signature.
    pub fn is_still_good(&self, verified: &VerifiedChain, now: UnixTime) -> Result<(), ChainError> {
        verified.chain_validity.check(now)?;
        Ok(crl::check_validity(verified.validity, now)?)
    }

    /// The issuers by which a chain with these intermediates was found good, from the leaf's own to
    /// the anchor; empty if the leaf is an anchor itself. Other certificates that the client sent
    /// are not among them. `None` if the issuers were not noted.
    pub fn issuers<'c>(
        &'c self,
        verified: &VerifiedChain,
        intermediates: &'c [CertificateDer<'static>],
    ) -> Option<Vec<&'c CertificateDer<'static>>> {
        self.chain.resolve(verified.issuers?, intermediates)
    }

    /// SHA-256 over all that a verification depends on except the chain, the CRLs and the time: what
    /// a configuration says. [`CurrentTrust::digest`] has the CRLs too.
    pub fn digest(&self) -> [u8; 32] {
        self.digest
    }

    /// The CRLs that are looked at.
    pub(super) fn crls(&self) -> Option<&Arc<CrlStore>> {
        self.revocation.as_ref().map(Revocation::store)
    }

    /// Names of the anchors, by which clients find the certificate to present.
    pub(super) fn subjects(&self) -> &[DistinguishedName] {
        &self.subjects
    }
}

/// Identifies all that a verification depends on except the chain and the time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct TrustDigest {
    pub(super) trust: [u8; 32],
    /// `None` if no CRL is looked at.
    pub(super) crls: Option<[u8; 32]>,
}

/// A trust with the CRLs of one moment, so that a result and its [`TrustDigest`] belong together
/// though CRLs change in place.
#[derive(Debug)]
pub struct CurrentTrust<'t> {
    trust: &'t ClientTrust,
    crls: Option<Guard<Arc<CrlBundle>>>,
}

impl CurrentTrust<'_> {
    /// Identifies what a result depends on: a result under another digest says nothing.
    pub fn digest(&self) -> TrustDigest {
        let crls = self.crls.as_ref().map(|crls| crls.digest);
        TrustDigest { trust: self.trust.digest, crls }
    }

    /// Verifies a chain in full, signatures included, unless this thread has done so before: then it
    /// checks only what time changes. Whether the client holds the leaf's key is for the handshake to
    /// verify.
    pub fn verify(
        &self,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<VerifiedChain, Refusal> {
        let key = verification_cache::CacheKey::new(&self.digest(), leaf, intermediates);
        match verification_cache::recall(&key) {
            Some(Ok(verified)) if self.trust.is_still_good(&verified, now).is_ok() => {
                return Ok(verified);
            }
            Some(Err(refusal)) if refusal.holds_at(now) => return Err(refusal),
            _ => {}
        }
        let result = self.verify_uncached(leaf, intermediates, now);
        verification_cache::remember(key, &result);
        result
    }

    fn verify_uncached(
        &self,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<VerifiedChain, Refusal> {
        let chain = self.trust.chain.verify(leaf, intermediates, now)?;
        let chain_validity = chain.validity;
        match self.check_leaf(leaf, chain.issuer.as_ref(), now) {
            Ok(crl_validity) => Ok(VerifiedChain::new(chain_validity, crl_validity, chain.issuers)),
            Err(error) => {
                // Once this path has expired, another one may be found.
                let next_path_s = chain_validity.not_after_s.saturating_add(1);
                let heals_at_s = match &error {
                    ChainError::Revocation(RevocationError::NotYetValid {
                        this_update_s, ..
                    }) => next_path_s.min(*this_update_s),
                    _ => next_path_s,
                };
                Err(Refusal::new(error, now, Some(heals_at_s)))
            }
        }
    }

    /// Checks the key and the names of a leaf whose chain is good, and that it is not revoked. Gives the
    /// time for which the CRL holds.
    fn check_leaf(
        &self,
        leaf: &CertificateDer<'_>,
        issuer: Option<&CertificateDer<'_>>,
        now: UnixTime,
    ) -> Result<Validity, ChainError> {
        let leaf = parse(leaf)?;
        if let Some(key) = unsupported_key(leaf.public_key()) {
            return Err(ChainError::Key(key));
        }
        if !san::is_allowed(&self.trust.alt_names, &leaf) {
            return Err(ChainError::NameNotAllowed);
        }
        match (&self.trust.revocation, &self.crls) {
            (Some(revocation), Some(crls)) => {
                let issuer = issuer.map(parse).transpose()?;
                Ok(revocation.check(crls, &leaf, issuer.as_ref(), now)?)
            }
            _ => Ok(Validity::ALWAYS),
        }
    }
}

fn parse<'a>(certificate: &'a CertificateDer<'_>) -> Result<X509Certificate<'a>, ChainError> {
    certificate::parse(certificate).map_err(|_| webpki::Error::BadDer.into())
}

fn revocation(spec: &ClientTrustSpec) -> Option<Revocation> {
    let crls = Arc::clone(spec.crls.as_ref()?);
    Some(Revocation::new(crls, spec.crl_rules, &spec.anchors))
}

fn digest(spec: &ClientTrustSpec, revocation: Option<&Revocation>) -> [u8; 32] {
    let mut digest = Digest::default();
    digest.field(&spec.anchors.digest);
    digest.field(&spec.max_verify_depth.to_be_bytes());
    san::digest(&spec.alt_names, &mut digest);
    if let Some(revocation) = revocation {
        revocation.digest(&mut digest);
    }
    digest.finish()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tls::oracle;
    use crate::tls::testing::{DAY_S, NOW_S, at, client_leaf, root};

    #[test]
    fn a_chain_found_good_stops_being_so_with_its_validity() {
        let root = root();
        let mut params = client_leaf();
        params.not_after = rcgen::date_time_ymd(2030, 1, 2);
        let client = root.issue(params);
        let trust = ClientTrust::new(&ClientTrustSpec::new(root.anchors(), 1));
        let verified = trust.verify(&client.der, &[], at(NOW_S)).unwrap();
        let at_end = verified.validity.not_after_s;
        assert!(trust.is_still_good(&verified, at(at_end)).is_ok());
        let late = trust.is_still_good(&verified, at(at_end + 1));
        assert!(matches!(late, Err(ChainError::Expired { .. })));
        // A clock may also be set back.
        let early = trust.is_still_good(&verified, at(verified.validity.not_before_s - DAY_S));
        assert!(matches!(early, Err(ChainError::NotYetValid { .. })));
    }

    #[test]
    fn a_chain_is_verified_once_and_again_when_its_time_is_over() {
        let (root, other) = (root(), root());
        let client = root.issue(client_leaf());
        let trust = ClientTrust::new(&ClientTrustSpec::new(root.anchors(), 1));
        let first = trust.verify(&client.der, &[], at(NOW_S)).unwrap();
        let key = verification_cache::CacheKey::new(&trust.current().digest(), &client.der, &[]);
        assert_eq!(verification_cache::recall(&key).unwrap().unwrap(), first);
        assert_eq!(trust.verify(&client.der, &[], at(NOW_S)).unwrap(), first);
        // What is remembered is believed: nothing could verify this.
        let nonsense = CertificateDer::from(b"nonsense".to_vec());
        assert!(trust.verify(&nonsense, &[], at(NOW_S)).is_err());
        verification_cache::remember(
            verification_cache::CacheKey::new(&trust.current().digest(), &nonsense, &[]),
            &Ok(first),
        );
        assert_eq!(trust.verify(&nonsense, &[], at(NOW_S)).unwrap(), first);
        // A trust of another digest remembers nothing of it.
        let stranger = ClientTrust::new(&ClientTrustSpec::new(other.anchors(), 1));
        assert!(stranger.verify(&client.der, &[], at(NOW_S)).is_err());

        let late = trust.verify(&client.der, &[], at(first.validity.not_after_s + 1));
        let late = late.map_err(|refusal| refusal.error);
        assert!(matches!(late, Err(ChainError::Expired { .. })), "{late:?}");
        let recalled = verification_cache::recall(&key).unwrap();
        assert!(recalled.is_err(), "replaced at the end of its time");
    }

    #[test]
    fn a_refusal_is_remembered_until_time_may_heal_it() {
        let root = root();
        let client = root.issue(client_leaf());
        let trust = ClientTrust::new(&ClientTrustSpec::new(root.anchors(), 1));
        assert!(trust.verify(&client.der, &[], at(0)).is_err());
        let key = verification_cache::CacheKey::new(&trust.current().digest(), &client.der, &[]);
        let holds = |now_s| match verification_cache::recall(&key) {
            Some(Err(refusal)) => refusal.holds_at(at(now_s)),
            other => panic!("{other:?}"),
        };
        let start_s = client.params.not_before.unix_timestamp();
        assert!(holds(0) && holds(start_s - 1) && !holds(start_s));
        assert!(trust.verify(&client.der, &[], at(NOW_S)).is_ok());
        assert!(trust.verify(&client.der, &[], at(0)).is_err(), "the clock was set back");
    }

    #[test]
    fn a_cached_chain_is_verified_again_under_a_new_crl() {
        let root = root();
        let client = root.issue(client_leaf());
        let bundle = |crl: String| CrlBundle::from_pem(crl.as_bytes(), "a test").unwrap();
        let store = Arc::new(CrlStore::new(bundle(root.crl(&[]))));
        let spec = ClientTrustSpec::new(root.anchors(), 1);
        let trust = ClientTrust::new(&ClientTrustSpec { crls: Some(Arc::clone(&store)), ..spec });
        let verified = trust.verify(&client.der, &[], at(NOW_S)).unwrap();
        assert!(trust.is_still_good(&verified, at(NOW_S)).is_ok());
        let (before, digest) = (trust.current(), trust.current().digest());
        let first = store.replace(Arc::new(bundle(root.crl(&[&client]))));
        assert_ne!(trust.current().digest(), digest, "so that a connection asks again");
        let revoked = trust.verify(&client.der, &[], at(NOW_S)).map_err(|refusal| refusal.error);
        assert!(
            matches!(revoked, Err(ChainError::Revocation(RevocationError::Revoked))),
            "{revoked:?}"
        );
        assert!(before.verify(&client.der, &[], at(NOW_S)).is_ok(), "of the moment before");
        store.replace(first);
        assert_eq!(trust.current().digest(), digest);
        assert!(trust.verify(&client.der, &[], at(NOW_S)).is_ok());
    }

    #[test]
    fn a_chain_found_good_stops_being_so_with_its_crl() {
        let root = root();
        let client = root.issue(client_leaf());
        let crls = CrlBundle::from_pem(root.crl_until(&[], NOW_S + 60).as_bytes(), "a test");
        let crls = Some(Arc::new(CrlStore::new(crls.unwrap())));
        let spec = ClientTrustSpec { crls, ..ClientTrustSpec::new(root.anchors(), 1) };
        let trust = ClientTrust::new(&spec);
        let verified = trust.verify(&client.der, &[], at(NOW_S)).unwrap();
        assert!(trust.is_still_good(&verified, at(NOW_S + 60)).is_ok());
        let stale = trust.is_still_good(&verified, at(NOW_S + 61));
        assert!(
            matches!(stale, Err(ChainError::Revocation(RevocationError::Stale { .. }))),
            "{stale:?}"
        );
    }

    #[test]
    fn of_the_fuzz_corpus_one_certificate_is_good() {
        let corpus = concat!(env!("CARGO_MANIFEST_DIR"), "/../fuzz/corpus/certificate");
        let files = std::fs::read_dir(corpus).unwrap().map(|file| file.unwrap());
        let good = files.filter(|file| oracle::verify(&std::fs::read(file.path()).unwrap()));
        assert_eq!(good.map(|file| file.file_name()).collect::<Vec<_>>(), ["good"]);
    }

    proptest::proptest! {
        #[test]
        fn a_certificate_with_anything_changed_is_not_good(
            file in proptest::sample::select(&["good", "revoked", "ca", "mkcert-client"][..]),
            at: proptest::sample::Index,
            value: u8,
            len: Option<proptest::sample::Index>,
        ) {
            let corpus = concat!(env!("CARGO_MANIFEST_DIR"), "/../fuzz/corpus/certificate");
            let whole = std::fs::read(format!("{corpus}/{file}")).unwrap();
            let mut changed = whole.clone();
            changed[at.index(whole.len())] = value;
            changed.truncate(len.map_or(whole.len(), |len| len.index(whole.len())));
            proptest::prop_assert!(!oracle::verify(&changed) || changed == whole);
        }
    }

    #[test]
    fn what_changes_a_verification_changes_the_digest() {
        let (root, other) = (root(), root());
        let digest = |anchors, max_verify_depth| {
            ClientTrust::new(&ClientTrustSpec::new(anchors, max_verify_depth)).digest()
        };
        assert_eq!(digest(root.anchors(), 1), digest(root.anchors(), 1));
        assert_ne!(digest(root.anchors(), 1), digest(other.anchors(), 1));
        assert_ne!(digest(root.anchors(), 1), digest(root.anchors(), 2));
    }
}
