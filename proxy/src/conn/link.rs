//! A transport that is lent to hyper, watched meanwhile, and taken back at the end.

use std::{
    cell::{Cell, RefCell},
    io::{self, IoSlice},
    pin::Pin,
    rc::Rc,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use hyper::rt::{Read, ReadBuf, ReadBufCursor, Write};

use super::{
    activity::Activity,
    frames::{Frames, Unfinished},
};
use crate::tls::Transport;

/// A handle on a connection's transport. hyper has one. The other observes what passes, and can take
/// the transport back in any state of hyper: an alert or a close_notify may still have to be sent, and
/// hyper's HTTP/2 never returns its transport.
#[derive(Clone)]
pub(super) struct Link(Rc<LinkState>);

struct LinkState {
    transport: RefCell<Option<Transport>>,
    activity: Rc<Activity>,
    /// The client's HTTP/2 frames; `None` in HTTP/1.
    frames: Option<Cell<Frames>>,
    /// Read from the transport, then returned unparsed.
    unread: RefCell<Bytes>,
    /// Something was written since the last complete flush.
    unflushed: Cell<bool>,
}

/// The most that is read at a time in HTTP/2: more than the largest frame that clients may send.
const SCRATCH_BYTES: usize = 32 * 1024;

thread_local! {
    /// Read into first, since bytes in hyper's buffer cannot be inspected.
    static SCRATCH: RefCell<Box<[u8]>> = RefCell::new(vec![0; SCRATCH_BYTES].into());
}

impl Link {
    /// Notes in `activity` the first bytes that come to an idle connection.
    pub(super) fn http1(transport: Transport, activity: &Rc<Activity>) -> Link {
        Link::new(transport, activity, None)
    }

    /// Follows the client's frames, for [`Link::unfinished`].
    pub(super) fn http2(transport: Transport, activity: &Rc<Activity>) -> Link {
        Link::new(transport, activity, Some(Cell::new(Frames::new())))
    }

    fn new(transport: Transport, activity: &Rc<Activity>, frames: Option<Cell<Frames>>) -> Link {
        Link(Rc::new(LinkState {
            transport: RefCell::new(Some(transport)),
            activity: Rc::clone(activity),
            frames,
            unread: RefCell::default(),
            unflushed: Cell::new(false),
        }))
    }

    /// What an HTTP/2 client has begun and not finished.
    pub(super) fn unfinished(&self) -> Option<Unfinished> {
        self.0.frames.as_ref()?.get().unfinished()
    }

    /// Whether everything that was written is on its way, so that the next write begins a message.
    pub(super) fn is_flushed(&self) -> bool {
        !self.0.unflushed.get()
    }

    /// Returns bytes that are to be read again.
    pub(super) fn unread(&self, bytes: Bytes) {
        self.0.unread.replace(bytes);
    }

    /// Waits for the peer with no buffer held; see [`Transport::poll_idle`].
    pub(super) fn poll_idle(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll(|mut transport| transport.poll_idle(cx))
    }

    /// Returned bytes that fit into a buffer.
    fn take_unread(&self, room: usize) -> Bytes {
        let mut unread = self.0.unread.borrow_mut();
        let n = unread.len().min(room);
        unread.split_to(n)
    }

    /// Takes the transport back. hyper's handle finds the connection closed from now on.
    pub(super) fn take(&self) -> Option<Transport> {
        self.0.transport.borrow_mut().take()
    }

    fn poll<T>(
        &self,
        operation: impl FnOnce(Pin<&mut Transport>) -> Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        match self.0.transport.borrow_mut().as_mut() {
            Some(transport) => operation(Pin::new(transport)),
            None => Poll::Ready(Err(io::ErrorKind::NotConnected.into())),
        }
    }

    fn poll_read_frames(
        &self,
        cx: &mut Context<'_>,
        mut buf: ReadBufCursor<'_>,
        frames: &Cell<Frames>,
    ) -> Poll<io::Result<()>> {
        let follow = |bytes: &[u8]| {
            let mut followed = frames.get();
            followed.pass(bytes);
            frames.set(followed);
        };
        let again = self.take_unread(buf.remaining());
        if !again.is_empty() {
            follow(&again);
            buf.put_slice(&again);
            return Poll::Ready(Ok(()));
        }
        SCRATCH.with_borrow_mut(|scratch| {
            let room = buf.remaining().min(scratch.len());
            let mut seen = ReadBuf::new(&mut scratch[..room]);
            ready!(self.poll(|transport| transport.poll_read(cx, seen.unfilled())))?;
            follow(seen.filled());
            buf.put_slice(seen.filled());
            Poll::Ready(Ok(()))
        })
    }

    fn poll_send<T>(
        &self,
        operation: impl FnOnce(Pin<&mut Transport>) -> Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        let result = self.poll(operation);
        self.0.activity.sending(result.is_pending());
        result
    }
}

impl Read for Link {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        mut buf: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        if let Some(frames) = &self.0.frames {
            return self.poll_read_frames(cx, buf, frames);
        }
        let again = self.take_unread(buf.remaining());
        let result = match again.is_empty() {
            false => {
                buf.put_slice(&again);
                Poll::Ready(Ok(()))
            }
            true => self.poll(|transport| transport.poll_read(cx, buf)),
        };
        if result.is_ready() {
            self.0.activity.received();
        }
        result
    }
}

impl Write for Link {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.0.unflushed.set(true);
        self.poll_send(|transport| transport.poll_write(cx, buf))
    }

    fn is_write_vectored(&self) -> bool {
        self.0.transport.borrow().as_ref().is_some_and(Transport::is_write_vectored)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.0.unflushed.set(true);
        self.poll_send(|transport| transport.poll_write_vectored(cx, bufs))
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let result = self.poll_send(|transport| transport.poll_flush(cx));
        if let Poll::Ready(Ok(())) = result {
            self.0.unflushed.set(false);
        }
        result
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll_send(|transport| transport.poll_shutdown(cx))
    }
}
