//! The intermediates of a chain that are worth looking at. A client may send any number of them, and
//! the time that webpki takes grows with the factorial of those that it is given.
//!
//! An intermediate is kept if, by the names in it, it lies on a way from the leaf to an anchor that is
//! short enough, and if its signature is by an anchor or by another one that is kept.

use std::collections::HashSet;

use rustls::pki_types::{CertificateDer, TrustAnchor};

use super::{
    error::ChainError,
    signatures::{SignatureBudget, SignatureResult, SignedCertificate, VerifiedLink},
};
use crate::tls::{
    algorithms::{key_in, key_name, signature_name},
    der::{INTEGER, Reader, SEQUENCE},
    issuers::MAX_INTERMEDIATES,
};

/// `[0]`, the version.
const VERSION: u8 = 0xa0;

/// How far names are followed, more than any chain may have certificates. The length of a longer chain
/// is not told.
const MAX_STEPS: u32 = 16;

/// What was kept of the intermediates sent.
#[derive(Debug, Default)]
pub(super) struct Intermediates<'a> {
    /// Issued by an anchor, or by one before it; at most [`MAX_INTERMEDIATES`].
    pub(super) kept: Vec<CertificateDer<'a>>,
    /// How their signatures were verified.
    pub(super) links: Vec<VerifiedLink<'a>>,
    outlines: Vec<Outline<'a>>,
    /// Why one that lies on a way by its names was not kept.
    pub(super) problem: Option<ChainError>,
}

/// A way from the leaf to an anchor.
#[derive(Debug)]
pub(super) struct NamedPath<'i, 'a> {
    /// Starting with the leaf's issuer.
    pub(super) intermediates: Vec<CertificateDer<'a>>,
    pub(super) anchor: &'i TrustAnchor<'static>,
}

impl<'a> Intermediates<'a> {
    /// Chooses among the intermediates sent for a leaf of this issuer (the contents of its name) and
    /// paths of at most so many certificates below the anchor.
    pub(super) fn choose(
        leaf_issuer: &[u8],
        sent: &'a [CertificateDer<'_>],
        anchors: &'a [TrustAnchor<'static>],
        max_depth: u32,
        budget: &SignatureBudget,
    ) -> Intermediates<'a> {
        let graph = NameGraph::new(leaf_issuer, sent, anchors);
        let mut candidates: Vec<_> = graph.within(max_depth).collect();
        let mut chosen = Intermediates::default();
        let mut known = HashSet::with_capacity(anchors.len());
        for anchor in anchors {
            let (name, key) = (anchor.subject.as_ref(), anchor.subject_public_key_info.as_ref());
            if !known.insert((name, key)) {
                continue;
            }
            candidates.retain(|outline| !chosen.keeps(outline, name, key, budget));
        }
        let mut next = 0;
        while let Some(issuer) = chosen.outlines.get(next).copied() {
            let (name, key) = (issuer.subject, issuer.key_info);
            candidates.retain(|outline| !chosen.keeps(outline, name, key, budget));
            next += 1;
        }
        chosen
    }

    /// Keeps a candidate if this issuer has signed it.
    fn keeps(
        &mut self,
        outline: &Outline<'a>,
        name: &[u8],
        key_info: &'a [u8],
        budget: &SignatureBudget,
    ) -> bool {
        if outline.issuer != name || self.kept.len() == MAX_INTERMEDIATES {
            return false;
        }
        match budget.verify(outline.signed, key_info) {
            SignatureResult::Good(link) => {
                self.kept.push(CertificateDer::from(outline.der));
                self.links.push(link);
                self.outlines.push(*outline);
                return true;
            }
            SignatureResult::Bad => self.problem = Some(ChainError::ForeignSignature),
            SignatureResult::Unsupported => {
                self.problem = Some(unsupported(outline.signed, key_info));
            }
        }
        false
    }

    /// The way to an anchor, if the names leave only one: each name on it is that of one certificate.
    pub(super) fn only_path<'i>(
        &self,
        leaf_issuer: &[u8],
        anchors: &'i [TrustAnchor<'static>],
    ) -> Option<NamedPath<'i, 'a>> {
        let mut intermediates = Vec::new();
        let mut name = leaf_issuer;
        loop {
            let mut trusted = anchors.iter().filter(|anchor| anchor.subject.as_ref() == name);
            let mut kept = self.outlines.iter().filter(|outline| outline.subject == name);
            match (trusted.next(), kept.next()) {
                (Some(anchor), None) if trusted.next().is_none() => {
                    return Some(NamedPath { intermediates, anchor });
                }
                (None, Some(next)) if kept.next().is_none() => {
                    intermediates.push(CertificateDer::from(next.der));
                    name = next.issuer;
                }
                _ => return None,
            }
            if intermediates.len() > MAX_INTERMEDIATES {
                return None;
            }
        }
    }
}

