//! TLS over a [`rt::Stream`], for hyper.

use std::{
    future::poll_fn,
    io::{self, IoSlice},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use hyper::rt::{Read, ReadBufCursor, Write};
use portcullis_abi::ClientOffer;
use rustls::{
    AlertDescription, ClientConfig, CommonState, Error, ServerConfig,
    client::UnbufferedClientConnection, pki_types::ServerName, server::UnbufferedServerConnection,
};

use super::{
    alert,
    context::{ConnectionContext, Rejection},
    engine::{
        Engine, EngineStatus, OUTGOING_LIMIT_BYTES, Outbound, PlaintextReader, ReceivedPlaintext,
        RecordIo,
    },
    first_hello,
};
use crate::rt::{self, Buffer, CloseMode};

/// Room for a receive: two full records, so that bulk transfers need one call for two records.
const RECEIVE_BYTES: usize = 2 * (16 * 1024 + 256);
/// The largest handshake message that rustls accepts (64 KiB), with its record headers; more
/// unprocessed input is an attack.
const INPUT_LIMIT_BYTES: usize = 96 * 1024;
/// The cost of a handshake step (a signature, a key exchange), in bytes that could be copied in
/// that time.
const HANDSHAKE_STEP_COST_BYTES: usize = 64 * 1024;

/// A TLS connection whose handshake is done.
pub(crate) struct TlsStream {
    stream: rt::Stream,
    engine: Engine,
    /// Ciphertext received and not yet processed.
    input: Buffer,
    /// Plaintext received and not yet read.
    received: ReceivedPlaintext,
    /// The input has bytes that the session has not seen.
    fresh: bool,
    peer_closed: bool,
    close_sent: bool,
    /// An error ended the session: rustls must not be called again.
    is_failed: bool,
    /// The alert for that error.
    alert: Option<AlertDescription>,
}

/// A failed handshake, with its connection, over which the alert may still have to be sent.
#[derive(Debug)]
pub(crate) struct FailedHandshake {
    /// The reason.
    pub error: HandshakeError,
    /// Its outgoing buffer holds the bytes still to be sent.
    pub stream: rt::Stream,
    /// The client's certificate, if it was rejected.
    pub rejection: Option<Rejection>,
    /// The alert that the client gets: none if the client is gone, or has sent one itself.
    pub alert: Option<AlertDescription>,
}

/// The reason why a handshake failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum HandshakeError {
    /// rustls rejected it.
    #[error(transparent)]
    Tls(#[from] Error),
    /// The transport failed, or the peer went away.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// The ClientHello breaks a rule that rustls does not enforce.
    #[error("{0}")]
    Hello(&'static str),
    /// In TLS 1.2 the client has to have the curve of the certificate (RFC 8422 section 5.3).
    #[error("the client has no curve of a certificate for this name")]
    NoCommonCurve,
    /// The peer sent more than the largest handshake message without completing one.
    #[error("more than {INPUT_LIMIT_BYTES} bytes of TLS input without a whole message")]
    Oversized,
}

impl TlsStream {
    /// Performs the handshake as the client.
    pub(crate) async fn connect(
        stream: rt::Stream,
        config: Arc<ClientConfig>,
        name: ServerName<'static>,
    ) -> Result<TlsStream, HandshakeError> {
        let engine = Engine::Client(Box::new(UnbufferedClientConnection::new(config, name)?));
        let mut tls = TlsStream::new(stream, engine, Buffer::default());
        match tls.handshake().await {
            Ok(()) => Ok(tls),
            Err(error) => {
                // The alert tells the upstream's log the reason.
                rt::spawn(tls.stream.close(CloseMode::Orderly));
                Err(error)
            }
        }
    }

    /// Performs the handshake as the server, starting with bytes that were already received.
    pub(crate) async fn accept(
        stream: rt::Stream,
        received: Buffer,
        config: Arc<ServerConfig>,
        mut context: ConnectionContext,
    ) -> Result<TlsStream, Box<FailedHandshake>> {
        // A hello that cannot be read is left to rustls, which chooses the alert for it.
        if let Some(offer) = ClientOffer::read(received.filled()) {
            if let Some((alert, reason)) = first_hello::fault(&offer) {
                return Err(refuse(stream, HandshakeError::Hello(reason), alert));
            }
            context.set_offer(&offer);
        }
        let engine = match UnbufferedServerConnection::new(config) {
            Ok(connection) => Engine::Server(Box::new(connection), context),
            Err(error) => {
                return Err(refuse(stream, error.into(), AlertDescription::InternalError));
            }
        };
        let mut tls = TlsStream::new(stream, engine, received);
        match tls.handshake().await {
            Ok(()) => Ok(tls),
            Err(error) => Err(Box::new(tls.failed(error))),
        }
    }

    fn new(stream: rt::Stream, engine: Engine, input: Buffer) -> TlsStream {
        TlsStream {
            stream,
            engine,
            input,
            received: ReceivedPlaintext::default(),
            fresh: false,
            peer_closed: false,
            close_sent: false,
            is_failed: false,
            alert: None,
        }
    }

    /// The result of the handshake: ALPN, version, cipher suite, certificates.
    pub(crate) fn session(&self) -> &CommonState {
        &self.engine
    }

    /// The context of a connection from a client; `None` towards an upstream.
    pub(crate) fn context(&self) -> Option<&ConnectionContext> {
        match &self.engine {
            Engine::Server(_, context) => Some(context),
            Engine::Client(_) => None,
        }
    }

    /// The socket, to close it.
    pub(crate) fn into_stream(self) -> rt::Stream {
        self.stream
    }

    /// How much of what was sent has reached the peer.
    pub(super) fn send_progress(&self) -> rt::SendProgress {
        self.stream.send_progress()
    }

    /// Waits until readable and holds no buffer meanwhile. Ready at once if there are bytes to read.
    pub(super) fn poll_idle(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.fresh || self.peer_closed || !self.received.is_empty() {
            return Poll::Ready(Ok(()));
        }
        self.received = ReceivedPlaintext::default();
        self.stream.poll_idle(cx)
    }

    /// See [`Transport::poll_gone`](super::Transport::poll_gone).
    pub(super) fn poll_gone(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        loop {
            if self.fresh {
                self.process(None, Outbound::Nothing).map_err(invalid_data)?;
                // An answer to KeyUpdate.
                let _ = self.stream.poll_flush(cx)?;
            }
            if !self.received.is_empty() {
                return Poll::Pending;
            }
            if self.peer_closed {
                return self.poll_closed(cx);
            }
            if ready!(self.poll_receive(cx))? == 0 {
                return Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into()));
            }
        }
    }

    /// Waits for the FIN behind a close_notify. What comes between them is dropped (RFC 8446 section
    /// 6.1).
    fn poll_closed(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut behind = Buffer::default();
        loop {
            match ready!(self.stream.poll_recv(cx, &mut behind, RECEIVE_BYTES))? {
                0 => return Poll::Ready(Ok(())),
                n => behind.consume(n),
            }
        }
    }

    async fn handshake(&mut self) -> Result<(), HandshakeError> {
        poll_fn(|cx| {
            loop {
                rt::spend(HANDSHAKE_STEP_COST_BYTES);
                let processed = self.process(None, Outbound::Nothing);
                // After an error an alert may have to be sent.
                let flushed = self.stream.poll_flush(cx);
                match processed?.0 {
                    EngineStatus::Traffic => return flushed.map_err(HandshakeError::from),
                    EngineStatus::Closed => return Poll::Ready(Err(closed_early())),
                    EngineStatus::Handshaking => {}
                }
                if self.input.len() > INPUT_LIMIT_BYTES {
                    self.refuse_input();
                    return Poll::Ready(Err(HandshakeError::Oversized));
                }
                if ready!(self.poll_receive(cx))? == 0 || self.peer_closed {
                    return Poll::Ready(Err(closed_early()));
                }
            }
        })
        .await
    }

    fn failed(self, error: HandshakeError) -> FailedHandshake {
        let context = self.context();
        let rejection = context.and_then(ConnectionContext::client_rejection).cloned();
        // rustls only knows that it was given no certificate.
        let error = match context {
            Some(context) if context.no_certificate_fits() => HandshakeError::NoCommonCurve,
            _ => error,
        };
        FailedHandshake { error, rejection, alert: self.alert, stream: self.stream }
    }

    /// Sends the alert for too much input. Under keys only rustls could send it.
    fn refuse_input(&mut self) {
        self.is_failed = true;
        if self.engine.speaks_in_clear() {
            let alert = AlertDescription::DecodeError;
            self.stream.outgoing().extend_from_slice(&alert::record(alert));
            self.alert = Some(alert);
        }
    }

    fn process(
        &mut self,
        reader: Option<&mut PlaintextReader<'_, '_>>,
        outbound: Outbound<'_>,
    ) -> Result<(EngineStatus, usize), Error> {
        if self.is_failed {
            return Err(Error::General("used after a fatal alert".into()));
        }
        let mut io = RecordIo {
            output: self.stream.outgoing(),
            reader,
            received: &mut self.received,
            outbound,
            encrypted: 0,
            peer_closed: self.peer_closed,
            alert: None,
        };
        let processed = self.engine.process(&mut self.input, &mut io);
        let encrypted = io.encrypted;
        self.peer_closed = io.peer_closed;
        self.alert = io.alert;
        self.is_failed = processed.is_err();
        self.fresh = false;
        self.input.release_if_empty();
        Ok((processed?, encrypted))
    }

    fn poll_receive(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        if self.input.len() > INPUT_LIMIT_BYTES {
            return Poll::Ready(Err(io::Error::other("too much TLS input without a message")));
        }
        let received = ready!(self.stream.poll_recv(cx, &mut self.input, RECEIVE_BYTES))?;
        self.fresh = received > 0;
        Poll::Ready(Ok(received))
    }

    /// Reads, and shows what is read to `observe`.
    pub(super) fn poll_read_observed(
        &mut self,
        cx: &mut Context<'_>,
        buf: ReadBufCursor<'_>,
        observe: &mut dyn FnMut(&[u8]),
    ) -> Poll<io::Result<()>> {
        self.poll_read_into(cx, PlaintextReader::observed(buf, observe))
    }

    /// An end without close_notify is `UnexpectedEof`: only a reader that knows the length of the
    /// message can tell whether it was cut off.
    fn poll_read_into(
        &mut self,
        cx: &mut Context<'_>,
        mut reader: PlaintextReader<'_, '_>,
    ) -> Poll<io::Result<()>> {
        let room = reader.remaining();
        loop {
            self.received.read_into(&mut reader);
            if reader.remaining() == 0 {
                return Poll::Ready(Ok(()));
            }
            if self.fresh {
                let processed = self.process(Some(&mut reader), Outbound::Nothing);
                // An answer to KeyUpdate, or the alert of an error.
                let flushed = self.stream.poll_flush(cx);
                processed.map_err(invalid_data)?;
                // Received bytes count even if the send fails.
                if reader.remaining() == room && !self.peer_closed {
                    let _ = flushed?;
                }
            }
            if reader.remaining() < room || self.peer_closed {
                return Poll::Ready(Ok(()));
            }
            if ready!(self.poll_receive(cx))? == 0 {
                return Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into()));
            }
        }
    }

    /// Sends close_notify and everything before it, and FIN.
    fn poll_close(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if !self.close_sent {
            self.close_sent = true;
            // A failed session has already sent its alert.
            let _ = self.process(None, Outbound::CloseNotify);
        }
        ready!(self.stream.poll_flush(cx))?;
        ready!(self.stream.poll_sent(cx))?;
        self.stream.shutdown_write();
        Poll::Ready(Ok(()))
    }
}

