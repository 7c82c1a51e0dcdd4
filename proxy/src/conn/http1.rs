//! HTTP/1 on one connection.

use std::{cell::Cell, convert::Infallible, future::poll_fn, pin::Pin, rc::Rc, task::Poll};

use http_body::Body as _;
use hyper::{
    Request, Response,
    body::Incoming,
    rt::Write,
    server::conn::http1::Builder,
    service::{Service, service_fn},
};

use super::{
    Connection,
    activity::{Activity, Nap, Phase, Watchdog},
    close::close,
    leave::Leave,
    link::Link,
    splice::Side,
    upgrade,
};
use crate::{http, observe::ClosedReason, rt::CloseMode, tls::Transport};

/// hyper refuses a smaller buffer.
const SMALLEST_BUFFER_BYTES: usize = 8192;
/// hyper parses up to this many headers without an allocation.
const HYPER_DEFAULT_HEADERS: usize = 100;

/// Serves requests until the connection ends, and closes it.
pub(super) async fn serve(
    connection: &Connection,
    transport: Transport,
    facts: Rc<http::Facts>,
) -> ClosedReason {
    let (context, conn) = (&connection.context.http, &facts);
    let service = service_fn(|request| http::handle(context, conn, request));
    run(connection, transport, &facts, service).await
}

/// Answers every request with a redirect to HTTPS.
pub(super) async fn redirect(
    connection: &Connection,
    transport: Transport,
    facts: Rc<http::Facts>,
) -> ClosedReason {
    let (context, conn) = (&connection.context.http, &facts);
    let service =
        service_fn(|request| async move { Ok(http::redirect_to_https(context, conn, request)) });
    run(connection, transport, &facts, service).await
}

/// How hyper's part of a connection ended.
enum End {
    /// By itself: closed by either side, broken, or upgraded.
    Finished(Result<(), hyper::Error>),
    /// It waited too long for something.
    Expired(Phase),
    /// What was said last could not be sent.
    Unsent,
}

async fn run<S>(
    connection: &Connection,
    transport: Transport,
    facts: &http::Facts,
    service: S,
) -> ClosedReason
where
    S: Service<Request<Incoming>, Response = Response<http::Body>, Error = Infallible>,
{
    let activity = Activity::new();
    let link = Link::http1(transport, &activity);
    let can_rest = Cell::new(true);
    let service = service_fn(|request: Request<Incoming>| {
        // Of another, hyper might still wait for the rest, when its response has been sent.
        can_rest.set(request.body().is_end_stream());
        service.call(request)
    });
    // Boxed, and there only while there is something to do: with hyper's buffers it is most of what
    // a connection weighs.
    let wake = || Box::new(builder(connection).serve_connection(link.clone(), &service));
    let mut served = Some(wake());

    let mut watchdog = Watchdog::new(&connection.front.settings);
    let mut nap = Nap::default();
    let mut requests = 0;
    let mut leave = Leave::default();
    let end = poll_fn(|cx| {
        loop {
            facts.leaving.set(connection.entry.poll_draining(cx));
            match &mut served {
                Some(served) => {
                    if let Poll::Ready(result) = Pin::new(served).poll(cx) {
                        return Poll::Ready(End::Finished(result));
                    }
                }
                None => match link.poll_idle(cx) {
                    Poll::Ready(Ok(())) => {
                        served = Some(wake());
                        continue;
                    }
                    Poll::Ready(Err(_)) => return Poll::Ready(End::Unsent),
                    Poll::Pending => {}
                },
            }
            note_progress(&activity, facts, &mut requests);
            // The response to a request under way, or in time, says that it is the last.
            if leave.poll_due(cx, &connection.entry, false) {
                match &mut served {
                    Some(served) => Pin::new(&mut **served).graceful_shutdown(),
                    None => return Poll::Ready(End::Finished(Ok(()))),
                }
                continue;
            }
            let may_rest = can_rest.get() && !leave.is_told() && link.is_flushed();
            if may_rest
                && nap.poll_due(cx, &activity)
                && let Some(idle) = served.take()
            {
                facts.rest();
                let unread = idle.into_parts().read_buf;
                if !unread.is_empty() {
                    // The beginning of a head that came with the request before it.
                    can_rest.set(false);
                    link.unread(unread);
                    served = Some(wake());
                }
                continue;
            }
            return watchdog.poll_expired(cx, &activity).map(End::Expired);
        }
    })
    .await;

    let read_buf = served.map(|served| served.into_parts().read_buf).unwrap_or_default();
    let Some(transport) = link.take() else { return ClosedReason::Io };
    if let Some(pending) = facts.upgrade.take() {
        let client = Side { transport, received: read_buf };
        return Box::pin(upgrade::join(&connection.entry, client, *pending)).await;
    }
    let reason = finish(connection, facts, &end, leave.is_ordered());
    Box::pin(part(transport, &end, link.is_flushed())).await;
    reason
}

