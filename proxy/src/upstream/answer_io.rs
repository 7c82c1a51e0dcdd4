//! A transport that is read to its end although it cannot be written to any more.

use std::{
    cell::Cell,
    io::{self, IoSlice},
    pin::Pin,
    rc::Rc,
    task::{Context, Poll, ready},
};

use hyper::rt::{Read, ReadBuf, ReadBufCursor, Write};

use crate::tls::ObservedRead;

/// Read at a time behind a failed write.
const SCRATCH_BYTES: usize = 8 * 1024;

/// What an upstream may send, shared with those who set it.
pub(super) trait ReceiveLimit {
    /// Fails once it is exceeded.
    fn check(&self) -> io::Result<()>;

    /// Notes bytes that have come.
    fn received(&self, bytes: &[u8]);

    /// Notes how many bytes were sent.
    fn sent(&self, _bytes: usize) {}
}

/// A transport to an upstream, which fails once the upstream exceeds a limit.
///
/// An upstream that refuses an upload answers, and closes with bytes that it has not read: a reset
/// follows, our next write fails, and the answer lies in our receive buffer (RFC 9112 section 9.5). hyper
/// would end with the failure of the write. So what is written behind that is dropped, and the failure is
/// where the peer's bytes end: an end that the peer did not announce must not look like one.
#[derive(Debug)]
pub(super) struct AnswerIo<T, L> {
    transport: T,
    limit: Rc<L>,
    failure: WriteFailure,
}

/// Whether, and how, a write of an [`AnswerIo`] has failed.
#[derive(Debug, Clone, Default)]
pub(super) struct WriteFailure(Rc<Cell<Option<io::ErrorKind>>>);

impl WriteFailure {
    pub(super) fn has_happened(&self) -> bool {
        self.0.get().is_some()
    }
}

impl<T, L> AnswerIo<T, L> {
    pub(super) fn new(transport: T, limit: &Rc<L>) -> AnswerIo<T, L> {
        AnswerIo { transport, limit: Rc::clone(limit), failure: WriteFailure::default() }
    }

    pub(super) fn failure(&self) -> WriteFailure {
        self.failure.clone()
    }

    pub(super) fn into_inner(self) -> T {
        self.transport
    }

    /// The result of a write or a flush, or that of `dropped` in place of a failure of the connection.
    fn unless_reset<R>(
        &self,
        result: Poll<io::Result<R>>,
        dropped: impl FnOnce() -> R,
    ) -> Poll<io::Result<R>> {
        match result {
            Poll::Ready(Err(error)) if is_of_connection(&error) => {
                self.failure.0.set(Some(error.kind()));
                Poll::Ready(Ok(dropped()))
            }
            result => result,
        }
    }
}

/// The peer has reset the connection. What it sent before that can be read without a wait.
fn is_of_connection(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset)
}

impl<T, L: ReceiveLimit> AnswerIo<T, L> {
    fn written(
        &self,
        result: Poll<io::Result<usize>>,
        dropped: impl FnOnce() -> usize,
    ) -> Poll<io::Result<usize>> {
        if let Poll::Ready(Ok(bytes)) = &result {
            self.limit.sent(*bytes);
        }
        self.unless_reset(result, dropped)
    }
}

impl<T: ObservedRead + Unpin, L: ReceiveLimit> AnswerIo<T, L> {
    fn poll_receive(
        &mut self,
        cx: &mut Context<'_>,
        buf: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        self.limit.check()?;
        let AnswerIo { transport, limit, .. } = self;
        Pin::new(transport).poll_read_observed(cx, buf, &mut |bytes| limit.received(bytes))
    }

    fn poll_read_rest(
        &mut self,
        cx: &mut Context<'_>,
        mut buf: ReadBufCursor<'_>,
        failure: io::ErrorKind,
    ) -> Poll<io::Result<()>> {
        let mut scratch = [0; SCRATCH_BYTES];
        let room = buf.remaining().min(scratch.len());
        let mut read = ReadBuf::new(&mut scratch[..room]);
        ready!(self.poll_receive(cx, read.unfilled()))?;
        if read.filled().is_empty() {
            return Poll::Ready(Err(failure.into()));
        }
        buf.put_slice(read.filled());
        Poll::Ready(Ok(()))
    }
}

impl<T: ObservedRead + Unpin, L: ReceiveLimit> Read for AnswerIo<T, L> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        match this.failure.0.get() {
            None => this.poll_receive(cx, buf),
            Some(failure) => this.poll_read_rest(cx, buf, failure),
        }
    }
}

impl<T: Write + Unpin, L: ReceiveLimit> Write for AnswerIo<T, L> {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        if this.failure.has_happened() {
            return Poll::Ready(Ok(buf.len()));
        }
        let result = Pin::new(&mut this.transport).poll_write(cx, buf);
        this.written(result, || buf.len())
    }

    fn is_write_vectored(&self) -> bool {
        self.transport.is_write_vectored()
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let all = || bufs.iter().map(|buf| buf.len()).sum();
        if this.failure.has_happened() {
            return Poll::Ready(Ok(all()));
        }
        let result = Pin::new(&mut this.transport).poll_write_vectored(cx, bufs);
        this.written(result, all)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.failure.has_happened() {
            return Poll::Ready(Ok(()));
        }
        let result = Pin::new(&mut this.transport).poll_flush(cx);
        this.unless_reset(result, || ())
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().transport).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests;
