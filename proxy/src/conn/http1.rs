//! HTTP/1 on one connection.

mod requests;

use std::{
    convert::Infallible,
    future::poll_fn,
    io,
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
    close::{close, close_without_linger},
    connection::OpenConnection,
    graceful_close::GracefulClose,
    hibernation::Hibernation,
    interim,
    link::Link,
    read_deadline::ReadDeadline,
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

    connection.registration.left_http();
    let (draining, evicted) = (http1.close.is_draining(), http1.close.is_evicted());
    let is_cut_off = end.is_cut_off(&http1);
    let (link, unread) = http1.into_link();
    let Some(transport) = link.take() else { return ClosedReason::Io };
    if let Some(tunnel) = requests.take_tunnel() {
        let client = Side { transport, received: unread };
        return Box::pin(tunnel::join(&connection.registration, client, *tunnel)).await;
    }
    let reason = match end.reason(connection, &client, draining) {
        ClosedReason::Drain if evicted => ClosedReason::Evicted,
        reason => reason,
    };
    let mode = match client.state.has_unread_body() {
        _ if is_cut_off => CloseMode::Reset,
        true => CloseMode::Lingering,
        false => CloseMode::Orderly,
    };
    match reason {
        ClosedReason::Evicted => close_without_linger(transport).await,
        _ => Box::pin(close_client(transport, &end, mode)).await,
    }
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
    read_deadline: ReadDeadline,
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
    /// The client went away, or its connection failed, while its request was served.
    Gone(io::Result<()>),
    /// A phase lasted too long.
    Expired(ConnectionPhase),
    /// The last response could not be sent.
    Unsent,
    /// The client did not read the response in time.
    Unread,
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
        connection.registration.serves_http(&activity);
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
            read_deadline: ReadDeadline::default(),
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
            self.client.state.flow.begin_poll();
            if let Poll::Ready(end) = self.poll_hyper(cx) {
                return Poll::Ready(end);
            }
            if self.send_interim(cx) {
                continue;
            }
            let flow = &self.client.state.flow;
            if self.read_deadline.poll_expired(cx, flow, &self.activity).is_ready() {
                return Poll::Ready(End::Unread);
            }
            self.note_progress();
            if let Poll::Ready(gone) = self.poll_gone(cx) {
                return Poll::Ready(End::Gone(gone));
            }
            // The response to a request under way, or in time, announces the close.
            if self.close.poll_due(cx, registration, false) {
                match &mut self.hyper {
                    Some(hyper) => Pin::new(&mut **hyper).graceful_shutdown(),
                    None => return Poll::Ready(End::Finished(Ok(()))),
                }
                continue;
            }
            if !self.poll_hibernate(cx) {
                return self.poll_expired(cx).map(End::Expired);
            }
        }
    }

    fn poll_expired(&mut self, cx: &mut Context<'_>) -> Poll<ConnectionPhase> {
        let progress = || self.link.send_progress();
        let expired = ready!(self.watchdog.poll_expired(cx, &self.activity, progress));
        if expired == ConnectionPhase::Serving {
            self.client.state.flow.cut_off_all();
        }
        Poll::Ready(expired)
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

    /// Sends the interim responses that wait; whether there were any. While the response before is on
    /// its way they wait on.
    fn send_interim(&mut self, cx: &mut Context<'_>) -> bool {
        let outbox = &self.client.state.interim;
        let is_due = outbox.has_waiting() && self.link.is_flushed();
        if is_due {
            let heads = outbox.take(|_| true);
            let messages = heads.iter().filter_map(interim::http1).flatten().collect();
            self.link.insert(cx, messages);
        }
        is_due
    }

    /// Ready once the client has gone while its request is served. hyper reads only what it needs, so
    /// that it does not take a client for gone that has said that it sends no more.
    fn poll_gone(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let state = &self.client.state;
        // While hyper reads a body, or has given it up, it is not for us to read.
        let is_read = !state.is_receiving_body() && !state.has_unread_body();
        if self.hyper.is_none() || !state.is_serving() || !is_read {
            return Poll::Pending;
        }
        self.link.poll_gone(cx)
    }

    fn wake(&mut self) {
        let builder = builder(&self.connection.settings);
        self.hyper = Some(Box::new(builder.serve_connection(self.link.clone(), self.service)));
    }

    /// Notes what the connection is doing, after hyper has done what it could.
    fn note_progress(&mut self) {
        let (state, activity) = (&self.client.state, &self.activity);
        if state.is_serving() || state.is_receiving_body() {
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
        self.read_deadline = ReadDeadline::default();
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
        // hyper's other way of noticing that a client has gone takes a client that only closes its
        // sending side for one: see `Http1::poll_gone`.
        .half_close(true)
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
    /// Whether a response was cut off. It must not look complete, which to an HTTP/1.0 client it would
    /// with a close_notify behind it.
    fn is_cut_off<S: HttpService<Incoming>>(&self, http1: &Http1<'_, S>) -> bool {
        match self {
            End::Finished(Ok(())) => false,
            // The response's body failed.
            End::Finished(Err(error)) => error.is_user(),
            End::Gone(_) => http1.requests.is_responding(),
            End::Expired(_) => !http1.link.is_flushed(),
            End::Unsent | End::Unread => true,
        }
    }

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
            End::Gone(Ok(())) => ClosedReason::Client,
            End::Gone(Err(_)) | End::Unsent => ClosedReason::Io,
            End::Expired(ConnectionPhase::Head) => {
                connection.record_failure(&client.peer, "a request's head took too long");
                ClosedReason::HeaderTimeout
            }
            End::Expired(ConnectionPhase::Serving) | End::Unread => ClosedReason::SendTimeout,
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

/// Closes the client connection.
async fn close_client(mut transport: Transport, end: &End, mode: CloseMode) {
    if let End::Expired(ConnectionPhase::Head) = end
        && mode != CloseMode::Reset
    {
        // Nothing is on its way, so this does not wait.
        let reply = http::REQUEST_TIMEOUT;
        let _ = poll_fn(|cx| Pin::new(&mut transport).poll_write(cx, reply)).await;
    }
    close(transport, mode).await;
}
