//! HTTP/1 on one connection.

use std::{convert::Infallible, future::poll_fn, pin::Pin, rc::Rc, task::Poll};

use hyper::{
    Request, Response,
    body::Incoming,
    rt::Write,
    server::conn::http1::{Builder, Parts},
    service::service_fn,
};

use super::{
    Connection,
    activity::{Activity, Phase, Watchdog},
    close::close,
    splice::{self, Side},
    watched::Watched,
};
use crate::{http, observe::ClosedReason, rt, tls::Transport};

/// hyper refuses a smaller buffer.
const SMALLEST_BUFFER_BYTES: usize = 8192;
/// hyper parses up to this many headers without an allocation.
const HYPER_DEFAULT_HEADERS: usize = 100;

/// How hyper's part of a connection ended.
enum End {
    /// By itself: closed by either side, broken, or upgraded.
    Finished(Result<(), hyper::Error>),
    /// It waited too long for something.
    Expired(Phase),
}

/// Serves requests until the connection ends, and closes it.
pub(super) async fn serve(
    connection: Connection<'_>,
    transport: Transport,
    facts: Rc<http::Facts>,
) -> ClosedReason {
    let activity = Activity::new();
    let watched = Watched { transport, activity: Rc::clone(&activity) };
    let context = Rc::clone(&connection.context.http);
    let service = service_fn(|request| answer(&context, &facts, request));
    let mut served = Box::pin(builder(&connection).serve_connection(watched, service));

    let mut watchdog = Watchdog::new(&connection.front.settings);
    let mut requests = facts.requests();
    let mut draining = false;
    let end = poll_fn(|cx| {
        if !draining && connection.entry.poll_draining(cx) {
            draining = true;
            served.as_mut().graceful_shutdown();
        }
        if let Poll::Ready(result) = served.poll_without_shutdown(cx) {
            return Poll::Ready(End::Finished(result));
        }
        note_progress(&activity, &facts, &mut requests);
        watchdog.poll_expired(cx, &activity).map(End::Expired)
    })
    .await;

    let served = Pin::into_inner(served);
    let Parts { io, read_buf, .. } = served.into_parts();
    let transport = io.transport;
    if let Some(upgrade) = facts.take_upgrade() {
        return join(connection, Side { transport, received: read_buf }, upgrade).await;
    }
    finish(connection, transport, &facts, end, draining).await
}

/// Tells what the connection is at, as seen after hyper has done what it could.
fn note_progress(activity: &Activity, facts: &http::Facts, seen: &mut u64) {
    let requests = facts.requests();
    if facts.in_flight() > 0 {
        activity.enter(Phase::Serving);
    } else if *seen != requests || activity.phase() == Phase::Serving {
        // Also a request that came and was answered within one poll.
        activity.enter(Phase::Serving);
        activity.enter(Phase::Idle);
    }
    *seen = requests;
}

async fn answer(
    context: &Rc<http::Context>,
    facts: &Rc<http::Facts>,
    request: Request<Incoming>,
) -> Result<Response<http::Body>, Infallible> {
    Ok(http::handle(context, facts, request).await)
}

fn builder(connection: &Connection<'_>) -> Builder {
    let settings = &connection.front.settings;
    let mut builder = Builder::new();
    builder
        .preserve_header_case(true)
        .max_buf_size(settings.max_header_bytes.max(SMALLEST_BUFFER_BYTES));
    if settings.max_headers > HYPER_DEFAULT_HEADERS {
        builder.max_headers(settings.max_headers);
    }
    builder
}

async fn finish(
    connection: Connection<'_>,
    mut transport: Transport,
    facts: &http::Facts,
    end: End,
    draining: bool,
) -> ClosedReason {
    let reason = match end {
        End::Finished(Ok(())) if draining => ClosedReason::Drain,
        End::Finished(Ok(())) => ClosedReason::Done,
        End::Finished(Err(error)) => {
            connection.context.http.record_malformed(facts, &error);
            reason_of(&error)
        }
        End::Expired(Phase::Head) => {
            connection.context.http.record_head_timeout(facts);
            let reply = http::REQUEST_TIMEOUT;
            let _ = poll_fn(|cx| Pin::new(&mut transport).poll_write(cx, reply)).await;
            ClosedReason::HeaderTimeout
        }
        End::Expired(_) => ClosedReason::IdleTimeout,
    };
    if reason != ClosedReason::Io {
        close(transport).await;
    }
    reason
}

pub(super) fn reason_of(error: &hyper::Error) -> ClosedReason {
    if error.is_parse() || error.is_parse_too_large() {
        ClosedReason::Protocol
    } else if error.is_incomplete_message() {
        ClosedReason::Client
    } else {
        ClosedReason::Io
    }
}

/// Joins an upgraded connection with its upstream until both have ended.
async fn join(
    connection: Connection<'_>,
    mut client: Side,
    mut upgrade: http::PendingUpgrade,
) -> ClosedReason {
    let upstream = upgrade.take_upstream();
    let mut upstream = Side { transport: upstream.transport, received: upstream.received };
    let (spliced, ended) = splice::splice(&mut client, &mut upstream).await;
    upgrade.finish(spliced.up_bytes, spliced.down_bytes, &ended);
    rt::spawn(close(upstream.transport));
    close(client.transport).await;
    let _ = connection;
    if ended.is_ok() { ClosedReason::Done } else { ClosedReason::Io }
}
