//! From an accepted socket to a TLS stream, and one record when it does not come to that.

use std::io;

use rustls::{AlertDescription, CertificateError, Error, HandshakeKind};

use super::{
    Connection,
    hello::{self, Hello, Received},
    steer::{Steered, steer},
    tls_version,
};
use crate::{
    http::PLAIN_HTTP_ON_TLS_PORT,
    observe::{CertificateSummary, ConnectionRecord, HandshakeResult, TlsVersion},
    rt::{self, Buffer, CloseMode},
    tls::{ConnectionContext, FailedHandshake, HandshakeError, ServerTls, TlsStream},
};

/// A record with the fatal alert unrecognized_name(112) of RFC 6066, section 3.
const FATAL_UNRECOGNIZED_NAME: [u8; 7] = [21, 3, 3, 0, 2, 2, 112];

/// What came of an accepted connection.
pub(super) enum Outcome {
    /// The handshake is done.
    Done(Box<TlsStream>),
    /// It failed: the peer has been told, and there is a record.
    Failed,
    /// Another worker goes on with it.
    HandedOver,
}

/// Reads the hello, unless another worker has done so and handed the connection over; finds the
/// worker it belongs to, and does the handshake if that is this one. Hand-overs included, all of
/// it has so much time.
pub(super) async fn accept(
    connection: &Connection,
    stream: rt::Stream,
    hello: Option<Box<Received>>,
    tls: &ServerTls,
) -> Outcome {
    let deadline = connection.since + connection.front.settings.handshake_timeout;
    match rt::timeout_at(deadline, attempt(connection, stream, hello, tls)).await {
        Ok(Ok(Some(stream))) => {
            count_success(connection, &stream);
            Outcome::Done(Box::new(stream))
        }
        Ok(Ok(None)) => Outcome::HandedOver,
        Ok(Err(failure)) => {
            record(connection, &failure);
            match failure.stream {
                Some(stream) if failure.alert.is_some() => stream.close(CloseMode::AfterPeer).await,
                Some(stream) => stream.close(CloseMode::Orderly).await,
                None => {}
            }
            Outcome::Failed
        }
        Err(rt::Elapsed) => {
            let reason = "the handshake took too long".to_owned();
            record(connection, &Failure::new(HandshakeResult::Timeout, reason));
            Outcome::Failed
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

/// `None` once the connection was handed over.
async fn attempt(
    connection: &Connection,
    mut stream: rt::Stream,
    hello: Option<Box<Received>>,
    tls: &ServerTls,
) -> Result<Option<TlsStream>, Failure> {
    let Received { bytes, server_name } = match hello {
        // Whoever handed it over has asked already where it belongs.
        Some(received) => *received,
        None => {
            let mut bytes = Buffer::default();
            let server_name =
                match hello::read(&mut stream, &mut bytes).await.map_err(client_gone)? {
                    Hello::Complete(name) => name,
                    Hello::PlainHttp => return Err(refuse_plain_http(stream)),
                    Hello::Malformed => None,
                };
            match steer(connection, stream, Received { bytes, server_name }) {
                Steered::Here(here, received) => {
                    stream = here;
                    received
                }
                Steered::HandedOver => return Ok(None),
                Steered::Refused(stream, received) => return Err(refuse_name(stream, received)),
            }
        }
    };
    connection.context.desk.settle();
    let context = ConnectionContext::new(server_name.as_deref());
    let config = tls.config(context.server_name());
    TlsStream::accept(stream, bytes, config, context)
        .await
        .map(Some)
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

fn refuse_name(mut stream: rt::Stream, received: Received) -> Failure {
    stream.outgoing().extend_from_slice(&FATAL_UNRECOGNIZED_NAME);
    let reason = "no route has the name that was asked for".to_owned();
    Failure {
        alert: Some(AlertDescription::UnrecognisedName),
        server_name: received.server_name,
        stream: Some(stream),
        ..Failure::new(HandshakeResult::UnknownName, reason)
    }
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

fn count_success(connection: &Connection, stream: &TlsStream) {
    let session = stream.session();
    connection.context.observer.metrics.handshakes.record(
        HandshakeResult::Ok,
        tls_version(session.protocol_version()),
        session.handshake_kind() == Some(HandshakeKind::Resumed),
        connection.since.elapsed(),
    );
}

fn record(connection: &Connection, failure: &Failure) {
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
