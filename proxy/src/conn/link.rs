//! A transport that is lent to hyper, watched meanwhile, and taken back at the end.

use std::{
    cell::{Cell, RefCell},
    io::{self, IoSlice},
    pin::Pin,
    rc::Rc,
    task::{Context, Poll, ready},
};

use bytes::{Buf, Bytes};
use hyper::rt::{Read, ReadBufCursor, Write};

use super::activity::Activity;
use crate::{
    http2_frames::{Frames, Http2Traffic},
    rt,
    tls::{ObservedRead, Transport},
};

/// A handle on a connection's transport. hyper has one. The other observes what passes, and can take
/// the transport back in any state of hyper: an alert or a close_notify may still have to be sent, and
/// hyper's HTTP/2 never returns its transport.
#[derive(Clone)]
pub(super) struct Link(Rc<LinkState>);

struct LinkState {
    transport: RefCell<Option<Transport>>,
    activity: Rc<Activity>,
    /// What passes in HTTP/2; `None` in HTTP/1.
    http2: Option<Http2Traffic>,
    /// Read from the transport, then returned unparsed.
    unread: RefCell<Bytes>,
    /// Something was written since the last complete flush.
    unflushed: Cell<bool>,
    /// Written between two messages of hyper's.
    inserted: RefCell<Bytes>,
}

impl Link {
    /// Notes in `activity` the first bytes that come to an idle connection.
    pub(super) fn http1(transport: Transport, activity: &Rc<Activity>) -> Link {
        Link::new(transport, activity, None)
    }

    /// Follows the client's frames, for [`Link::http2_traffic`].
    pub(super) fn http2(transport: Transport, activity: &Rc<Activity>) -> Link {
        Link::new(transport, activity, Some(Http2Traffic::new(Frames::of_client())))
    }

    fn new(transport: Transport, activity: &Rc<Activity>, http2: Option<Http2Traffic>) -> Link {
        Link(Rc::new(LinkState {
            transport: RefCell::new(Some(transport)),
            activity: Rc::clone(activity),
            http2,
            unread: RefCell::default(),
            unflushed: Cell::new(false),
            inserted: RefCell::default(),
        }))
    }

    /// What has passed in HTTP/2.
    pub(super) fn http2_traffic(&self) -> Option<&Http2Traffic> {
        self.0.http2.as_ref()
    }

    /// Whether everything that was written is on its way, so that the next write begins a message.
    pub(super) fn is_flushed(&self) -> bool {
        !self.0.unflushed.get()
    }

    /// Writes whole messages before hyper's next. The link must be flushed.
    pub(super) fn insert(&self, cx: &mut Context<'_>, messages: Vec<u8>) {
        self.0.unflushed.set(true);
        self.0.inserted.replace(messages.into());
        // Whatever is left now goes out before hyper's next bytes. hyper sees the failure too.
        let _ = Pin::new(&mut self.clone()).poll_flush(cx);
    }

    /// Returns bytes that are to be read again.
    pub(super) fn unread(&self, bytes: Bytes) {
        self.0.unread.replace(bytes);
    }

    /// How much of what was sent has reached the client.
    pub(super) fn send_progress(&self) -> rt::SendProgress {
        self.0.transport.borrow().as_ref().map(Transport::send_progress).unwrap_or_default()
    }

    /// Waits for the peer with no buffer held; see [`Transport::poll_idle`].
    pub(super) fn poll_idle(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll(|mut transport| transport.poll_idle(cx))
    }

    /// Ready once the client has gone; see [`Transport::poll_gone`]. For the time of a request, during
    /// which hyper does not read.
    pub(super) fn poll_gone(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if !self.0.unread.borrow().is_empty() {
            return Poll::Pending;
        }
        self.poll(|transport| transport.get_mut().poll_gone(cx))
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
        traffic: &Http2Traffic,
    ) -> Poll<io::Result<()>> {
        let again = self.take_unread(buf.remaining());
        if !again.is_empty() {
            traffic.receive(&again);
            buf.put_slice(&again);
            return Poll::Ready(Ok(()));
        }
        let mut observe = |bytes: &[u8]| rt::spend(traffic.receive(bytes));
        self.poll(|transport| transport.poll_read_observed(cx, buf, &mut observe))
    }

    fn poll_write_with(
        &self,
        cx: &mut Context<'_>,
        offered: impl FnOnce() -> usize,
        write: impl FnOnce(Pin<&mut Transport>, &mut Context<'_>) -> Poll<io::Result<usize>>,
    ) -> Poll<io::Result<usize>> {
        self.0.unflushed.set(true);
        ready!(self.poll_inserted(cx))?;
        let written = self.poll_send(|transport| write(transport, cx));
        if let (Some(traffic), Poll::Ready(Ok(bytes))) = (&self.0.http2, &written) {
            traffic.send(offered(), *bytes);
        }
        written
    }

    /// Writes what is left of the inserted messages.
    fn poll_inserted(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut inserted = self.0.inserted.borrow_mut();
        while !inserted.is_empty() {
            let written = ready!(self.poll_send(|transport| transport.poll_write(cx, &inserted)))?;
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            if let Some(traffic) = &self.0.http2 {
                traffic.send(inserted.len(), written);
            }
            inserted.advance(written);
        }
        Poll::Ready(Ok(()))
    }

    fn poll_send<T>(
        &self,
        operation: impl FnOnce(Pin<&mut Transport>) -> Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        let result = self.poll(operation);
        self.0.activity.sending(result.is_pending(), || self.send_progress().acknowledged);
        result
    }
}

impl Read for Link {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        mut buf: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        if let Some(traffic) = &self.0.http2 {
            return self.poll_read_frames(cx, buf, traffic);
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
        self.poll_write_with(cx, || buf.len(), |transport, cx| transport.poll_write(cx, buf))
    }

    fn is_write_vectored(&self) -> bool {
        self.0.transport.borrow().as_ref().is_some_and(Transport::is_write_vectored)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let offered = || bufs.iter().map(|buf| buf.len()).sum();
        self.poll_write_with(cx, offered, |transport, cx| transport.poll_write_vectored(cx, bufs))
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_inserted(cx))?;
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
