//! How hyper's errors are classified.

use std::{error::Error, io};

use rustls::{CertificateError, Error as TlsError};

use super::{FailureKind, head_limit::InterimFlood};
use crate::{observe::UpstreamFailure, tls::HandshakeError};

impl From<FailureKind> for UpstreamFailure {
    fn from(kind: FailureKind) -> UpstreamFailure {
        match kind {
            FailureKind::Resolve => UpstreamFailure::Resolve,
            FailureKind::Connect => UpstreamFailure::Connect,
            FailureKind::ConnectTimeout => UpstreamFailure::ConnectTimeout,
            FailureKind::Tls => UpstreamFailure::Tls,
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
    if find::<TlsError>(error).is_some() {
        FailureKind::Tls
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

    fn alert() -> rustls::Error {
        rustls::Error::AlertReceived(rustls::AlertDescription::CertificateRequired)
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
    fn a_chain_names_each_cause_once() {
        let error = Reading(io::Error::new(io::ErrorKind::InvalidData, alert()));
        assert_eq!(with_causes(&error), format!("reading: {}", alert()));
    }
}
