//! Why a handshake failed: for the metrics, the log and the client.

use std::{borrow::Cow, io};

use rustls::{AlertDescription, Error, InvalidMessage};

use crate::{
    certificate::ParsedCertificate,
    http::PLAIN_HTTP_ON_TLS_PORT,
    observe::{CertificateSummary, HandshakeResult, Level},
    rt,
    tls::{FailedHandshake, HandshakeError},
};

/// A record with the fatal alert unrecognized_name(112) of RFC 6066, section 3.
const FATAL_UNRECOGNIZED_NAME: [u8; 7] = [21, 3, 3, 0, 2, 2, 112];

/// What a browser does on the way to its dialog.
const CLOSED_AT_DIALOG: &str = "the client closed the connection while it was asked for a \
    certificate; browsers do so while they show their dialog, and connect again";

/// A failed handshake.
pub(super) struct HandshakeFailure {
    pub(super) result: HandshakeResult,
    /// [`Level::Debug`] if nothing is wrong.
    pub(super) level: Level,
    /// For the operator.
    pub(super) reason: Cow<'static, str>,
    /// The alert that was sent.
    pub(super) alert: Option<AlertDescription>,
    pub(super) client_certificate: Option<CertificateSummary>,
    /// The connection, if there is something left to send.
    pub(super) stream: Option<rt::Stream>,
}

impl HandshakeFailure {
    fn new(result: HandshakeResult, reason: impl Into<Cow<'static, str>>) -> HandshakeFailure {
        HandshakeFailure {
            result,
            level: Level::Info,
            reason: reason.into(),
            alert: None,
            client_certificate: None,
            stream: None,
        }
    }

    /// The handshake took too long.
    pub(super) fn timeout() -> HandshakeFailure {
        HandshakeFailure::new(HandshakeResult::Timeout, "the handshake took too long")
    }

    /// Another client needed the room before the hello was complete.
    pub(super) fn evicted() -> HandshakeFailure {
        let reason = "closed before its hello to make room: the limit of connections is reached";
        HandshakeFailure::new(HandshakeResult::Evicted, reason)
    }

    /// The client closed the connection, or it broke, before its hello was complete.
    pub(super) fn client_gone(error: &io::Error) -> HandshakeFailure {
        let reason = format!("the client went away: {error}");
        HandshakeFailure::new(HandshakeResult::ClientGone, reason)
    }

    /// The client spoke HTTP. A browser that does so by mistake gets an answer that it can show.
    pub(super) fn plain_http(mut stream: rt::Stream) -> HandshakeFailure {
        stream.outgoing().extend_from_slice(PLAIN_HTTP_ON_TLS_PORT);
        let reason = "a plain HTTP request on a TLS port";
        HandshakeFailure {
            stream: Some(stream),
            ..HandshakeFailure::new(HandshakeResult::NotTls, reason)
        }
    }

    /// The SNI matches no route, and unknown names are refused.
    pub(super) fn unknown_name(mut stream: rt::Stream) -> HandshakeFailure {
        stream.outgoing().extend_from_slice(&FATAL_UNRECOGNIZED_NAME);
        let reason = "the server name matches no route";
        HandshakeFailure {
            alert: Some(AlertDescription::UnrecognisedName),
            stream: Some(stream),
            ..HandshakeFailure::new(HandshakeResult::UnknownName, reason)
        }
    }

    /// The TLS layer gave up; `asked` says whether the client was asked for a certificate.
    pub(super) fn of(failed: FailedHandshake, asked: bool) -> HandshakeFailure {
        let FailedHandshake { error, stream, rejection, alert } = failed;
        if asked && rejection.is_none() && is_closed(&error) {
            return HandshakeFailure {
                level: Level::Debug,
                stream: Some(stream),
                ..HandshakeFailure::new(HandshakeResult::ClientGone, CLOSED_AT_DIALOG)
            };
        }
        let reason = match &rejection {
            Some(rejection) => rejection.reason.clone().into(),
            None => reason(&error),
        };
        let client_certificate = rejection.and_then(|rejection| summary(&rejection.certificate));
        HandshakeFailure {
            alert,
            client_certificate,
            stream: Some(stream),
            ..HandshakeFailure::new(result(&error), reason)
        }
    }
}

