//! A client connection as its requests see it: its peer, its state, and their handler.

use std::{
    cell::{Cell, RefCell},
    pin::Pin,
    rc::Rc,
    time::Instant,
};

use http::{HeaderValue, Response, StatusCode, header::CONNECTION};
use tokio::time::Sleep;

use super::{
    interim_outbox::InterimOutbox, local_service::LocalService, peer::Peer,
    request_handler::RequestHandler, response_flow::ResponseFlow, unread_streams::UnreadStreams,
};
use crate::upstream::{ConnectionOwner, ReceivedBody};

/// A client connection, shared by its requests. It stays on its worker's thread.
#[derive(Debug)]
pub(crate) struct ClientConnection {
    /// The client.
    pub peer: Peer,
    /// What its requests do with it.
    pub state: ConnectionState,
    /// As the owner of connections to upstreams.
    pub(super) owner: ConnectionOwner,
    pub(super) handler: Rc<RequestHandler>,
    /// Answers every request of the connection; `None` serves the routes.
    pub(super) service: Option<LocalService>,
}

impl ClientConnection {
    /// A connection whose requests are served by the routes.
    pub(crate) fn new(handler: &Rc<RequestHandler>, peer: Peer) -> Rc<ClientConnection> {
        ClientConnection::with_service(handler, peer, None)
    }

    /// A connection of the redirect listener: every request is sent to HTTPS.
    pub(crate) fn redirecting(handler: &Rc<RequestHandler>, peer: Peer) -> Rc<ClientConnection> {
        ClientConnection::with_service(handler, peer, Some(LocalService::HttpsRedirect))
    }

    fn with_service(
        handler: &Rc<RequestHandler>,
        peer: Peer,
        service: Option<LocalService>,
    ) -> Rc<ClientConnection> {
        let (handler, state) = (Rc::clone(handler), ConnectionState::default());
        let owner = ConnectionOwner::default();
        Rc::new(ClientConnection { peer, state, owner, handler, service })
    }
}

/// What changes on a connection as requests come and go.
#[derive(Debug, Default)]
pub(crate) struct ConnectionState {
    requests_active: Cell<usize>,
    requests: Cell<u64>,
    abandoned: Cell<u64>,
    closing: Cell<bool>,
    /// What the response did whose task was polled last.
    pub flow: ResponseFlow,
    /// Interim responses on their way to the client.
    pub interim: InterimOutbox,
    streams_unknown: Cell<bool>,
    /// Request bodies that are not complete.
    open_bodies: Cell<usize>,
    body_unread: Cell<bool>,
    unread_streams: UnreadStreams,
    /// Left by the last request for the next.
    timer: RefCell<Option<Pin<Box<Sleep>>>>,
}

impl ConnectionState {
    /// Whether a request is under way, its response body or its tunnel included.
    pub(crate) fn is_serving(&self) -> bool {
        self.requests_active.get() > 0
    }

    /// Whether a request body is being received. It may go on behind the response to its request.
    pub(crate) fn is_receiving_body(&self) -> bool {
        self.open_bodies.get() > 0
    }

    /// Whether a request body was given up before its end, so that an HTTP/1 client may still be sending
    /// it.
    pub(crate) fn has_unread_body(&self) -> bool {
        self.body_unread.get()
    }

    /// Whether there are HTTP/2 streams to be reset by [`ConnectionState::reset_unread`].
    pub(crate) fn has_unread_streams(&self) -> bool {
        !self.unread_streams.is_empty()
    }

    /// Resets the HTTP/2 streams whose request body is not wanted, some time after they were answered;
    /// when the next one is due.
    pub(crate) fn reset_unread(&self, now: Instant) -> Option<Instant> {
        self.unread_streams.release(now)
    }

    /// How many requests have come so far.
    pub(crate) fn requests(&self) -> u64 {
        self.requests.get()
    }

    /// How many of them the client gave up, by a reset or by going away.
    pub(crate) fn abandoned(&self) -> u64 {
        self.abandoned.get()
    }

    /// Says whether the connection drains: then the next HTTP/1 response is the last.
    pub(crate) fn set_closing(&self, closing: bool) {
        self.closing.set(closing);
    }

