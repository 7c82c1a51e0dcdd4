//! What clients' certificates are judged by: one set of anchors with its limits.

use std::sync::Arc;

use rustls::{
    DistinguishedName,
    pki_types::{CertificateDer, UnixTime},
};
use x509_parser::certificate::X509Certificate;

use super::{
    anchors::TrustAnchors,
    chain::{ChainError, ChainVerifier, Purpose},
    crl::{self, CrlBundle, CrlRules, Revocation},
    issuers::Issuers,
    material::Digest,
    names,
    san::{self, AltNameMatcher},
    validity::Validity,
    verification_cache,
};

/// What a client's certificate is judged by.
#[derive(Debug, Clone)]
pub struct ClientTrustSpec {
    /// Who may have issued it.
    pub anchors: Arc<TrustAnchors>,
    /// The most certificates in the verified chain, the anchor not counted; 0 is no limit.
    pub max_verify_depth: u32,
    /// Of which at least one must match a name of the leaf; none is no condition.
    pub alt_names: Vec<AltNameMatcher>,
    /// Who was revoked; `None` is not asked.
    pub crls: Option<Arc<CrlBundle>>,
    /// What becomes of those about whom the CRLs cannot tell.
    pub crl_rules: CrlRules,
}

impl ClientTrustSpec {
    /// With no condition but the chain.
    pub fn new(anchors: Arc<TrustAnchors>, max_verify_depth: u32) -> ClientTrustSpec {
        let (alt_names, crls, crl_rules) = (Vec::new(), None, CrlRules::default());
        ClientTrustSpec { anchors, max_verify_depth, alt_names, crls, crl_rules }
    }
}

/// Judges clients' certificates. Shared by all routes that are under the same client CA.
#[derive(Debug)]
pub struct ClientTrust {
    chain: ChainVerifier,
    alt_names: Vec<AltNameMatcher>,
    revocation: Option<Revocation>,
    subjects: Vec<DistinguishedName>,
    digest: [u8; 32],
}

/// A chain that was found good. It has to be asked about again, by [`ClientTrust::still_good`],
/// each time it is relied on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct VerifiedChain {
    /// The time during which the judgement holds: that of the whole chain, its anchor included,
    /// and of the CRL that was looked into.
    pub validity: Validity,
    /// That of the chain alone, which tells one end from the other.
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

    /// Judges a chain in full, signatures included, unless this thread has found it good before:
    /// then only what time changes is looked at. That the client holds the leaf's key is not looked
    /// at here.
    pub fn judge(
        &self,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<VerifiedChain, ChainError> {
        let key = verification_cache::CacheKey::new(&self.digest, leaf, intermediates);
        if let Some(judged) = verification_cache::recall(&key) {
            if self.still_good(&judged, now).is_ok() {
                return Ok(judged);
            }
            verification_cache::forget(&key);
        }
        let judged = self.judge_anew(leaf, intermediates, now)?;
        verification_cache::remember(key, judged);
        Ok(judged)
    }

    fn judge_anew(
        &self,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<VerifiedChain, ChainError> {
        let chain = self.chain.verify(leaf, intermediates, now)?;
        let leaf = parse(leaf)?;
        if !san::is_allowed(&self.alt_names, &leaf) {
            return Err(ChainError::NameNotAllowed);
        }
        let chain_validity = chain.validity;
        let crl_validity = match &self.revocation {
            Some(revocation) => {
                let issuer = chain.issuer.as_ref().map(|issuer| parse(issuer)).transpose()?;
                revocation.check(&leaf, issuer.as_ref(), now)?
            }
            None => Validity::ALWAYS,
        };
        Ok(VerifiedChain::new(chain_validity, crl_validity, chain.issuers))
    }

    /// Whether a chain found good by a trust of the same [`ClientTrust::digest`] is so now: what
    /// time may have changed, without any signature.
    pub fn still_good(&self, judged: &VerifiedChain, now: UnixTime) -> Result<(), ChainError> {
        judged.chain_validity.check(now)?;
        Ok(crl::check_validity(judged.validity, now)?)
    }

    /// The issuers by which a chain with these intermediates was found good, from the leaf's own to
    /// the anchor: none where the leaf is an anchor itself. Whatever else the client sent with it
    /// is not among them. `None` where they were not noted.
    pub fn issuers<'c>(
        &'c self,
        judged: &VerifiedChain,
        intermediates: &'c [CertificateDer<'static>],
    ) -> Option<Vec<&'c CertificateDer<'static>>> {
        self.chain.resolve(judged.issuers?, intermediates)
    }

    /// SHA-256 over all that a judgement depends on but the chain and the time.
    pub fn digest(&self) -> [u8; 32] {
        self.digest
    }

    /// Names of the anchors, by which clients find the certificate to present.
    pub(super) fn subjects(&self) -> &[DistinguishedName] {
        &self.subjects
    }
}