/// Whether the client closed the connection, in whatever way.
fn is_closed(error: &HandshakeError) -> bool {
    use io::ErrorKind::{BrokenPipe, ConnectionReset, UnexpectedEof};
    let HandshakeError::Io(error) = error else { return false };
    matches!(error.kind(), BrokenPipe | ConnectionReset | UnexpectedEof)
}

fn summary(certificate: &[u8]) -> Option<CertificateSummary> {
    Some((&ParsedCertificate::from_der(certificate).ok()?).into())
}

fn result(error: &HandshakeError) -> HandshakeResult {
    let error = match error {
        HandshakeError::Io(_) => return HandshakeResult::ClientGone,
        HandshakeError::Oversized => return HandshakeResult::Oversized,
        HandshakeError::Hello(_) => return HandshakeResult::ProtocolError,
        HandshakeError::NoCommonCurve => return HandshakeResult::NoCertificate,
        HandshakeError::Tls(error) => error,
    };
    match error {
        Error::NoCertificatesPresented => HandshakeResult::ClientCertificateMissing,
        Error::InvalidCertificate(_) => HandshakeResult::ClientCertificateInvalid,
        Error::InvalidMessage(InvalidMessage::InvalidContentType) => HandshakeResult::NotTls,
        Error::AlertReceived(alert) if rejection_hint(*alert).is_some() => {
            HandshakeResult::ServerCertificateRejected
        }
        // rustls's words for a resolver that gives none.
        Error::General(reason) if reason.contains("certificate chain") => {
            HandshakeResult::NoCertificate
        }
        _ => HandshakeResult::ProtocolError,
    }
}

fn reason(error: &HandshakeError) -> Cow<'static, str> {
    if let HandshakeError::Tls(Error::AlertReceived(alert)) = error
        && let Some(hint) = rejection_hint(*alert)
    {
        return format!("the client rejected our certificate (alert {alert:?}): {hint}").into();
    }
    error.to_string().into()
}

/// What an operator can do about a client that rejects our certificate with this alert (RFC 8446
/// section 6.2); `None` for an alert that says nothing about our certificate.
fn rejection_hint(alert: AlertDescription) -> Option<&'static str> {
    Some(match alert {
        AlertDescription::UnknownCA => {
            "it does not know the CA; serve the intermediate certificates too, or install the CA \
             at the client"
        }
        AlertDescription::CertificateExpired => {
            "it finds the certificate or an intermediate expired; renew it, and compare the clocks"
        }
        AlertDescription::CertificateRevoked => {
            "it finds the certificate or an intermediate revoked; replace it"
        }
        AlertDescription::BadCertificate
        | AlertDescription::CertificateUnknown
        | AlertDescription::UnsupportedCertificate => {
            "the certificate may not cover the server name, its chain may be incomplete, or the \
             client may not have the CA installed"
        }
        AlertDescription::BadCertificateStatusResponse => {
            "it needs a valid OCSP response, which is not served; use a certificate without \
             must-staple"
        }
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rejected_server_certificate_has_a_result_and_a_hint() {
        for (alert, hint) in [
            (AlertDescription::UnknownCA, "install the CA"),
            (AlertDescription::BadCertificate, "chain may be incomplete"),
            (AlertDescription::CertificateUnknown, "may not cover the server name"),
            (AlertDescription::UnsupportedCertificate, "chain may be incomplete"),
            (AlertDescription::CertificateExpired, "renew it"),
            (AlertDescription::CertificateRevoked, "replace it"),
        ] {
            let error = HandshakeError::Tls(Error::AlertReceived(alert));
            assert_eq!(result(&error), HandshakeResult::ServerCertificateRejected, "{alert:?}");
            let reason = reason(&error);
            assert!(reason.starts_with("the client rejected our certificate"), "{reason}");
            assert!(reason.contains(hint), "{reason}");
        }
        let other = HandshakeError::Tls(Error::AlertReceived(AlertDescription::HandshakeFailure));
        assert_eq!(result(&other), HandshakeResult::ProtocolError);
    }
}
