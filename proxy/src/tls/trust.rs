//! What clients' certificates are judged by: one set of anchors with its limits.

use std::sync::Arc;

use rustls::{
    DistinguishedName,
    pki_types::{CertificateDer, UnixTime},
};

use super::{
    anchors::TrustAnchors,
    chain::{ChainError, ChainVerifier, Purpose},
    material::Digest,
    validity::Validity,
};

/// What a client's certificate is judged by.
#[derive(Debug, Clone)]
pub struct ClientTrustSpec {
    /// Who may have issued it.
    pub anchors: Arc<TrustAnchors>,
    /// The most certificates in the verified chain, the anchor not counted; 0 is no limit.
    pub max_verify_depth: u32,
}

/// Judges clients' certificates. Shared by all routes that are under the same client CA.
#[derive(Debug)]
pub struct ClientTrust {
    chain: ChainVerifier,
    subjects: Vec<DistinguishedName>,
    digest: [u8; 32],
}

/// A chain that was found good. It has to be asked about again, by [`ClientTrust::still_good`],
/// each time it is relied on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Judged {
    /// The time during which the whole chain holds, its anchor included.
    pub validity: Validity,
}

impl ClientTrust {
    /// Compiles what is configured.
    pub fn new(spec: &ClientTrustSpec) -> ClientTrust {
        let anchors = Arc::clone(&spec.anchors);
        ClientTrust {
            digest: digest(spec),
            subjects: anchors.roots.subjects(),
            chain: ChainVerifier::new(anchors, Purpose::ClientAuth, spec.max_verify_depth),
        }
    }

    /// Judges a chain in full, signatures included. That the client holds the leaf's key is not
    /// looked at here.
    pub fn judge(
        &self,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<Judged, ChainError> {
        let validity = self.chain.verify(leaf, intermediates, now)?;
        Ok(Judged { validity })
    }

    /// Whether a chain found good by a trust of the same [`ClientTrust::digest`] is so now: what
    /// time may have changed, without any signature.
    pub fn still_good(&self, judged: &Judged, now: UnixTime) -> Result<(), ChainError> {
        Ok(judged.validity.check(now)?)
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

fn digest(spec: &ClientTrustSpec) -> [u8; 32] {
    let mut digest = Digest::default();
    digest.field(&spec.anchors.digest);
    digest.field(&spec.max_verify_depth.to_be_bytes());
    digest.finish()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tls::testing::{DAY_S, NOW_S, at, client_leaf, root};

    #[test]
    fn a_chain_found_good_stops_being_so_with_its_validity() {
        let root = root();
        let mut params = client_leaf();
        params.not_after = rcgen::date_time_ymd(2030, 1, 2);
        let client = root.issue(params);
        let trust =
            ClientTrust::new(&ClientTrustSpec { anchors: root.anchors(), max_verify_depth: 1 });
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
    fn whatever_changes_a_judgement_changes_the_digest() {
        let (root, other) = (root(), root());
        let digest = |anchors, max_verify_depth| {
            ClientTrust::new(&ClientTrustSpec { anchors, max_verify_depth }).digest()
        };
        assert_eq!(digest(root.anchors(), 1), digest(root.anchors(), 1));
        assert_ne!(digest(root.anchors(), 1), digest(other.anchors(), 1));
        assert_ne!(digest(root.anchors(), 1), digest(root.anchors(), 2));
    }
}
