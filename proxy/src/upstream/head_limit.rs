//! How much an HTTP/1.1 upstream may send before its response.

use std::{
    cell::Cell,
    io::{self, IoSlice},
    pin::Pin,
    rc::Rc,
    task::{Context, Poll},
};

use hyper::rt::{Read, ReadBufCursor, Write};

use crate::tls::ObservedRead;

/// Twice the largest head that hyper accepts, for interim responses before it.
const MAX_BYTES: u64 = 256 * 1024;

/// An upstream sent interim responses (1xx) and no response.
#[derive(Debug, thiserror::Error)]
#[error("more than {MAX_BYTES} bytes of interim responses")]
pub(super) struct InterimFlood;

/// How much more may come before the response.
#[derive(Debug)]
pub(super) struct HeadAllowance(Cell<u64>);

impl HeadAllowance {
    fn new() -> HeadAllowance {
        HeadAllowance(Cell::new(MAX_BYTES))
    }

    /// A request is sent.
    pub(super) fn begin(&self) {
        self.0.set(MAX_BYTES);
    }

    /// Its response has begun. The body has no limit.
    pub(super) fn end(&self) {
        self.0.set(u64::MAX);
    }

    fn spend(&self, bytes: usize) {
        self.0.set(self.0.get().saturating_sub(bytes as u64));
    }
}

/// A connection that fails once its allowance is spent: hyper reads interim responses without end.
#[derive(Debug)]
pub(super) struct HeadLimited<T> {
    io: T,
    allowance: Rc<HeadAllowance>,
}

impl<T> HeadLimited<T> {
    /// Limits a connection, whose first request is about to be sent.
    pub(super) fn new(io: T) -> (HeadLimited<T>, Rc<HeadAllowance>) {
        let allowance = Rc::new(HeadAllowance::new());
        (HeadLimited { io, allowance: Rc::clone(&allowance) }, allowance)
    }

    /// The connection, to be read without a limit.
    pub(super) fn into_inner(self) -> T {
        self.io
    }
}

impl<T: ObservedRead + Unpin> Read for HeadLimited<T> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        let HeadLimited { io, allowance } = self.get_mut();
        if allowance.0.get() == 0 {
            return Poll::Ready(Err(io::Error::other(InterimFlood)));
        }
        let mut observe = |bytes: &[u8]| allowance.spend(bytes.len());
        Pin::new(io).poll_read_observed(cx, buf, &mut observe)
    }
}

impl<T: Write + Unpin> Write for HeadLimited<T> {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().io).poll_write(cx, buf)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().io).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().io).poll_shutdown(cx)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().io).poll_write_vectored(cx, bufs)
    }
}
