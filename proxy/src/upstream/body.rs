//! The bodies that are passed between a client and an upstream.

use std::{
    cell::RefCell,
    fmt,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};

use super::{
    ChosenEndpoint, ReceiveBodyError, RequestOutcome, lease::Lease, progress::Progress,
    received_body::ReceivedBody,
};

/// A client's body. An exact length that it states is trusted.
pub(crate) type ClientBody = Pin<Box<dyn Body<Data = Bytes, Error = ReceiveBodyError>>>;

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

/// A request body as the upstream connection holds it: it reports its progress to the side that
/// waits for the response, and stops when the rest is not needed.
#[derive(Debug)]
pub(crate) struct SentBody(Option<Rc<Upload>>);

/// A request body on its way, shared with the side that waits for the response.
pub(super) struct Upload {
    pub(super) progress: Progress,
    /// `None` once it is not needed: an abandoned one is not left to a connection that may wait for ever
    /// before it asks for more.
    body: RefCell<Option<ClientBody>>,
}

impl SentBody {
    /// A body that nothing has asked for yet.
    pub(crate) fn new(body: RequestBody) -> SentBody {
        let RequestBody::Client(body) = body else { return SentBody(None) };
        let sent = !body.is_end_stream();
        SentBody(sent.then(|| {
            Rc::new(Upload { progress: Progress::default(), body: RefCell::new(Some(body)) })
        }))
    }

    pub(super) fn empty() -> SentBody {
        SentBody(None)
    }

    /// The upload, for the side that waits for the response; `None` for an empty body.
    pub(super) fn upload(&self) -> Option<Rc<Upload>> {
        self.0.clone()
    }
}

impl Upload {
    /// Gives up the rest of the body, and stops receiving it from the client.
    pub(super) fn abandon(&self) {
        if self.progress.abandon() {
            self.drop_body();
        }
    }

    fn drop_body(&self) {
        let body = self.body.take();
        drop(body);
    }
}

impl fmt::Debug for Upload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Upload").field("progress", &self.progress).finish_non_exhaustive()
    }
}

impl Body for SentBody {
    type Data = Bytes;
    type Error = SendBodyError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, SendBodyError>>> {
        let Some(upload) = &self.0 else { return Poll::Ready(None) };
        let progress = &upload.progress;
        if progress.poll_abandoned(cx).is_ready() {
            return Poll::Ready(Some(Err(SendBodyError::Abandoned)));
        }
        let mut body = upload.body.borrow_mut();
        let Some(body) = &mut *body else { return Poll::Ready(None) };
        let frame = ready!(body.as_mut().poll_frame(cx));
        match &frame {
            None => progress.end(),
            // hyper may not poll again after the last frame.
            Some(Ok(frame)) if frame.is_trailers() || body.is_end_stream() => progress.end(),
            Some(Ok(_)) => progress.pass(),
            Some(Err(error)) => progress.fail(error.to_string()),
        }
        Poll::Ready(frame.map(|frame| frame.map_err(SendBodyError::Client)))
    }

    fn is_end_stream(&self) -> bool {
        let Some(upload) = &self.0 else { return true };
        // An abandoned body has not ended.
        upload.body.borrow().as_ref().is_some_and(|body| body.is_end_stream())
    }

    fn size_hint(&self) -> SizeHint {
        let Some(upload) = &self.0 else { return SizeHint::with_exact(0) };
        upload.body.borrow().as_ref().map(|body| body.size_hint()).unwrap_or_default()
    }
}

impl Drop for SentBody {
    fn drop(&mut self) {
        if let Some(upload) = &self.0 {
            upload.progress.let_go();
            upload.drop_body();
        }
    }
}

/// The reason why a request body was not sent completely.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SendBodyError {
    /// The client did not send all of it.
    #[error("the client's request body failed: {0}")]
    Client(ReceiveBodyError),
    /// The response ended first, and the upstream does not read on.
    #[error("the response ended before the request body")]
    Abandoned,
}

/// A response body on its way from an upstream. It holds its connection, which returns to the pool
/// when the body has been read to its end and is closed when the body is dropped earlier.
#[derive(Debug)]
pub(crate) struct ResponseBody {
    incoming: ReceivedBody,
    /// `None` once the body has been read to its end or has failed.
    lease: Option<Lease>,
    /// The endpoint, if it is counted when the body breaks off, and the worker.
    watched: Option<(ChosenEndpoint, usize)>,
}

impl ResponseBody {
    pub(super) fn new(incoming: ReceivedBody, lease: Lease) -> ResponseBody {
        let mut body = ResponseBody { incoming, lease: Some(lease), watched: None };
        body.release_at_end();
        body
    }

    /// Counts against the endpoint if the body breaks off.
    pub(super) fn watch(&mut self, endpoint: ChosenEndpoint, worker: usize) {
        // A body that has been read to its end cannot.
        self.watched = self.lease.is_some().then_some((endpoint, worker));
    }

    fn broken(&mut self) {
        self.lease = None;
        if let Some((endpoint, worker)) = self.watched.take() {
            endpoint.record(worker, RequestOutcome::Failure);
        }
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
    type Error = ReceiveBodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, ReceiveBodyError>>> {
        let frame = ready!(Pin::new(&mut self.incoming).poll_frame(cx));
        match &frame {
            None => self.release(),
            Some(Ok(frame)) if frame.is_trailers() => self.release(),
            Some(Ok(_)) => self.release_at_end(),
            Some(Err(_)) => self.broken(),
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
