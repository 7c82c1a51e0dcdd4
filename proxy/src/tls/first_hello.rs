//! What is wrong with a first ClientHello that rustls goes on with, and the standards do not.

use portcullis_abi::ClientOffer;
use rustls::AlertDescription;

const SSL3: u16 = 0x0300;

/// The alert for a hello that has to be refused, and the reason for the operator.
pub(super) fn fault(offer: &ClientOffer) -> Option<(AlertDescription, &'static str)> {
    // RFC 8446 section 5.1.
    if offer.has_long_record {
        return Some((
            AlertDescription::RecordOverflow,
            "a record of the ClientHello is longer than 2^14 bytes",
        ));
    }
    // RFC 8446 appendix D.5.
    if offer.legacy_version <= SSL3 {
        return Some((
            AlertDescription::ProtocolVersion,
            "the legacy_version of the ClientHello is SSL 3.0 or lower",
        ));
    }
    if offer.lacks_extension_of_tls13() {
        return Some((
            AlertDescription::MissingExtension,
            "the ClientHello offers TLS 1.3 without an extension that TLS 1.3 requires",
        ));
    }
    // TLS 1.3 ignores both.
    if offer.tls13 {
        return None;
    }
    // RFC 7507 section 3.
    if offer.is_fallback {
        return Some((
            AlertDescription::InappropriateFallback,
            "the client fell back to a lower version (TLS_FALLBACK_SCSV), and TLS 1.3 is available",
        ));
    }
    // RFC 5746 section 3.6.
    offer.is_renegotiation.then_some((
        AlertDescription::HandshakeFailure,
        "the first ClientHello claims to renegotiate a connection",
    ))
}
