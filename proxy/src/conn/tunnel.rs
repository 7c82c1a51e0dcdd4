//! A client stream that has left HTTP: joined with its upstream's connection, within its limits.

use std::{
    future::{pending, poll_fn},
    task::Poll,
    time::{Duration, Instant},
};

use super::{
    Registration,
    close::close,
    splice::{Joint, Side},
};
use crate::{
    http::Tunnel,
    observe::ClosedReason,
    rt::{self, CloseMode},
};

/// How long a tunnel may go on once its connection must close: it has no end of its own to wait for.
const DRAIN_GRACE: Duration = Duration::from_secs(5);

/// Passes bytes on until both sides have ended, one fails, a limit is reached, or the connection has
/// to drain.
pub(super) async fn join(
    registration: &Registration,
    client: Side,
    tunnel: Tunnel,
) -> ClosedReason {
    let Tunnel { upstream, idle_timeout, deadline, mut record } = tunnel;
    let upstream = Side { transport: upstream.transport, received: upstream.received };
    let mut joint = Joint::new(client, upstream);
    let activity = joint.activity();
    let ended = tokio::select! {
        ended = joint.run() => TunnelEnd::ByItself(ended.is_ok()),
        () = limit(|| activity.get(), idle_timeout, deadline) => TunnelEnd::TimedOut,
        () = drained(registration) => TunnelEnd::Drained,
    };
    record.add_received(joint.up_bytes());
    record.add_sent(joint.down_bytes());
    if let TunnelEnd::TimedOut = ended {
        record.timed_out();
    }
    drop(record);
    let (client, upstream) = joint.into_transports();
    // Only the end of its connections tells where a tunnel's bytes end: one that is cut off must not
    // look complete.
    let mode = match ended {
        TunnelEnd::ByItself(true) => CloseMode::Orderly,
        _ => CloseMode::Reset,
    };
    rt::spawn(close(upstream, mode));
    close(client, mode).await;
    match ended {
        TunnelEnd::ByItself(true) => ClosedReason::Done,
        TunnelEnd::ByItself(false) => ClosedReason::Io,
        TunnelEnd::TimedOut => ClosedReason::IdleTimeout,
        TunnelEnd::Drained => ClosedReason::Drain,
    }
}

enum TunnelEnd {
    /// `true` without an error.
    ByItself(bool),
    TimedOut,
    Drained,
}

/// Waits until bytes have not moved for the idle time-out, or until the deadline.
async fn limit(
    last_activity: impl Fn() -> Instant,
    idle_timeout: Option<Duration>,
    deadline: Option<Instant>,
) {
    loop {
        let idle_at = idle_timeout.map(|timeout| last_activity() + timeout);
        let Some(next) = [idle_at, deadline].into_iter().flatten().min() else {
            pending::<()>().await;
            continue;
        };
        let left = next.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return;
        }
        rt::sleep(left).await;
    }
}

/// Waits until the connection must close, and for the grace behind that.
async fn drained(registration: &Registration) {
    let told = |cx: &mut std::task::Context<'_>| match registration.poll_draining(cx) {
        true => Poll::Ready(()),
        false => Poll::Pending,
    };
    poll_fn(told).await;
    rt::sleep(DRAIN_GRACE).await;
}
