//! From an accepted socket to a TLS stream, or to exactly one record of the failure.

use std::{cell::OnceCell, future::poll_fn, net::SocketAddr, rc::Rc, task::Poll};

use rustls::{HandshakeKind, ProtocolVersion};

use super::{
    ReceivedHello, Registration,
    connection::OpenConnection,
    handshake_failure::HandshakeFailure,
    hello::{self, Hello},
    listener_config::LocalTls,
    steer::{Steered, steer},
};
use crate::{
    http::{PeerCertificate, PeerTls},
    observe::{ConnectionRecord, HandshakeResult, Label as _, TlsVersion},
    rt::{self, Buffer, CloseMode},
    tls::{ConnectionContext, FailedHandshake, TlsStream},
};

/// What became of a handshake.
pub(super) enum Handshaken {
    /// It is done.
    Done(Box<TlsStream>, PeerTls),
    /// It failed. The client has been told, and there is a record.
    Failed,
    /// Another worker goes on with the connection.
    HandedOver,
}

/// Does the handshake of a connection. Reads the hello first, unless another worker has, and hands the
/// connection over if it belongs to another worker. The handshake time-out covers all of that.
pub(super) async fn accept(
    connection: &OpenConnection,
    address: SocketAddr,
    stream: rt::Stream,
    hello: Option<Box<ReceivedHello>>,
    tls: Rc<LocalTls>,
) -> Handshaken {
    let handshake = Handshake { connection, address, tls: &tls, server_name: OnceCell::new() };
    let deadline = connection.since + connection.settings.handshake_timeout;
    match rt::timeout_at(deadline, handshake.run(stream, hello)).await {
        Ok(Ok(Some(stream))) => {
            handshake.count_success(&stream);
            let peer = handshake.peer(&stream);
            if tracing::enabled!(tracing::Level::DEBUG) {
                handshake.log_success(&stream, &peer);
            }
            Handshaken::Done(Box::new(stream), peer)
        }
        Ok(Ok(None)) => Handshaken::HandedOver,
        Ok(Err(failure)) => {
            handshake.record(&failure);
            match failure.stream {
                Some(stream) if failure.alert.is_some() => stream.close(CloseMode::AfterPeer).await,
                Some(stream) => stream.close(CloseMode::Orderly).await,
                None => {}
            }
            Handshaken::Failed
        }
        Err(rt::Elapsed) => {
            handshake.record(&HandshakeFailure::timeout());
            Handshaken::Failed
        }
    }
}

/// A handshake under way.
struct Handshake<'a> {
    connection: &'a OpenConnection,
    /// The client's.
    address: SocketAddr,
    tls: &'a LocalTls,
    /// The SNI, once the hello has been read: a failure is recorded with it.
    server_name: OnceCell<Option<Box<str>>>,
}

