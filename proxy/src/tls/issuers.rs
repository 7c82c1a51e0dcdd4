//! The way from a leaf to its anchor, noted in a form that is small enough to be remembered for
//! every client.

use std::num::NonZero;

use rustls::pki_types::CertificateDer;
use webpki::VerifiedPath;

use super::anchors::TrustAnchors;

/// The most certificates that webpki goes through between a leaf and its anchor.
const MAX_INTERMEDIATES: usize = 6;

/// The issuers of a verified chain from the leaf's own on, by their places in what was sent with
/// the leaf and, the last, among the anchors. None where the leaf is an anchor itself.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Issuers {
    /// From 1: a request carries this along, and it is a byte each.
    intermediates: [Option<NonZero<u8>>; MAX_INTERMEDIATES],
    /// From 1.
    anchor: Option<NonZero<u16>>,
}

impl Issuers {
    /// Notes those of a path; `None` where they are more, or further away, than it has room for.
    pub(super) fn of(
        path: &VerifiedPath<'_>,
        sent: &[CertificateDer<'_>],
        anchors: &TrustAnchors,
    ) -> Option<Issuers> {
        let mut issuers = Issuers::default();
        for (index, certificate) in path.intermediate_certificates().enumerate() {
            let place = sent.iter().position(|sent| *sent == certificate.der())?;
            *issuers.intermediates.get_mut(index)? = NonZero::new(u8::try_from(place + 1).ok()?);
        }
        let place = anchors.place_of(path.anchor())?;
        issuers.anchor = NonZero::new(u16::try_from(place + 1).ok()?);
        Some(issuers)
    }

    /// Their certificates. To be asked with what they were noted of.
    pub(super) fn resolve<'c>(
        self,
        sent: &'c [CertificateDer<'static>],
        anchors: &'c TrustAnchors,
    ) -> Option<Vec<&'c CertificateDer<'static>>> {
        let intermediates = self.intermediates.into_iter().flatten();
        let intermediates = intermediates.map(|place| sent.get(usize::from(place.get()) - 1));
        let anchor = self.anchor.map(|place| {
            let place = usize::from(place.get()) - 1;
            anchors.certificates.get(place)
        });
        intermediates.chain(anchor).collect()
    }
}
