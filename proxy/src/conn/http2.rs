//! HTTP/2 on one connection.

use std::{
    error::Error,
    future::poll_fn,
    io,
    pin::Pin,
    rc::Rc,
    task::{Poll, ready},
};

use hyper::{server::conn::http2::Builder, service::service_fn};

use super::{
    Connection,
    activity::{Activity, Phase, Watchdog},
    close::close,
    frames::Unfinished,
    leave::Leave,
    link::Link,
};
use crate::{
    http,
    observe::ClosedReason,
    rt::{CloseMode, LocalExecutor},
    tls::Transport,
};

/// What may wait for the client's window on one stream.
const SEND_BUFFER_BYTES: usize = 64 * 1024;

/// Requests that a client may reset before it matters how many it lets be: a page left early.
const TOLERATED_RESETS: u64 = 200;

/// How hyper's part of a connection ended.
enum End {
    Finished(Result<(), hyper::Error>),
    /// The client did not finish what it began, did not read, or did not follow when told to leave.
    CutOff(Phase),
    /// The client asks only to take back what it asked for (CVE-2023-44487).
    Abusive,
}

/// Serves streams until the connection ends, and closes it.
pub(super) async fn serve(
    connection: &Connection,
    transport: Transport,
    facts: Rc<http::Facts>,
) -> ClosedReason {
    let context = Rc::clone(&connection.context.http);
    let service = service_fn({
        let facts = Rc::clone(&facts);
        move |request| {
            let (context, facts) = (Rc::clone(&context), Rc::clone(&facts));
            // Boxed: hyper moves it into its stream, that into a task, and the task into place.
            Box::pin(async move { http::handle(&context, &facts, request).await })
        }
    });
    let activity = Activity::new();
    let link = Link::http2(transport, &activity);
    let mut served = Box::pin(builder(connection).serve_connection(link.clone(), service));

    let mut watchdog = Watchdog::new(&connection.front.settings);
    let mut leave = Leave::default();
    let (mut requests, mut idled) = (0, false);
    let end = poll_fn(|cx| {
        loop {
            if let Poll::Ready(result) = Pin::new(&mut served).poll(cx) {
                return Poll::Ready(End::Finished(result));
            }
            note_progress(&activity, &link, &facts, &mut requests);
            if is_abusive(&facts) {
                return Poll::Ready(End::Abusive);
            }
            if leave.poll_due(cx, &connection.entry, facts.requests.get() > 0) {
                served.as_mut().graceful_shutdown();
                continue;
            }
            let phase = ready!(watchdog.poll_expired(cx, &activity));
            // Once to take leave with GOAWAY; a client that does not follow is cut off.
            if idled || phase != Phase::Idle {
                return Poll::Ready(End::CutOff(phase));
            }
            idled = true;
            served.as_mut().graceful_shutdown();
            activity.restart();
        }
    })
    .await;
    drop(served);
    let unfinished = link.unfinished();
    if let Some(transport) = link.take() {
        Box::pin(close(transport, CloseMode::Orderly)).await;
    }
    match end {
        End::Finished(Err(error)) => failed(connection, &facts, &error),
        End::CutOff(Phase::Serving) => ClosedReason::SendTimeout,
        End::CutOff(Phase::Head) => {
            connection.record_failure(&facts, too_late(unfinished));
            ClosedReason::HeaderTimeout
        }
        End::Abusive => {
            connection.record_failure(&facts, "the client resets most of its own requests");
            ClosedReason::Protocol
        }
        _ if idled => ClosedReason::IdleTimeout,
        _ if leave.is_told() => ClosedReason::Drain,
        _ => ClosedReason::Client,
    }
}

/// Tells what the connection is at, as seen after hyper has done what it could. While there are
/// requests, their own deadlines hold; without one, what the client has begun has to come.
fn note_progress(activity: &Activity, link: &Link, facts: &http::Facts, seen: &mut u64) {
    let requests = facts.requests.get();
    activity.held(facts.stalled_since());
    if facts.in_flight.get() > 0 || *seen != requests {
        activity.enter(Phase::Serving);
    }
    if facts.in_flight.get() == 0 {
        let waits_for_more = link.unfinished().is_some();
        activity.enter(if waits_for_more { Phase::Head } else { Phase::Idle });
    }
    *seen = requests;
}

fn too_late(unfinished: Option<Unfinished>) -> &'static str {
    match unfinished {
        Some(Unfinished::Preface) => "the HTTP/2 preface took too long",
        _ => "a request's head took too long",
    }
}

/// Whether most of many requests were reset by the client. Each costs a request to an upstream,
/// and its connection.
fn is_abusive(facts: &http::Facts) -> bool {
    let abandoned = facts.abandoned.get();
    abandoned > TOLERATED_RESETS && abandoned.saturating_mul(2) > facts.requests.get()
}

fn failed(connection: &Connection, facts: &http::Facts, error: &hyper::Error) -> ClosedReason {
    let h2 = error.source().and_then(|source| source.downcast_ref::<h2::Error>());
    match h2 {
        // hyper unwraps what the transport said.
        None if error.source().is_some_and(|source| source.is::<io::Error>()) => ClosedReason::Io,
        Some(h2) if h2.is_io() => ClosedReason::Io,
        // The client's GOAWAY.
        Some(h2) if h2.is_remote() => ClosedReason::Client,
        _ => {
            let reason = h2.map_or_else(|| error.to_string(), ToString::to_string);
            connection.record_failure(facts, &format!("malformed HTTP/2: {reason}"));
            ClosedReason::Protocol
        }
    }
}

fn builder(connection: &Connection) -> Builder<LocalExecutor> {
    let settings = &connection.front.settings;
    let mut builder = Builder::new(LocalExecutor);
    builder
        // hyper's own is 400 KiB a stream, which a client that opens all its windows and does not
        // read could fill a hundred times.
        .max_send_buf_size(SEND_BUFFER_BYTES)
        .max_concurrent_streams(settings.h2_max_concurrent_streams)
        .initial_stream_window_size(settings.h2_stream_window_bytes)
        .initial_connection_window_size(settings.h2_connection_window_bytes)
        .max_header_list_size(u32::try_from(settings.max_header_bytes).unwrap_or(u32::MAX));
    builder
}
