//! The alert for a handshake that fails: where rustls sends none, or where the standard has another.

use rustls::{AlertDescription, Error, InvalidMessage, PeerMisbehaved, ProtocolVersion};

/// A record with a fatal alert, in the clear.
pub(super) fn record(alert: AlertDescription) -> [u8; 7] {
    [21, 3, 3, 0, 2, 2, alert.into()]
}

/// The alert in the last record of `sent`, if that is an alert in the clear.
pub(super) fn last_of(sent: &[u8]) -> Option<AlertDescription> {
    match sent.last_chunk()? {
        [21, 3, _, 0, 2, 2, alert] => Some((*alert).into()),
        _ => None,
    }
}

/// The alert for an error (RFC 8446 section 6.2); `None` if the peer needs none. rustls sends it for
/// most errors, and forgets it for some: a message of another type within a handshake message, a
/// record of padding only, a key share of a wrong length, a second ClientHello for another name.
pub(super) fn of(error: &Error) -> Option<AlertDescription> {
    Some(match error {
        Error::AlertReceived(_) => return None,
        Error::NoCertificatesPresented => AlertDescription::CertificateRequired,
        Error::InvalidCertificate(error) => error.clone().into(),
        Error::InvalidMessage(invalid) => (*invalid).into(),
        Error::DecryptError => AlertDescription::BadRecordMac,
        Error::PeerSentOversizedRecord => AlertDescription::RecordOverflow,
        Error::NoApplicationProtocol => AlertDescription::NoApplicationProtocol,
        Error::PeerIncompatible(_) => AlertDescription::HandshakeFailure,
        Error::InappropriateMessage { .. } | Error::InappropriateHandshakeMessage { .. } => {
            AlertDescription::UnexpectedMessage
        }
        Error::PeerMisbehaved(misbehaved) => of_misbehaved(misbehaved),
        _ => AlertDescription::InternalError,
    })
}

fn of_misbehaved(misbehaved: &PeerMisbehaved) -> AlertDescription {
    match misbehaved {
        PeerMisbehaved::IllegalMiddleboxChangeCipherSpec
        | PeerMisbehaved::IllegalTlsInnerPlaintext
        | PeerMisbehaved::KeyEpochWithPendingFragment
        | PeerMisbehaved::MessageInterleavedWithHandshakeMessage
        | PeerMisbehaved::RejectedEarlyDataInterleavedWithHandshakeMessage
        | PeerMisbehaved::TooManyEmptyFragments
        | PeerMisbehaved::TooManyKeyUpdateRequests
        | PeerMisbehaved::TooManyRenegotiationRequests
        | PeerMisbehaved::TooManyWarningAlertsReceived => AlertDescription::UnexpectedMessage,
        _ => AlertDescription::IllegalParameter,
    }
}

/// The alert that rustls forgets, while alerts still go in the clear.
pub(super) fn forgotten(error: &Error) -> Option<AlertDescription> {
    match error {
        // An empty key share in TLS 1.2 (RFC 8422 section 5.11).
        Error::InvalidMessage(InvalidMessage::IllegalEmptyValue) => {
            Some(AlertDescription::IllegalParameter)
        }
        _ => of(error),
    }
}

/// The alert to send in place of rustls's, while alerts still go in the clear. certificate_required is
/// an alert of TLS 1.3 (RFC 5246 section 7.4.6).
pub(super) fn in_place(
    error: &Error,
    version: Option<ProtocolVersion>,
) -> Option<AlertDescription> {
    let is_tls12 = version == Some(ProtocolVersion::TLSv1_2);
    (is_tls12 && *error == Error::NoCertificatesPresented)
        .then_some(AlertDescription::HandshakeFailure)
}
