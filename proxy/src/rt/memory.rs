//! A peer that has sent everything already, without a runtime. For fuzzing.

use std::{
    future::Future,
    io,
    pin::{Pin, pin},
    task::{Context, Poll, Waker},
};

use hyper::rt::{Read, ReadBufCursor, Write};

/// Reads from bytes, and forgets what is written.
#[derive(Debug)]
pub(crate) struct MemoryStream {
    bytes: Vec<u8>,
    taken: usize,
    /// Nothing can be read before something is written.
    waits: bool,
}

impl MemoryStream {
    /// A peer that sends these bytes and no more.
    pub(crate) fn new(bytes: &[u8]) -> MemoryStream {
        MemoryStream { bytes: bytes.to_vec(), taken: 0, waits: false }
    }

    /// The same, but the peer sends nothing before it has received something.
    pub(crate) fn answering(bytes: &[u8]) -> MemoryStream {
        MemoryStream { waits: true, ..MemoryStream::new(bytes) }
    }
}

impl Read for MemoryStream {
    fn poll_read(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        mut reader: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.waits {
            return Poll::Pending;
        }
        let rest = this.bytes.get(this.taken..).unwrap_or_default();
        let piece = rest.get(..reader.remaining().min(rest.len())).unwrap_or_default();
        reader.put_slice(piece);
        this.taken += piece.len();
        Poll::Ready(Ok(()))
    }
}

impl Write for MemoryStream {
    fn poll_write(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.get_mut().waits = false;
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

/// Polls a future that waits for nothing outside it, so many times at most.
pub(crate) fn poll_to_end<F: Future>(future: F, most: usize) -> Option<F::Output> {
    let mut future = pin!(future);
    let mut cx = Context::from_waker(Waker::noop());
    (0..most).find_map(|_| match future.as_mut().poll(&mut cx) {
        Poll::Ready(output) => Some(output),
        Poll::Pending => None,
    })
}
