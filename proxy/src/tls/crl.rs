//! Certificate revocation lists: whether a client's certificate was revoked by its issuer.
//!
//! As in Pomerium, only the leaf is looked up, in the last CRL of its direct issuer. A CRL's
//! signature is verified once, against the first certificate of its issuer that is seen: a trust
//! anchor when the configuration is compiled, or else an intermediate that a client sent. From then
//! on a look-up is a comparison of keys and one of serial numbers.

use std::{
    collections::HashSet,
    sync::{Arc, OnceLock},
};

use arc_swap::{ArcSwap, Guard};
use rustls::pki_types::UnixTime;
use x509_parser::certificate::X509Certificate;

use super::{
    anchors::TrustAnchors,
    material::Digest,
    validity::{Validity, seconds},
};
use crate::{certificate, rfc3339::rfc3339_s};

mod bundle;
mod list;
mod store;

pub use bundle::CrlBundle;
use list::{List, Signed, serial};
pub use store::CrlStore;

/// How many keys that did not sign a CRL are remembered. A CA's name has one key, or two while the
/// CA is renewed.
const MAX_FOREIGN_KEYS: usize = 8;

/// What becomes of a certificate about which no CRL can tell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CrlRule {
    /// It is as good as one that was not revoked.
    Allow,
    /// It is as bad as one that was revoked.
    Reject,
}

/// The rules for CRLs that are not as they should be, the same in all modes of enforcement. A wrong
/// signature always rejects.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CrlRules {
    /// There are CRLs, but none of the certificate's issuer.
    pub missing: CrlRule,
    /// The CRL's time has passed, or has not come.
    pub stale: CrlRule,
}

impl Default for CrlRules {
    fn default() -> Self {
        CrlRules { missing: CrlRule::Allow, stale: CrlRule::Reject }
    }
}

/// What status and metrics show of a CRL.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CrlFacts {
    /// Its issuer, as of RFC 4514.
    pub issuer: String,
    /// When it was issued, in seconds since the epoch.
    pub this_update_s: i64,
    /// When the next one is due, in seconds since the epoch; `None` where it does not say.
    pub next_update_s: Option<i64>,
    /// How many certificates it lists.
    pub revoked: usize,
}

/// Why a certificate is refused by what CRLs say, or do not say.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum RevocationError {
    /// Its issuer has revoked it.
    #[error("its issuer has revoked it")]
    Revoked,
    /// There is no CRL of its issuer, and the rule is to refuse.
    #[error("there is no CRL of its issuer, and `portcullis.crl.missing` is `reject`")]
    Missing,
    /// The time of its issuer's CRL has passed, and the rule is to refuse.
    #[error("the next CRL of its issuer was due at {} (now {})", rfc3339_s(*next_update_s), rfc3339_s(*now_s))]
    Stale {
        /// When it was due, in seconds since the epoch.
        next_update_s: i64,
        /// Time of the verification, in seconds since the epoch.
        now_s: i64,
    },
    /// The time of its issuer's CRL has not come, and the rule is to refuse.
    #[error("the CRL of its issuer is valid from {} (now {})", rfc3339_s(*this_update_s), rfc3339_s(*now_s))]
    NotYetValid {
        /// When it was issued, in seconds since the epoch.
        this_update_s: i64,
        /// Time of the verification, in seconds since the epoch.
        now_s: i64,
    },
    /// Another key has signed the CRL of its issuer's name.
    #[error("the CRL of its issuer's name is signed by another key than the issuer's")]
    ForeignSignature,
    /// Its issuer's certificate has a key usage without the signing of CRLs.
    #[error("the key usage of its issuer does not allow to sign its CRL")]
    MayNotSign,
}

/// The last CRL of one issuer.
#[derive(Debug)]
struct Crl {
    issuer: String,
    validity: Validity,
    has_next_update: bool,
    revoked: HashSet<Box<[u8]>>,
    signer: Signer,
}

impl Crl {
    fn new(list: List<'_>) -> Crl {
        Crl {
            issuer: list.issuer,
            validity: list.validity,
            has_next_update: list.has_next_update,
            revoked: list.revoked,
            signer: Signer::unknown(list.signed),
        }
    }

    /// Looks for the signer among the anchors of the issuer's name.
    fn verify(&self, issuer_der: &[u8], anchors: &TrustAnchors) -> Option<String> {
        let mut is_there = false;
        for certificate in anchors.issuing() {
            let Ok(anchor) = certificate::parse(certificate) else { continue };
            if anchor.subject().as_raw() != issuer_der {
                continue;
            }
            is_there = true;
            if may_sign_crls(&anchor) && self.signer.is(anchor.public_key().raw) {
                return None;
            }
        }
        let issuer = &self.issuer;
        Some(if is_there {
            format!(
                "no CA named \"{issuer}\" has signed the CRL of that name, or none may sign CRLs: \
                 the certificates it has issued are refused"
            )
        } else {
            format!(
                "no CA is named \"{issuer}\" byte by byte: the CRL of that name counts only where \
                 clients send an intermediate so named"
            )
        })
    }

    fn facts(&self) -> CrlFacts {
        CrlFacts {
            issuer: self.issuer.clone(),
            this_update_s: self.validity.not_before_s,
            next_update_s: self.has_next_update.then_some(self.validity.not_after_s),
            revoked: self.revoked.len(),
        }
    }
}

