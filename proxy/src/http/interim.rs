//! Interim responses (RFC 9110 section 15.2) on their way to the client, each before its request's final
//! response.

use std::{
    pin::Pin,
    rc::Rc,
    task::{Context, Poll},
};

use http::{HeaderMap, Response, StatusCode, Version, header, request::Parts};

use super::{
    active_request::ActiveRequest,
    connection::ClientConnection,
    error::RequestFailure,
    headers::{forward_interim, strip_set_cookies},
    interim_outbox::InterimHead,
    request::InvalidRequest,
    request_config::LocalRequestConfig,
};
use crate::{fields::has_token, upstream::InterimResponses};

/// Passes on the interim responses to one request. Dropped with the final response's head, or with the
/// request: what still waits then is discarded.
#[derive(Debug)]
pub(super) struct InterimRelay {
    conn: Rc<ClientConnection>,
    config: Rc<LocalRequestConfig>,
    stream: Option<u32>,
    /// `None` if the client would not understand any.
    source: Option<InterimResponses>,
}

impl InterimRelay {
    /// Begins when it is decided that the request is served. An HTTP/2 client that waits for a 100
    /// before it sends the body gets it now; hyper sends it over HTTP/1.1.
    ///
    /// # Errors
    /// The client waits for a 100, and its stream is not known: it is told to ask again without that.
    pub(super) fn begin(
        active: &ActiveRequest,
        parts: &Parts,
    ) -> Result<InterimRelay, RequestFailure> {
        let is_http2 = parts.version == Version::HTTP_2;
        let understands = parts.version == Version::HTTP_11 || is_http2 && active.stream.is_some();
        let relay = InterimRelay {
            conn: Rc::clone(&active.account.conn),
            config: Rc::clone(&active.config),
            stream: active.stream,
            source: understands.then(InterimResponses::default),
        };
        let waits = has_token(&parts.headers, &header::EXPECT, "100-continue");
        if is_http2 && waits && active.body.is_some() {
            if active.stream.is_none() || !relay.conn.state.knows_streams() {
                return Err(RequestFailure::Rejected(InvalidRequest::Expectation));
            }
            relay.put(StatusCode::CONTINUE, HeaderMap::new());
        }
        Ok(relay)
    }

    /// Where the upstream's interim responses go.
    pub(super) fn source(&self) -> Option<InterimResponses> {
        self.source.clone()
    }

    /// Waits for the final response, and passes on those before it. The final one is kept until the
    /// connection has taken them.
    pub(super) fn poll<F: Future>(
        &self,
        sending: Pin<&mut F>,
        kept: &mut Option<Box<F::Output>>,
        cx: &mut Context<'_>,
    ) -> Poll<F::Output> {
        let outbox = &self.conn.state.interim;
        if let Some(reply) = kept.take() {
            if outbox.poll_taken(cx, self.stream).is_pending() {
                *kept = Some(reply);
                return Poll::Pending;
            }
            return Poll::Ready(*reply);
        }
        let polled = sending.poll(cx);
        self.pass_on_arrived(cx, polled.is_pending());
        // The reply is large: it is moved only if it has to wait.
        if polled.is_pending() || outbox.poll_taken(cx, self.stream).is_ready() {
            return polled;
        }
        if let Poll::Ready(reply) = polled {
            *kept = Some(Box::new(reply));
        }
        Poll::Pending
    }

    fn pass_on_arrived(&self, cx: &mut Context<'_>, may_come: bool) {
        let Some(source) = &self.source else { return };
        let arrived = if may_come { source.poll_take(cx) } else { source.take() };
        if !arrived.is_empty() {
            arrived.into_iter().for_each(|response| self.pass_on(response));
        }
    }

    fn pass_on(&self, response: Response<()>) {
        let (head, ()) = response.into_parts();
        let mut headers = head.headers;
        forward_interim(&mut headers);
        strip_set_cookies(&mut headers, &self.config.own_cookies);
        self.put(head.status, headers);
    }

    fn put(&self, status: StatusCode, headers: HeaderMap) {
        self.conn.state.interim.put(InterimHead { stream: self.stream, status, headers });
    }
}

impl Drop for InterimRelay {
    fn drop(&mut self) {
        self.conn.state.interim.discard(self.stream);
    }
}
