//! A client's body on its way to the upstream.

use std::{
    cell::{Cell, RefCell},
    pin::Pin,
    rc::Rc,
    task::{Context, Poll, Waker},
    time::Instant,
};

use bytes::Bytes;
use http::HeaderMap;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;

use super::{
    headers::strip_trailers,
    request::drop_underscores,
    site::{LocalSite, SiteRoute},
    spec::Underscores,
};

/// What the request's other half knows of its body.
#[derive(Debug, Default)]
pub(super) struct Upload {
    received: Cell<u64>,
    /// When the last piece came.
    last: Cell<Option<Instant>>,
    /// The upstream has asked for more, and the client has not sent it.
    wanted: Cell<bool>,
    ended: Cell<Option<Instant>>,
    waiter: RefCell<Option<Waker>>,
}

impl Upload {
    /// Bytes received so far.
    pub(super) fn received(&self) -> u64 {
        self.received.get()
    }

    /// When the last piece came, if one did.
    pub(super) fn last(&self) -> Option<Instant> {
        self.last.get()
    }

    /// Whether it is the client that is waited for, rather than an upstream that asks for no more.
    pub(super) fn is_wanted(&self) -> bool {
        self.wanted.get()
    }

    /// When the body ended, or nobody wanted more of it.
    pub(super) fn ended(&self) -> Option<Instant> {
        self.ended.get()
    }

    /// Wakes this task at the end of the body, where that is still to come.
    pub(super) fn wake_at_end(&self, waker: &Waker) {
        if self.ended.get().is_none() {
            self.waiter.borrow_mut().get_or_insert_with(|| waker.clone()).clone_from(waker);
        }
    }

    /// A piece has come.
    pub(super) fn progress(&self, bytes: usize) {
        self.wanted.set(false);
        self.last.set(Some(Instant::now()));
        self.received.set(self.received.get() + bytes as u64);
    }

    /// The upstream asks for more than there is.
    pub(super) fn want(&self) {
        self.wanted.set(true);
    }

    pub(super) fn end(&self) {
        if self.ended.get().is_none() {
            self.ended.set(Some(Instant::now()));
            if let Some(waker) = self.waiter.take() {
                waker.wake();
            }
        }
    }
}

/// A request body that is counted, and whose trailers are as clean as the headers.
#[derive(Debug)]
pub(super) struct ClientBody {
    incoming: Incoming,
    upload: Rc<Upload>,
    site: Rc<LocalSite>,
    /// The place of its route.
    route: usize,
}

impl ClientBody {
    pub(super) fn new(
        incoming: Incoming,
        site: Rc<LocalSite>,
        route: &SiteRoute,
    ) -> (ClientBody, Rc<Upload>) {
        let upload = Rc::new(Upload::default());
        (ClientBody { incoming, upload: upload.clone(), site, route: route.index }, upload)
    }

    fn account(&self, mut frame: Frame<Bytes>) -> Frame<Bytes> {
        self.upload.progress(frame.data_ref().map_or(0, Bytes::len));
        if let Some(trailers) = frame.trailers_mut() {
            self.clean(trailers);
        }
        frame
    }

    fn clean(&self, trailers: &mut HeaderMap) {
        if self.site.settings.underscores != Underscores::Allow {
            drop_underscores(trailers);
        }
        match self.site.routes.get(self.route) {
            Some(route) => strip_trailers(trailers, route.reserved(&self.site)),
            None => trailers.clear(),
        }
    }
}

impl Body for ClientBody {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let this = self.get_mut();
        let Poll::Ready(frame) = Pin::new(&mut this.incoming).poll_frame(cx) else {
            this.upload.want();
            return Poll::Pending;
        };
        let frame = frame.map(|result| result.map(|frame| this.account(frame)));
        if !matches!(frame, Some(Ok(_))) || this.incoming.is_end_stream() {
            this.upload.end();
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.incoming.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.incoming.size_hint()
    }
}

impl Drop for ClientBody {
    fn drop(&mut self) {
        self.upload.end();
    }
}
