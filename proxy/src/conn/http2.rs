//! HTTP/2 on one connection.

use std::{
    convert::Infallible,
    error::Error,
    future::poll_fn,
    io,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll, ready},
};

use hyper::{
    body::Incoming,
    server::conn::http2::{Builder, Connection},
    service::{HttpService, service_fn},
};

use super::{
    ConnectionSettings,
    activity::{Activity, ConnectionPhase, Watchdog},
    close::close,
    connection::OpenConnection,
    frames::Unfinished,
    graceful_close::GracefulClose,
    link::Link,
};
use crate::{
    http::{self, ClientConnection},
    observe::ClosedReason,
    rt::{CloseMode, LocalExecutor},
    tls::Transport,
};

/// The most that may wait for the client's window on one stream.
const SEND_BUFFER_BYTES: usize = 64 * 1024;

/// How many requests a client may reset before their share of all its requests matters: enough for a
/// page that is left early.
const TOLERATED_RESETS: u64 = 200;

/// Serves streams until the connection ends, and closes it.
pub(super) async fn serve(
    connection: &OpenConnection,
    client: Rc<ClientConnection>,
    transport: Transport,
    received: Box<[u8]>,
) -> ClosedReason {
    let service = service_fn({
        let client = Rc::clone(&client);
        move |request| {
            let client = Rc::clone(&client);
            // Boxed: hyper moves it into its stream, that into a task, and the task into place.
            Box::pin(async move {
                // A tunnel would be joined with its stream here; extended CONNECT (RFC 8441) is not
                // offered yet.
                Ok::<_, Infallible>(http::handle(&client, request).await.response)
            })
        }
    });
    let mut http2 = Http2::new(connection, &client, service, transport);
    http2.link.unread(received.into());
    let end = poll_fn(|cx| http2.poll(cx)).await;
    let Http2 { hyper, link, close: graceful_close, idled, .. } = http2;
    drop(hyper);
    let unfinished = link.unfinished();
    if let Some(transport) = link.take() {
        Box::pin(close(transport, CloseMode::Orderly)).await;
    }
    match end {
        End::Finished(Ok(())) if idled => ClosedReason::IdleTimeout,
        End::Finished(Ok(())) if graceful_close.is_announced() => ClosedReason::Drain,
        end => end.reason(connection, &client, unfinished),
    }
}

/// An HTTP/2 connection under way.
struct Http2<'a, S: HttpService<Incoming>> {
    connection: &'a OpenConnection,
    client: &'a ClientConnection,
    activity: Rc<Activity>,
    link: Link,
    hyper: Pin<Box<Connection<Link, S, LocalExecutor>>>,
    watchdog: Watchdog<'a>,
    close: GracefulClose,
    /// How many requests had come when the progress was noted last.
    seen_requests: u64,
    /// The client was told to go since it sent no request for too long.
    idled: bool,
}

/// How hyper's part of a connection ended.
enum End {
    Finished(Result<(), hyper::Error>),
    /// The client did not finish what it began, did not read, or did not go when told to.
    CutOff(ConnectionPhase),
    /// The client resets most of its own requests (CVE-2023-44487).
    Abusive,
}