fn parse<'a>(certificate: &'a CertificateDer<'_>) -> Result<X509Certificate<'a>, ChainError> {
    names::parse(certificate).map_err(|_| webpki::Error::BadDer.into())
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
    use crate::tls::crl::RevocationError;
    use crate::tls::oracle;
    use crate::tls::testing::{DAY_S, NOW_S, at, client_leaf, root};

    #[test]
    fn a_chain_found_good_stops_being_so_with_its_validity() {
        let root = root();
        let mut params = client_leaf();
        params.not_after = rcgen::date_time_ymd(2030, 1, 2);
        let client = root.issue(params);
        let trust = ClientTrust::new(&ClientTrustSpec::new(root.anchors(), 1));
        let judged = trust.judge(&client.der, &[], at(NOW_S)).unwrap();
        let at_end = judged.validity.not_after_s;
        assert!(trust.still_good(&judged, at(at_end)).is_ok());
        let late = trust.still_good(&judged, at(at_end + 1));
        assert!(matches!(late, Err(ChainError::Expired { .. })));
        // A clock may also be set back.
        let early = trust.still_good(&judged, at(judged.validity.not_before_s - DAY_S));
        assert!(matches!(early, Err(ChainError::NotYetValid { .. })));
    }

    #[test]
    fn a_chain_is_verified_once_and_anew_when_its_time_is_over() {
        let (root, other) = (root(), root());
        let client = root.issue(client_leaf());
        let trust = ClientTrust::new(&ClientTrustSpec::new(root.anchors(), 1));
        let first = trust.judge(&client.der, &[], at(NOW_S)).unwrap();
        let key = verification_cache::CacheKey::new(&trust.digest(), &client.der, &[]);
        assert_eq!(verification_cache::recall(&key), Some(first));
        assert_eq!(trust.judge(&client.der, &[], at(NOW_S)).unwrap(), first);
        // What is remembered is believed: nothing could verify this.
        let nonsense = CertificateDer::from(b"nonsense".to_vec());
        assert!(trust.judge(&nonsense, &[], at(NOW_S)).is_err());
        verification_cache::remember(
            verification_cache::CacheKey::new(&trust.digest(), &nonsense, &[]),
            first,
        );
        assert_eq!(trust.judge(&nonsense, &[], at(NOW_S)).unwrap(), first);
        // A trust of another digest remembers nothing of it.
        let stranger = ClientTrust::new(&ClientTrustSpec::new(other.anchors(), 1));
        assert!(stranger.judge(&client.der, &[], at(NOW_S)).is_err());

        let late = trust.judge(&client.der, &[], at(first.validity.not_after_s + 1));
        assert!(matches!(late, Err(ChainError::Expired { .. })), "{late:?}");
        assert_eq!(verification_cache::recall(&key), None, "dropped with the end of its time");
    }

    #[test]
    fn a_refusal_is_not_remembered() {
        let root = root();
        let client = root.issue(client_leaf());
        let trust = ClientTrust::new(&ClientTrustSpec::new(root.anchors(), 1));
        assert!(trust.judge(&client.der, &[], at(0)).is_err());
        assert!(trust.judge(&client.der, &[], at(NOW_S)).is_ok());
    }

    #[test]
    fn a_cached_chain_is_verified_again_under_a_new_crl() {
        let root = root();
        let client = root.issue(client_leaf());
        let trust = |crl: String| {
            let crls = CrlBundle::from_pem(crl.as_bytes(), "a test").unwrap();
            let spec = ClientTrustSpec::new(root.anchors(), 1);
            ClientTrust::new(&ClientTrustSpec { crls: Some(Arc::new(crls)), ..spec })
        };
        let before = trust(root.crl(&[]));
        let judged = before.judge(&client.der, &[], at(NOW_S)).unwrap();
        assert!(before.still_good(&judged, at(NOW_S)).is_ok());
        let after = trust(root.crl(&[&client]));
        assert_ne!(before.digest(), after.digest(), "so that a connection asks again");
        let revoked = after.judge(&client.der, &[], at(NOW_S));
        assert!(
            matches!(revoked, Err(ChainError::Revocation(RevocationError::Revoked))),
            "{revoked:?}"
        );
    }

    #[test]
    fn a_chain_found_good_stops_being_so_with_its_crl() {
        let root = root();
        let client = root.issue(client_leaf());
        let crls = CrlBundle::from_pem(root.crl_until(&[], NOW_S + 60).as_bytes(), "a test");
        let crls = Some(Arc::new(crls.unwrap()));
        let spec = ClientTrustSpec { crls, ..ClientTrustSpec::new(root.anchors(), 1) };
        let trust = ClientTrust::new(&spec);
        let judged = trust.judge(&client.der, &[], at(NOW_S)).unwrap();
        assert!(trust.still_good(&judged, at(NOW_S + 60)).is_ok());
        let stale = trust.still_good(&judged, at(NOW_S + 61));
        assert!(
            matches!(stale, Err(ChainError::Revocation(RevocationError::Stale { .. }))),
            "{stale:?}"
        );
    }

    #[test]
    fn of_the_fuzz_corpus_one_certificate_is_good() {
        let corpus = concat!(env!("CARGO_MANIFEST_DIR"), "/../fuzz/corpus/certificate");
        let files = std::fs::read_dir(corpus).unwrap().map(|file| file.unwrap());
        let good = files.filter(|file| oracle::judge(&std::fs::read(file.path()).unwrap()));
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
            proptest::prop_assert!(!oracle::judge(&changed) || changed == whole);
        }
    }

    #[test]
    fn whatever_changes_a_judgement_changes_the_digest() {
        let (root, other) = (root(), root());
        let digest = |anchors, max_verify_depth| {
            ClientTrust::new(&ClientTrustSpec::new(anchors, max_verify_depth)).digest()
        };
        assert_eq!(digest(root.anchors(), 1), digest(root.anchors(), 1));
        assert_ne!(digest(root.anchors(), 1), digest(other.anchors(), 1));
        assert_ne!(digest(root.anchors(), 1), digest(root.anchors(), 2));
    }
}