    /// Says whether the streams of the requests are certain.
    pub(crate) fn set_knows_streams(&self, knows: bool) {
        self.streams_unknown.set(!knows);
    }

    /// Whether a stream's ID may be that of another stream.
    pub(super) fn knows_streams(&self) -> bool {
        !self.streams_unknown.get()
    }

    /// Drops what is kept only to make the next request fast.
    pub(crate) fn hibernate(&self) {
        self.timer.take();
    }

    /// Notes that an HTTP/1 request body is given up before its end.
    pub(super) fn leave_body_unread(&self) {
        self.body_unread.set(true);
    }

    /// Counts a request that has come.
    pub(super) fn begin_request(&self) {
        // In HTTP/1, what was left of the body before it must have been read.
        self.body_unread.set(false);
        self.requests_active.set(self.requests_active.get() + 1);
        self.requests.set(self.requests.get() + 1);
    }

    /// Counts the end of a request.
    pub(super) fn end_request(&self, abandoned: bool) {
        self.requests_active.set(self.requests_active.get().saturating_sub(1));
        self.abandoned.set(self.abandoned.get() + u64::from(abandoned));
    }

    /// Announces the close in a response that is the connection's last (RFC 9112 section 9.6).
    /// Without that, a client whose next request is on its way when the connection closes cannot
    /// know whether it was served.
    pub(super) fn announce_close<B>(&self, response: &mut Response<B>) {
        if self.closing.get() && response.status() != StatusCode::SWITCHING_PROTOCOLS {
            response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
        }
    }

    /// The timer that the last request left.
    pub(super) fn take_timer(&self) -> Option<Pin<Box<Sleep>>> {
        self.timer.take()
    }

    /// Leaves a timer to the next request.
    pub(super) fn leave_timer(&self, timer: Option<Pin<Box<Sleep>>>) {
        self.timer.replace(timer);
    }
}

/// Counts a request body as being received by its connection, until it is complete or this is dropped.
#[derive(Debug)]
pub(super) struct OpenBody {
    conn: Rc<ClientConnection>,
    is_complete: bool,
}

impl OpenBody {
    /// A body of which nothing was read yet.
    pub(super) fn new(conn: &Rc<ClientConnection>) -> OpenBody {
        let open = &conn.state.open_bodies;
        open.set(open.get() + 1);
        OpenBody { conn: Rc::clone(conn), is_complete: false }
    }

    /// Notes that all of it has come.
    pub(super) fn complete(&mut self) {
        if !std::mem::replace(&mut self.is_complete, true) {
            self.close();
        }
    }

    /// Gives up an HTTP/2 body that is not complete, once its client can have read the answer.
    pub(super) fn give_up(&self, body: ReceivedBody) {
        if !self.is_complete {
            self.conn.state.unread_streams.keep(body, Instant::now());
            // It makes the timer.
            self.conn.state.interim.wake_connection();
        }
    }

    fn close(&self) {
        let open = &self.conn.state.open_bodies;
        open.set(open.get().saturating_sub(1));
    }
}

impl Drop for OpenBody {
    fn drop(&mut self) {
        if !self.is_complete {
            self.close();
            self.conn.state.leave_body_unread();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_response_announces_the_close_unless_it_leaves_http() {
        let state = ConnectionState::default();
        let announced = |status| {
            let mut response = Response::new(());
            *response.status_mut() = status;
            state.announce_close(&mut response);
            response.headers().get(CONNECTION).cloned()
        };
        assert_eq!(announced(StatusCode::OK), None);
        state.set_closing(true);
        assert_eq!(announced(StatusCode::OK), Some(HeaderValue::from_static("close")));
        assert_eq!(announced(StatusCode::SWITCHING_PROTOCOLS), None);
    }

    #[tokio::test]
    async fn a_hibernating_connection_keeps_no_timer() {
        let state = ConnectionState::default();
        state.leave_timer(Some(Box::pin(tokio::time::sleep(Duration::from_secs(30)))));
        state.hibernate();
        assert!(state.take_timer().is_none());
    }
}
