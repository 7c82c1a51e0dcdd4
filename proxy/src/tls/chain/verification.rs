//! The search for a path from one leaf to an anchor, and what is checked of a path beside webpki.

use std::cell::{Cell, RefCell};

use rustls::pki_types::{CertificateDer, SignatureVerificationAlgorithm, UnixTime};
use webpki::{EndEntityCert, VerifiedPath};

use super::{
    CertificationPath, ChainVerifier,
    error::{ChainError, Refusal},
    intermediates::{Intermediates, shortest_depth},
    name_constraints, parse,
    purpose::check_issuer,
    signatures::SignatureBudget,
};
use crate::tls::{
    issuers::Issuers,
    validity::{Validity, seconds},
};

/// The verification of one chain.
pub(super) struct Verification<'v> {
    verifier: &'v ChainVerifier,
    now: UnixTime,
    pub(super) budget: SignatureBudget,
    /// The path that was accepted last.
    accepted: Cell<Option<CertificationPath>>,
    /// Why a path was refused that webpki found good.
    refused: RefCell<Option<ChainError>>,
}

impl<'v> Verification<'v> {
    pub(super) fn new(verifier: &'v ChainVerifier, now: UnixTime) -> Verification<'v> {
        let (accepted, refused) = (Cell::default(), RefCell::default());
        Verification { verifier, now, budget: SignatureBudget::default(), accepted, refused }
    }

    pub(super) fn run(
        &self,
        leaf: &CertificateDer<'_>,
        sent: &[CertificateDer<'_>],
    ) -> Result<CertificationPath, Refusal> {
        let end_entity = match EndEntityCert::try_from(leaf) {
            Ok(end_entity) => end_entity,
            Err(error) => return Err(Refusal::new(error.into(), self.now, None)),
        };
        let (anchors, max_depth) = (self.verifier.anchors.issuers(), self.verifier.max_depth);
        let chosen = match max_depth {
            1 => Intermediates::default(),
            _ if sent.is_empty() => Intermediates::default(),
            _ => {
                let issuer = end_entity.issuer();
                Intermediates::choose(issuer, sent, anchors, max_depth, &self.budget)
            }
        };
        let result = self.find_path(&end_entity, &chosen, sent);
        result.map_err(|error| {
            let heals_at_s = self.heals_at_s(leaf, &chosen.kept);
            Refusal::new(self.explained(error, &end_entity, &chosen, sent), self.now, heals_at_s)
        })
    }

    fn find_path(
        &self,
        end_entity: &EndEntityCert<'_>,
        chosen: &Intermediates<'_>,
        sent: &[CertificateDer<'_>],
    ) -> Result<CertificationPath, webpki::Error> {
        let algorithms = self.budget.algorithms(&chosen.links);
        let algorithms: Vec<&dyn SignatureVerificationAlgorithm> =
            algorithms.iter().map(|algorithm| algorithm as _).collect();
        let leaf = end_entity.der();
        let accept = |path: &VerifiedPath<'_>| {
            let issuers: Vec<_> = path.intermediate_certificates().map(|it| it.der()).collect();
            let anchor = self.verifier.anchors.place_of(path.anchor());
            self.accept(&leaf, &issuers, anchor, sent)
        };
        let anchors = self.verifier.anchors.issuers();
        let usage = self.verifier.purpose.key_usage();
        let found = end_entity.verify_for_usage(
            &algorithms,
            anchors,
            &chosen.kept,
            self.now,
            usage,
            None,
            Some(&accept),
        );
        match found {
            Ok(_) => {}
            Err(webpki::Error::NameConstraintViolation) if self.refused.borrow().is_none() => {
                self.accept_by_names(end_entity, chosen, sent)?;
            }
            Err(error) => return Err(error),
        }
        self.accepted.take().ok_or(webpki::Error::UnknownIssuer)
    }

    /// Accepts a path of which webpki refused the names alone, if ours permit them.
    ///
    /// webpki checks the name constraints of intermediates last, once everything else about a path is
    /// found good, and refuses kinds of names that it does not process. If only one path is possible,
    /// that is the one that it found good.
    fn accept_by_names(
        &self,
        end_entity: &EndEntityCert<'_>,
        chosen: &Intermediates<'_>,
        sent: &[CertificateDer<'_>],
    ) -> Result<(), webpki::Error> {
        let anchors = &self.verifier.anchors;
        let path = chosen.only_path(end_entity.issuer(), anchors.issuers());
        let path = path.ok_or(webpki::Error::NameConstraintViolation)?;
        let anchor = anchors.place_of(path.anchor);
        self.accept(&end_entity.der(), &path.intermediates, anchor, sent)
    }

    /// Checks of a path what webpki does not, and keeps it or the reason to refuse it.
    fn accept(
        &self,
        leaf: &CertificateDer<'_>,
        issuers: &[CertificateDer<'_>],
        anchor: Option<usize>,
        sent: &[CertificateDer<'_>],
    ) -> Result<(), webpki::Error> {
        match self.check_path(leaf, issuers, anchor, sent) {
            Ok(path) => {
                self.accepted.set(Some(path));
                Ok(())
            }
            Err(error) => {
                self.refused.replace(Some(error));
                Err(webpki::Error::UnknownIssuer)
            }
        }
    }

    fn check_path(
        &self,
        leaf: &CertificateDer<'_>,
        issuers: &[CertificateDer<'_>],
        anchor: Option<usize>,
        sent: &[CertificateDer<'_>],
    ) -> Result<CertificationPath, ChainError> {
        let Verification { verifier, now, .. } = self;
        let anchor = anchor.ok_or(ChainError::UnknownIssuer)?;
        let depth = u32::try_from(issuers.len()).map_or(u32::MAX, |count| count + 1);
        if depth > verifier.max_depth {
            return Err(ChainError::TooDeep { depth, max_depth: verifier.max_depth });
        }
        let parsed_leaf = parse(leaf)?;
        let parsed = issuers.iter().map(parse).collect::<Result<Vec<_>, _>>()?;
        let mut validity = verifier.anchor_validity(anchor, *now)?;
        for certificate in parsed.iter().chain([&parsed_leaf]) {
            validity = validity.intersection(certificate.validity().into());
        }
        verifier.purpose.check_leaf(&parsed_leaf)?;
        parsed.iter().try_for_each(check_issuer)?;
        let constrained = verifier.anchors.constrained(anchor).map(parse).transpose()?;
        name_constraints::check(&parsed_leaf, &parsed, constrained.as_ref())?;
        let issuer = issuers.first().map(|issuer| issuer.clone().into_owned());
        Ok(CertificationPath {
            validity,
            issuer: issuer.or_else(|| verifier.anchors.certificates.get(anchor).cloned()),
            issuers: Issuers::of(issuers, sent, anchor),
        })
    }

    /// The most telling reason for a refusal.
    fn explained(
        &self,
        error: webpki::Error,
        end_entity: &EndEntityCert<'_>,
        chosen: &Intermediates<'_>,
        sent: &[CertificateDer<'_>],
    ) -> ChainError {
        if let Some(refused) = self.refused.take() {
            return refused;
        }
        if self.budget.is_exhausted() {
            return ChainError::TooManySignatures;
        }
        match error {
            webpki::Error::CaUsedAsEndEntity if end_entity.subject() == end_entity.issuer() => {
                ChainError::UnknownIssuer
            }
            webpki::Error::UnknownIssuer => {
                let (issuer, max_depth) = (end_entity.issuer(), self.verifier.max_depth);
                match shortest_depth(issuer, sent, self.verifier.anchors.issuers()) {
                    Some(depth) if depth > max_depth => ChainError::TooDeep { depth, max_depth },
                    _ => chosen.problem.clone().unwrap_or(ChainError::UnknownIssuer),
                }
            }
            error => error.into(),
        }
    }

    /// The first time from now on at which another certificate becomes valid, so that a verification
    /// may have another result.
    fn heals_at_s(&self, leaf: &CertificateDer<'_>, kept: &[CertificateDer<'_>]) -> Option<i64> {
        let now_s = seconds(self.now);
        let starts = [leaf].into_iter().chain(kept).filter_map(|certificate| {
            Some(Validity::from(parse(certificate).ok()?.validity()).not_before_s)
        });
        let anchors = self.verifier.anchors.starts_s();
        starts.chain(anchors).filter(|start_s| *start_s > now_s).min()
    }
}