impl<'a, S> Http2<'a, S>
where
    S: HttpService<Incoming, ResBody = http::Body, Error = Infallible>,
    S::Future: 'static,
{
    fn new(
        connection: &'a OpenConnection,
        client: &'a ClientConnection,
        service: S,
        transport: Transport,
    ) -> Self {
        let activity = Activity::new();
        let link = Link::http2(transport, &activity);
        let settings = &connection.settings;
        let hyper = Box::pin(builder(settings).serve_connection(link.clone(), service));
        Http2 {
            connection,
            client,
            activity,
            link,
            hyper,
            watchdog: Watchdog::new(settings),
            close: GracefulClose::default(),
            seen_requests: 0,
            idled: false,
        }
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<End> {
        loop {
            if let Poll::Ready(result) = self.hyper.as_mut().poll(cx) {
                return Poll::Ready(End::Finished(result));
            }
            self.note_progress();
            if self.is_abusive() {
                return Poll::Ready(End::Abusive);
            }
            let has_served = self.client.state.requests() > 0;
            if self.close.poll_due(cx, &self.connection.registration, has_served) {
                self.hyper.as_mut().graceful_shutdown();
                continue;
            }
            let phase = ready!(self.watchdog.poll_expired(cx, &self.activity));
            // An idle client first gets GOAWAY; if it does not go, it is cut off.
            if self.idled || phase != ConnectionPhase::Idle {
                return Poll::Ready(End::CutOff(phase));
            }
            self.idled = true;
            self.hyper.as_mut().graceful_shutdown();
            self.activity.restart();
        }
    }

    /// Notes what the connection is doing, after hyper has done what it could. While there are
    /// requests, their own deadlines hold; otherwise the client must finish what it has begun.
    fn note_progress(&mut self) {
        let (state, activity) = (&self.client.state, &self.activity);
        activity.unread(state.stalled_since());
        if state.is_serving() || self.seen_requests != state.requests() {
            activity.enter(ConnectionPhase::Serving);
        }
        if !state.is_serving() {
            let in_head = self.link.unfinished().is_some();
            activity.enter(if in_head { ConnectionPhase::Head } else { ConnectionPhase::Idle });
        }
        self.seen_requests = state.requests();
    }

    /// Whether the client has reset most of many requests. Each costs a request to an upstream, and
    /// its connection.
    fn is_abusive(&self) -> bool {
        let abandoned = self.client.state.abandoned();
        abandoned > TOLERATED_RESETS && abandoned.saturating_mul(2) > self.client.state.requests()
    }
}

fn builder(settings: &ConnectionSettings) -> Builder<LocalExecutor> {
    let mut builder = Builder::new(LocalExecutor);
    builder
        // hyper's default is 400 KiB per stream: a client that opens all its windows and does not
        // read could fill that a hundred times.
        .max_send_buf_size(SEND_BUFFER_BYTES)
        .max_concurrent_streams(settings.h2_max_concurrent_streams)
        .initial_stream_window_size(settings.h2_stream_window_bytes)
        .initial_connection_window_size(settings.h2_connection_window_bytes)
        .max_header_list_size(u32::try_from(settings.max_header_bytes).unwrap_or(u32::MAX));
    builder
}

impl End {
    /// Why the connection ended. Leaves a record of an end that no request accounts for.
    fn reason(
        &self,
        connection: &OpenConnection,
        client: &ClientConnection,
        unfinished: Option<Unfinished>,
    ) -> ClosedReason {
        let record = |reason: &str| connection.record_failure(&client.peer, reason);
        match self {
            End::Finished(Ok(())) => ClosedReason::Client,
            End::Finished(Err(error)) => failed(error, record),
            End::CutOff(ConnectionPhase::Serving) => ClosedReason::SendTimeout,
            End::CutOff(ConnectionPhase::Head) => {
                record(match unfinished {
                    Some(Unfinished::Preface) => "the HTTP/2 preface took too long",
                    _ => "a request's head took too long",
                });
                ClosedReason::HeaderTimeout
            }
            End::CutOff(ConnectionPhase::Idle) => ClosedReason::IdleTimeout,
            End::Abusive => {
                record("the client resets most of its own requests");
                ClosedReason::Protocol
            }
        }
    }
}

fn failed(error: &hyper::Error, record: impl FnOnce(&str)) -> ClosedReason {
    let h2 = error.source().and_then(|source| source.downcast_ref::<h2::Error>());
    match h2 {
        // hyper unwraps an error of the transport.
        None if error.source().is_some_and(|source| source.is::<io::Error>()) => ClosedReason::Io,
        Some(h2) if h2.is_io() => ClosedReason::Io,
        // The client's GOAWAY.
        Some(h2) if h2.is_remote() => ClosedReason::Client,
        _ => {
            let reason = h2.map_or_else(|| error.to_string(), ToString::to_string);
            record(&format!("malformed HTTP/2: {reason}"));
            ClosedReason::Protocol
        }
    }
}
