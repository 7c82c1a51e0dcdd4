//! A connection that has left HTTP: joined with its upstream's, within its limits.

use std::{
    future::{pending, poll_fn},
    task::Poll,
    time::{Duration, Instant},
};

use super::{
    close::close,
    registry::Entry,
    splice::{Joint, Side},
};
use crate::{
    http::PendingUpgrade,
    observe::ClosedReason,
    rt::{self, CloseMode},
};

/// How long a connection may go on once it is to be drained: it has no end of its own to wait for.
const DRAIN_GRACE: Duration = Duration::from_secs(5);

/// Passes bytes on until both sides have ended, one fails, a limit is reached, or it is time to
/// drain.
pub(super) async fn join(entry: &Entry, client: Side, upgrade: PendingUpgrade) -> ClosedReason {
    let PendingUpgrade { upstream, idle_timeout, deadline, mut record } = upgrade;
    let upstream = Side { transport: upstream.transport, received: upstream.received };
    let mut joint = Joint::new(client, upstream);
    let activity = joint.activity();
    let limit = async {
        loop {
            let idle_at = idle_timeout.map(|timeout| activity.get() + timeout);
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
    };
    let drained = async {
        poll_fn(|cx| if entry.poll_draining(cx) { Poll::Ready(()) } else { Poll::Pending }).await;
        rt::sleep(DRAIN_GRACE).await;
    };
    let ended = tokio::select! {
        ended = joint.run() => Ended::ByItself(ended.is_ok()),
        () = limit => Ended::TimedOut,
        () = drained => Ended::Drained,
    };
    record.add_received(joint.up_bytes());
    record.add_sent(joint.down_bytes());
    if let Ended::TimedOut = ended {
        record.timed_out();
    }
    drop(record);
    let (client, upstream) = joint.into_transports();
    // Nothing but the connection's end says where a tunnel's bytes end: one that was cut off must
    // not look whole.
    let mode = match ended {
        Ended::ByItself(true) => CloseMode::Orderly,
        _ => CloseMode::Reset,
    };
    rt::spawn(close(upstream, mode));
    close(client, mode).await;
    match ended {
        Ended::ByItself(true) => ClosedReason::Done,
        Ended::ByItself(false) => ClosedReason::Io,
        Ended::TimedOut => ClosedReason::IdleTimeout,
        Ended::Drained => ClosedReason::Drain,
    }
}

enum Ended {
    /// Without an error, or with one.
    ByItself(bool),
    TimedOut,
    Drained,
}
