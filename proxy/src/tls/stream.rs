//! TLS over a [`rt::Stream`], on rustls's unbuffered API.

use std::{
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use rustls::{ClientConfig, HandshakeKind, pki_types::ServerName};

use crate::rt;

/// A TLS connection whose handshake is done.
#[derive(Debug)]
pub struct TlsStream {}

impl TlsStream {
    /// Does the handshake as the client.
    pub async fn connect(
        _stream: rt::Stream,
        _config: Arc<ClientConfig>,
        _name: ServerName<'static>,
    ) -> Result<TlsStream, HandshakeError> {
        unimplemented!()
    }

    /// The protocol chosen by ALPN.
    pub fn alpn(&self) -> Option<&[u8]> {
        unimplemented!()
    }

    /// Full or resumed.
    pub fn handshake_kind(&self) -> Option<HandshakeKind> {
        unimplemented!()
    }
}

/// Why a handshake failed.
#[derive(Debug, thiserror::Error)]
pub enum HandshakeError {
    /// rustls refused it; the alert, if any, has been sent.
    #[error(transparent)]
    Tls(#[from] rustls::Error),
    /// The transport failed, or the peer went away.
    #[error(transparent)]
    Io(#[from] io::Error),
}

impl hyper::rt::Read for TlsStream {
    fn poll_read(
        self: Pin<&mut Self>,
        _cx: &mut Context<'_>,
        _buf: hyper::rt::ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        unimplemented!()
    }
}

impl hyper::rt::Write for TlsStream {
    fn poll_write(
        self: Pin<&mut Self>,
        _cx: &mut Context<'_>,
        _buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        unimplemented!()
    }
    fn poll_flush(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        unimplemented!()
    }
    fn poll_shutdown(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        unimplemented!()
    }
}
