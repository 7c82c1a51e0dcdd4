//! HTTP/1 on one connection.

mod requests;

use std::{
    convert::Infallible,
    future::poll_fn,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll, ready},
};

use hyper::{
    body::Incoming,
    rt::Write,
    server::conn::http1::{Builder, Connection},
    service::{HttpService, service_fn},
};

use self::requests::Requests;
use super::{
    ConnectionSettings,
    activity::{Activity, ConnectionPhase, Watchdog},
    close::close,
    connection::OpenConnection,
    graceful_close::GracefulClose,
    hibernation::Hibernation,
    link::Link,
    splice::Side,
    tunnel,
};
use crate::{
    http::{self, ClientConnection},
    observe::ClosedReason,
    rt::CloseMode,
    tls::Transport,
};

/// hyper refuses a smaller buffer.
const SMALLEST_BUFFER_BYTES: usize = 8192;
/// hyper parses up to this many headers without an allocation.
const HYPER_DEFAULT_HEADERS: usize = 100;

/// Serves requests until the connection ends, and closes it.
pub(super) async fn serve(
    connection: &OpenConnection,
    client: Rc<ClientConnection>,
    transport: Transport,
    received: Box<[u8]>,
) -> ClosedReason {
    let requests = Requests::new(&client);
    let service = service_fn(|request| requests.handle(request));
    let mut http1 = Http1::new(connection, &client, &requests, &service, transport);
    http1.link.unread(received.into());
    let end = poll_fn(|cx| http1.poll(cx)).await;

    let draining = http1.close.is_draining();
    let (link, unread) = http1.into_link();
    let Some(transport) = link.take() else { return ClosedReason::Io };
    if let Some(tunnel) = requests.take_tunnel() {
        let client = Side { transport, received: unread };
        return Box::pin(tunnel::join(&connection.registration, client, *tunnel)).await;
    }
    let reason = end.reason(connection, &client, draining);
    Box::pin(close_client(transport, &end, link.is_flushed())).await;
    reason
}

/// An HTTP/1 connection under way.
struct Http1<'a, S: HttpService<Incoming>> {
    connection: &'a OpenConnection,
    client: &'a ClientConnection,
    requests: &'a Requests<'a>,
    service: S,
    activity: Rc<Activity>,
    link: Link,
    /// hyper's part; `None` while the connection hibernates. Boxed, since with hyper's buffers it is
    /// most of what a connection weighs.
    hyper: Option<Box<Connection<Link, S>>>,
    watchdog: Watchdog<'a>,
    hibernation: Hibernation,
    close: GracefulClose,
    /// How many requests had come when the progress was noted last.
    seen_requests: u64,
    /// hyper returned bytes of an unfinished head when it was to hibernate.
    in_head: bool,
}

/// How hyper's part of a connection ended.
enum End {
    /// By itself: closed by either side, broken, or left for a tunnel.
    Finished(Result<(), hyper::Error>),
    /// A phase lasted too long.
    Expired(ConnectionPhase),
    /// The last response could not be sent.
    Unsent,
}

