//! HTTP/2 on one connection.

use std::{error::Error, future::poll_fn, io, pin::Pin, rc::Rc, task::Poll};

use hyper::{server::conn::http2::Builder, service::service_fn};

use super::{
    Connection,
    activity::{Activity, Phase, Watchdog},
    close::close,
    shared::Shared,
};
use crate::{http, observe::ClosedReason, rt::LocalExecutor, tls::Transport};

/// How hyper's part of a connection ended.
enum End {
    Finished(Result<(), hyper::Error>),
    /// The client did not follow when told to leave.
    CutOff,
}

/// Serves streams until the connection ends, and closes it.
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
    let transport = Shared::new(transport);
    let mut served = Box::pin(builder(&connection).serve_connection(transport.clone(), service));

    let activity = Activity::new();
    let mut watchdog = Watchdog::new(&connection.front.settings);
    let mut leaving = None;
    let end = poll_fn(|cx| {
        if leaving.is_none() && connection.entry.poll_draining(cx) {
            leaving = Some(ClosedReason::Drain);
            served.as_mut().graceful_shutdown();
        }
        if let Poll::Ready(result) = Pin::new(&mut served).poll(cx) {
            return Poll::Ready(End::Finished(result));
        }
        activity.enter(if facts.in_flight.get() > 0 { Phase::Serving } else { Phase::Idle });
        while watchdog.poll_expired(cx, &activity).is_ready() {
            // Once to take leave with GOAWAY; a client that does not follow is cut off.
            if leaving.is_some() {
                return Poll::Ready(End::CutOff);
            }
            leaving = Some(ClosedReason::IdleTimeout);
            served.as_mut().graceful_shutdown();
            activity.restart();
        }
        Poll::Pending
    })
    .await;
    drop(served);
    if let Some(transport) = transport.take() {
        close(transport).await;
    }
    match end {
        End::Finished(Err(error)) => failed(&connection, &facts, &error),
        End::Finished(Ok(())) | End::CutOff => leaving.unwrap_or(ClosedReason::Client),
    }
}

fn failed(connection: &Connection<'_>, facts: &http::Facts, error: &hyper::Error) -> ClosedReason {
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