/// Who has signed a CRL, found out once.
#[derive(Debug)]
struct Signer {
    /// The `SubjectPublicKeyInfo` in DER.
    key_info: OnceLock<Box<[u8]>>,
    /// Let go when the signer is known: the signed part is most of a CRL's memory.
    search: ArcSwap<Option<Search>>,
}

#[derive(Debug, Clone)]
struct Search {
    signed: Arc<Signed>,
    /// Keys that it is not.
    foreign: Vec<Box<[u8]>>,
}

impl Signer {
    fn unknown(signed: Signed) -> Signer {
        let search = Search { signed: Arc::new(signed), foreign: Vec::new() };
        Signer { key_info: OnceLock::new(), search: ArcSwap::from_pointee(Some(search)) }
    }

    fn is_known(&self) -> bool {
        self.key_info.get().is_some()
    }

    fn is(&self, key_info: &[u8]) -> bool {
        if let Some(known) = self.key_info.get() {
            return **known == *key_info;
        }
        let search = self.search.load();
        let Some(search) = search.as_ref() else {
            // Another thread has found it in between.
            return self.key_info.get().is_some_and(|known| **known == *key_info);
        };
        if search.foreign.iter().any(|foreign| **foreign == *key_info) {
            return false;
        }
        let fits = search.signed.is_by(key_info);
        if fits {
            // First the result, since without a search it has to be there.
            let _ = self.key_info.set(key_info.into());
            self.search.store(Arc::new(None));
        } else if search.foreign.len() < MAX_FOREIGN_KEYS {
            let mut next = search.clone();
            next.foreign.push(key_info.into());
            self.search.store(Arc::new(Some(next)));
        }
        fits
    }
}

/// Looks up clients' certificates in the CRLs in use.
#[derive(Debug, Clone)]
pub(super) struct Revocation {
    store: Arc<CrlStore>,
    rules: CrlRules,
}

impl Revocation {
    /// Verifies the signatures of those CRLs whose issuer is among the anchors.
    pub(super) fn new(store: Arc<CrlStore>, rules: CrlRules, anchors: &TrustAnchors) -> Revocation {
        store.current().verify(anchors);
        Revocation { store, rules }
    }

    /// The store of the CRLs.
    pub(super) fn store(&self) -> &Arc<CrlStore> {
        &self.store
    }

    /// The CRLs in use.
    pub(super) fn current(&self) -> Guard<Arc<CrlBundle>> {
        self.store.current()
    }

    /// Looks up a certificate that was verified by a path to an anchor: `issuer` is the next in
    /// it, `None` for a certificate that is an anchor itself. Returns the time during which the
    /// answer holds.
    pub(super) fn check(
        &self,
        crls: &CrlBundle,
        leaf: &X509Certificate<'_>,
        issuer: Option<&X509Certificate<'_>>,
        now: UnixTime,
    ) -> Result<Validity, RevocationError> {
        let Some(crl) = crls.of(leaf.issuer().as_raw()) else {
            return match (issuer, self.rules.missing) {
                (None, _) | (_, CrlRule::Allow) => Ok(Validity::ALWAYS),
                (Some(_), CrlRule::Reject) => Err(RevocationError::Missing),
            };
        };
        match issuer {
            Some(issuer) if !may_sign_crls(issuer) => return Err(RevocationError::MayNotSign),
            Some(issuer) if !crl.signer.is(issuer.public_key().raw) => {
                return Err(RevocationError::ForeignSignature);
            }
            // Trusted as itself, it needs no issuer; but one that we know may revoke it.
            None if !crl.signer.is_known() => return Ok(Validity::ALWAYS),
            _ => {}
        }
        if crl.revoked.contains(serial(leaf.raw_serial())) {
            return Err(RevocationError::Revoked);
        }
        match self.rules.stale {
            CrlRule::Reject if issuer.is_some() => {
                check_validity(crl.validity, now).map(|()| crl.validity)
            }
            _ => Ok(Validity::ALWAYS),
        }
    }

    /// Adds the rules to a digest, but not the CRLs, which change in place.
    pub(super) fn digest(&self, digest: &mut Digest) {
        let CrlRules { missing, stale } = self.rules;
        digest.field(b"crl");
        digest.field(&[u8::from(missing == CrlRule::Reject), u8::from(stale == CrlRule::Reject)]);
    }
}

/// Why a CRL does not tell anything now.
pub(super) fn check_validity(validity: Validity, now: UnixTime) -> Result<(), RevocationError> {
    let now_s = seconds(now);
    if now_s < validity.not_before_s {
        return Err(RevocationError::NotYetValid { this_update_s: validity.not_before_s, now_s });
    }
    if now_s > validity.not_after_s {
        return Err(RevocationError::Stale { next_update_s: validity.not_after_s, now_s });
    }
    Ok(())
}

/// RFC 5280, section 6.3.3 (f).
fn may_sign_crls(issuer: &X509Certificate<'_>) -> bool {
    match issuer.key_usage() {
        Ok(usage) => usage.is_none_or(|usage| usage.value.crl_sign()),
        Err(_) => false,
    }
}

#[cfg(test)]
mod tests;
