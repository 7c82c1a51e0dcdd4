//! A transport that can be taken back from who serves it.

use std::{
    cell::RefCell,
    io::{self, IoSlice},
    pin::Pin,
    rc::Rc,
    task::{Context, Poll},
};

use hyper::rt::{Read, ReadBufCursor, Write};

use crate::tls::Transport;

/// A transport lent to hyper's HTTP/2, which never gives its own back: after an error there is an
/// alert or a close_notify still to be said.
#[derive(Clone)]
pub(super) struct Shared(Rc<RefCell<Option<Transport>>>);

impl Shared {
    pub(super) fn new(transport: Transport) -> Shared {
        Shared(Rc::new(RefCell::new(Some(transport))))
    }

    /// Takes it back; whoever still reads or writes finds the connection closed.
    pub(super) fn take(&self) -> Option<Transport> {
        self.0.borrow_mut().take()
    }

    fn poll<T>(
        &self,
        operation: impl FnOnce(Pin<&mut Transport>) -> Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        match self.0.borrow_mut().as_mut() {
            Some(transport) => operation(Pin::new(transport)),
            None => Poll::Ready(Err(io::ErrorKind::NotConnected.into())),
        }
    }
}

impl Read for Shared {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        self.poll(|transport| transport.poll_read(cx, buf))
    }
}

impl Write for Shared {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.poll(|transport| transport.poll_write(cx, buf))
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll(|transport| transport.poll_flush(cx))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll(|transport| transport.poll_shutdown(cx))
    }

    fn is_write_vectored(&self) -> bool {
        self.0.borrow().as_ref().is_some_and(Transport::is_write_vectored)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.poll(|transport| transport.poll_write_vectored(cx, bufs))
    }
}