/// Refuses a connection before rustls has seen anything of it.
fn refuse(
    mut stream: rt::Stream,
    error: HandshakeError,
    alert: AlertDescription,
) -> Box<FailedHandshake> {
    stream.outgoing().extend_from_slice(&alert::record(alert));
    Box::new(FailedHandshake { error, stream, rejection: None, alert: Some(alert) })
}

fn closed_early() -> HandshakeError {
    HandshakeError::Io(io::ErrorKind::UnexpectedEof.into())
}

fn invalid_data(error: Error) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, error)
}

impl Read for TlsStream {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        self.get_mut().poll_read_into(cx, PlaintextReader::new(buf))
    }
}

impl Write for TlsStream {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(cx, &[IoSlice::new(buf)])
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        if this.stream.outgoing().len() >= OUTGOING_LIMIT_BYTES {
            ready!(this.stream.poll_flush(cx))?;
        }
        let (status, encrypted) =
            this.process(None, Outbound::Plaintext(bufs)).map_err(invalid_data)?;
        if status != EngineStatus::Traffic {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        if this.stream.outgoing().len() >= OUTGOING_LIMIT_BYTES / 2 {
            let _ = this.stream.poll_flush(cx)?;
        }
        Poll::Ready(Ok(encrypted))
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.get_mut().stream.poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.get_mut().poll_close(cx)
    }
}

impl std::fmt::Debug for TlsStream {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TlsStream").field("stream", &self.stream).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
