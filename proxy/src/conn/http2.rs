//! HTTP/2 on one connection.

use std::{future::poll_fn, pin::pin, rc::Rc, task::Poll};

use hyper::{server::conn::http2::Builder, service::service_fn};

use super::{
    Connection,
    activity::{Activity, Phase, Watchdog},
    http1::reason_of,
};
use crate::{http, observe::ClosedReason, rt::LocalExecutor, tls::Transport};

/// Serves streams until the connection ends. hyper closes it itself.
pub(super) async fn serve(
    connection: Connection<'_>,
    transport: Transport,
    facts: Rc<http::Facts>,
) -> ClosedReason {
    let context = Rc::clone(&connection.context.http);
    let service = service_fn({
        let facts = Rc::clone(&facts);
        move |request| {
            let (context, facts) = (Rc::clone(&context), Rc::clone(&facts));
            async move { http::handle(&context, &facts, request).await }
        }
    });
    let mut served = pin!(builder(&connection).serve_connection(transport, service));

    let activity = Activity::new();
    let mut watchdog = Watchdog::new(&connection.front.settings);
    let mut closing = None;
    poll_fn(|cx| {
        if closing.is_none() && connection.entry.poll_draining(cx) {
            closing = Some(ClosedReason::Drain);
            served.as_mut().graceful_shutdown();
        }
        if let Poll::Ready(result) = served.as_mut().poll(cx) {
            let ended = || result.err().map_or(ClosedReason::Client, |error| reason_of(&error));
            return Poll::Ready(closing.unwrap_or_else(ended));
        }
        activity.enter(if facts.in_flight.get() > 0 { Phase::Serving } else { Phase::Idle });
        while watchdog.poll_expired(cx, &activity).is_ready() {
            // Once to take leave with GOAWAY; a client that does not follow is cut off.
            if let Some(reason) = closing {
                return Poll::Ready(reason);
            }
            closing = Some(ClosedReason::IdleTimeout);
            served.as_mut().graceful_shutdown();
            activity.restart();
        }
        Poll::Pending
    })
    .await
}

fn builder(connection: &Connection<'_>) -> Builder<LocalExecutor> {
    let settings = &connection.front.settings;
    let mut builder = Builder::new(LocalExecutor);
    builder
        .max_concurrent_streams(settings.h2_max_concurrent_streams)
        .initial_stream_window_size(settings.h2_stream_window_bytes)
        .initial_connection_window_size(settings.h2_connection_window_bytes)
        .max_header_list_size(u32::try_from(settings.max_header_bytes).unwrap_or(u32::MAX));
    builder
}
