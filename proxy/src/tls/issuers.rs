//! The path from a leaf to its anchor, in a form small enough to keep for every client.

use std::num::NonZero;

use rustls::pki_types::CertificateDer;

use super::anchors::TrustAnchors;

/// Maximum number of certificates that webpki accepts between a leaf and its anchor.
pub(super) const MAX_INTERMEDIATES: usize = 6;

/// The issuers of a verified chain, starting with the leaf's: their positions among the
/// intermediates sent, and for the last one among the anchors. Empty if the leaf itself is an
/// anchor.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Issuers {
    /// From 1, one byte each, since a request carries this.
    intermediates: [Option<NonZero<u8>>; MAX_INTERMEDIATES],
    /// From 1.
    anchor: Option<NonZero<u16>>,
}

impl Issuers {
    /// The issuers of a path, the leaf's first, and the place of its anchor; `None` if they are too
    /// many, or their positions too large.
    pub(super) fn of(
        path: &[CertificateDer<'_>],
        sent: &[CertificateDer<'_>],
        anchor: usize,
    ) -> Option<Issuers> {
        let mut issuers = Issuers::default();
        for (index, certificate) in path.iter().enumerate() {
            let place = sent.iter().position(|sent| sent == certificate)?;
            *issuers.intermediates.get_mut(index)? = NonZero::new(u8::try_from(place + 1).ok()?);
        }
        issuers.anchor = NonZero::new(u16::try_from(anchor + 1).ok()?);
        Some(issuers)
    }

    /// Their certificates, given the same intermediates and anchors.
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
