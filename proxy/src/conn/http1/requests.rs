//! The requests of an HTTP/1 connection, one after another.

use std::{
    cell::{Cell, RefCell},
    convert::Infallible,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll, ready},
};

use http_body::Body as _;
use hyper::{Request, Response, body::Incoming};

use crate::{
    conn::connection::REQUEST_COST_BYTES,
    http::{self, ClientConnection, ClientStream, Handled, Tunnel},
    rt,
};

/// The requests of a connection, and what they leave for it.
pub(super) struct Requests<'a> {
    client: &'a Rc<ClientConnection>,
    has_body: Cell<bool>,
    responding: Cell<bool>,
    tunnel: RefCell<Option<Box<Tunnel>>>,
}

impl<'a> Requests<'a> {
    /// No request has come yet.
    pub(super) fn new(client: &'a Rc<ClientConnection>) -> Requests<'a> {
        let (has_body, responding) = (Cell::new(false), Cell::new(false));
        Requests { client, has_body, responding, tunnel: RefCell::default() }
    }

    /// Whether the last request has a body.
    pub(super) fn has_body(&self) -> bool {
        self.has_body.get()
    }

    /// Whether the response to the last request has begun.
    pub(super) fn is_responding(&self) -> bool {
        self.responding.get()
    }

    /// The tunnel that a request has left. To be joined once hyper has returned the transport.
    pub(super) fn take_tunnel(&self) -> Option<Box<Tunnel>> {
        self.tunnel.take()
    }

    /// Handles the next request.
    pub(super) fn handle(
        &'a self,
        request: Request<Incoming>,
    ) -> impl Future<Output = Result<Response<http::Body>, Infallible>> + use<'a> {
        rt::spend(REQUEST_COST_BYTES);
        self.has_body.set(!request.body().is_end_stream());
        self.responding.set(false);
        KeepTunnel {
            handling: http::handle(self.client, request, ClientStream::default()),
            requests: self,
        }
    }
}

pin_project_lite::pin_project! {
    /// Gives hyper the response, and keeps the tunnel. No `async` block, which would keep room for the
    /// future twice: as captured, and as awaited.
    struct KeepTunnel<'a, F> {
        #[pin]
        handling: F,
        requests: &'a Requests<'a>,
    }
}

impl<F: Future<Output = Handled>> Future for KeepTunnel<'_, F> {
    type Output = Result<Response<http::Body>, Infallible>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let Handled { response, tunnel } = ready!(this.handling.poll(cx));
        this.requests.responding.set(true);
        if tunnel.is_some() {
            this.requests.tunnel.replace(tunnel);
        }
        Poll::Ready(Ok(response))
    }
}
