//! A connection with or without TLS, as one type for hyper.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll},
};

use hyper::rt::{Read, ReadBufCursor, Write};

use super::stream::TlsStream;
use crate::rt;

/// A connection with or without TLS.
#[derive(Debug)]
pub(crate) enum Transport {
    /// Plain text. Boxed like TLS: a task holds and moves the size of a transport.
    Plain(Box<rt::Stream>),
    /// TLS.
    Tls(Box<TlsStream>),
}

impl Transport {
    /// The socket, to close it.
    pub(crate) fn into_stream(self) -> rt::Stream {
        match self {
            Transport::Plain(stream) => *stream,
            Transport::Tls(stream) => stream.into_stream(),
        }
    }

    /// How much of what was sent has reached the peer.
    pub(crate) fn send_progress(&self) -> rt::SendProgress {
        match self {
            Transport::Plain(stream) => stream.send_progress(),
            Transport::Tls(stream) => stream.send_progress(),
        }
    }

    /// Waits until there are bytes or an end to read, and holds no buffer meanwhile. Fails if the
    /// last send failed.
    pub(crate) fn poll_idle(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Transport::Plain(stream) => stream.poll_idle(cx),
            Transport::Tls(stream) => stream.poll_idle(cx),
        }
    }

    /// Ready once the peer has gone: it has closed its side of the connection, or the connection has
    /// failed. A TLS peer that has only sent close_notify may still read (RFC 8446 section 6.1). Bytes
    /// that come stay to be read, and end the wait without waking the task.
    pub(crate) fn poll_gone(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Transport::Plain(stream) => stream.poll_end(cx),
            Transport::Tls(stream) => stream.poll_gone(cx),
        }
    }
}

/// A connection that shows what is read of it: bytes in hyper's buffer cannot be inspected.
pub(crate) trait ObservedRead: Read {
    /// Reads like [`Read::poll_read`], and shows what is read to `observe`, in one or several pieces.
    fn poll_read_observed(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: ReadBufCursor<'_>,
        observe: &mut dyn FnMut(&[u8]),
    ) -> Poll<io::Result<()>>;
}

impl ObservedRead for Transport {
    fn poll_read_observed(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: ReadBufCursor<'_>,
        observe: &mut dyn FnMut(&[u8]),
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Transport::Plain(stream) => stream.poll_read_observed(cx, buf, observe),
            Transport::Tls(stream) => stream.poll_read_observed(cx, buf, observe),
        }
    }
}

impl Read for Transport {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Transport::Plain(stream) => Pin::new(stream).poll_read(cx, buf),
            Transport::Tls(stream) => Pin::new(stream).poll_read(cx, buf),
        }
    }
}

impl Write for Transport {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Transport::Plain(stream) => Pin::new(stream).poll_write(cx, buf),
            Transport::Tls(stream) => Pin::new(stream).poll_write(cx, buf),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Transport::Plain(stream) => Pin::new(stream).poll_flush(cx),
            Transport::Tls(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Transport::Plain(stream) => Pin::new(stream).poll_shutdown(cx),
            Transport::Tls(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }

    fn is_write_vectored(&self) -> bool {
        match self {
            Transport::Plain(stream) => stream.is_write_vectored(),
            Transport::Tls(stream) => stream.is_write_vectored(),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Transport::Plain(stream) => Pin::new(stream).poll_write_vectored(cx, bufs),
            Transport::Tls(stream) => Pin::new(stream).poll_write_vectored(cx, bufs),
        }
    }
}
