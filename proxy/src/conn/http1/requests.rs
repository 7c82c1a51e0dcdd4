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
    http::{self, ClientConnection, Handled, Tunnel},
    rt,
};

/// The requests of a connection, and what they leave for it.
pub(super) struct Requests<'a> {
    client: &'a Rc<ClientConnection>,
    has_body: Cell<bool>,
    tunnel: RefCell<Option<Box<Tunnel>>>,
}

impl<'a> Requests<'a> {
    /// No request has come yet.
    pub(super) fn new(client: &'a Rc<ClientConnection>) -> Requests<'a> {
        Requests { client, has_body: Cell::new(false), tunnel: RefCell::default() }
    }

    /// Whether the last request has a body.
    pub(super) fn has_body(&self) -> bool {
        self.has_body.get()
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
        KeepTunnel { handling: http::handle(self.client, request, None), tunnel: &self.tunnel }
    }
}

pin_project_lite::pin_project! {
    /// Gives hyper the response, and keeps the tunnel. No `async` block, which would keep room for the
    /// future twice: as captured, and as awaited.
    struct KeepTunnel<'a, F> {
        #[pin]
        handling: F,
        tunnel: &'a RefCell<Option<Box<Tunnel>>>,
    }
}

impl<F: Future<Output = Handled>> Future for KeepTunnel<'_, F> {
    type Output = Result<Response<http::Body>, Infallible>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let Handled { response, tunnel } = ready!(this.handling.poll(cx));
        if tunnel.is_some() {
            this.tunnel.replace(tunnel);
        }
        Poll::Ready(Ok(response))
    }
}