impl<'a, S> Http1<'a, S>
where
    S: HttpService<Incoming, ResBody = http::Body, Error = Infallible> + Copy,
{
    fn new(
        connection: &'a OpenConnection,
        client: &'a ClientConnection,
        requests: &'a Requests<'a>,
        service: S,
        transport: Transport,
    ) -> Self {
        let activity = Activity::new();
        let link = Link::http1(transport, &activity);
        let settings = &connection.settings;
        let hyper = builder(settings).serve_connection(link.clone(), service);
        Http1 {
            connection,
            client,
            requests,
            service,
            activity,
            link,
            hyper: Some(Box::new(hyper)),
            watchdog: Watchdog::new(settings),
            hibernation: Hibernation::default(),
            close: GracefulClose::default(),
            seen_requests: 0,
            in_head: false,
        }
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<End> {
        let registration = &self.connection.registration;
        loop {
            self.client.state.set_closing(registration.poll_draining(cx));
            if let Poll::Ready(end) = self.poll_hyper(cx) {
                return Poll::Ready(end);
            }
            self.note_progress();
            // The response to a request under way, or in time, announces the close.
            if self.close.poll_due(cx, registration, false) {
                match &mut self.hyper {
                    Some(hyper) => Pin::new(&mut **hyper).graceful_shutdown(),
                    None => return Poll::Ready(End::Finished(Ok(()))),
                }
                continue;
            }
            if !self.poll_hibernate(cx) {
                return self.watchdog.poll_expired(cx, &self.activity).map(End::Expired);
            }
        }
    }

    /// Lets hyper do what it can, or waits for the client while the connection hibernates.
    fn poll_hyper(&mut self, cx: &mut Context<'_>) -> Poll<End> {
        if self.hyper.is_none() {
            match ready!(self.link.poll_idle(cx)) {
                Ok(()) => self.wake(),
                Err(_) => return Poll::Ready(End::Unsent),
            }
        }
        match &mut self.hyper {
            Some(hyper) => Pin::new(hyper).poll(cx).map(End::Finished),
            None => Poll::Pending,
        }
    }

    fn wake(&mut self) {
        let builder = builder(&self.connection.settings);
        self.hyper = Some(Box::new(builder.serve_connection(self.link.clone(), self.service)));
    }

    /// Notes what the connection is doing, after hyper has done what it could.
    fn note_progress(&mut self) {
        let (state, activity) = (&self.client.state, &self.activity);
        activity.unread(state.stalled_since());
        if state.is_serving() {
            activity.enter(ConnectionPhase::Serving);
        } else if self.seen_requests != state.requests()
            || activity.phase() == ConnectionPhase::Serving
        {
            // Also a request that came and was answered within one poll.
            activity.enter(ConnectionPhase::Serving);
            activity.enter(ConnectionPhase::Idle);
        }
        if self.seen_requests != state.requests() {
            self.seen_requests = state.requests();
            self.in_head = false;
        }
    }

    /// Gives hyper's part back if it is time to; whether it did. With a request body, hyper may still
    /// be reading it after the response was sent.
    fn poll_hibernate(&mut self, cx: &mut Context<'_>) -> bool {
        let may_hibernate = !self.requests.has_body()
            && !self.in_head
            && !self.close.is_announced()
            && self.link.is_flushed();
        if !may_hibernate || !self.hibernation.poll_due(cx, &self.activity) {
            return false;
        }
        let Some(hyper) = self.hyper.take() else { return false };
        self.client.state.hibernate();
        let unread = hyper.into_parts().read_buf;
        if !unread.is_empty() {
            // The beginning of a head that came together with the request before it.
            self.in_head = true;
            self.link.unread(unread);
            self.wake();
        }
        true
    }

    /// The link, and the bytes that hyper has read and not parsed.
    fn into_link(self) -> (Link, bytes::Bytes) {
        let unread = self.hyper.map(|hyper| hyper.into_parts().read_buf).unwrap_or_default();
        (self.link, unread)
    }
}

fn builder(settings: &ConnectionSettings) -> Builder {
    let mut builder = Builder::new();
    builder
        .preserve_header_case(true)
        .max_header_size(settings.max_header_bytes)
        // hyper checks this only while a head is incomplete: a head whose rest comes with one read
        // could be almost twice as long.
        .max_buf_size(settings.max_header_bytes.max(SMALLEST_BUFFER_BYTES));
    if settings.max_headers > HYPER_DEFAULT_HEADERS {
        builder.max_headers(settings.max_headers);
    }
    builder
}

impl End {
    /// Why the connection ended. Leaves a record of an end that no request accounts for.
    fn reason(
        &self,
        connection: &OpenConnection,
        client: &ClientConnection,
        draining: bool,
    ) -> ClosedReason {
        match self {
            End::Finished(Ok(())) if draining => ClosedReason::Drain,
            End::Finished(Ok(())) => ClosedReason::Done,
            End::Finished(Err(error)) => {
                let reason = reason_of(error);
                if reason == ClosedReason::Protocol {
                    // hyper has answered it with a bare 400, 414 or 431.
                    connection.record_failure(&client.peer, &format!("malformed HTTP: {error}"));
                }
                reason
            }
            End::Unsent => ClosedReason::Io,
            End::Expired(ConnectionPhase::Head) => {
                connection.record_failure(&client.peer, "a request's head took too long");
                ClosedReason::HeaderTimeout
            }
            End::Expired(ConnectionPhase::Serving) => ClosedReason::SendTimeout,
            End::Expired(ConnectionPhase::Idle) => ClosedReason::IdleTimeout,
        }
    }
}

fn reason_of(error: &hyper::Error) -> ClosedReason {
    if error.is_parse() || error.is_parse_too_large() {
        ClosedReason::Protocol
    } else if error.is_incomplete_message() {
        ClosedReason::Client
    } else {
        ClosedReason::Io
    }
}

/// Closes the client connection. A response that was cut off must not look complete, which to an
/// HTTP/1.0 client it would with a close_notify behind it.
async fn close_client(mut transport: Transport, end: &End, flushed: bool) {
    let cut_off = match end {
        End::Finished(Ok(())) => false,
        // The response's body failed.
        End::Finished(Err(error)) => error.is_user(),
        End::Expired(_) => !flushed,
        End::Unsent => true,
    };
    if cut_off {
        return close(transport, CloseMode::Reset).await;
    }
    if let End::Expired(ConnectionPhase::Head) = end {
        // Nothing is on its way, so this does not wait.
        let reply = http::REQUEST_TIMEOUT;
        let _ = poll_fn(|cx| Pin::new(&mut transport).poll_write(cx, reply)).await;
    }
    close(transport, CloseMode::Orderly).await;
}
