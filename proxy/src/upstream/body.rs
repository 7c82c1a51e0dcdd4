//! The bodies that are passed between a client and an upstream.

use std::{
    fmt,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;

use super::{lease::Lease, progress::Progress};

/// A client's body. An exact length that it states is trusted.
pub(crate) type ClientBody = Pin<Box<dyn Body<Data = Bytes, Error = hyper::Error>>>;

/// A request body on its way to an upstream.
pub(crate) enum RequestBody {
    /// No body.
    Empty,
    /// The client's, streamed.
    Client(ClientBody),
}

impl fmt::Debug for RequestBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            RequestBody::Empty => "Empty",
            RequestBody::Client(_) => "Client(..)",
        })
    }
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        match self.get_mut() {
            RequestBody::Empty => Poll::Ready(None),
            RequestBody::Client(body) => body.as_mut().poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            RequestBody::Empty => true,
            RequestBody::Client(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            RequestBody::Empty => SizeHint::with_exact(0),
            RequestBody::Client(body) => body.size_hint(),
        }
    }
}

/// A request body as the upstream connection holds it: it reports its progress to the side that
/// waits for the response, and stops when the rest is not needed.
#[derive(Debug)]
pub(super) struct SentBody<B = RequestBody> {
    body: B,
    /// `None` for a body that was empty from the start.
    progress: Option<Rc<Progress>>,
}

impl<B: Body> SentBody<B> {
    pub(super) fn new(body: B) -> SentBody<B> {
        let progress = (!body.is_end_stream()).then(Rc::default);
        SentBody { body, progress }
    }

    /// Its progress, for the side that waits for the response; `None` for an empty body.
    pub(super) fn progress(&self) -> Option<Rc<Progress>> {
        self.progress.clone()
    }
}

impl SentBody {
    pub(super) fn empty() -> SentBody {
        SentBody::new(RequestBody::Empty)
    }
}

impl<B> Body for SentBody<B>
where
    B: Body<Data = Bytes> + Unpin,
    B::Error: fmt::Display,
{
    type Data = Bytes;
    type Error = SendBodyError<B::Error>;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        let this = &mut *self;
        let Some(progress) = &this.progress else { return Poll::Ready(None) };
        if progress.poll_abandoned(cx).is_ready() {
            return Poll::Ready(Some(Err(SendBodyError::Abandoned)));
        }
        let frame = ready!(Pin::new(&mut this.body).poll_frame(cx));
        match &frame {
            None => progress.end(),
            // hyper may not poll again after the last frame.
            Some(Ok(frame)) if frame.is_trailers() || this.body.is_end_stream() => progress.end(),
            Some(Ok(_)) => {}
            Some(Err(error)) => progress.fail(error.to_string()),
        }
        Poll::Ready(frame.map(|frame| frame.map_err(SendBodyError::Client)))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl<B> Drop for SentBody<B> {
    fn drop(&mut self) {
        if let Some(progress) = &self.progress {
            progress.let_go();
        }
    }
}

/// The reason why a request body was not sent completely.
#[derive(Debug, thiserror::Error)]
pub(super) enum SendBodyError<E> {
    /// The client did not send all of it.
    #[error("the client's request body failed: {0}")]
    Client(E),
    /// The response ended first.
    #[error("the response ended before the request body")]
    Abandoned,
}

/// A response body on its way from an upstream. It holds its connection, which returns to the pool
/// when the body has been read to its end and is closed when the body is dropped earlier.
#[derive(Debug)]
pub(crate) struct ResponseBody {
    incoming: Incoming,
    /// `None` once the body has been read to its end or has failed.
    lease: Option<Lease>,
}

impl ResponseBody {
    pub(super) fn new(incoming: Incoming, lease: Lease) -> ResponseBody {
        let mut body = ResponseBody { incoming, lease: Some(lease) };
        body.release_at_end();
        body
    }

    /// The reader may not poll again after the last frame.
    fn release_at_end(&mut self) {
        if self.incoming.is_end_stream() {
            self.release();
        }
    }

    fn release(&mut self) {
        if let Some(lease) = self.lease.take() {
            lease.complete();
        }
    }
}

impl Body for ResponseBody {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let frame = ready!(Pin::new(&mut self.incoming).poll_frame(cx));
        match &frame {
            None => self.release(),
            Some(Ok(frame)) if frame.is_trailers() => self.release(),
            Some(Ok(_)) => self.release_at_end(),
            Some(Err(_)) => self.lease = None,
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
