//! hyper's interface to the runtime: plain text over a [`Stream`].

use std::{
    cell::RefCell,
    io,
    pin::Pin,
    task::{Context, Poll, ready},
};

use hyper::rt::{Read, ReadBufCursor, Write};

use super::Stream;

/// A writer waits above this number of unsent bytes.
const OUTGOING_LIMIT: usize = 64 * 1024;

thread_local! {
    /// hyper's own buffers are uninitialised, and filling those in place takes `unsafe`.
    static SCRATCH: RefCell<Box<[u8]>> = RefCell::new(vec![0; OUTGOING_LIMIT].into());
}

impl Stream {
    /// Reads, and shows what was read.
    pub(crate) fn poll_read_observed(
        &mut self,
        cx: &mut Context<'_>,
        mut buf: ReadBufCursor<'_>,
        observe: impl FnOnce(&[u8]),
    ) -> Poll<io::Result<()>> {
        SCRATCH.with_borrow_mut(|scratch| {
            let room = buf.remaining().min(scratch.len());
            let received = ready!(self.poll_recv_slice(cx, &mut scratch[..room]))?;
            buf.put_slice(&scratch[..received]);
            observe(&scratch[..received]);
            Poll::Ready(Ok(()))
        })
    }
}

impl Read for Stream {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        self.get_mut().poll_read_observed(cx, buf, |_| ())
    }
}

impl Write for Stream {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(cx, &[io::IoSlice::new(buf)])
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        if this.outgoing().len() >= OUTGOING_LIMIT {
            ready!(this.poll_flush(cx))?;
        }
        let outgoing = this.outgoing();
        let before = outgoing.len();
        for buf in bufs {
            let room = OUTGOING_LIMIT.saturating_sub(outgoing.len());
            outgoing.extend_from_slice(&buf[..buf.len().min(room)]);
        }
        Poll::Ready(Ok(outgoing.len() - before))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Stream::poll_flush(self.get_mut(), cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        ready!(Stream::poll_flush(this, cx))?;
        ready!(this.poll_sent(cx))?;
        this.shutdown_write();
        Poll::Ready(Ok(()))
    }
}
