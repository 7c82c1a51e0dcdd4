//! How hyper's errors are classified.

use std::{error::Error, io};

use rustls::{AlertDescription, CertificateError, Error as TlsError};

use super::{FailureKind, head_limit::InterimFlood};
use crate::{observe::UpstreamFailure, tls::HandshakeError};

impl From<FailureKind> for UpstreamFailure {
    fn from(kind: FailureKind) -> UpstreamFailure {
        match kind {
            FailureKind::Resolve => UpstreamFailure::Resolve,
            FailureKind::Connect => UpstreamFailure::Connect,
            FailureKind::ConnectTimeout => UpstreamFailure::ConnectTimeout,
            FailureKind::Tls | FailureKind::TlsRejected => UpstreamFailure::Tls,
            FailureKind::Overflow => UpstreamFailure::Overflow,
            FailureKind::Closed => UpstreamFailure::Closed,
            FailureKind::Protocol => UpstreamFailure::Protocol,
            FailureKind::RequestBody => UpstreamFailure::RequestBody,
        }
    }
}

/// The kind of failure that ended a request.
///
/// A TLS alert may arrive this late: in TLS 1.3 the client's handshake is done before the server
/// has verified the client's certificate (RFC 8446 section 4.4.2.4).
pub(super) fn kind_of(error: &hyper::Error) -> FailureKind {
    if let Some(error) = find::<TlsError>(error) {
        tls_kind(error)
    } else if error.is_parse()
        || find::<InterimFlood>(error).is_some()
        || find::<h2::Error>(error).is_some_and(is_protocol_violation)
    {
        FailureKind::Protocol
    } else {
        FailureKind::Closed
    }
}

/// Whether the error says that the connection was gone (or going) when the request reached it,
/// rather than that the upstream rejected the request.
pub(super) fn is_stale_connection(error: &hyper::Error) -> bool {
    match find::<h2::Error>(error) {
        Some(error) => {
            // Refused streams were not processed at all (RFC 9113 section 8.7).
            error.is_io()
                || error.is_go_away() && error.is_remote()
                || error.reason() == Some(h2::Reason::REFUSED_STREAM)
        }
        None => kind_of(error) == FailureKind::Closed && !error.is_user(),
    }
}

/// Whether the upstream has said that it did not process the request: it refused the stream, or closes
/// the connection and names a stream before it as the last (RFC 9113 sections 8.7 and 6.8). h2 fails
/// the other streams of such a connection in another way.
pub(super) fn is_unprocessed(error: &hyper::Error) -> bool {
    find::<h2::Error>(error).is_some_and(|error| {
        error.is_remote()
            && (error.is_go_away()
                || error.is_reset() && error.reason() == Some(h2::Reason::REFUSED_STREAM))
    })
}

/// A failed handshake.
pub(super) fn handshake_kind(error: &HandshakeError) -> FailureKind {
    match error {
        HandshakeError::Tls(error) => tls_kind(error),
        _ => FailureKind::Tls,
    }
}

/// Whether one of the two rejected the other, or the connection just failed. An upstream that works
/// says more of itself than that it has an internal error.
fn tls_kind(error: &TlsError) -> FailureKind {
    match error {
        TlsError::AlertReceived(
            AlertDescription::CloseNotify
            | AlertDescription::InternalError
            | AlertDescription::UserCanceled,
        ) => FailureKind::Tls,
        TlsError::AlertReceived(_)
        | TlsError::InvalidCertificate(_)
        | TlsError::NoCertificatesPresented
        | TlsError::PeerIncompatible(_)
        | TlsError::UnsupportedNameType => FailureKind::TlsRejected,
        _ => FailureKind::Tls,
    }
}

/// An error with its causes, each written once, for the log.
pub(crate) fn with_causes(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.ends_with(&cause_text) {
            text.push_str(": ");
            text.push_str(&cause_text);
        }
        source = cause.source();
    }
    text
}

/// A failed request, for the log. `refusal` says what a TLS error means for our client certificate.
pub(super) fn exchange_text(
    error: &hyper::Error,
    refusal: impl Fn(&TlsError) -> Option<&'static str>,
) -> String {
    let text = with_causes(error);
    match find(error).and_then(refusal) {
        Some(refusal) => format!("{refusal}: {text}"),
        None => text,
    }
}

/// A failed handshake, for the log. If our verifier rejected the certificate, this is its message,
/// which rustls would wrap in debug output.
pub(super) fn handshake_text(error: &HandshakeError) -> String {
    match error {
        HandshakeError::Tls(TlsError::InvalidCertificate(CertificateError::Other(why))) => {
            format!("invalid certificate: {}", with_causes(&*why.0))
        }
        error => with_causes(error),
    }
}

/// Our side of h2 detected a protocol error.
fn is_protocol_violation(error: &h2::Error) -> bool {
    error.is_library()
}

/// Looks through the causes, into [`io::Error`] as well, which hides what it wraps from `source`.
fn find<'a, E: Error + 'static>(error: &'a (dyn Error + 'static)) -> Option<&'a E> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(found) = error.downcast_ref() {
            return Some(found);
        }
        next = match error.downcast_ref::<io::Error>().and_then(io::Error::get_ref) {
            Some(inner) => Some(inner),
            None => error.source(),
        };
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("reading")]
    struct Reading(#[source] io::Error);

    fn alert() -> TlsError {
        TlsError::AlertReceived(AlertDescription::CertificateRequired)
    }

    #[test]
    fn an_alert_is_found_inside_an_io_error() {
        let error = Reading(io::Error::new(io::ErrorKind::InvalidData, alert()));
        assert_eq!(find::<rustls::Error>(&error), Some(&alert()));
        assert_eq!(find::<rustls::Error>(&Reading(io::ErrorKind::Other.into())), None);
    }

    #[test]
    fn a_refused_certificate_is_told_in_the_verifiers_words() {
        let why = rustls::OtherError(std::sync::Arc::new(Reading(io::Error::other("names: a.b"))));
        let refused = TlsError::InvalidCertificate(CertificateError::Other(why));
        let text = handshake_text(&HandshakeError::Tls(refused));
        assert_eq!(text, "invalid certificate: reading: names: a.b");
    }

    #[test]
    fn a_handshake_that_one_side_rejects_is_told_from_one_that_fails() {
        let expired = TlsError::InvalidCertificate(CertificateError::Expired);
        let dying = TlsError::AlertReceived(AlertDescription::InternalError);
        let kind = |error| handshake_kind(&HandshakeError::Tls(error));
        assert_eq!([alert(), expired].map(kind), [FailureKind::TlsRejected; 2]);
        assert_eq!(kind(dying), FailureKind::Tls);
        let reset = HandshakeError::Io(io::ErrorKind::ConnectionReset.into());
        assert_eq!(handshake_kind(&reset), FailureKind::Tls);
    }

    #[test]
    fn a_chain_names_each_cause_once() {
        let error = Reading(io::Error::new(io::ErrorKind::InvalidData, alert()));
        assert_eq!(with_causes(&error), format!("reading: {}", alert()));
    }
}