/// The number of certificates below the anchor on the shortest way by names alone.
pub(super) fn shortest_depth(
    leaf_issuer: &[u8],
    sent: &[CertificateDer<'_>],
    anchors: &[TrustAnchor<'static>],
) -> Option<u32> {
    NameGraph::new(leaf_issuer, sent, anchors).depths().min()
}

/// The parts of a certificate by which it is placed in a chain.
#[derive(Debug, Clone, Copy)]
struct Outline<'a> {
    der: &'a [u8],
    /// The contents of the name, as webpki compares them.
    issuer: &'a [u8],
    subject: &'a [u8],
    /// The contents of the `SubjectPublicKeyInfo`.
    key_info: &'a [u8],
    signed: SignedCertificate<'a>,
}

impl<'a> Outline<'a> {
    /// `None` for what webpki could not parse either.
    fn read(der: &'a [u8]) -> Option<Outline<'a>> {
        let signed = SignedCertificate::of_certificate(der)?;
        let mut parts = Reader::new(signed.message.contents);
        parts.contents(VERSION)?;
        parts.contents(INTEGER)?;
        parts.contents(SEQUENCE)?;
        let issuer = parts.contents(SEQUENCE)?;
        parts.contents(SEQUENCE)?;
        let subject = parts.contents(SEQUENCE)?;
        let key_info = parts.contents(SEQUENCE)?;
        Some(Outline { der, issuer, subject, key_info, signed })
    }

    /// Whether it is self-issued with the name and the key of an anchor. Clients often send their root.
    fn is_one_of(&self, anchors: &[TrustAnchor<'static>]) -> bool {
        let is_this = |anchor: &TrustAnchor<'_>| {
            *anchor.subject == *self.subject && *anchor.subject_public_key_info == *self.key_info
        };
        self.issuer == self.subject && anchors.iter().any(is_this)
    }
}

/// The certificates sent, each once, with their distances to the leaf and to an anchor by names.
struct NameGraph<'a> {
    outlines: Vec<Outline<'a>>,
    /// For each, the number of steps down to the leaf, if it is above the leaf.
    above_leaf: Vec<Option<u32>>,
    /// For each, the number of steps up to an anchor, if it is below one.
    below_anchor: Vec<Option<u32>>,
}

impl<'a> NameGraph<'a> {
    fn new(
        leaf_issuer: &[u8],
        sent: &'a [CertificateDer<'_>],
        anchors: &[TrustAnchor<'static>],
    ) -> NameGraph<'a> {
        let mut known = HashSet::with_capacity(sent.len());
        let sent = sent.iter().map(CertificateDer::as_ref).filter(|der| known.insert(*der));
        let outlines = sent.filter_map(Outline::read).filter(|outline| !outline.is_one_of(anchors));
        let outlines: Vec<Outline<'a>> = outlines.collect();
        let above_leaf = distances(
            &outlines,
            HashSet::from([leaf_issuer]),
            |outline| outline.subject,
            |outline| outline.issuer,
        );
        let below_anchor = distances(
            &outlines,
            anchors.iter().map(|anchor| anchor.subject.as_ref()).collect(),
            |outline| outline.issuer,
            |outline| outline.subject,
        );
        NameGraph { outlines, above_leaf, below_anchor }
    }

    /// The certificates on ways of at most so many certificates, the leaf counted and the anchor not.
    fn within(&self, max_depth: u32) -> impl Iterator<Item = Outline<'a>> {
        let depths = self.outlines.iter().zip(self.by_certificate());
        depths
            .filter(move |(_, depth)| depth.is_some_and(|depth| depth <= max_depth))
            .map(|(outline, _)| *outline)
    }

    fn depths(&self) -> impl Iterator<Item = u32> {
        self.by_certificate().flatten()
    }

    /// The length of the shortest way through each certificate.
    fn by_certificate(&self) -> impl Iterator<Item = Option<u32>> {
        let distances = self.above_leaf.iter().zip(&self.below_anchor);
        distances.map(|(above, below)| Some(((*above)?).saturating_add((*below)?)))
    }
}

/// The number of steps to each certificate: one if `name` gives one of the first names, and one more
/// than another whose `next` name it has.
fn distances<'a>(
    outlines: &[Outline<'a>],
    first: HashSet<&[u8]>,
    name: impl Fn(&Outline<'a>) -> &'a [u8],
    next: impl Fn(&Outline<'a>) -> &'a [u8],
) -> Vec<Option<u32>> {
    let mut distances = vec![None; outlines.len()];
    let mut names = first;
    for steps in 1..=MAX_STEPS {
        let mut following = HashSet::new();
        for (outline, distance) in outlines.iter().zip(&mut distances) {
            if distance.is_none() && names.contains(name(outline)) {
                *distance = Some(steps);
                following.insert(next(outline));
            }
        }
        names = following;
    }
    distances
}

fn unsupported(signed: SignedCertificate<'_>, key_info: &[u8]) -> ChainError {
    let signature = signature_name(signed.algorithm).into();
    if !signed.is_supported() {
        return ChainError::SignatureAlgorithm(signature);
    }
    let key = key_in(key_info).map_or_else(|| "malformed".into(), |(key, _)| key_name(key));
    ChainError::IssuerKey { key: key.into(), signature }
}

#[cfg(test)]
mod tests;
