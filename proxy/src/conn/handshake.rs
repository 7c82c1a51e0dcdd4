//! From an accepted socket to a TLS stream, and one record when it does not come to that.

use std::{io, time::Instant};

use rustls::{AlertDescription, CertificateError, Error, HandshakeKind};

use super::{
    Connection,
    hello::{self, Hello},
    tls_version,
};
use crate::{
    http::PLAIN_HTTP_ON_TLS_PORT,
    observe::{CertificateSummary, ConnectionRecord, HandshakeResult, TlsVersion},
    rt::{self, Buffer},
    tls::{ConnectionContext, FailedHandshake, HandshakeError, ServerTls, TlsStream},
};

/// Does the handshake within its time. `None` after one that failed: the peer has been told, and
/// there is a record.
pub(super) async fn accept(
    connection: &Connection<'_>,
    stream: rt::Stream,
    tls: &ServerTls,
) -> Option<TlsStream> {
    let begun = Instant::now();
    let limit = connection.front.settings.handshake_timeout;
    match rt::timeout(limit, attempt(stream, tls)).await {
        Ok(Ok(stream)) => {
            count_success(connection, &stream, begun);
            Some(stream)
        }
        Ok(Err(failure)) => {
            record(connection, &failure);
            if let Some(stream) = failure.stream {
                stream.close().await;
            }
            None
        }
        Err(rt::Elapsed) => {
            let reason = "the handshake took too long".to_owned();
            record(connection, &Failure::new(HandshakeResult::Timeout, reason));
            None
        }
    }
}

/// A handshake that came to nothing.
struct Failure {
    result: HandshakeResult,
    /// For the operator.
    reason: String,
    alert: Option<AlertDescription>,
    server_name: Option<Box<str>>,
    client_certificate: Option<CertificateSummary>,
    /// Over which there is something left to say.
    stream: Option<rt::Stream>,
}

impl Failure {
    fn new(result: HandshakeResult, reason: String) -> Failure {
        Failure {
            result,
            reason,
            alert: None,
            server_name: None,
            client_certificate: None,
            stream: None,
        }
    }
}

async fn attempt(mut stream: rt::Stream, tls: &ServerTls) -> Result<TlsStream, Failure> {
    let mut received = Buffer::default();
    let hello = hello::read(&mut stream, &mut received).await.map_err(client_gone)?;
    let server_name = match hello {
        Hello::Complete(name) => name,
        Hello::PlainHttp => return Err(refuse_plain_http(stream)),
        Hello::Malformed => None,
    };
    let context = ConnectionContext::new(server_name.as_deref());
    let config = tls.config(context.server_name());
    TlsStream::accept(stream, received, config, context)
        .await
        .map_err(|failed| explain(*failed, server_name))
}

fn client_gone(error: io::Error) -> Failure {
    Failure::new(HandshakeResult::ClientGone, format!("the client went away: {error}"))
}

/// A browser sent here by mistake gets an answer it can show.
fn refuse_plain_http(mut stream: rt::Stream) -> Failure {
    stream.outgoing().extend_from_slice(PLAIN_HTTP_ON_TLS_PORT);
    let reason = "an HTTP request in the clear on a TLS port".to_owned();
    Failure { stream: Some(stream), ..Failure::new(HandshakeResult::NotTls, reason) }
}

fn explain(failed: FailedHandshake, server_name: Option<Box<str>>) -> Failure {
    let FailedHandshake { error, stream, rejection } = failed;
    let (result, alert) = match &error {
        HandshakeError::Io(_) => (HandshakeResult::ClientGone, None),
        HandshakeError::Tls(error) => (classify(error), alert(error)),
    };
    let reason = match &rejection {
        Some(rejection) => rejection.reason.clone(),
        None => error.to_string(),
    };
    let client_certificate =
        rejection.and_then(|rejection| CertificateSummary::from_der(&rejection.certificate));
    Failure { result, reason, alert, server_name, client_certificate, stream: Some(stream) }
}

fn classify(error: &Error) -> HandshakeResult {
    match error {
        Error::NoCertificatesPresented => HandshakeResult::ClientCertificateMissing,
        Error::InvalidCertificate(_) => HandshakeResult::ClientCertificateInvalid,
        Error::InvalidMessage(rustls::InvalidMessage::InvalidContentType) => {
            HandshakeResult::NotTls
        }
        // rustls's words for a resolver that gives none.
        Error::General(reason) if reason.contains("certificate chain") => {
            HandshakeResult::NoCertificate
        }
        _ => HandshakeResult::ProtocolError,
    }
}

fn alert(error: &Error) -> Option<AlertDescription> {
    match error {
        Error::NoCertificatesPresented => Some(AlertDescription::CertificateRequired),
        Error::InvalidCertificate(CertificateError::Other(_)) => {
            Some(AlertDescription::CertificateUnknown)
        }
        Error::InvalidCertificate(error) => Some(error.clone().into()),
        Error::InvalidMessage(_) => Some(AlertDescription::DecodeError),
        _ => None,
    }
}

fn count_success(connection: &Connection<'_>, stream: &TlsStream, begun: Instant) {
    let session = stream.session();
    connection.context.observer.metrics.handshakes.record(
        HandshakeResult::Ok,
        tls_version(session.protocol_version()),
        session.handshake_kind() == Some(HandshakeKind::Resumed),
        begun.elapsed(),
    );
}

fn record(connection: &Connection<'_>, failure: &Failure) {
    let observer = &connection.context.observer;
    let took = std::time::Duration::ZERO;
    observer.metrics.handshakes.record(failure.result, TlsVersion::Unknown, false, took);
    if failure.alert.is_some() {
        observer.metrics.tls_alerts_sent.inc();
    }
    let alert = failure.alert.map(|alert| format!("{alert:?}"));
    observer.log_connection(&ConnectionRecord {
        peer: connection.peer,
        sni: failure.server_name.as_deref().map(str::as_bytes),
        reason: &failure.reason,
        alert: alert.as_deref(),
        tls_version: None,
        client_certificate: failure.client_certificate.as_ref(),
    });
}
