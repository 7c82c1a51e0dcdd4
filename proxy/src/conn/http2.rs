//! HTTP/2 on one connection.

use std::{
    convert::Infallible,
    error::Error,
    future::poll_fn,
    io,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll, ready},
    time::Instant,
};

use ::http::StatusCode;
use hyper::{
    body::Incoming,
    server::conn::http2::{Builder, Connection},
    service::{HttpService, service_fn},
};
use tokio::time::{Sleep, sleep_until};

use super::{
    ConnectionSettings,
    activity::{Activity, ConnectionPhase, Watchdog},
    close::{close_after, close_without_linger},
    connection::{OpenConnection, REQUEST_COST_BYTES},
    excess::{self, Excess, ExcessLimits},
    graceful_close::GracefulClose,
    interim,
    kept_back::KeptBackDeadline,
    link::Link,
    stream_task::StreamExecutor,
};
use crate::{
    http::{self, ClientConnection, ClientStream},
    http2_frames::{Http2Traffic, Unfinished},
    observe::ClosedReason,
    rt,
    rt::CloseMode,
    tls::Transport,
};

/// The most that may wait for the client's window on one stream.
const SEND_BUFFER_BYTES: usize = 64 * 1024;

/// Serves streams until the connection ends, and closes it.
pub(super) async fn serve(
    connection: &OpenConnection,
    client: Rc<ClientConnection>,
    transport: Transport,
    received: Box<[u8]>,
) -> ClosedReason {
    let activity = Activity::new();
    let link = Link::http2(transport, &activity);
    let service = service_fn({
        let (client, link) = (Rc::clone(&client), link.clone());
        move |request| {
            rt::spend(REQUEST_COST_BYTES);
            let client = Rc::clone(&client);
            let traffic = link.http2_traffic();
            let stream = ClientStream {
                id: traffic.and_then(Http2Traffic::claim_stream),
                windows: traffic.and_then(Http2Traffic::windows),
            };
            // Boxed: hyper moves it into its stream, that into a task, and the task into place.
            Box::pin(async move {
                // A tunnel would be joined with its stream here; extended CONNECT (RFC 8441) is not
                // offered yet.
                Ok::<_, Infallible>(http::handle(&client, request, stream).await.response)
            })
        }
    });
    let mut http2 = Http2::new(connection, &client, service, (link, activity));
    http2.link.unread(received.into());
    let end = poll_fn(|cx| http2.poll(cx)).await;
    connection.registration.left_http();
    let Http2 { hyper, link, close: graceful_close, idled, .. } = http2;
    drop(hyper);
    let unfinished = link.http2_traffic().and_then(Http2Traffic::unfinished);
    if let Some(transport) = link.take() {
        let last = end.goaway(link.http2_traffic().is_some_and(Http2Traffic::is_sent_whole));
        match graceful_close.is_evicted() {
            true => Box::pin(close_without_linger(transport)).await,
            false => Box::pin(close_after(transport, last, CloseMode::Orderly)).await,
        }
    }
    match end {
        End::Finished(Ok(())) if graceful_close.is_evicted() => ClosedReason::Evicted,
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
    hyper: Pin<Box<Connection<Link, S, StreamExecutor>>>,
    watchdog: Watchdog<'a>,
    kept_back: KeptBackDeadline,
    excess: ExcessLimits,
    close: GracefulClose,
    /// When the next stream is to be reset whose request body is not wanted.
    reset: Option<Pin<Box<Sleep>>>,
    /// How many requests had come when the progress was noted last.
    seen_requests: u64,
    /// The client was told to go since it sent no request for too long.
    idled: bool,
}

/// How hyper's part of a connection ended.
enum End {
    Finished(Result<(), hyper::Error>),
    /// The client did not finish what it began, its socket took nothing, or it did not go when told to.
    CutOff(ConnectionPhase),
    /// The client makes more work than its requests explain.
    Abusive(Excess),
    /// The client was told to make room for another, and did not go.
    Evicted,
}

impl<'a, S> Http2<'a, S>
where
    S: HttpService<Incoming, ResBody = http::Body, Error = Infallible>,
    S::Future: 'static,
{
    fn new(
        connection: &'a OpenConnection,
        client: &'a Rc<ClientConnection>,
        service: S,
        (link, activity): (Link, Rc<Activity>),
    ) -> Self {
        connection.registration.serves_http(&activity);
        let settings = &connection.settings;
        let builder = builder(settings, StreamExecutor::new(client, &activity));
        let hyper = Box::pin(builder.serve_connection(link.clone(), service));
        Http2 {
            connection,
            client,
            activity,
            link,
            hyper,
            watchdog: Watchdog::new(settings),
            kept_back: KeptBackDeadline::default(),
            excess: ExcessLimits::new(Instant::now()),
            close: GracefulClose::default(),
            reset: None,
            seen_requests: 0,
            idled: false,
        }
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<End> {
        loop {
            if let Poll::Ready(result) = self.hyper.as_mut().poll(cx) {
                return Poll::Ready(End::Finished(result));
            }
            self.send_interim(cx);
            self.note_progress();
            if self.client.state.has_unread_streams() {
                self.poll_reset_unread(cx);
            }
            if let Some(excess) = self.excess() {
                return Poll::Ready(End::Abusive(excess));
            }
            let has_served = self.client.state.requests() > 0;
            if self.close.poll_due(cx, &self.connection.registration, has_served) {
                self.hyper.as_mut().graceful_shutdown();
                continue;
            }
            if self.close.poll_overdue(cx) && self.activity.phase() == ConnectionPhase::Idle {
                return Poll::Ready(End::Evicted);
            }
            let phase = ready!(self.poll_expired(cx));
            // An idle client first gets GOAWAY; if it does not go, it is cut off.
            if self.idled || phase != ConnectionPhase::Idle {
                return Poll::Ready(End::CutOff(phase));
            }
            self.idled = true;
            self.hyper.as_mut().graceful_shutdown();
            self.activity.restart();
        }
    }

    /// Ready with the phase that lasted too long; `Serving` if the client does not read.
    fn poll_expired(&mut self, cx: &mut Context<'_>) -> Poll<ConnectionPhase> {
        let (activity, traffic) = (&self.activity, self.link.http2_traffic());
        let kept_back = traffic.and_then(Http2Traffic::kept_back);
        let is_kept_back = self.kept_back.poll_expired(cx, kept_back, activity).is_ready();
        let expired = match is_kept_back {
            true => ConnectionPhase::Serving,
            false => {
                let progress = || self.link.send_progress();
                ready!(self.watchdog.poll_expired(cx, activity, progress))
            }
        };
        if expired == ConnectionPhase::Serving {
            self.client.state.flow.cut_off_all();
        }
        Poll::Ready(expired)
    }

    /// Sends the interim responses that wait, between two frames of h2's and on streams that are certain.
    fn send_interim(&self, cx: &mut Context<'_>) {
        let (outbox, traffic) = (&self.client.state.interim, self.link.http2_traffic());
        let knows_streams = traffic.is_some_and(Http2Traffic::knows_streams);
        self.client.state.set_knows_streams(knows_streams);
        outbox.watch(cx);
        if !outbox.has_waiting() {
            return;
        }
        if !self.link.is_flushed() {
            // Beside a download that may last.
            return outbox.release_final();
        }
        if knows_streams {
            let heads = outbox.take(|_| true);
            let messages = heads.iter().filter_map(interim::http2).flatten().collect();
            self.link.insert(cx, messages);
        } else {
            // A final response may wait for these; a client may wait for a 100.
            outbox.take(|head| head.status != StatusCode::CONTINUE);
        }
    }

    /// Resets the streams whose time has come; h2 wakes the task to send that.
    fn poll_reset_unread(&mut self, cx: &mut Context<'_>) {
        while let Some(due) = self.client.state.reset_unread(Instant::now()) {
            let timer = self.reset.get_or_insert_with(|| Box::pin(sleep_until(due.into())));
            if timer.as_mut().poll(cx).is_pending() {
                return;
            }
            self.reset = None;
        }
        self.reset = None;
    }

    /// Notes what the connection is doing, after hyper has done what it could. While there are
    /// requests, their own deadlines hold; otherwise the client must finish what it has begun.
    fn note_progress(&mut self) {
        let (state, activity) = (&self.client.state, &self.activity);
        let is_serving = state.is_serving() || state.is_receiving_body();
        if is_serving || self.seen_requests != state.requests() {
            activity.enter(ConnectionPhase::Serving);
        }
        if !is_serving {
            let in_head = self.link.http2_traffic().and_then(Http2Traffic::unfinished).is_some();
            activity.enter(if in_head { ConnectionPhase::Head } else { ConnectionPhase::Idle });
        }
        self.seen_requests = state.requests();
    }

    fn excess(&mut self) -> Option<Excess> {
        let (state, traffic) = (&self.client.state, self.link.http2_traffic());
        self.excess.exceeded(state.requests(), state.abandoned(), traffic, Instant::now)
    }
}

fn builder(settings: &ConnectionSettings, executor: StreamExecutor) -> Builder<StreamExecutor> {
    let mut builder = Builder::new(executor);
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
    /// The frame that tells the client why it is cut off, unless that would stand within another frame.
    fn goaway(&self, is_sent_whole: bool) -> &'static [u8] {
        match self {
            End::Abusive(_) if is_sent_whole => &excess::GOAWAY,
            _ => &[],
        }
    }

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
            End::Evicted => ClosedReason::Evicted,
            End::Abusive(excess) => {
                record(match excess {
                    Excess::Resets => "too many requests were reset",
                    Excess::ControlFrames => "too many HTTP/2 control frames",
                });
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