/// Tells what the connection is at, as seen after hyper has done what it could.
fn note_progress(activity: &Activity, facts: &http::Facts, seen: &mut u64) {
    let requests = facts.requests.get();
    activity.held(facts.stalled_since());
    if facts.in_flight.get() > 0 {
        activity.enter(Phase::Serving);
    } else if *seen != requests || activity.phase() == Phase::Serving {
        // Also a request that came and was answered within one poll.
        activity.enter(Phase::Serving);
        activity.enter(Phase::Idle);
    }
    *seen = requests;
}

fn builder(connection: &Connection) -> Builder {
    let settings = &connection.front.settings;
    let mut builder = Builder::new();
    builder
        .preserve_header_case(true)
        .max_header_size(settings.max_header_bytes)
        // This alone is looked at only while a head is incomplete: one whose rest came with one
        // read could have almost twice as much.
        .max_buf_size(settings.max_header_bytes.max(SMALLEST_BUFFER_BYTES));
    if settings.max_headers > HYPER_DEFAULT_HEADERS {
        builder.max_headers(settings.max_headers);
    }
    builder
}

/// Why the connection ended; leaves a record where that was before a request could.
fn finish(
    connection: &Connection,
    facts: &http::Facts,
    end: &End,
    ordered_to_leave: bool,
) -> ClosedReason {
    match end {
        End::Finished(Ok(())) if ordered_to_leave => ClosedReason::Drain,
        End::Finished(Ok(())) => ClosedReason::Done,
        End::Finished(Err(error)) => {
            let reason = reason_of(error);
            if reason == ClosedReason::Protocol {
                // hyper has answered it with a bare 400, 414 or 431.
                connection.record_failure(facts, &format!("malformed HTTP: {error}"));
            }
            reason
        }
        End::Unsent => ClosedReason::Io,
        End::Expired(Phase::Head) => {
            connection.record_failure(facts, "a request's head took too long");
            ClosedReason::HeaderTimeout
        }
        End::Expired(Phase::Serving) => ClosedReason::SendTimeout,
        End::Expired(Phase::Idle) => ClosedReason::IdleTimeout,
    }
}

/// Takes leave of the client. A response that was cut off must not look whole, which to HTTP/1.0 it
/// would with a close_notify behind it.
async fn part(mut transport: Transport, end: &End, flushed: bool) {
    let cut_off = match end {
        End::Finished(Ok(())) => false,
        // The response's body broke.
        End::Finished(Err(error)) => error.is_user(),
        End::Expired(_) => !flushed,
        End::Unsent => true,
    };
    if cut_off {
        return close(transport, CloseMode::Reset).await;
    }
    if let End::Expired(Phase::Head) = end {
        // Nothing is on its way, so this takes no waiting.
        let reply = http::REQUEST_TIMEOUT;
        let _ = poll_fn(|cx| Pin::new(&mut transport).poll_write(cx, reply)).await;
    }
    close(transport, CloseMode::Orderly).await;
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