impl Handshake<'_> {
    /// `None` once the connection has been handed over.
    async fn run(
        &self,
        stream: rt::Stream,
        hello: Option<Box<ReceivedHello>>,
    ) -> Result<Option<TlsStream>, HandshakeFailure> {
        let steered = match hello {
            // The worker that handed it over has decided already that it belongs here.
            Some(hello) => {
                self.connection.registration.hello_received();
                Steered::Here(stream, *hello)
            }
            None => {
                let (stream, hello) = read_hello(&self.connection.registration, stream).await?;
                steer(self.connection, self.address, &self.tls.steering, stream, hello)
            }
        };
        let (stream, bytes) = match steered {
            Steered::Here(stream, hello) => (stream, self.keep_name(hello)),
            Steered::HandedOver => return Ok(None),
            Steered::Refused(stream, hello) => {
                self.keep_name(hello);
                return Err(HandshakeFailure::unknown_name(stream));
            }
        };
        self.connection.server.steering.settle();
        let context = ConnectionContext::new(self.server_name());
        let config = self.tls.config(context.server_name());
        let accepted = TlsStream::accept(stream, bytes, config, context).await;
        accepted.map(Some).map_err(|failed| self.failure(*failed))
    }

    fn failure(&self, failed: FailedHandshake) -> HandshakeFailure {
        let context = ConnectionContext::new(self.server_name());
        let asked = self.tls.server.client_auth().asks(context.server_name());
        HandshakeFailure::of(failed, asked)
    }

    /// Keeps the SNI of a hello, and gives its bytes.
    fn keep_name(&self, hello: ReceivedHello) -> Buffer {
        let _ = self.server_name.set(hello.server_name);
        hello.bytes
    }

    fn server_name(&self) -> Option<&str> {
        self.server_name.get()?.as_deref()
    }

    fn peer(&self, stream: &TlsStream) -> PeerTls {
        let session = stream.session();
        let context = stream.context();
        let server_name = context.and_then(|context| context.server_name());
        let ignored = context.and_then(|context| context.ignored_certificate());
        let chain = session.peer_certificates().filter(|_| ignored.is_none());
        PeerTls {
            version: tls_version(session.protocol_version()),
            certificate_asked: self.tls.server.client_auth().asks(server_name),
            certificate: PeerCertificate::presented(chain.unwrap_or_default(), server_name),
            ignored_certificate: ignored.cloned().map(Box::new),
            server_name: server_name.map(Into::into),
        }
    }

    fn count_success(&self, stream: &TlsStream) {
        let session = stream.session();
        self.connection.server.observer.metrics.handshakes.record(
            HandshakeResult::Ok,
            tls_version(session.protocol_version()),
            session.handshake_kind() == Some(HandshakeKind::Resumed),
            self.connection.since.elapsed(),
        );
    }

    #[cold]
    fn log_success(&self, stream: &TlsStream, peer: &PeerTls) {
        let resumed = stream.session().handshake_kind() == Some(HandshakeKind::Resumed);
        let certificate = peer.certificate.as_ref().and_then(|certificate| certificate.summary());
        tracing::debug!(
            peer = %self.address,
            "tls-server-name" = peer.server_name.as_deref(),
            "tls-version" = peer.version.as_str(),
            resumed,
            "certificate-asked" = peer.certificate_asked,
            subject = certificate.map(|certificate| &*certificate.subject),
            ignored = peer.ignored_certificate.as_ref().map(|error| error.to_string()),
            "TLS handshake done"
        );
    }

    fn record(&self, failure: &HandshakeFailure) {
        let observer = &self.connection.server.observer;
        let took = std::time::Duration::ZERO;
        observer.metrics.handshakes.record(failure.result, TlsVersion::Unknown, false, took);
        if failure.alert.is_some() {
            observer.metrics.tls_alerts_sent.inc();
        }
        let alert = failure.alert.map(|alert| format!("{alert:?}"));
        observer.log_connection(&ConnectionRecord {
            level: failure.level,
            peer: self.address,
            sni: self.server_name().map(str::as_bytes),
            reason: &failure.reason,
            alert: alert.as_deref(),
            tls_version: None,
            client_certificate: failure.client_certificate.as_ref(),
        });
    }
}

/// Reads a hello, unless the connection has to make room for another before it is whole.
async fn read_hello(
    registration: &Registration,
    mut stream: rt::Stream,
) -> Result<(rt::Stream, ReceivedHello), HandshakeFailure> {
    let mut bytes = Buffer::default();
    let evicted = poll_fn(|cx| match registration.poll_evicted(cx) {
        true => Poll::Ready(()),
        false => Poll::Pending,
    });
    let hello = tokio::select! {
        biased;
        hello = hello::read(&mut stream, &mut bytes) => hello,
        () = evicted => return Err(HandshakeFailure::evicted()),
    };
    registration.hello_received();
    let server_name = match hello.map_err(|error| HandshakeFailure::client_gone(&error))? {
        Hello::Complete(name) => name,
        Hello::PlainHttp => return Err(HandshakeFailure::plain_http(stream)),
        Hello::Malformed => None,
    };
    Ok((stream, ReceivedHello { bytes, server_name }))
}

fn tls_version(version: Option<ProtocolVersion>) -> TlsVersion {
    match version {
        Some(ProtocolVersion::TLSv1_3) => TlsVersion::Tls13,
        Some(ProtocolVersion::TLSv1_2) => TlsVersion::Tls12,
        _ => TlsVersion::Unknown,
    }
}
